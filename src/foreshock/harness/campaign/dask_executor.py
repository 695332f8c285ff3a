"""Runs the tests of a campaign on a cluster of Dask workers. What is run where is decided here, not by the scheduler.

Each test is a task that is pinned to one worker. So it is known who runs it, a worker that goes away takes its tests
with it instead of having the scheduler start them elsewhere unseen, and there is never more on a worker than it can
bear: a simulated test takes one thread of a worker, which is a core. A real one has the worker to itself, and there is
one at a time on each machine, for ports, networks and clocks are its machine's; workers that can do more say so when
they are started (``dask worker --resources "real=2"``), and then a real test takes one of these and one thread.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

import foreshock
from foreshock.harness.campaign.dask_cluster import (
    WorkerPlace,
    connect,
    mended,
    silenced,
    unfit_of,
    workers_of,
)
from foreshock.harness.campaign.dask_worker import Answer, Order, interrupt_orders, run_order
from foreshock.harness.campaign.delivery import PACKED_BYTES_MAX, as_here, receive, ship
from foreshock.harness.campaign.document import Attempt
from foreshock.harness.campaign.executor import Finished, Job, Running
from foreshock.harness.campaign.job import Standing, resolved_of
from foreshock.harness.campaign.local_executor import bound_of
from foreshock.harness.campaign.specification import Kept, Reported
from foreshock.harness.errors import ForeshockError, HarnessError

REACHED_WITHIN_S: Final = 30.0
SILENT_S: Final = 60.0
"""A scheduler that has not answered for so long is gone, and so are workers when there has been none for so long."""
LOOK_EVERY_S: Final = 0.5
UNSEEN_S: Final = 5.0
"""A worker that a test was given to is not taken for gone before it could be seen."""
FETCHED_WITHIN_S: Final = 120.0
AHEAD: Final = 1
"""So many simulated tests more than it has threads are with a worker, lest it be idle while results travel."""
LEFT_WITHIN_S: Final = 330.0
"""Real tests that were told to end may take so long to heal and to tear down; then the campaign leaves."""

logger = logging.getLogger("foreshock")


class _UnderWay(msgspec.Struct):
    """A job under way, on a worker."""

    job: Job
    worker: str
    future: Any
    simulated: bool
    began_s: float
    originals: Mapping[str, str]
    standing: Standing = Standing("")


class DaskExecutor:
    """The executor of a cluster; ``store`` is ours, and gets every run that is kept, whoever ran it."""

    def __init__(
        self,
        address: str,
        store: Path,
        *,
        report: Reported = "failures",
        keep: Kept = "all",
        give_up_after_s: float | None = None,
        jobs: int | None = None,
        reached_within_s: float = REACHED_WITHIN_S,
        silent_s: float = SILENT_S,
        packed_bytes_max: int = PACKED_BYTES_MAX,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._address = address
        self._store = store.absolute()
        self._report = report
        self._keep = keep
        self._give_up_after_s = give_up_after_s
        self._jobs = jobs
        self._reached_within_s = reached_within_s
        self._silent_s = silent_s
        self._packed_bytes_max = packed_bytes_max
        self._warn = warn
        self._topic = f"foreshock-{secrets.token_hex(6)}"
        self._client: Any = None
        self._workers: dict[str, WorkerPlace] = {}
        self._unfit: dict[str, str] = {}
        self._under_way: dict[str, _UnderWay] = {}
        self._done: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._quiet = contextlib.ExitStack()
        self._seen_s = self._staffed_s = 0.0
        self.errors: list[str] = []
        """What went wrong beside the tests; nothing so far ever does without ending the campaign."""

    def __enter__(self) -> Self:
        """Connect. Raises :class:`UsageError` for an address that is none, and :class:`HarnessError` when there is no
        scheduler, no worker, or a worker with another Foreshock than ours."""
        try:
            self._client = connect(self._address, self._reached_within_s)
            self._quiet.enter_context(silenced())
            self._begin(self._client)
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is under way, real tests when they are torn down; what has no answer by then is taken back."""
        deadline = time.monotonic() + LEFT_WITHIN_S
        self.interrupt()
        with contextlib.suppress(
            HarnessError
        ):  # the scheduler is gone, and its workers end their tests by themselves
            while self._under_way and time.monotonic() < deadline:
                self.finished(LOOK_EVERY_S)
        for one in self._under_way.values():
            with contextlib.suppress(Exception):
                one.future.cancel()
        self._leave()

    def can_start(self, job: Job) -> bool:
        """Whether some worker has room for this job now."""
        return self._choose(_is_simulated(job)) is not None

    def start(self, job: Job) -> None:
        """Send a job to the worker that has the most room for it."""
        assert self._client is not None
        simulated = _is_simulated(job)
        worker = self._choose(simulated)
        if worker is None:
            raise HarnessError("no worker of the cluster has room for another test")
        shipment = ship(job.test.request)
        token = f"foreshock-{job.test.key}-{job.number}-{secrets.token_hex(6)}"
        order = Order(
            token=token,
            request=shipment.request,
            number=job.number,
            report=self._report,
            keep=self._keep,
            files=shipment.files,
            simulated=simulated,
            bound_s=self._give_up_after_s or bound_of(resolved_of(job.test.request)),
            packed_bytes_max=self._packed_bytes_max,
            version=foreshock.__version__,
            topic=self._topic,
        )
        future: Any = self._client.submit(
            run_order,
            msgspec.msgpack.encode(order),
            key=token,
            workers=[worker],
            allow_other_workers=False,
            retries=0,
            pure=False,
        )
        self._under_way[token] = _UnderWay(
            job, worker, future, simulated, time.monotonic(), shipment.originals
        )
        future.add_done_callback(lambda _: self._done.put(token))

    def running(self) -> Sequence[Running]:
        """What is under way, the longest first."""
        now = time.monotonic()
        return [
            Running(one.job, one.worker, now - one.began_s, one.standing.phase, one.standing.snapshot)
            for one in self._under_way.values()
        ]

    def finished(self, timeout_s: float) -> Sequence[Finished]:
        """The jobs that ended since the last call. Raises :class:`HarnessError` when the scheduler is gone, or all
        workers are."""
        found = self._gone()
        self._check()
        with contextlib.suppress(queue.Empty):
            tokens = [self._done.get(timeout=0 if found else timeout_s)]
            while tokens:
                one = self._under_way.pop(tokens.pop(), None)
                if one is not None:  # else it was given up with its worker
                    found.append(self._take(one))
                tokens.append(self._done.get_nowait())
        return found

    def interrupt(self) -> None:
        """Have every job under way end early; simulated ones at once, real ones when they are healed and torn down."""
        client, tokens = self._client, list(self._under_way)
        workers = sorted({one.worker for one in self._under_way.values()} & set(self._workers))
        if client is None or not workers or client.status != "running":
            return

        def tell() -> None:
            try:
                client.run(interrupt_orders, tokens, workers=workers, on_error="ignore")
            except Exception:
                logger.debug("the workers could not be told to end their tests", exc_info=True)

        threading.Thread(
            target=tell, daemon=True
        ).start()  # a worker that hangs must not hold up the campaign

    # --- who is there -------------------------------------------------------------------------------------

    def _begin(self, client: Any) -> None:
        try:
            client.wait_for_workers(1, timeout=self._reached_within_s)
        except TimeoutError:
            raise HarnessError(
                f"the scheduler {self._address} has no workers: start some on each machine with "
                f"'dask worker {self._address} --nthreads CORES'"
            ) from None
        self._workers = workers_of(client)
        self._seen_s = self._staffed_s = time.monotonic()
        for why in unfit_of(client, self._workers, self._warn).values():
            raise HarnessError(why)
        client.subscribe_topic(self._topic, self._hear)
        threading.Thread(target=self._watch, args=(client,), daemon=True).start()

    def _leave(self) -> None:
        self._closing.set()
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # a scheduler that is gone says so in many ways
                client.close(timeout=5)
        self._quiet.close()

    def _watch(self, client: Any) -> None:
        """Keep looking who is there, in a thread: a scheduler that hangs lets whoever asks it wait."""
        while not self._closing.wait(LOOK_EVERY_S):
            if client.status != "running":
                continue
            try:
                workers = workers_of(client)
                unfit = unfit_of(client, set(workers) - set(self._workers), self._warn)
            except Exception:
                logger.debug("the scheduler did not say who its workers are", exc_info=True)
                continue
            self._unfit.update(unfit)
            self._workers, self._seen_s = workers, time.monotonic()
            if set(workers) - set(self._unfit):
                self._staffed_s = self._seen_s

    def _check(self) -> None:
        now = time.monotonic()
        if self._client is None or self._client.status == "closed" or now - self._seen_s > self._silent_s:
            raise HarnessError(
                f"the scheduler {self._address} is gone, or has not answered for {self._silent_s:g} s: what is done "
                "is kept, and the same command goes on when it is back"
            )
        if self._client.status == "running" and now - self._staffed_s > self._silent_s:
            why = next((text for worker, text in self._unfit.items() if worker in self._workers), None)
            raise HarnessError(
                why
                or f"the scheduler {self._address} has had no worker for {self._silent_s:g} s: what is done is kept, "
                "and the same command goes on when there are some"
            )

    def _choose(self, simulated: bool) -> str | None:
        """The worker with the most room for a test; ``None`` when there is none."""
        client, under_way = self._client, list(self._under_way.values())
        if (
            client is None
            or client.status != "running"
            or len(under_way) >= (self._jobs or len(under_way) + 1)
        ):
            return None
        best: tuple[float, str] | None = None
        for address, worker in self._workers.items():
            there = [one for one in under_way if one.worker == address]
            room = worker.threads + AHEAD * simulated
            if address in self._unfit or len(there) >= room:
                continue
            load = len(there) / worker.threads
            if self._admits(worker, there, simulated=simulated) and (best is None or (load, address) < best):
                best = load, address
        return None if best is None else best[1]

    def _admits(self, worker: WorkerPlace, there: Sequence[_UnderWay], *, simulated: bool) -> bool:
        real = sum(not one.simulated for one in there)
        if worker.real is not None:
            return simulated or real < worker.real
        if simulated:
            return not real
        neighbours = {address for address, other in self._workers.items() if other.host == worker.host}
        busy = any(one.worker in neighbours and not one.simulated for one in self._under_way.values())
        return not there and not busy

    # --- what comes back ----------------------------------------------------------------------------------

    def _hear(self, event: tuple[float, Any]) -> None:
        """Where a test stands, as its worker says."""
        _, said = event
        one = self._under_way.get(said.pop("token", "")) if isinstance(said, dict) else None
        if one is not None:
            with contextlib.suppress(msgspec.ValidationError):
                one.standing = msgspec.convert(said, Standing)

    def _gone(self) -> list[Finished]:
        """The jobs whose worker went away."""
        found = []
        for token, one in list(self._under_way.items()):
            if one.worker in self._workers or self._seen_s - one.began_s < UNSEEN_S:
                continue
            del self._under_way[token]
            one.future.cancel()
            found.append(_lost(one, f"the worker {one.worker} went away with it"))
        return found

    def _take(self, one: _UnderWay) -> Finished:
        try:
            if one.future.status != "finished":
                return self._failed(one)
            data, packed = one.future.result(timeout=FETCHED_WITHIN_S)
        except Exception as error:
            logger.debug("a result could not be fetched", exc_info=True)
            return _lost(one, f"its result could not be fetched from the worker {one.worker}: {error}")
        finally:
            one.future.release()
        answer = msgspec.msgpack.decode(data, type=Answer)
        if answer.unfit:
            self._unfit[one.worker] = mended(answer.unfit)
        return self._kept(one, answer, packed)

    def _failed(self, one: _UnderWay) -> Finished:
        """A task that has no result: it was taken back, its worker died, or what it runs cannot be run there."""
        if one.future.status != "error":
            return _lost(one, f"the worker {one.worker} went away with it, or the scheduler did")
        error = one.future.exception(timeout=FETCHED_WITHIN_S)
        if type(error).__name__ == "KilledWorker":
            return _lost(one, f"the worker {one.worker} died with it")
        if isinstance(error, ImportError | AttributeError):
            self._unfit[one.worker] = mended(
                f"the worker {one.worker} has no Foreshock that can run tests ({error})"
            )
        return _lost(one, f"the worker {one.worker} could not run it: {type(error).__name__}: {error}")

    def _kept(self, one: _UnderWay, answer: Answer, packed: bytes) -> Finished:
        attempt, request = answer.attempt, one.job.test.request
        if not packed:
            return Finished(one.job, as_here(attempt, request, one.originals), answer.lost)
        try:
            summary = receive(packed, answer.test, self._store, request, one.originals)
        except ForeshockError as error:
            return Finished(one.job, msgspec.structs.replace(attempt, summary=None, error=str(error)))
        return Finished(one.job, msgspec.structs.replace(attempt, summary=summary))


def _lost(one: _UnderWay, why: str) -> Finished:
    seconds = round(time.monotonic() - one.began_s, 3)
    return Finished(
        one.job, Attempt(number=one.job.number, worker=one.worker, seconds=seconds, error=why), lost=True
    )


def _is_simulated(job: Job) -> bool:
    return resolved_of(job.test.request).backend.simulated
