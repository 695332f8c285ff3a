"""The interpreter: asks a generator for operations, has them performed, and records what happens.

One scheduling round takes in what has completed, asks the generator for as many operations as it will give,
writes all their invocations with one write(2), and only then hands them to the workers. So journalling costs a
system call a round, not an operation. Deadlines are swept: every operation has the same time-out, so after one
look at all of them no operation can expire before the earliest deadline seen.

It awaits nothing but the runtime, so it is the same in the simulator and on the wall clock.
"""

from __future__ import annotations

import heapq
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, cast

from msgspec.structs import replace

from foreshock.harness.errors import HarnessError, PlugInError
from foreshock.harness.generator.base import PENDING, Liftable
from foreshock.harness.generator.context import GeneratorContext
from foreshock.harness.generator.native import EXHAUSTED, Answer, Native, lift, problem_with
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.randomness import RandomStream
from foreshock.harness.recorder import HistoryRecorder
from foreshock.harness.runtime import Runtime, TimeoutExpired
from foreshock.harness.stalls import Stalls
from foreshock.harness.worker import (
    CLOSE_TIMEOUT_NS,
    ClientWorker,
    Invoke,
    NemesisWorker,
    OpenClient,
    Worker,
)

NEMESIS_TIMEOUT_NS: Final = 120_000_000_000
"""How long one operation of the nemesis may take; it has deadlines of its own, this one is the last resort."""

LOOK_AGAIN_NS: Final = 10_000_000
"""How often the deadline of an operation whose process stands still is looked at, which then moves on."""

_INFO: Final = OperationType.INFO
_INVOKE: Final = OperationType.INVOKE
_FOREVER_NS: Final = 1 << 62

logger = logging.getLogger("foreshock")


class Interpreter:
    """Runs generators against clients and a nemesis.

    Process ``p`` lives on thread ``p % concurrency`` and talks to ``nodes[p % len(nodes)]``. A client that raises
    ``Definite`` makes its operation ``fail``; anything else raised, or the time-out, makes it ``info``: then the
    thread goes on with process ``p + concurrency`` and a fresh client. An operation whose client did not open
    was never sent, so it is ``fail``. What the nemesis raises is kept, as sentences, in ``nemesis_errors``.

    The time-out does not run while ``stalls`` hold a process back: a client that stands still has not failed, it will
    do what it was about to do.
    """

    def __init__(
        self,
        runtime: Runtime,
        recorder: HistoryRecorder,
        *,
        concurrency: int,
        nodes: Sequence[str],
        open_client: OpenClient,
        invoke: Invoke,
        nemesis: Callable[[Operation], Awaitable[Any]],
        rng: RandomStream,
        operation_timeout_ns: int,
        nemesis_timeout_ns: int = NEMESIS_TIMEOUT_NS,
        stalls: Stalls | None = None,
    ) -> None:
        self.nemesis_errors: list[str] = []
        self._runtime = runtime
        self._recorder = recorder
        self._nodes = tuple(nodes)
        self._open_client = open_client
        self._invoke = invoke
        self._nemesis = nemesis
        self._timeout_ns = operation_timeout_ns
        self._stalls = Stalls(runtime, concurrency) if stalls is None else stalls
        self._nemesis_timeout_ns = nemesis_timeout_ns
        self._ctx = GeneratorContext.start(concurrency, rng, time_ns=runtime.now())
        self._workers: dict[int, Worker] = {}
        self._living: list[Worker] = []
        self._in_flight = 0
        self._events: list[tuple[int, Operation, bool]] = []
        self._sleeping: list[tuple[int, int, Operation]] = []
        self._sleeps = 0
        self._sweep_at_ns = 0
        self._wake = runtime.channel(1)
        self._woken = False
        self._stopping = False
        self._running = False
        self._failure: Exception | None = None
        self._journal_failed = False

    @property
    def in_flight(self) -> int:
        """How many operations, the nemesis's among them, are under way."""
        return self._in_flight

    def stop(self) -> None:
        """Ask for no more operations; what is in flight ends within its time-out. Lasts until :meth:`resume`."""
        self._stopping = True
        self._wake_up()

    def resume(self) -> None:
        """Let generators run again after :meth:`stop`."""
        self._stopping = False

    async def run(self, generator: Liftable) -> None:
        """Run a generator until it is exhausted and nothing is in flight.

        May be called again: indexes, processes and clients go on. A generator or a recorder that raises stops
        the run: what is in flight is still accounted for, then the exception is raised. Cancelling leaves what
        is in flight to a later call, or to :meth:`close`.
        """
        if self._running:
            raise HarnessError("the interpreter is running already: one generator at a time")
        rest = lift(generator)
        self._running = True
        self._failure = None
        # What happened since an earlier run is news to the context, but not to this generator.
        self._end_sleeps(_FOREVER_NS)
        self._take_in(EXHAUSTED)
        try:
            await self._schedule(rest)
        finally:
            self._running = False
        if self._failure is not None:
            raise self._failure

    async def close(self) -> None:
        """Close every client, within a bound. What is still in flight (a cancelled run) becomes info."""
        for worker in self._workers.values():
            if worker.operation is not None:
                self._report(worker, worker.operation, _INFO, None, "interrupted")
                worker.abandon()
            elif not worker.ended:
                worker.inbox.put(None)
        self._workers.clear()
        self._flush()
        deadline_ns = self._runtime.now() + 2 * CLOSE_TIMEOUT_NS
        for worker in self._living:
            if worker.task is None:
                continue
            try:
                await self._runtime.timeout(worker.task.wait(), max(0, deadline_ns - self._runtime.now()))
            except TimeoutExpired:
                logger.warning("the client of process %d is stuck and was left behind", worker.process)
        self._living.clear()

    # --- one round ----------------------------------------------------------------------------------------

    async def _schedule(self, rest: Native) -> None:
        held: Answer = None
        while True:
            now = self._runtime.now()
            if now >= self._sweep_at_ns:
                self._sweep(now)
            self._end_sleeps(_FOREVER_NS if self._ending else now)
            if self._events:
                rest, held = self._take_in(rest), None
            if self._ending:
                rest, held = EXHAUSTED, None
            else:
                rest, held = self._fill(rest, held, now)
            self._flush()
            if not (self._events or self._in_flight or self._sleeping):
                if held is None:
                    return
                if held is PENDING:
                    raise PlugInError(
                        f"the generator {rest!r:.300} is pending, but nothing is in flight that could change that"
                    )
            await self._pause((held[0].time_ns or 0) if isinstance(held, tuple) else _FOREVER_NS)

    @property
    def _ending(self) -> bool:
        return self._stopping or self._failure is not None

    def _fill(self, rest: Native, held: Answer, now: int) -> tuple[Native, Answer]:
        """Start every operation that the generator gives for now.

        Returns the generator and its last answer: pending, nothing, or an operation for later. That one is
        ``held`` when next asked, if nothing has happened in the meantime: the generator need not be asked again.
        """
        answer = held
        started: list[tuple[Worker, Operation]] = []
        ctx = self._ctx = self._ctx.at(now)
        try:
            while True:
                if not isinstance(answer, tuple):
                    answer = rest.op(ctx)
                    if not isinstance(answer, tuple):
                        break
                operation, after = answer
                process, time_ns = operation.process, operation.time_ns
                if process is None or time_ns is None or operation.type is not _INVOKE:
                    raise self._malformed(rest, operation)
                if time_ns > now:
                    break
                thread = ctx.thread_of_free(process)
                if thread is None:
                    raise self._malformed(rest, operation)
                if operation.__class__ is Operation:
                    operation = self._stage(operation, thread, process, now, started)
                else:
                    self._direct(operation, time_ns)
                ctx = self._ctx = ctx.busy(thread)
                answer = None
                rest = after if after.deaf else after.update(ctx, operation)
        except Exception as error:  # noqa: BLE001 - raised again by run(), once what is in flight has ended
            self._fail(error)
            rest, answer = EXHAUSTED, None
        if started:
            self._dispatch(started)
        return rest, answer

    def _stage(
        self,
        operation: Operation,
        thread: int,
        process: int,
        now: int,
        started: list[tuple[Worker, Operation]],
    ) -> Operation:
        """Record an invocation that is to be dispatched at the end of the round."""
        if process == NEMESIS:
            node, deadline_ns = None, now + self._nemesis_timeout_ns
        else:
            node = self._nodes[process % len(self._nodes)]
            deadline_ns = now + self._timeout_ns - self._stalls.stood_still_ns(process)
        invocation = self._recorder.stage_invocation(operation, node)
        worker = self._workers.get(thread)
        if worker is None or worker.process != process or worker.ended or worker.abandoned:
            worker = self._new_worker(thread, process)
        worker.operation = invocation
        worker.deadline_ns = deadline_ns
        self._in_flight += 1
        started.append((worker, invocation))
        return invocation

    def _dispatch(self, started: list[tuple[Worker, Operation]]) -> None:
        """Write the round's invocations, then hand them over; what could not be written is not sent."""
        self._flush()
        for worker, invocation in started:
            if self._journal_failed:
                error = f"never sent: {self._failure}"
                self._report(worker, invocation, OperationType.FAIL, None, error)
            else:
                worker.inbox.put(invocation)

    def _flush(self) -> None:
        if self._journal_failed:
            return
        try:
            self._recorder.flush()
        except HarnessError as error:
            self._journal_failed = True
            self._fail(error)

    def _direct(self, directive: Operation, time_ns: int) -> None:
        """Perform a ``sleep`` or ``log`` of the generator's."""
        if directive.f == "sleep":
            end_ns = time_ns + cast("int", directive.value)
            self._sleeps += 1
            heapq.heappush(self._sleeping, (end_ns, self._sleeps, directive))
        else:
            logger.info("%s", directive.value)
            self._end_directive(directive)

    def _new_worker(self, thread: int, process: int) -> Worker:
        worker: Worker
        if process == NEMESIS:
            worker = NemesisWorker(self._runtime, self._report, self._nemesis, self._nemesis_failed)
        else:
            node = self._nodes[process % len(self._nodes)]
            worker = ClientWorker(
                self._runtime,
                thread,
                process,
                self._report,
                node=node,
                open_client=self._open_client,
                invoke=self._invoke,
            )
        worker.start()
        self._workers[thread] = worker
        self._living.append(worker)
        if len(self._living) > 2 * len(self._workers) + 16:
            self._living = [w for w in self._living if w.task is not None and not w.task.done()]
        return worker

    async def _pause(self, until_ns: int) -> None:
        """Wait for news: a completion, an operation's time, a deadline, the end of a sleep, or ``stop``."""
        if self._events:
            await self._runtime.sleep(0)
            return
        if self._in_flight:
            until_ns = min(until_ns, self._sweep_at_ns)
        if self._sleeping:
            until_ns = min(until_ns, self._sleeping[0][0])
        duration_ns = max(0, until_ns - self._runtime.now())
        if await self._runtime.select([self._wake], duration_ns) is not None:
            self._woken = False

    # --- what has happened --------------------------------------------------------------------------------

    def _take_in(self, rest: Native) -> Native:
        """Tell the context and the generator of all that has completed."""
        now = self._runtime.now()
        ctx = self._ctx
        events, self._events = self._events, []
        for thread, completion, crashed in events:
            ctx = ctx.freed(thread, now)
            try:
                if not rest.deaf:
                    rest = rest.update(ctx, completion)
            except Exception as error:  # noqa: BLE001 - raised again by run(), once what is in flight has ended
                self._fail(error)
                rest = EXHAUSTED
            if crashed:
                ctx = ctx.crashed(thread)
        self._ctx = ctx
        return rest

    def _report(
        self,
        worker: Worker,
        operation: Operation,
        kind: OperationType,
        result: Any,
        error: str | None,
    ) -> None:
        """How an operation ended, as its worker or the sweep says. Late news of an expired one does not count."""
        if worker.operation is not operation:
            return
        worker.operation = None
        try:
            completion = self._recorder.stage_completion(operation, kind, result, error, worker.attempts)
        except PlugInError as problem:
            sentence = f"the result of the operation {operation.f!r} cannot be recorded: {problem}"
            if worker.process == NEMESIS:
                self.nemesis_errors.append(sentence)
            else:
                self._fail(PlugInError(sentence))
            completion = self._recorder.stage_completion(operation, _INFO, None, sentence)
        self._in_flight -= 1
        crashed = completion.type is _INFO and worker.process != NEMESIS
        self._events.append((worker.thread, completion, crashed))
        if not self._woken:
            self._wake_up()

    def _nemesis_failed(self, operation: Operation, error: str) -> None:
        self.nemesis_errors.append(f"the nemesis operation {operation.f!r} failed: {error}")

    def _sweep(self, now: int) -> None:
        """End every operation whose deadline has passed, and find out when to look again."""
        next_ns = now + min(self._timeout_ns, self._nemesis_timeout_ns)
        for worker in self._workers.values():
            operation = worker.operation
            if operation is None:
                continue
            deadline_ns = worker.deadline_ns + self._stalls.stood_still_ns(worker.process)
            if deadline_ns > now:
                moving = self._stalls.is_stalled(worker.process)
                next_ns = min(next_ns, max(deadline_ns, now + LOOK_AGAIN_NS) if moving else deadline_ns)
                continue
            unsent = worker.unsent()
            if unsent is not None:
                self._report(worker, operation, OperationType.FAIL, None, unsent)
            else:
                self._report(worker, operation, _INFO, None, "timeout")
                if worker.process == NEMESIS:
                    limit_s = self._nemesis_timeout_ns // 1_000_000_000
                    self._nemesis_failed(operation, f"it took longer than {limit_s} s")
            worker.abandon()
        self._sweep_at_ns = next_ns

    def _end_sleeps(self, now: int) -> None:
        while self._sleeping and self._sleeping[0][0] <= now:
            self._end_directive(heapq.heappop(self._sleeping)[2])

    def _end_directive(self, directive: Operation) -> None:
        thread = self._ctx.thread(cast("int", directive.process))
        self._events.append((thread, replace(directive, type=_INFO), False))

    def _malformed(self, generator: Native, operation: Operation) -> PlugInError:
        problem = problem_with(operation, self._ctx)
        return PlugInError(f"the generator {generator!r:.300} gave {operation!r:.200}: {problem}")

    def _fail(self, error: Exception) -> None:
        """Let the run end with this error; it is the first one that counts."""
        if self._failure is None:
            self._failure = error
        elif error is not self._failure:
            logger.error("while the run was ending: %s", error)

    def _wake_up(self) -> None:
        if not self._woken:
            self._woken = True
            self._wake.put(None)
