"""The parts of one test, made from its plan: target, workload, cluster, nemesis, clients.

What a plug-in raises while it is made becomes a :class:`PlugInError` that names it.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from foreshock.harness.blame import describe
from foreshock.harness.capabilities import Stall
from foreshock.harness.checker import Checker
from foreshock.harness.client_contract import check_client
from foreshock.harness.cluster import Cluster, ClusterSpecification
from foreshock.harness.composed_nemesis import ComposedNemesis
from foreshock.harness.composition import Composition
from foreshock.harness.errors import ForeshockError, OperationError, PlugInError
from foreshock.harness.generator.native import Native
from foreshock.harness.ledger import FaultLedger
from foreshock.harness.membership import TargetMembership
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.own_checkers import make_checkers
from foreshock.harness.plan import Plan, Resolved
from foreshock.harness.plug_in_contract import checked_checkers, lifted, returned, watch_target
from foreshock.harness.runtime import ConnectionClosed, ConnectionRefused, Runtime, TimeoutExpired
from foreshock.harness.services import Client
from foreshock.harness.stalls import Stalls
from foreshock.harness.target import ClientContext, Target
from foreshock.harness.workload import Workload, WorkloadContext

T = TypeVar("T")
SECOND_NS = 1_000_000_000
READY_TIMEOUT_NS = 5 * SECOND_NS
RAISED_LOGGED_MAX = 50
EXPECTED = (OperationError, TimeoutExpired, ConnectionRefused, ConnectionClosed)
"""What a client raises in the ordinary course of a test in which things break."""

logger = logging.getLogger("foreshock")


class Parts:
    """The parts of one test. ``clients_opened`` and ``why_no_client`` tell how the clients fared.

    A client that does not keep its contract is told to ``contract_broken``, once; no operation can succeed then.
    """

    def __init__(self, resolved: Resolved, run: Path, runtime: Runtime, ledger: FaultLedger) -> None:
        self.contract_broken: Callable[[PlugInError], None] = lambda _error: None
        self.clients_opened = 0
        self.why_no_client: str | None = None
        self._resolved = resolved
        self._plan = plan = resolved.plan
        self._runtime = runtime
        self._ledger = ledger
        self._checked_clients: set[type[Any]] = set()
        self._raised: set[str] = set()
        self.target: Target[Any] = make(
            f"the target {plan.target!r}",
            lambda: resolved.target_class(resolved.target_options, seed=plan.seed),
        )
        watch_target(self.target, f"the target {plan.target!r}")
        self.target.bug = resolved.bug_class
        self.target.bug_name = plan.bug
        self.workload: Workload[Any] = make(
            f"the workload {plan.workload!r}",
            lambda: resolved.workload_class(resolved.workload_options, workload_context(plan, runtime)),
        )
        self.stalls = Stalls(runtime, plan.concurrency)
        self._stalling = any(Stall in cls.requires for cls, _ in resolved.nemesis_classes)
        self.cluster: Cluster = make(
            f"the cluster on {plan.backend}",
            lambda: resolved.backend.cluster(self._specification(run), runtime),
        )
        nemeses = [self._nemesis(number) for number in range(len(plan.nemeses))]
        self.nemesis = make(
            "the composition of the nemeses", lambda: ComposedNemesis(nemeses, composition(resolved))
        )

    @property
    def shades(self) -> tuple[Shade, ...]:
        """How the faults of this test are drawn on a plot."""
        return tuple(shade for nemesis in self.nemesis.nemeses for shade in nemesis.shades)

    def may_have_fallen(self) -> frozenset[str]:
        """The nodes under a fault that a node may answer by ending itself, before it promises anything."""
        kinds = frozenset().union(*(nemesis.fells for nemesis in self.nemesis.nemeses))
        return frozenset(
            node for kind in kinds for fault in self._ledger.open_faults(kind) for node in fault.nodes
        )

    def checkers(self) -> Mapping[str, Checker]:
        """The checkers of the workload."""
        return workload_checkers(self._plan, self.workload)

    def generator(self) -> Native:
        """The operations of the main phase; raises :class:`PlugInError` for what is no generator."""
        return lifted(f"the workload {self._plan.workload!r}", "generator()", self.workload.generator())

    def final_generator(self) -> Native:
        """The operations of the final phase; as :meth:`generator`."""
        made = self.workload.final_generator()
        return lifted(f"the workload {self._plan.workload!r}", "final_generator()", made)

    async def open_client(self, process: int, node_name: str) -> Client:
        """A client for a process, opened; raises whatever the target's client does."""
        opening = self._open_client(process, node_name)
        return await (self.stalls.held(process, opening) if self._stalling else opening)

    async def _open_client(self, process: int, node_name: str) -> Client:
        nodes = self.cluster.nodes
        context = ClientContext(
            runtime=self.runtime_of(process),
            node=next(node for node in nodes if node.name == node_name),
            nodes=nodes,
            process=process,
            identity=f"p{process}",
            timeout_ms=self._plan.operation_timeout_ms,
        )
        try:
            client = self.target.client(self.workload.service, context)
            if client is None:
                raise PlugInError(
                    f"the target {self._plan.target!r}: client(service, context) returned None: "
                    "return self.services[service](context)"
                )
            if type(client) not in self._checked_clients:
                check_client(type(client), self.workload.service)
                self._checked_clients.add(type(client))
            await self._called(client.open)
        except Exception as error:
            if isinstance(error, PlugInError) and self.why_no_client != str(error):
                self.contract_broken(error)
            self.why_no_client = sentence(error)
            raise
        self.clients_opened += 1
        return client

    def runtime_of(self, process: int | None) -> Runtime:
        """What the client of a process, and the workload on its behalf, may ask of the world."""
        return self.stalls.runtime(process) if self._stalling and process is not None else self._runtime

    async def _called(self, method: Any) -> None:
        if inspect.iscoroutinefunction(method):
            await method()
        else:
            await self._runtime.call(method)

    async def invoke(self, client: Client, operation: Operation) -> Any:
        """Perform one operation as the workload does it."""
        performing = self._perform(client, operation)
        if not self._stalling or operation.process is None:
            return await performing
        return await self.stalls.held(operation.process, performing)

    async def _perform(self, client: Client, operation: Operation) -> Any:
        try:
            return await self.workload.invoke(client, operation, self.runtime_of(operation.process))
        except EXPECTED:
            raise
        except PlugInError as error:
            self.contract_broken(error)
            raise
        except Exception as error:
            self._log_once(operation, error)
            raise

    def _log_once(self, operation: Operation, error: Exception) -> None:
        """The history has one line an error; the author of a client wants the traceback, but not of each."""
        what = f"{operation.f} raised {type(error).__name__}"
        if what not in self._raised and len(self._raised) < RAISED_LOGGED_MAX:
            self._raised.add(what)
            logger.warning("%s, logged the first time only", what, exc_info=error)

    def _specification(self, run: Path) -> ClusterSpecification:
        plan = self._plan
        return ClusterSpecification(
            run=f"sim-{plan.seed}" if self._runtime.simulated else run.name.lower(),
            target=self.target,
            node_names=plan.nodes,
            directory=run,
            seed=plan.seed,
            ready_timeout_ms=round(plan.ready_timeout_s * 1000),
            needs=frozenset().union(
                *(cls.needs(options) | cls.uses for cls, options in self._resolved.nemesis_classes)
            ),
            options=self._resolved.backend_options,
        )

    def _nemesis(self, number: int) -> Nemesis[Any]:
        name = self._plan.nemeses[number]
        cls, options = self._resolved.nemesis_classes[number]
        context = NemesisContext(
            nodes=self._plan.nodes,
            interval_ns=interval_ns(self._plan, name),
            intensity_permille=round(self._plan.intensity * 1000),
            rng=self._runtime.random(f"nemesis/{name}"),
            runtime=self._runtime,
            cluster=self.cluster,
            ledger=self._ledger,
            primaries=self._primaries,
            stalls=self.stalls,
            ready=self._ready,
            versions=tuple(self.target.versions),
            membership=TargetMembership(self.target, self.cluster, self._runtime)
            if self.target.changes_members()
            else None,
        )
        nemesis = make(f"the nemesis {name!r}", lambda: cls(options, context))
        fs: Any = nemesis.fs
        if not isinstance(fs, frozenset | set):
            mend = 'return the names of its operations, such as frozenset({"begin", "end"})'
            raise returned(f"the nemesis {name!r}", "fs", fs, mend)
        return nemesis

    async def _ready(self, name: str) -> bool:
        """What a target's check raises, or does not say in time, is a no."""
        node = next(node for node in self.cluster.nodes if node.name == name)
        try:
            return await self._runtime.timeout(self.target.ready(node, self._runtime), READY_TIMEOUT_NS)
        except TimeoutExpired:
            return False
        except Exception as error:  # noqa: BLE001 - a target's check may raise whatever its client library does
            logger.debug("the check of node %s raised %r", name, error)
            return False

    async def _primaries(self) -> frozenset[str] | None:
        return await self.target.primaries(self.cluster, self._runtime)


def interval_ns(plan: Plan, nemesis: str) -> int:
    """The mean time between two steps of a nemesis: a heavier one is quicker, where each keeps its own schedule."""
    permille = round(plan.intensity * 1000) * (plan.weights.get(nemesis, 1) if plan.mix == "streams" else 1)
    return max(1, round(plan.interval_s * SECOND_NS) * 1000 // permille)


def composition(resolved: Resolved) -> Composition:
    """How the plan puts the faults of its nemeses together."""
    plan = resolved.plan
    classes = zip(plan.nemeses, resolved.nemesis_classes, strict=True)
    return Composition(
        mix=plan.mix,
        weights={cls.name: plan.weights.get(name, 1) for name, (cls, _) in classes},
        quiet=plan.quiet_windows_s,
        schedule=plan.schedule,
    )


def workload_context(plan: Plan, runtime: Runtime) -> WorkloadContext:
    """What the plan tells its workload."""
    return WorkloadContext(
        nodes=plan.nodes,
        concurrency=plan.concurrency,
        rate=plan.rate,
        time_limit_ns=round(plan.time_limit_s * SECOND_NS),
        seed=plan.seed,
        runtime=runtime,
        operation_timeout_ms=plan.operation_timeout_ms,
    )


def workload_checkers(plan: Plan, workload: Workload[Any]) -> Mapping[str, Checker]:
    """The checkers of the workload, and those that the plan adds; raises :class:`PlugInError`."""
    found = make(f"the list of checkers of the workload {plan.workload!r}", workload.checkers)
    checkers = checked_checkers(f"the workload {plan.workload!r}", found)
    added = make("a checker", lambda: make_checkers(plan.checkers, plan.options))
    return checkers | {
        name if name not in checkers else f"{name} (added)": own for name, own in added.items()
    }


def make(what: str, maker: Callable[[], T]) -> T:
    """What a plug-in makes; raises :class:`PlugInError` when it raises anything but an error of ours."""
    try:
        return maker()
    except ForeshockError:
        raise
    except Exception as error:
        logger.debug("%s cannot be made", what, exc_info=True)
        raise PlugInError(f"{what} cannot be made: {describe(error)}") from error


def sentence(error: BaseException) -> str:
    """An error of ours is a sentence already; any other is described."""
    return str(error) if isinstance(error, ForeshockError) else describe(error)
