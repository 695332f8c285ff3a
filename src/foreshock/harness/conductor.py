"""One test from deployment to teardown, inside a runtime.

deploy -> set up -> nemesis and workload together -> heal -> final phase -> logs -> teardown. A failure at any step
still heals, still fetches logs, still tears down; what went wrong is kept as sentences in ``harness_errors``.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from foreshock.harness import generator as gen
from foreshock.harness.cluster import Cluster, ClusterSpecification, Node
from foreshock.harness.composed_nemesis import ComposedNemesis
from foreshock.harness.errors import ForeshockError, HarnessError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.interpreter import Interpreter
from foreshock.harness.ledger import FaultLedger
from foreshock.harness.nemesis import NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.plan import Resolved
from foreshock.harness.progress import Progress, Snapshot
from foreshock.harness.recorder import HistoryRecorder
from foreshock.harness.runtime import Cancelled, Runtime, Task, TimeoutExpired
from foreshock.harness.services import Client
from foreshock.harness.store import FAULTS, HISTORY, NODES
from foreshock.harness.target import ClientContext
from foreshock.harness.workload import WorkloadContext

T = TypeVar("T")
SECOND_NS = 1_000_000_000
DEPLOY_TIMEOUT_NS = 1_800 * SECOND_NS  # the first time an image is built; nodes have their own, shorter bound
TEARDOWN_TIMEOUT_NS = 120 * SECOND_NS
HEAL_TIMEOUT_NS = 120 * SECOND_NS
PROGRESS_EVERY_NS = SECOND_NS // 2
NO_CANCEL = (asyncio.CancelledError, Cancelled)

logger = logging.getLogger("foreshock")


class Interrupted(Exception):
    """Ctrl-C ended the step that was under way."""


class Conductor:
    """Conducts one test. After :meth:`conduct`, ``harness_errors`` and ``interrupts`` say how it went."""

    def __init__(self, resolved: Resolved, run: Path, runtime: Runtime, progress: Progress) -> None:
        self.resolved = resolved
        self.plan = resolved.plan
        self.run = run
        self.runtime = runtime
        self.progress = progress
        self.harness_errors: list[str] = []
        self.interrupts = 0
        self.recorder = HistoryRecorder(run / HISTORY, runtime.now)
        self.ledger = FaultLedger(run / FAULTS, runtime.now)
        self.target = resolved.target_class(resolved.target_options, seed=self.plan.seed)
        self.target.bug = resolved.bug_class
        self.target.bug_name = self.plan.bug
        self.workload = resolved.workload_class(resolved.workload_options, self._workload_context())
        self.cluster: Cluster = resolved.backend.cluster(self._specification(), runtime)
        self.nemesis = ComposedNemesis(
            [
                cls(options, self._nemesis_context(name))
                for name, (cls, options) in zip(self.plan.nemeses, resolved.nemesis_classes, strict=True)
            ]
        )
        self._interpreter: Interpreter | None = None
        self._step: Task[Any] | None = None
        self._phase = "deploy"
        self._phase_began_ns = 0
        self._deployed = False

    @property
    def shades(self) -> tuple[Shade, ...]:
        """How the faults of this test are drawn on a plot."""
        return tuple(shade for nemesis in self.nemesis.nemeses for shade in nemesis.shades)

    def interrupt(self) -> None:
        """Ctrl-C: the first stops, heals, checks and reports; the second heals and leaves."""
        self.interrupts += 1
        logger.warning("interrupted (%d)", self.interrupts)
        if self._phase == "main" and self.interrupts == 1 and self._interpreter is not None:
            self.progress.phase("interrupted: stopping, healing, checking (once more: heal and leave)")
            self._interpreter.stop()
        elif self._phase in ("deploy", "main", "recovery", "final") and self._step is not None:
            self.progress.phase("interrupted: healing and leaving")
            self._step.cancel()

    async def conduct(self) -> None:
        """Run the whole test; never raises for what can go wrong with a test."""
        ticker = self.runtime.spawn(self._report_progress(), name="progress")
        try:
            await self._attempt("deploy", self._deploy(), DEPLOY_TIMEOUT_NS)
            if self._deployed:
                await self._run_phases()
        except Interrupted:
            pass
        finally:
            ticker.cancel()
            await self._clean_up()

    async def _run_phases(self) -> None:
        interpreter = self._interpreter = self._make_interpreter()
        limit = round(self.plan.time_limit_s * SECOND_NS)
        timeout = self.plan.operation_timeout_ms * 1_000_000
        try:
            self._enter("main", f"running {self.plan.workload} for {self.plan.time_limit_s:g} s")
            main_bound = limit + timeout + HEAL_TIMEOUT_NS
            await self._attempt("the main phase", interpreter.run(self._main_generator(limit)), main_bound)
        finally:
            # Healing is never skipped, and Ctrl-C does not reach it: that is why it is its own phase.
            self._enter("heal", "healing")
            await self._heal(interpreter)
        self.harness_errors += interpreter.nemesis_errors
        if self.interrupts > 1:
            raise Interrupted
        self._enter("recovery", "waiting for recovery")
        await self._attempt("recovery", self._recover(), None)
        self._enter("final", "final phase")
        final = gen.clients(gen.lift(self.workload.final_generator()))
        await self._attempt("the final phase", interpreter.run(final), 20 * timeout + 60 * SECOND_NS)

    def _main_generator(self, limit_ns: int) -> Liftable:
        clients = gen.lift(self.workload.generator())
        if self.plan.rate > 0:
            clients = gen.stagger(round(SECOND_NS / self.plan.rate), clients)
        parts = [gen.clients(clients)]
        if self.plan.nemeses:
            parts.append(gen.nemesis(gen.lift(self.nemesis.generator())))
        return gen.time_limit(limit_ns, gen.any_of(*parts))

    async def _deploy(self) -> None:
        self._enter("deploy", f"deploying {len(self.plan.nodes)} nodes on {self.plan.backend}")
        await self.cluster.deploy()
        bound = round(self.plan.ready_timeout_s * SECOND_NS)
        await self.runtime.timeout(self.target.set_up(self.cluster, self.runtime), bound)
        self._deployed = True

    async def _recover(self) -> None:
        """Wait until every node answers again, but no longer than the plan says: then the final phase judges."""
        end = self.runtime.now() + round(self.plan.recovery_time_s * SECOND_NS)
        waiting = list(self.cluster.nodes)
        while waiting and self.runtime.now() < end:
            waiting = [node for node in waiting if not await self.target.ready(node, self.runtime)]
            await self.runtime.sleep(SECOND_NS // 10)
        if waiting:
            logger.warning("not ready after healing: %s", ", ".join(node.name for node in waiting))

    async def _heal(self, interpreter: Interpreter) -> None:
        interpreter.resume()
        final = gen.nemesis(gen.lift(self.nemesis.final_generator()))
        try:
            await self._attempt("healing", interpreter.run(final), HEAL_TIMEOUT_NS)
        finally:
            for fault in self.ledger.open_faults():
                await self._heal_by_inverse(fault.id, fault.kind, dict(fault.inverse))

    async def _heal_by_inverse(self, fault: int, kind: str, inverse: dict[str, Any]) -> None:
        """The nemesis did not heal its own fault: undo it as a later ``foreshock heal`` would."""
        try:
            done = await self.runtime.call(lambda: self.resolved.backend.heal(inverse))
        except ForeshockError as error:
            self._error(f"the fault {kind} (number {fault}) could not be healed: {error}")
        else:
            logger.info("healed %s by its inverse: %s", kind, done)
            self.ledger.healed(fault)

    async def _clean_up(self) -> None:
        self._enter("teardown", "fetching logs and tearing down")
        if self._interpreter is not None:
            await self._attempt("closing clients", self._interpreter.close(), TEARDOWN_TIMEOUT_NS)
        logs = self.run / NODES
        await self._attempt("fetching logs", self.cluster.fetch_logs(logs), TEARDOWN_TIMEOUT_NS)
        await self._attempt("teardown", self.cluster.teardown(), TEARDOWN_TIMEOUT_NS)
        self.recorder.close()
        self.ledger.close()

    async def _attempt(self, what: str, step: Coroutine[Any, Any, Any], bound_ns: int | None) -> None:
        """Run one step with a bound; what goes wrong becomes a sentence. Raises only :class:`Interrupted`."""
        bounded = step if bound_ns is None else self.runtime.timeout(step, bound_ns)
        self._step = self.runtime.spawn(bounded, name=what)
        try:
            await self._step.wait()
        except NO_CANCEL:
            raise Interrupted from None
        except TimeoutExpired:
            self._error(
                f"{what} took longer than its bound" + (f" of {bound_ns // SECOND_NS} s" if bound_ns else "")
            )
        except ForeshockError as error:
            self._error(str(error))
        except Exception as error:
            logger.exception("%s failed", what)
            self._error(f"{what} failed: {type(error).__name__}: {error}")
        finally:
            self._step = None

    def _error(self, sentence: str) -> None:
        logger.error("%s", sentence)
        self.harness_errors.append(sentence)

    def _enter(self, phase: str, text: str) -> None:
        self._phase, self._phase_began_ns = phase, self.runtime.now()
        logger.info("%s", text)
        self.progress.phase(text)

    # --- making the parts ---------------------------------------------------------------------------------

    def _make_interpreter(self) -> Interpreter:
        return Interpreter(
            self.runtime,
            self.recorder,
            concurrency=self.plan.concurrency,
            nodes=tuple(node.name for node in self.cluster.nodes),
            open_client=self._open_client,
            invoke=self._invoke,
            nemesis=self.nemesis.invoke,
            rng=self.runtime.random("generator"),
            operation_timeout_ns=self.plan.operation_timeout_ms * 1_000_000,
        )

    async def _open_client(self, process: int, node_name: str) -> Client:
        nodes = self.cluster.nodes
        node = next(node for node in nodes if node.name == node_name)
        client = self.target.client(self.workload.service, self._client_context(process, node, nodes))
        await self._maybe_blocking(client.open)
        return client

    async def _maybe_blocking(self, method: Any) -> Any:
        return await method() if inspect.iscoroutinefunction(method) else await self.runtime.call(method)

    async def _invoke(self, client: Client, operation: Operation) -> Any:
        return await self.workload.invoke(client, operation, self.runtime)

    def _client_context(self, process: int, node: Node, nodes: tuple[Node, ...]) -> ClientContext:
        return ClientContext(
            runtime=self.runtime,
            node=node,
            nodes=nodes,
            process=process,
            identity=f"p{process}",
            timeout_ms=self.plan.operation_timeout_ms,
        )

    def _specification(self) -> ClusterSpecification:
        return ClusterSpecification(
            run=f"sim-{self.plan.seed}" if self.runtime.simulated else self.run.name.lower(),
            target=self.target,
            node_names=self.plan.nodes,
            directory=self.run,
            seed=self.plan.seed,
            ready_timeout_ms=round(self.plan.ready_timeout_s * 1000),
        )

    def _workload_context(self) -> WorkloadContext:
        return workload_context(self.resolved, self.runtime)

    def _nemesis_context(self, name: str) -> NemesisContext:
        return NemesisContext(
            nodes=self.plan.nodes,
            interval_ns=round(self.plan.interval_s * SECOND_NS),
            rng=self.runtime.random(f"nemesis/{name}"),
            runtime=self.runtime,
            cluster=self.cluster,
            ledger=self.ledger,
            primaries=self._primaries,
        )

    async def _primaries(self) -> frozenset[str] | None:
        return await self.target.primaries(self.cluster, self.runtime)

    # --- progress -----------------------------------------------------------------------------------------

    async def _report_progress(self) -> None:
        before, then = 0, self.runtime.now()
        while True:
            await self.runtime.sleep(PROGRESS_EVERY_NS)
            recorder, now = self.recorder, self.runtime.now()
            done = recorder.ok + recorder.fail + recorder.info
            p50_ms, p99_ms = recorder.recent_latency_ms()
            self.progress.show(
                Snapshot(
                    phase=self._phase,
                    elapsed_s=(now - self._phase_began_ns) / SECOND_NS,
                    time_limit_s=self.plan.time_limit_s if self._phase == "main" else None,
                    ok=recorder.ok,
                    fail=recorder.fail,
                    info=recorder.info,
                    rate=(done - before) * SECOND_NS / max(1, now - then),
                    p50_ms=p50_ms,
                    p99_ms=p99_ms,
                    faults=tuple(f"{f.kind} {','.join(f.nodes)}".strip() for f in self.ledger.open_faults()),
                    nodes=await self._states(),
                )
            )
            before, then = done, now

    async def _states(self) -> dict[str, str]:
        try:
            return dict(await self.cluster.states())
        except HarnessError as error:  # the live view is no reason to stop a test
            logger.debug("the nodes' states are not known: %s", error)
            return {}


def workload_context(resolved: Resolved, runtime: Runtime) -> WorkloadContext:
    """What the plan tells its workload."""
    plan = resolved.plan
    return WorkloadContext(
        nodes=plan.nodes,
        concurrency=plan.concurrency,
        rate=plan.rate,
        time_limit_ns=round(plan.time_limit_s * SECOND_NS),
        seed=plan.seed,
        runtime=runtime,
    )
