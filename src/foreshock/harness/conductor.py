"""One test from deployment to teardown, inside a runtime.

deploy -> set up -> nemesis and workload together -> heal -> final phase -> logs -> teardown. A failure at any step
still heals, still fetches logs, still tears down; what went wrong is kept as sentences in ``harness_errors``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from foreshock.harness import generator as gen
from foreshock.harness.blame import describe
from foreshock.harness.cluster import Node
from foreshock.harness.errors import DeployError, ForeshockError, PlugInError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.interpreter import Interpreter
from foreshock.harness.ledger import FaultLedger, ends_with_harness
from foreshock.harness.operation import Operation
from foreshock.harness.parts import Parts, sentence
from foreshock.harness.plan import Resolved
from foreshock.harness.progress import Progress, Snapshot, fault_text
from foreshock.harness.recorder import HistoryRecorder
from foreshock.harness.runtime import Cancelled, Runtime, Task, TimeoutExpired
from foreshock.harness.safety import guard
from foreshock.harness.schedule_record import SCHEDULE, ScheduleRecord
from foreshock.harness.store import FAULTS, HISTORY, NODES

SECOND_NS = 1_000_000_000
DEPLOY_TIMEOUT_NS = 1_800 * SECOND_NS  # the first time an image is built; nodes have their own, shorter bound
TEARDOWN_TIMEOUT_NS = 120 * SECOND_NS
HEAL_TIMEOUT_NS = 120 * SECOND_NS
READY_TIMEOUT_NS = 5 * SECOND_NS
FAULTS_AT_ONCE_MAX = 1_000
PROGRESS_EVERY_NS = SECOND_NS // 2
T = TypeVar("T")
NO_CANCEL = (asyncio.CancelledError, Cancelled)
ENDED_BY_ITSELF = ("lost", "crashed")
"""States of a node that nobody killed; the second one is the simulator's word."""
UNSTOPPABLE = ("heal", "teardown")
"""The phases that nothing cuts short: neither Ctrl-C, nor a task in the background that failed."""

logger = logging.getLogger("foreshock")


class Interrupted(Exception):
    """Ctrl-C ended the step that was under way."""


async def _contained(what: str, step: Coroutine[Any, Any, T]) -> T:
    """A plug-in that would end the program (``sys.exit``) ends its step, so that all is healed and torn down."""
    try:
        return await step
    except (SystemExit, KeyboardInterrupt) as error:
        raise PlugInError(f"{what} failed: {describe(error)}") from error


class Conductor:
    """Conducts one test. After :meth:`conduct`, ``harness_errors`` and ``interrupts`` say how it went.

    ``complete`` tells whether the test came to its end, final phase included. Raises :class:`ForeshockError` when
    the parts of the test cannot be made; nothing has been deployed then.
    """

    def __init__(self, resolved: Resolved, run: Path, runtime: Runtime, progress: Progress) -> None:
        self.resolved = resolved
        self.plan = resolved.plan
        self.run = run
        self.runtime = runtime
        self.progress = progress
        self.harness_errors: list[str] = []
        self.interrupts = 0
        self.complete = False
        self.unhealed = False
        """Whether a fault may still be in force at the end, so that nobody can blame the target for how it ended."""
        self.recorder = HistoryRecorder(run / HISTORY, runtime.now)
        self.ledger = FaultLedger(
            run / FAULTS, runtime.now, durable=not runtime.simulated, guard=guard(self.plan.allow)
        )
        self.schedule = ScheduleRecord(run / SCHEDULE)
        try:
            self.parts = Parts(resolved, run, runtime, self.ledger)
        except BaseException:
            self.ledger.close()
            self.recorder.close()
            raise
        self._interpreter: Interpreter | None = None
        self._step: Task[Any] | None = None
        self._phase = "deploy"
        self._phase_began_ns = 0
        self._deployed = False
        self._last_fault_ns, self._faults_at_once = -1, 0
        self._explained: set[str] = set()
        """The nodes that are down because a fault had them end themselves."""

    def interrupt(self) -> None:
        """Ctrl-C: the first stops, heals, checks and reports; the second heals and leaves.

        Healing and teardown go on whatever comes. An interrupt before operations have run tears down at once.
        """
        self.interrupts += 1
        logger.warning("interrupted (%d)", self.interrupts)
        if self._phase == "main" and self.interrupts == 1 and self._interpreter is not None:
            self.progress.phase("interrupted: stopping, healing, checking (once more: heal and leave)")
            self._interpreter.stop()
        elif self._phase in ("deploy", "main", "recovery", "final") and self._step is not None:
            after = "healing and leaving" if self.interrupts > 1 else "ending this phase"
            self.progress.phase(f"interrupted: {'tearing down' if self._phase == 'deploy' else after}")
            self._step.cancel()

    async def conduct(self) -> None:
        """Run the whole test; never raises for what can go wrong with a test."""
        ticker = self.runtime.spawn(self._report_progress(), name="progress")
        try:
            await self._attempt("deployment", self._deploy(), DEPLOY_TIMEOUT_NS)
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
            self.schedule.begin(self.runtime.now())
            bound = limit + timeout + HEAL_TIMEOUT_NS
            ran = await self._attempt("the main phase", self._run_main(interpreter, limit), bound)
        finally:
            self.schedule.end()
            # Healing is never skipped, and Ctrl-C does not reach it: that is why it is its own phase.
            self._enter("heal", "healing")
            await self._name_the_fallen()
            await self._heal(interpreter)
        for error in interpreter.nemesis_errors:
            self._error(error)
        if ran and not self.parts.clients_opened and self.parts.why_no_client is not None:
            self._error(f"no client could be opened: {self.parts.why_no_client}")
        if self.interrupts > 1:
            raise Interrupted
        if not ran:
            return
        self._enter("recovery", "waiting for recovery")
        await self._attempt("recovery", self._recover(), None)
        self._enter("final", "final phase")
        bound = 20 * timeout + 60 * SECOND_NS
        self.complete = await self._attempt("the final phase", self._run_final(interpreter), bound)

    async def _run_main(self, interpreter: Interpreter, limit_ns: int) -> None:
        clients = self.parts.generator()
        if self.plan.rate > 0:
            clients = gen.stagger(round(SECOND_NS / self.plan.rate), clients)
        running: list[Liftable] = [gen.clients(clients)]
        if self.plan.nemeses:
            running.append(gen.nemesis(gen.lift(self.parts.nemesis.generator())))
        broken: list[PlugInError] = []

        def contract_broken(error: PlugInError) -> None:
            broken.append(error)
            interpreter.stop()

        self.parts.contract_broken = contract_broken
        await interpreter.run(gen.time_limit(limit_ns, gen.any_of(*running)))
        if broken:
            raise broken[0]

    async def _run_final(self, interpreter: Interpreter) -> None:
        await interpreter.run(gen.clients(self.parts.final_generator()))

    async def _run_healing(self, interpreter: Interpreter) -> None:
        await interpreter.run(gen.nemesis(gen.lift(self.parts.nemesis.final_generator())))

    async def _deploy(self) -> None:
        count = len(self.plan.nodes)
        self._enter("deploy", f"deploying {count} node{'s' * (count != 1)} on {self.plan.backend}")
        await self.parts.cluster.deploy()
        bound_s = self.plan.ready_timeout_s
        set_up = self.parts.target.set_up(self.parts.cluster, self.runtime)
        try:
            await self.runtime.timeout(set_up, round(bound_s * SECOND_NS))
        except TimeoutExpired:
            raise DeployError(
                f"the target {self.plan.target!r} was not set up within {bound_s:g} s: "
                "give it longer with --ready-timeout"
            ) from None
        self._deployed = True

    async def _recover(self) -> None:
        """Wait until every node answers again, but no longer than the plan says: then the final phase judges."""
        end = self.runtime.now() + round(self.plan.recovery_time_s * SECOND_NS)
        waiting = list(self.parts.cluster.nodes)
        while waiting and self.runtime.now() < end:
            waiting = [node for node in waiting if not await self._is_ready(node, end)]
            await self.runtime.sleep(SECOND_NS // 10)
        if waiting:
            logger.warning("not ready after healing: %s", ", ".join(node.name for node in waiting))

    async def _is_ready(self, node: Node, end_ns: int) -> bool:
        """What a target's check raises, or does not say in time, is a no, as it is while the cluster comes up."""
        bound_ns = min(end_ns - self.runtime.now(), READY_TIMEOUT_NS)
        if bound_ns <= 0:
            return False
        try:
            return await self.runtime.timeout(self.parts.target.ready(node, self.runtime), bound_ns)
        except TimeoutExpired:
            return False
        except Exception as error:  # noqa: BLE001 - a target's check may raise whatever its client library does
            logger.debug("the check of node %s after healing raised %r", node.name, error)
            return False

    async def _name_the_fallen(self) -> None:
        """A node that ended without being killed is news, whatever its clients saw; healing would start it again."""
        try:
            states = await self.runtime.timeout(self._states(), READY_TIMEOUT_NS)
        except TimeoutExpired:
            return
        if not states:
            return
        fallen = {name for name, state in states.items() if state in ENDED_BY_ITSELF}
        # who fell of a fault may be left down after it is healed, where another fault holds it down as well
        self._explained = fallen & (self._explained | self.parts.may_have_fallen())
        for name in sorted(fallen - self._explained):
            self._error(
                f"the node {name} ended by itself, no fault had killed it: its log is in {NODES}/{name}"
            )

    async def _perform_fault(self, operation: Operation) -> Any:
        """Perform an operation of a nemesis, which may start a node again that had ended by itself."""
        await self._name_the_fallen()
        self._refuse_a_flood()
        try:
            result = await self.parts.nemesis.invoke(operation)
        except PlugInError as error:
            self.parts.contract_broken(error)
            raise
        except Exception as error:
            self.schedule.failed(operation, error)
            raise
        self.schedule.performed(operation, result)
        return result

    def _refuse_a_flood(self) -> None:
        """Operations that take no time, with no time between them, would come for ever where time is simulated."""
        now = self.runtime.now()
        self._faults_at_once = self._faults_at_once + 1 if now == self._last_fault_ns else 0
        self._last_fault_ns = now
        if self._faults_at_once > FAULTS_AT_ONCE_MAX:
            error = PlugInError(
                f"the nemeses gave {FAULTS_AT_ONCE_MAX} operations at the same moment, and more: their generator must "
                "leave time between, such as gen.stagger(self.context.interval_ns, ...)"
            )
            self.parts.contract_broken(error)
            raise error

    async def _heal(self, interpreter: Interpreter) -> None:
        interpreter.resume()
        try:
            await self._attempt("healing", self._run_healing(interpreter), HEAL_TIMEOUT_NS)
        finally:
            self.parts.stalls.release_all()
            for fault in reversed(self.ledger.open_faults()):  # what was done last is undone first
                await self._heal_by_inverse(fault.id, fault.kind, dict(fault.inverse))

    async def _heal_by_inverse(self, fault: int, kind: str, inverse: dict[str, Any]) -> None:
        """The nemesis did not heal its own fault: undo it as a later ``foreshock heal`` would."""
        if ends_with_harness(inverse):
            return
        if self.ledger.all()[fault].failure is not None:
            self.unhealed = True
        try:
            done = await self.runtime.call(lambda: self.resolved.backend.heal(inverse))
            logger.info("healed %s by its inverse: %s", kind, done)
            self.ledger.healed(fault)
        except Exception as error:
            self.unhealed = True
            logger.exception("the fault %s (number %d) was not healed", kind, fault)
            self._error(f"the fault {kind} (number {fault}) could not be healed: {sentence(error)}")

    async def _clean_up(self) -> None:
        self._enter("teardown", "fetching logs and tearing down")
        if self._interpreter is not None:
            await self._attempt("closing clients", self._interpreter.close(), TEARDOWN_TIMEOUT_NS)
        logs = self.parts.cluster.fetch_logs(self.run / NODES)
        await self._attempt("fetching logs", logs, TEARDOWN_TIMEOUT_NS)
        await self._attempt("teardown", self.parts.cluster.teardown(), TEARDOWN_TIMEOUT_NS)
        await self._attempt("closing the history", self._close_files(), None)

    async def _close_files(self) -> None:
        self.ledger.close()
        self.recorder.close()

    async def _attempt(self, what: str, step: Coroutine[Any, Any, Any], bound_ns: int | None) -> bool:
        """Run one step with a bound; what goes wrong becomes a sentence, and false comes back.

        Raises only :class:`Interrupted`.
        """
        contained = _contained(what, step)
        bounded = contained if bound_ns is None else self.runtime.timeout(contained, bound_ns)
        self._step = self.runtime.spawn(bounded, name=what)
        try:
            await self._outlast(self._step)
        except NO_CANCEL:
            raise Interrupted from None
        except TimeoutExpired:
            bound = f" of {bound_ns // SECOND_NS} s" if bound_ns else ""
            self._error(f"{what} took longer than its bound{bound}")
        except ForeshockError as error:
            logger.debug("%s failed", what, exc_info=True)
            self._error(str(error))
        except Exception as error:
            logger.exception("%s failed", what)
            self._error(f"{what} failed: {describe(error)}")
        else:
            return True
        finally:
            self._step = None
        return False

    async def _outlast(self, step: Task[Any]) -> None:
        """Wait for a step. The runtime cancels the test, not the step, when a task in the background failed."""
        while True:
            try:
                await step.wait()
            except NO_CANCEL:
                if step.done() or self._phase not in UNSTOPPABLE:
                    step.cancel()
                    raise
            else:
                return

    def _error(self, text: str) -> None:
        logger.error("%s", text)
        if text not in self.harness_errors:
            self.harness_errors.append(text)

    def _enter(self, phase: str, text: str) -> None:
        self._phase, self._phase_began_ns = phase, self.runtime.now()
        logger.info("%s", text)
        self.progress.phase(text)

    def _make_interpreter(self) -> Interpreter:
        return Interpreter(
            self.runtime,
            self.recorder,
            concurrency=self.plan.concurrency,
            nodes=tuple(node.name for node in self.parts.cluster.nodes),
            open_client=self.parts.open_client,
            invoke=self.parts.invoke,
            nemesis=self._perform_fault,
            rng=self.runtime.random("generator"),
            operation_timeout_ns=self.plan.operation_timeout_ms * 1_000_000,
            stalls=self.parts.stalls,
        )

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
                    faults=tuple(fault_text(fault, now) for fault in self.ledger.open_faults()),
                    nodes=await self._states(),
                )
            )
            before, then = done, now

    async def _states(self) -> dict[str, str]:
        try:
            return dict(await self.parts.cluster.states())
        except Exception as error:  # noqa: BLE001 - the live view is no reason to stop a test
            logger.debug("the nodes' states are not known: %s", describe(error))
            return {}
