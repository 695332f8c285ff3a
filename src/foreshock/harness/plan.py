"""Typed plans: what a test will do, resolved and checked before anything is deployed.

A :class:`Request` is what the user said; :func:`resolve` turns it into a :class:`Plan` in which every default is
visible, and loads the plug-ins that it names. Anything wrong is a :class:`UsageError` that names the value and the
nearest right one.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.capabilities import Clock, Membership, Primary, Stall, Upgrade, in_words
from foreshock.harness.client_contract import check_client
from foreshock.harness.cluster import Backend, NamesHosts
from foreshock.harness.composition import (
    Mix,
    QuietWindow,
    check_mix,
    parse_intensity,
    parse_quiet_windows,
    weighted_nemeses,
)
from foreshock.harness.errors import NotAvailable, PlugInError, UsageError
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.options import Options, nearest, option_names, parse_options
from foreshock.harness.own_checkers import checker_options, load_checkers, make_checkers
from foreshock.harness.plug_in_contract import load_class, load_like, returned
from foreshock.harness.registry import Kind, load, names, short_name
from foreshock.harness.request import Request
from foreshock.harness.safety import check_allowed, parse_allowed
from foreshock.harness.schedule_file import ScheduledFault, operations_in, operations_of, read_schedule
from foreshock.harness.sizes import parse_bytes
from foreshock.harness.target import Target
from foreshock.harness.workload import Workload

AUTO_BACKENDS = ("docker", "process")
NODES_MAX = 64
CONCURRENCY_MAX = 10_000


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A test with every default visible; written to ``test.json``."""

    target: str
    workload: str
    nemeses: tuple[str, ...]
    backend: str
    nodes: tuple[str, ...]
    concurrency: int
    rate: float
    time_limit_s: float
    interval_s: float
    seed: int
    bug: str | None
    options: Mapping[str, Mapping[str, Any]]
    operation_timeout_ms: int
    recovery_time_s: float
    ready_timeout_s: float
    deadline_s: float
    memory_bytes: int
    mix: Mix = "streams"
    weights: Mapping[str, int] = {}
    """By nemesis, where they are not all 1."""
    intensity: float = 1.0
    quiet_windows_s: tuple[QuietWindow, ...] = ()
    schedule: tuple[ScheduledFault, ...] | None = None
    """What is played in place of the nemeses' own schedules."""
    allow: tuple[str, ...] | None = None
    """Patterns of what faults may touch; ``None``: every node of the run."""
    checkers: tuple[str, ...] = ()
    """Those that judge beside the workload's own."""


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """A plan with the plug-ins that it names, loaded, and their typed options."""

    plan: Plan
    request: Request
    target_class: type[Target[Any]]
    target_options: Options
    workload_class: type[Workload[Any]]
    workload_options: Options
    nemesis_classes: tuple[tuple[type[Nemesis[Any]], Options], ...]
    backend: Backend
    backend_options: Options
    bug_class: type[Any] | None

    def command(self) -> str:
        """The command that runs this test again with the same seed."""
        return "foreshock test " + shlex.join(self.request.arguments(self.plan.backend, self.plan.seed))

    def with_seed(self, seed: int) -> Resolved:
        """The same test with another seed."""
        return msgspec.structs.replace(self, plan=msgspec.structs.replace(self.plan, seed=seed))


def resolve(request: Request) -> Resolved:
    """Check a request whole and load what it names. Raises :class:`UsageError` or :class:`PlugInError`."""
    target_class = load_class(Kind.TARGETS, request.target, Target)
    workload_class = load_class(Kind.WORKLOADS, request.workload, Workload)
    weights = weighted_nemeses(request.nemesis)
    nemesis_names = tuple(weights) or nemeses_of_schedule(request.schedule)
    named_nemeses = {name: load_class(Kind.NEMESES, name, Nemesis) for name in nemesis_names}
    backend = choose_backend(request.backend)
    _check_target(request, target_class, workload_class.service, simulated=backend.simulated)
    required = {name: cls.requires for name, cls in named_nemeses.items()}
    _check_capabilities(backend, request.target, target_class, required)
    client_class = target_class.services[workload_class.service]
    if isinstance(client_class, type):
        check_client(
            client_class, workload_class.service, made_of_context=target_class.client is Target.client
        )
    bug_class = _bug(request, target_class)
    owners: dict[str, type[Options]] = {"target": target_class.Options, "workload": workload_class.Options}
    owners |= {name: cls.Options for name, cls in named_nemeses.items()}
    checkers = load_checkers(request.checker)
    owners |= {name: checker_options(cls) for name, cls in checkers.items()}
    if option_names(backend.Options):
        owners[backend.name] = backend.Options
    options = _options(owners, request.options, target_class, workload_class)
    needed = {name: cls.needs(options[name]) for name, cls in named_nemeses.items()}
    _check_capabilities(backend, request.target, target_class, needed)
    for name, cls in named_nemeses.items():
        _check_mechanisms(backend, name, cls.mechanisms_asked(options[name]))
    if isinstance(client_class, type):
        workload_class.check_client(options["workload"], client_class)
    hosts = backend.hosts_of(options[backend.name]) if isinstance(backend, NamesHosts) else None
    nodes = _nodes(request.nodes, target_class.default_nodes, hosts)
    _check_enough(request.target, target_class, nodes)
    seed = request.seed if request.seed is not None else drawn_seed()
    faults = _faults(request, named_nemeses, nodes)
    check_allowed(faults["allow"], backend.name, nodes, needed, faults["schedule"])
    plan = Plan(
        target=request.target,
        workload=request.workload,
        nemeses=nemesis_names,
        backend=backend.name,
        nodes=nodes,
        concurrency=_concurrency(request.concurrency, len(nodes)),
        rate=request.rate,
        time_limit_s=request.time_limit,
        interval_s=request.interval,
        seed=seed,
        bug=request.bug,
        options={owner: msgspec.to_builtins(typed) for owner, typed in options.items()},
        operation_timeout_ms=request.operation_timeout_ms,
        recovery_time_s=request.recovery_time,
        ready_timeout_s=request.ready_timeout,
        deadline_s=request.deadline,
        memory_bytes=parse_bytes(request.memory),
        checkers=tuple(checkers),
        **faults,
    )
    make_checkers(plan.checkers, plan.options)
    return Resolved(
        plan=plan,
        request=request,
        target_class=target_class,
        target_options=options["target"],
        workload_class=workload_class,
        workload_options=options["workload"],
        nemesis_classes=tuple((cls, options[name]) for name, cls in named_nemeses.items()),
        backend=backend,
        backend_options=options.get(backend.name, backend.Options()),
        bug_class=bug_class,
    )


def drawn_seed() -> int:
    """A seed for a run that was given none."""
    return secrets.randbelow(1 << 31)


def _check_enough(target: str, target_class: type[Target[Any]], nodes: Sequence[str]) -> None:
    """Refuse fewer nodes than the target can do with, and more than it makes one system of."""
    most = target_class.maximum_nodes
    if most is not None and len(nodes) > most:
        raise UsageError(
            f"the target {target!r} takes {most} node{'s' * (most > 1)} at most, and {len(nodes)} would be deployed: "
            "give fewer by --nodes"
        )
    if len(nodes) < target_class.minimum_nodes:
        raise UsageError(
            f"the target {target!r} takes {target_class.minimum_nodes} nodes at least, and {len(nodes)} "
            "would be deployed: give more by --nodes"
        )


def load_workload(plan: Plan) -> tuple[type[Workload[Any]], Options]:
    """The workload of a stored plan and its options: all that is needed to judge what was recorded."""
    workload_class = load_class(Kind.WORKLOADS, plan.workload, Workload)
    return workload_class, parse_options(
        workload_class.Options, plan.options.get("workload", {}), owner=f"the workload {plan.workload!r}"
    )


def nemeses_of_schedule(path: str | None) -> tuple[str, ...]:
    """The nemeses that perform what a schedule asks for, of those that are registered."""
    if path is None:
        return ()
    doers: dict[str, str] = {}
    for name in names(Kind.NEMESES):
        with contextlib.suppress(PlugInError):  # a broken one is named in the list of nemeses
            doers |= dict.fromkeys(operations_of(load(Kind.NEMESES, name)), name)
    wanted = operations_in(Path(path))
    for f in wanted:
        if f not in doers:
            raise UsageError(
                f"the schedule {path!r}: no nemesis performs do = {f!r:.200}{nearest(f[:200], doers)}; "
                "a nemesis of your own must be named with --nemesis"
            )
    return tuple(dict.fromkeys(doers[f] for f in wanted))


def _faults(
    request: Request, nemeses: Mapping[str, type[Nemesis[Any]]], nodes: Sequence[str]
) -> dict[str, Any]:
    """How the faults are put together, as the plan has it."""
    mix, intensity = check_mix(request.mix), parse_intensity(request.intensity)
    quiet = parse_quiet_windows(request.quiet_windows, request.time_limit)
    weights = {name: weight for name, weight in weighted_nemeses(request.nemesis).items() if weight != 1}
    schedule = None
    if request.schedule is not None:
        idle = {"--quiet-windows": bool(quiet), "--mix": mix != "streams", "--intensity": intensity != 1000}
        for flag in [flag for flag, given in (idle | {"a weight": bool(weights)}).items() if given]:
            raise UsageError(f"a schedule says itself what comes when: leave out {flag}, or --schedule")
        schedule = read_schedule(Path(request.schedule), nemeses, nodes, request.time_limit)
    return {
        "mix": mix,
        "weights": weights,
        "intensity": intensity / 1000,
        "quiet_windows_s": quiet,
        "schedule": schedule,
        "allow": parse_allowed(request.allow),
    }


def choose_backend(name: str) -> Backend:
    """The backend of that name; ``auto`` takes docker where an engine answers, else process."""
    if name == "auto":
        reasons = []
        for candidate in AUTO_BACKENDS:
            backend: Backend = load(Kind.BACKENDS, candidate)()
            reason = backend.available()
            if reason is None:
                return backend
            reasons.append(reason)
        raise NotAvailable("no backend is available here: " + " ".join(reasons))
    if name not in names(Kind.BACKENDS) and ".py:" not in name:
        known = ["auto", *names(Kind.BACKENDS)]
        raise UsageError(f"there is no backend {name!r}{nearest(name, known)}")
    chosen: Backend = load_like(Kind.BACKENDS, name, Backend)()
    reason = chosen.available()
    if reason is not None:
        raise NotAvailable(f"the backend {name!r} is not available here: {reason}")
    return chosen


def _bug(request: Request, target_class: type[Target[Any]]) -> type[Any] | None:
    if request.bug is None:
        return None
    bug: type[Any] = load(Kind.BUGS, request.bug)
    if not isinstance(bug, type):
        raise PlugInError(f"the bug {request.bug!r} is not a class")
    if not target_class.takes_bug(request.bug, bug):
        raise UsageError(
            f"the bug {request.bug!r} cannot be planted in the target {request.target!r}; "
            "foreshock list bugs shows which target each belongs to"
        )
    return bug


def _check_capabilities(
    backend: Backend,
    target: str,
    target_class: type[Target[Any]],
    needs: Mapping[str, frozenset[type[Any]]],
) -> None:
    """Refuse what a nemesis needs (by its name) and neither the backend nor the target offers."""
    offered = {*backend.offers(), Stall}  # the harness can always hold back its own clients
    if target_class.knows_primaries():
        offered.add(Primary)
    if target_class.changes_members():
        offered.add(Membership)
    for name, wanted in needs.items():
        missing = wanted - offered
        if missing:
            by_target = missing <= {Membership, Primary}
            who = f"target {target!r}" if by_target else f"backend {backend.name!r}"
            raise UsageError(
                f"the nemesis {name!r} needs {', '.join(sorted(map(in_words, missing)))}, "
                f"which the {who} does not offer"
            )
        by_hosts = backend.simulated or backend.name == "ssh"  # whose own clocks may be set, by an option
        if Clock in wanted and target_class.clock is None and not by_hosts:
            raise UsageError(
                f"the nemesis {name!r} skews clocks, and the nodes of the target {target!r} cannot be told another "
                "time than their machine has (their programs ask the kernel without a library)"
            )
        if Upgrade in wanted and len(target_class.versions) < 2:
            runs = f"only {target_class.versions[0]!r}" if target_class.versions else "no versions"
            raise UsageError(
                f"the nemesis {name!r} needs a target that has two versions or more, "
                f"and the target {target!r} names {runs}"
            )


def _check_target(
    request: Request, target_class: type[Target[Any]], service: str, *, simulated: bool
) -> None:
    """Refuse a target that lacks the service, or that cannot be simulated when it is to be."""
    if service not in target_class.services:
        offered = ", ".join(sorted(target_class.services)) or "nothing"
        raise UsageError(
            f"the workload {request.workload!r} needs the service {service!r}, "
            f"and the target {request.target!r} offers {offered}"
        )
    if simulated and not target_class.can_simulate():
        raise UsageError(
            f"the target {request.target!r} cannot be simulated: use --backend process or docker"
        )


def _check_mechanisms(backend: Backend, nemesis: str, asked: frozenset[str]) -> None:
    """Refuse kinds of fault that were named outright and that the backend cannot carry out."""
    carried = backend.mechanisms()
    lacking = sorted(asked.difference(carried))
    if lacking:
        families = {kind.partition("/")[0] for kind in lacking}
        known = sorted(kind for kind in carried if kind.partition("/")[0] in families)
        raise UsageError(
            f"the nemesis {nemesis!r} is to bring about {', '.join(lacking)}, which the backend {backend.name!r} "
            f"cannot (it can: {', '.join(known) or 'none of these'})"
        )


def _options(
    owners: Mapping[str, type[Options]],
    given: Mapping[str, Any],
    target_class: type[Target[Any]],
    workload_class: type[Workload[Any]],
) -> dict[str, Options]:
    sorted_out: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
    for key, value in given.items():
        owner = next((o for o in owners for word in (o, short_name(o)) if key.startswith(f"{word}.")), None)
        if owner is not None:
            sorted_out[owner][key.rpartition(".")[2]] = value
            continue
        having = [owner for owner, cls in owners.items() if key in option_names(cls)]
        if len(having) > 1:
            ways = " or ".join(f"-o {short_name(owner)}.{key}=..." for owner in having)
            raise UsageError(f"the option {key!r} belongs to several: say {ways}")
        if not having:
            raise UsageError(_no_such_option(key, owners))
        sorted_out[having[0]][key] = value
    parsed = {
        owner: parse_options(cls, sorted_out[owner], owner=owner)
        for owner, cls in owners.items()
        if owner != "workload"
    }
    # What the target states of itself, and the workload has an option for, is the default of that option.
    stated: Any = target_class.stated_options(parsed["target"], workload_class.service)
    if not isinstance(stated, Mapping):
        who = f"the target {target_class.__name__!r}"
        raise returned(
            who, "stated_options(options, service)", stated, "return a dict of options by name, such as {}"
        )
    known = option_names(workload_class.Options)
    defaults = {name: value for name, value in stated.items() if name in known}
    sorted_out["workload"] = {**defaults, **sorted_out["workload"]}
    parsed["workload"] = parse_options(workload_class.Options, sorted_out["workload"], owner="workload")
    return {owner: parsed[owner] for owner in owners}


def _no_such_option(key: str, owners: Mapping[str, type[Options]]) -> str:
    owner, dot, _ = key.partition(".")
    for kind, flag in ((Kind.NEMESES, "--nemesis"), (Kind.BACKENDS, "--backend")):
        if dot and owner in names(kind):
            return (
                f"the option {key!r} is for the {kind.singular} {owner!r}, which is no part of this test: "
                f"leave it out, or add {flag} {owner}"
            )
    if dot:
        return f"there is no option {key!r} here: nothing in this test is called {owner!r}{nearest(owner, owners)}"
    every = {name for cls in owners.values() for name in option_names(cls)}
    return f"there is no option {key!r} here{nearest(key, every)}"


def _nodes(text: str | None, default: int, hosts: Sequence[str] | None) -> tuple[str, ...]:
    """The names of the nodes; ``hosts``: those that the backend was told of, where a node is named for its host."""
    if text is None and hosts:
        text = ",".join(hosts)
    if text is None or text.isdigit():
        count = default if text is None else int(text)
        if not 1 <= count <= NODES_MAX:
            raise UsageError(f"{count} nodes cannot be deployed: give a count from 1 to {NODES_MAX}")
        return tuple(f"n{i}" for i in range(1, count + 1))
    found = tuple(name.strip() for name in text.split(",") if name.strip())
    if not found or len(set(found)) < len(found):
        raise UsageError(
            f"{text!r:.100} does not name nodes: give a count, or different names separated by commas"
        )
    also, too = ("", "") if hosts is None else ("._", ", and the dots and underscores of hosts")
    for name in found:
        if not re.fullmatch(rf"[A-Za-z0-9]([A-Za-z0-9{also}-]{{0,40}}[A-Za-z0-9])?", name):
            raise UsageError(f"{name!r:.100} is no name for a node: use letters, digits and hyphens{too}")
    return found


def _concurrency(text: str, nodes: int) -> int:
    match = re.fullmatch(r"(\d+)?(n)?", text.strip())
    if not match or not (match[1] or match[2]):
        raise UsageError(
            f"{text!r:.100} is no concurrency: give a count, or a multiple of the nodes such as 2n"
        )
    count = int(match[1] or 1) * (nodes if match[2] else 1)
    if not 1 <= count <= CONCURRENCY_MAX:
        raise UsageError(f"a concurrency of {count} is out of bounds: 1 to {CONCURRENCY_MAX}")
    return count
