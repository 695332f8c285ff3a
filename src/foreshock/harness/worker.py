"""Workers: the coroutines in which clients and the nemesis perform operations.

A worker is one process and its client. It takes operations from its inbox, one at a time, and reports how each
ended; it ends with its process. One coroutine a process, not one an operation, is what makes operations cheap.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from foreshock.harness.errors import Definite, OperationError
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.runtime import Cancelled, Channel, Runtime, Task, TimeoutExpired
from foreshock.harness.services import Client

OPEN_AGAIN_AFTER_NS: Final = 100_000_000
"""How long a process whose client did not open waits before its operation fails, so that it does not spin."""
CLOSE_TIMEOUT_NS: Final = 5_000_000_000
"""How long a client may take to close."""

CANCELLED: Final = (asyncio.CancelledError, Cancelled)
NOT_THE_CLIENTS: Final = (*CANCELLED, KeyboardInterrupt, GeneratorExit)
"""What passes through a worker. Anything else is a client's or a nemesis's own, ``SystemExit`` and groups included:
a library that exits the process must end its operation, not the test."""

OpenClient = Callable[[int, str], Awaitable[Client]]
Invoke = Callable[[Any, Operation], Awaitable[Any]]
Report = Callable[["Worker", Operation, OperationType, Any, str | None], None]

logger = logging.getLogger("foreshock")


class Worker:
    """One process at work. ``operation`` is what it has under way; the interpreter owns that field.

    ``abandoned`` is set by the interpreter before it cancels the worker: its operation is accounted for already.
    """

    __slots__ = (
        "_report",
        "abandoned",
        "deadline_ns",
        "ended",
        "inbox",
        "operation",
        "process",
        "runtime",
        "task",
        "thread",
    )

    def __init__(self, runtime: Runtime, thread: int, process: int, report: Report) -> None:
        self.runtime = runtime
        self.thread = thread
        self.process = process
        self.inbox: Channel[Operation | None] = runtime.channel(2)
        self.operation: Operation | None = None
        self.deadline_ns = 0
        self.abandoned = False
        self.ended = False
        self.task: Task[None] | None = None
        self._report = report

    def start(self) -> None:
        """Begin to work."""
        self.task = self.runtime.spawn(self._run(), name=f"process {self.process}")

    def abandon(self) -> None:
        """Stop whatever it does; nothing that it reports counts any more."""
        self.abandoned = True
        self.operation = None
        if self.task is not None:
            self.task.cancel()

    def unsent(self) -> str | None:
        """Why the operation under way has certainly not been sent yet, if so."""
        return None

    @property
    def attempts(self) -> int:
        """How often the request of the operation under way has been sent, as far as anybody counts."""
        return 1

    async def _run(self) -> None:
        try:
            await self._work()
        except CANCELLED:
            # The interpreter or the end of the run; or the client itself, whose operation will pass its deadline.
            if not self.abandoned:
                logger.debug("process %d was cancelled", self.process)
        finally:
            self.ended = True
            await self._clean_up()

    async def _work(self) -> None:
        raise NotImplementedError

    async def _clean_up(self) -> None:
        return


class ClientWorker(Worker):
    """A client's process."""

    __slots__ = ("_client", "_counts", "_invoke", "_node", "_open", "_unsent")

    def __init__(
        self,
        runtime: Runtime,
        thread: int,
        process: int,
        report: Report,
        *,
        node: str,
        open_client: OpenClient,
        invoke: Invoke,
    ) -> None:
        super().__init__(runtime, thread, process, report)
        self._node = node
        self._open = open_client
        self._invoke = invoke
        self._client: Client | None = None
        self._counts = False
        self._unsent: str | None = None

    def unsent(self) -> str | None:
        """Why the operation under way has certainly not been sent yet: its client has not opened."""
        return self._unsent

    @property
    def attempts(self) -> int:
        """What the client counted; 1 where it does not count, or had no part in the operation."""
        return max(1, int(self._client.attempts)) if self._counts and self._client is not None else 1  # type: ignore[attr-defined]

    async def _work(self) -> None:
        take, invoke, report = self.inbox.get, self._invoke, self._report
        # A client may swallow its cancellation: then its answer does not count, and the worker ends here.
        while not self.abandoned:
            operation = await take()
            if operation is None:
                return
            if self._client is None and not await self._opened(operation):
                continue
            if self._counts:
                self._client.attempts = 0  # type: ignore[union-attr]
            try:
                result = await invoke(self._client, operation)
            except Definite as error:
                report(self, operation, OperationType.FAIL, None, error_text(error))
            except NOT_THE_CLIENTS:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever a client raises, the operation may have happened
                report(self, operation, OperationType.INFO, None, error_text(error))
                return
            else:
                report(self, operation, OperationType.OK, result, None)

    async def _opened(self, operation: Operation) -> bool:
        self._unsent = "no client: it did not open in time"
        try:
            self._client = await self._open(self.process, self._node)
        except NOT_THE_CLIENTS:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it was, nothing has been sent
            self._unsent = f"no client: {error_text(error)}"
            await self.runtime.sleep(OPEN_AGAIN_AFTER_NS)
            self._report(self, operation, OperationType.FAIL, None, self._unsent)
        self._counts = isinstance(getattr(self._client, "attempts", None), int)
        self._unsent = None
        return self._client is not None

    async def _clean_up(self) -> None:
        client, self._client = self._client, None
        if client is None:
            return
        close = client.close
        closing = close() if inspect.iscoroutinefunction(close) else self.runtime.call(close)
        try:
            await self.runtime.timeout(closing, CLOSE_TIMEOUT_NS)
        except NOT_THE_CLIENTS:
            raise
        except BaseException as error:  # noqa: BLE001 - its operations are accounted for; a plug-in's author wants to know
            logger.warning("the client of process %d did not close: %s", self.process, error_text(error))


class NemesisWorker(Worker):
    """The nemesis at work; what it raises goes to ``failed`` as a sentence."""

    __slots__ = ("_failed", "_nemesis")

    def __init__(
        self,
        runtime: Runtime,
        report: Report,
        nemesis: Callable[[Operation], Awaitable[Any]],
        failed: Callable[[Operation, str], None],
    ) -> None:
        super().__init__(runtime, NEMESIS, NEMESIS, report)
        self._nemesis = nemesis
        self._failed = failed

    async def _work(self) -> None:
        while not self.abandoned:
            operation = await self.inbox.get()
            if operation is None:
                return
            try:
                result = await self._nemesis(operation)
            except NOT_THE_CLIENTS:
                raise
            except BaseException as error:
                logger.warning("the nemesis operation %r failed", operation.f, exc_info=error)
                self._failed(operation, error_text(error))
                self._report(self, operation, OperationType.INFO, None, error_text(error))
            else:
                self._report(self, operation, OperationType.OK, result, None)


def error_text(error: BaseException) -> str:
    """An exception in one line for the history: the text alone where the text was written for it."""
    try:
        text = str(error).strip()
    except Exception as problem:  # noqa: BLE001 - said in place of the text that cannot be had
        text = f"(its text cannot be had: {type(problem).__name__})"
    if isinstance(error, TimeoutExpired):
        return f"timeout: {text}" if text else "timeout"
    if isinstance(error, OperationError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
