"""Undoing faults, and removing what a run left, from any process: over connections of its own, host by host."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec

from foreshock.harness import live_runs
from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.backends.ssh.connections import Connection, ConnectionLost
from foreshock.harness.backends.ssh.places import Place
from foreshock.harness.errors import FaultError, HarnessError, PartlyDone
from foreshock.harness.live_runs import LiveRun
from foreshock.harness.rehearsal.recording import Command

_SCRIPT_TIMEOUT_MS: Final = 30_000
_PARALLEL: Final = 16
BY_USER: Final = frozenset({"kill", "pause", "power", "upgrade", "disk", "clock"})
"""Kinds of faults on the node's own processes and files, which its own user undoes; all others are undone as root."""

_IS_ROOT: Final = "id -u"


class Step(msgspec.Struct, frozen=True):
    """A script for one host, and whether root runs it."""

    root: bool
    script: str


class Leftover(msgspec.Struct, frozen=True):
    """What a run has on its hosts: kept in the registry of live runs, for whoever cleans up after it."""

    hosts: Mapping[str, Place]
    base: str
    """The folder in which the runs have theirs."""
    steps: Mapping[str, tuple[Step, ...]] = {}
    """By host, what undoes every fault that the test can bring about, whether or not it is in force."""
    last_steps: Mapping[str, tuple[Step, ...]] = {}
    """By host, what is done when no process of the run is left."""


def heal(fault: Mapping[str, Any]) -> str:
    """Undo a fault by the scripts of its inverse; raises ``FaultError`` that names the hosts where it could not.

    Which hosts may be touched is said by the registry of live runs alone, whatever a ledger says.
    """
    kind = str(fault["fault"])
    record = live_runs.find_run(str(fault["run"]))
    if record is None:
        return "nothing to do: nothing of the run is left on its hosts"
    places = _left_by(record).hosts
    scripts: Mapping[str, str] = fault["scripts"]
    if not scripts:
        raise FaultError(f"the ssh backend knows no fault {kind!r}")
    for name in scripts:
        if name not in places:
            raise FaultError(f"the run {record.run} has no node {name!r}, so its host is left alone")

    def undo(connection: Connection) -> list[str]:
        name = connection.place.node
        _run(connection, scripts[name], root=bool(fault["as_root"]))
        return [name]

    done, errors = _on_each((places[name] for name in sorted(scripts)), undo)
    if errors:
        also = f" (undone on {', '.join(done)})" if done else ""
        raise FaultError("; ".join(errors) + also)
    return f"{kind} undone on {', '.join(done)}"


def clean(run: str | None) -> list[str]:
    """Remove what dead runs, or the run named, left on their hosts; raises ``PartlyDone`` for hosts that are away."""
    runs = live_runs.dead_runs() if run is None else live_runs.named_runs(run)
    done: list[str] = []
    errors: list[str] = []
    for record in runs:
        if record.backend == "ssh":
            lines, problems = _clean_run(record)
            done += [f"run {record.run}: {line}" for line in lines]
            errors += [f"run {record.run} is not cleaned: {problem}" for problem in problems]
            if not problems:
                live_runs.forget(record.run)
    if errors:
        raise PartlyDone(done, errors)
    return done


def healing_commands(fault: Mapping[str, Any]) -> list[Command]:
    """What healing the fault would run, and on which hosts."""
    record = live_runs.find_run(str(fault["run"]))
    if record is None:
        return []
    places, scripts = _left_by(record).hosts, dict(fault["scripts"])
    return [
        _command(places[name], Step(root=bool(fault["as_root"]), script=scripts[name]))
        for name in sorted(scripts)
        if name in places
    ]


def cleaning_commands(record: LiveRun) -> list[Command]:
    """What cleaning up after the run would run on its hosts."""
    left = _left_by(record)
    commands = []
    for name, place in sorted(left.hosts.items()):
        own = [node_scripts.end_processes(record.run), node_scripts.remove_files(left.base, record.run)]
        end, remove = (Step(root=False, script=script) for script in own)
        steps = (*left.steps.get(name, ()), end, *left.last_steps.get(name, ()), remove)
        commands += [_command(place, step) for step in steps]
    return commands


def _command(place: Place, step: Step) -> Command:
    return Command(f"{place.node} (ssh {place.shown}{', as root' if step.root else ''})", step.script)


def _left_by(record: LiveRun) -> Leftover:
    try:
        return msgspec.convert(record.places, Leftover)
    except msgspec.ValidationError as error:
        raise HarnessError(f"the entry of run {record.run} cannot be understood: {error}") from error


def _clean_run(record: LiveRun) -> tuple[list[str], list[str]]:
    try:
        left = _left_by(record)
    except HarnessError as error:
        return [], [str(error)]

    def end(connection: Connection) -> list[str]:
        return end_on_host(connection, left, record.run)

    return _on_each(left.hosts.values(), end)


def end_on_host(connection: Connection, left: Leftover, run: str) -> list[str]:
    """Undo every fault on one host and remove all of the run; says what was there. Raises ``HarnessError``.

    Every step is tried, whatever became of those before it. Where one failed, the files of the run stay, and with them
    the programs that undo its faults, so that it can be tried again. A host that another run has claimed since keeps
    its packet rules and clocks: they are that run's.
    """
    name = connection.place.node
    steps, last = left.steps.get(name, ()), left.last_steps.get(name, ())
    claimed = connection.run(node_scripts.claimed_by(left.base), _SCRIPT_TIMEOUT_MS).stdout.strip()
    attempts = _Attempts(connection)
    for step in steps if claimed in ("", run) else ():
        attempts.run(step)
    said = attempts.run(Step(root=False, script=node_scripts.end_processes(run)))
    for step in last:
        attempts.run(step)
    if not attempts.errors:
        used_root = any(step.root for step in (*steps, *last))  # what root made only root removes
        remove = Step(root=False, script=node_scripts.remove_files(left.base, run))
        said += attempts.run(remove, again_as_root=connection.uses_sudo and used_root)
    if attempts.errors:
        raise HarnessError(
            f"what is left on the host of node {name} cannot be removed: {'; '.join(attempts.errors)}"
        )
    return [f"{line} on the host of {name}" for line in said.splitlines()]


class _Attempts:
    """Runs the steps of one host, and keeps what went wrong; a lost connection is raised at once."""

    def __init__(self, connection: Connection) -> None:
        self.errors: list[str] = []
        self._connection = connection

    def run(self, step: Step, *, again_as_root: bool = False) -> str:
        """What the step said."""
        try:
            result = self._connection.run(step.script, _SCRIPT_TIMEOUT_MS, root=step.root)
            if result.exit_code and again_as_root:
                result = self._connection.run(step.script, _SCRIPT_TIMEOUT_MS, root=True)
        except ConnectionLost:
            raise
        except HarnessError as error:
            self.errors.append(str(error))
            return ""
        if result.exit_code:
            self.errors.append(result.stderr.strip() or f"exit status {result.exit_code}")
        return result.stdout


def _run(connection: Connection, script: str, *, root: bool) -> None:
    result = connection.run(script, _SCRIPT_TIMEOUT_MS, root=root)
    if result.exit_code:
        said = result.stderr.strip() or f"exit status {result.exit_code}"
        raise HarnessError(f"a script on the host of node {connection.place.node} failed: {said}")


def _on_each(
    places: Iterable[Place], action: Callable[[Connection], list[str]]
) -> tuple[list[str], list[str]]:
    """Do something over a connection to each place, all at once: what was done, and what went wrong."""

    def one(place: Place) -> list[str]:
        with contextlib.closing(Connection(place)) as connection:
            connection.open()
            connection.is_root = connection.run(_IS_ROOT, _SCRIPT_TIMEOUT_MS).stdout.strip() == "0"
            return action(connection)

    done: list[str] = []
    errors: list[str] = []
    with ThreadPoolExecutor(_PARALLEL) as pool:
        for future in [pool.submit(one, place) for place in places]:
            try:
                done += future.result()
            except HarnessError as error:
                errors.append(str(error))
    return done, errors
