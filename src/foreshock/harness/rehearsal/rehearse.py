"""One rehearsal of a test: its deployment, the faults that its seed draws, healing and teardown, each command."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.capabilities import Membership
from foreshock.harness.cluster import ClusterSpecification
from foreshock.harness.composed_nemesis import ComposedNemesis
from foreshock.harness.errors import ForeshockError
from foreshock.harness.generator import lift
from foreshock.harness.generator.context import GeneratorContext
from foreshock.harness.ledger import FaultLedger
from foreshock.harness.nemesis import Nemesis, NemesisContext
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.parts import SECOND_NS, composition, interval_ns, make
from foreshock.harness.plan import Resolved
from foreshock.harness.rehearsal.assumed import AssumedCluster
from foreshock.harness.rehearsal.recording import (
    ASSUMED_PID,
    Command,
    Recorder,
    RehearsalRuntime,
    Rehearses,
)
from foreshock.harness.safety import guard
from foreshock.harness.store import FAULTS
from foreshock.harness.target import Target

RUN: Final = "dry-run"
OPERATIONS_MAX: Final = 2_000


class RehearsedFault(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a nemesis, when it comes (s since the main phase began), and what it runs."""

    at_s: float
    do: str
    value: Any
    result: Any
    error: str | None
    commands: tuple[Command, ...]


class Rehearsal(msgspec.Struct, frozen=True, kw_only=True):
    """What a test would run. ``assumed`` says in sentences what nobody can know beforehand."""

    backend: str
    assumed: tuple[str, ...]
    deployment: tuple[Command, ...]
    faults: tuple[RehearsedFault, ...]
    healing: tuple[RehearsedFault, ...]
    teardown: tuple[Command, ...]
    again: str


def rehearse(resolved: Resolved) -> Rehearsal:
    """Rehearse a test; raises :class:`ForeshockError` when it could not even begin."""
    runtime = RehearsalRuntime(resolved.plan.seed)
    with tempfile.TemporaryDirectory(prefix="foreshock-dry-run-") as scratch:
        ledger = FaultLedger(
            Path(scratch) / FAULTS, runtime.now, durable=False, guard=guard(resolved.plan.allow)
        )
        try:
            return runtime.run(_Rehearsing(resolved, runtime, ledger).conduct())
        finally:
            ledger.close()


class _Rehearsing:
    """The parts of a rehearsal, and its course."""

    def __init__(self, resolved: Resolved, runtime: RehearsalRuntime, ledger: FaultLedger) -> None:
        self.resolved = resolved
        self.plan = plan = resolved.plan
        self.runtime = runtime
        self.ledger = ledger
        self.recorder = Recorder()
        self.target: Target[Any] = make(
            f"the target {plan.target!r}",
            lambda: resolved.target_class(resolved.target_options, seed=plan.seed),
        )
        self.target.bug = resolved.bug_class
        self.target.bug_name = plan.bug
        specification = ClusterSpecification(
            run=RUN,
            target=self.target,
            node_names=plan.nodes,
            directory=Path("store") / RUN,
            seed=plan.seed,
            needs=frozenset().union(
                *(cls.needs(options) | cls.uses for cls, options in resolved.nemesis_classes)
            ),
            options=resolved.backend_options,
        )
        backend: Any = resolved.backend
        self.shows = isinstance(backend, Rehearses)
        acting = (
            make(
                f"the cluster on {plan.backend}",
                lambda: backend.rehearsal(specification, runtime, self.recorder),
            )
            if self.shows
            else None
        )
        self.cluster = AssumedCluster(specification, runtime, self.recorder, acting)
        nemeses = [self._nemesis(number) for number in range(len(plan.nemeses))]
        self.nemesis = ComposedNemesis(nemeses, composition(resolved))

    async def conduct(self) -> Rehearsal:
        """From deployment to teardown."""
        await self.cluster.deploy()
        deployment = self.recorder.taken()
        limit_ns = round(self.plan.time_limit_s * SECOND_NS)
        faults = await self._play(self.nemesis.generator(), limit_ns)
        healing = await self._play(self.nemesis.final_generator() if self.plan.nemeses else None, None)
        await self.cluster.teardown()
        return Rehearsal(
            backend=self.plan.backend,
            assumed=tuple(self._assumptions(len(faults))),
            deployment=deployment,
            faults=tuple(faults),
            healing=tuple(healing),
            teardown=self.recorder.taken(),
            again=self.resolved.command(),
        )

    async def _play(self, generator: Any, limit_ns: int | None) -> list[RehearsedFault]:
        """Perform what a generator asks of the nemesis, at its times."""
        began_ns = self.runtime.now()
        ctx = GeneratorContext.start(1, self.runtime.random("generator"), time_ns=began_ns)
        ctx = ctx.restrict(frozenset({NEMESIS}))
        rest = lift(generator)
        played: list[RehearsedFault] = []
        while len(played) < OPERATIONS_MAX:
            answer = rest.op(ctx.at(self.runtime.now()))
            if not isinstance(answer, tuple):
                break
            operation, after = answer
            due_ns = operation.time_ns or 0
            if limit_ns is not None and due_ns - began_ns >= limit_ns:
                break
            await self.runtime.sleep(due_ns - self.runtime.now())
            now = ctx.at(self.runtime.now())
            rest = after.update(now.busy(NEMESIS), operation)
            performed = await self._perform(operation, self.runtime.now() - began_ns)
            played.append(performed)
            ended = msgspec.structs.replace(
                operation,
                type=OperationType.INFO if performed.error else OperationType.OK,
                result=performed.result,
                time_ns=self.runtime.now(),
            )
            rest = rest.update(ctx.at(self.runtime.now()), ended)
        return played

    async def _perform(self, operation: Operation, at_ns: int) -> RehearsedFault:
        result, error = None, None
        try:
            result = await self.nemesis.invoke(operation)
        except ForeshockError as problem:
            error = str(problem)
        return RehearsedFault(
            at_s=round(at_ns / SECOND_NS, 6),
            do=operation.f,
            value=operation.value,
            result=result,
            error=error,
            commands=self.recorder.taken(),
        )

    def _assumptions(self, count: int) -> list[str]:
        lines = [
            "every fault is assumed to take, and to be seen and gone, as it was asked for",
            f"what scripts answer is assumed: {ASSUMED_PID} stands for pids, addresses stand for those to come",
        ]
        if self.plan.schedule is None and self.plan.nemeses:
            lines.append(
                "this is one course that the seed can take: later draws depend on how long operations really take"
            )
        if self.target.knows_primaries():
            lines.append("the first node that runs is assumed to lead")
        if not self.shows:
            what = (
                "is simulated, and runs no command"
                if self.resolved.backend.simulated
                else "cannot show commands"
            )
            lines.append(f"the backend {self.plan.backend} {what}: only operations are listed")
        if count >= OPERATIONS_MAX:
            lines.append(f"only the first {OPERATIONS_MAX} operations are listed")
        return lines

    def _nemesis(self, number: int) -> Nemesis[Any]:
        name = self.plan.nemeses[number]
        cls, options = self.resolved.nemesis_classes[number]
        context = NemesisContext(
            nodes=self.plan.nodes,
            interval_ns=interval_ns(self.plan, name),
            intensity_permille=round(self.plan.intensity * 1000),
            rng=self.runtime.random(f"nemesis/{name}"),
            runtime=self.runtime,
            cluster=self.cluster,
            ledger=self.ledger,
            primaries=self._primaries,
            stalls=AssumedStalls(self.plan.concurrency, self.recorder),
            ready=self._ready,
            versions=tuple(self.target.versions),
            membership=self._membership(),
        )
        return make(f"the nemesis {name!r}", lambda: cls(options, context))

    def _membership(self) -> Membership | None:
        return AssumedMembership(self.plan.nodes, self.recorder) if self.target.changes_members() else None

    async def _ready(self, name: str) -> bool:
        return (await self.cluster.states())[name] == "running"

    async def _primaries(self) -> frozenset[str] | None:
        if not self.target.knows_primaries():
            return None
        states = await self.cluster.states()
        running = [name for name in self.plan.nodes if states[name] == "running"]
        return frozenset(running[:1])


class AssumedStalls:
    """Clients of which each has one process, and that stand still when they are told to."""

    def __init__(self, concurrency: int, recorder: Recorder) -> None:
        self._processes = tuple(range(concurrency))
        self._recorder = recorder
        self._stalled: set[int] = set()

    def processes(self) -> tuple[int, ...]:
        """All of them."""
        return self._processes

    def living(self, processes: frozenset[int]) -> frozenset[int]:
        """The processes of the same threads."""
        return frozenset(process % len(self._processes) for process in processes)

    def stall(self, processes: frozenset[int], duration_ns: int) -> None:
        """They stand still."""
        what = ", ".join(map(str, sorted(processes)))
        self._recorder.add("harness", f"(hold the clients {what} for {duration_ns // 1_000_000} ms)")
        self._stalled |= processes

    def release(self, processes: frozenset[int]) -> None:
        """They go on."""
        self._stalled -= processes

    def stalled(self, processes: frozenset[int]) -> Mapping[int, bool]:
        """Which stand still."""
        return {process: process in self._stalled for process in sorted(processes)}

    def steps(self, processes: frozenset[int]) -> Mapping[int, int]:
        """Nobody has moved."""
        return dict.fromkeys(sorted(processes), 0)


class AssumedMembership:
    """A cluster whose members change as they are told."""

    def __init__(self, nodes: tuple[str, ...], recorder: Recorder) -> None:
        self._members = set(nodes)
        self._recorder = recorder

    async def add(self, name: str, via: str) -> None:
        """It is a member."""
        self._recorder.add("harness", f"(ask {via}, by the target's own interface, to add {name})")
        self._members.add(name)

    async def remove(self, name: str, via: str) -> None:
        """It is none."""
        self._recorder.add("harness", f"(ask {via}, by the target's own interface, to remove {name})")
        self._members.discard(name)

    async def members(self) -> frozenset[str] | None:
        """Who is one."""
        return frozenset(self._members)
