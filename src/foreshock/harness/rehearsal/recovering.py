"""What ``heal --dry-run`` and ``clean --dry-run`` show: by the ledgers and registries, nothing touched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import msgspec

from foreshock.harness import live_runs
from foreshock.harness.errors import ForeshockError
from foreshock.harness.ledger import Fault, ends_with_harness, read_ledger
from foreshock.harness.recovery import as_labelled, refuse_living, runs_to_heal
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.rehearsal.recording import Command
from foreshock.harness.scratch import abandoned
from foreshock.harness.store import FAULTS


class Undoing(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that would be undone or removed: of which run, what, and by which commands."""

    run: str
    what: str
    commands: tuple[Command, ...] = ()
    note: str = ""


@runtime_checkable
class ShowsRecovery(Protocol):
    """A backend that can show what healing and cleaning would run."""

    def healing_commands(self, fault: Mapping[str, Any]) -> list[Command]:
        """What undoes a fault, by its inverse; nothing is asked that changes anything."""

    def cleaning_commands(self, run: str | None) -> dict[str, list[Command]]:
        """What removes what dead runs left, or the one named, by run."""


def rehearse_healing(run: str | None) -> tuple[list[Undoing], list[str]]:
    """What ``heal`` would undo, the newest fault of each run first, and the sentences of what cannot be known.

    Raises :class:`UsageError` as healing itself does.
    """
    shown: list[Undoing] = []
    errors: list[str] = []
    for name, directory in runs_to_heal(as_labelled(run)):
        try:
            faults = [fault for fault in read_ledger(directory / FAULTS) if fault.is_open]
        except ForeshockError as error:
            errors.append(f"run {name}: {error}")
            continue
        for fault in reversed(faults):
            what = f"{fault.kind} {','.join(fault.nodes)}".rstrip()
            try:
                commands, note = _undoing(fault)
            except ForeshockError as error:
                errors.append(f"run {name}: {what}: {error}")
            else:
                shown.append(Undoing(run=name, what=what, commands=tuple(commands), note=note))
    return shown, errors


def _undoing(fault: Fault) -> tuple[list[Command], str]:
    if ends_with_harness(fault.inverse):
        return [], "nothing to do: it ended with its harness"
    backend: Any = load(Kind.BACKENDS, str(fault.inverse["backend"]))()
    if isinstance(backend, ShowsRecovery):
        commands = backend.healing_commands(fault.inverse)
        return commands, "" if commands else "nothing to do"
    scripts = fault.inverse.get("scripts") or {}
    found = [Command(str(node), str(script).strip()) for node, script in scripts.items()]
    return found, "" if found else "nothing to do"


def rehearse_cleaning(run: str | None) -> tuple[list[Undoing], list[str]]:
    """What ``clean`` would remove. Raises :class:`UsageError` when the run named is still alive."""
    run = as_labelled(run)
    named = [] if run is None else live_runs.named_runs(run)
    refuse_living(named)
    wanted = live_runs.dead_runs() if run is None else named
    shown: list[Undoing] = []
    errors: list[str] = []
    for name in sorted({*names(Kind.BACKENDS), *(dead.backend for dead in wanted)}):
        left = [dead.run for dead in wanted if dead.backend == name]
        try:
            backend: Any = load(Kind.BACKENDS, name)()
            if isinstance(backend, ShowsRecovery):
                found = backend.cleaning_commands(run)
                shown += [
                    Undoing(run=r, what=name, commands=tuple(commands)) for r, commands in found.items()
                ]
            else:
                note = f"the backend {name} does not show by what it would remove it"
                shown += [Undoing(run=r, what=name, note=note) for r in left]
        except ForeshockError as error:
            if left:
                errors.append(f"run {', '.join(left)}: {error}")
    if run is None:
        shown += [
            Undoing(run=folder.name, what="scratch", note=f"the folder {folder} is removed")
            for folder in abandoned()
        ]
    return shown, errors
