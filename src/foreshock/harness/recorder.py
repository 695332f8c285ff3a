"""The recorder: the history as it happens, in memory and on disk.

Every event gets the next index. An invocation is in the hands of write(2) before anybody acts on it: either
:meth:`HistoryRecorder.invoke` returns after the write, or a batch is staged and one
:meth:`HistoryRecorder.flush` writes it before any of the batch is dispatched. A completion may follow a little
later, for a lost completion makes an operation unknown (``info``), which is sound.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from foreshock.harness.errors import HarnessError, PlugInError, UsageError
from foreshock.harness.history import History
from foreshock.harness.history_columns import ATTEMPTS_MAX, TYPE_CODES, ColumnBuilder
from foreshock.harness.history_lines import EndLine, InvokeLine, OkLine, json_of_payload
from foreshock.harness.history_values import INTEGER_LIMIT, NONE_PAYLOAD
from foreshock.harness.operation import Operation, OperationType

ERROR_CHARACTERS_MAX: Final = 2_000
"""Longer error texts are cut: a server may answer with a page of HTML."""
LATENCIES_REMEMBERED: Final = 1_000
"""How many of the last completions the live latency figures are made from."""
_OK: Final = OperationType.OK
_INVOKE: Final = OperationType.INVOKE


class HistoryRecorder:
    """Records one history. ``path`` is ``history.jsonl``, or ``None`` to keep it in memory alone.

    ``now`` gives ns since the start of the test. ``ok``, ``fail`` and ``info`` count completions of *clients*.

    A disk that is full (or any other failure to write) raises :class:`HarnessError` from the call that flushes.
    The file then ends with its last whole event; invocations are refused from then on, while completions of what
    is under way are still taken into the history in memory.
    """

    def __init__(self, path: Path | None, now: Callable[[], int]) -> None:
        self.ok = 0
        self.fail = 0
        self.info = 0
        self._path = path
        self._now = now
        self._builder = ColumnBuilder()
        self._next_index = 0
        self._under_way: dict[int | None, int] = {}
        self._lines: list[InvokeLine | OkLine | EndLine] = []
        self._unwritten = b""
        self._latencies: deque[int] = deque(maxlen=LATENCIES_REMEMBERED)
        self._encode_lines = msgspec.json.Encoder().encode_lines
        self._failure: HarnessError | None = None
        self._closed = False
        self._history: History | None = None
        self._fd = -1
        if path is not None:
            try:
                self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            except OSError as error:
                raise self._cannot_write(error) from error
            if os.fstat(self._fd).st_size:
                os.close(self._fd)
                raise HarnessError(
                    f"{str(path)!r} holds a history already: each run needs a folder of its own"
                )

    def invoke(self, operation: Operation) -> Operation:
        """Record an invocation and write it; returns it with its index and time."""
        invocation = self.stage_invocation(operation)
        self.flush()
        return invocation

    def complete(
        self,
        invocation: Operation,
        type: OperationType,  # noqa: A002
        result: object = None,
        error: str | None = None,
    ) -> Operation:
        """Record how an invocation ended and write it; returns the completion. See :meth:`stage_completion`."""
        completion = self.stage_completion(invocation, type, result, error)
        if self._failure is None:
            self.flush()
        return completion

    def stage_invocation(self, operation: Operation, node: str | None = None) -> Operation:
        """Record an invocation that must not be acted upon before the next :meth:`flush`.

        ``node`` is the node that it goes to, if the operation itself names none.

        Raises :class:`PlugInError` when JSON cannot hold its key or value, :class:`HarnessError` once a write
        has failed.
        """
        if self._failure is not None or self._closed:
            raise self._failure or UsageError("the recorder is closed: no operation can be invoked any more")
        f, key, value, process = operation.f, operation.key, operation.value, operation.process
        node = operation.node or node
        if process is None:
            raise PlugInError(f"the operation {f!r} names no process, so it cannot be recorded")
        builder = self._builder
        values = builder.values
        key_payload = values.key_payload(key)
        value_payload = values.payload(value)
        index, time_ns = self._next_index, self._now()
        row = builder.open(index, time_ns, key_payload, value_payload, process, f, node)
        self._next_index = index + 1
        self._under_way[index] = row
        if self._fd >= 0:
            key_json = key_payload if key_payload > NONE_PAYLOAD else json_of_payload(values, key_payload)
            value_json = (
                value_payload if value_payload > NONE_PAYLOAD else json_of_payload(values, value_payload)
            )
            self._lines.append(InvokeLine(index, "invoke", process, f, key_json, value_json, time_ns, node))
        return Operation(f, key, value, _INVOKE, process, time_ns, index, None, None, node)

    def stage_completion(
        self,
        invocation: Operation,
        type: OperationType,  # noqa: A002
        result: object = None,
        error: str | None = None,
        attempts: int = 1,
    ) -> Operation:
        """Record how an invocation ended, after so many attempts; it is written with the next :meth:`flush`.

        Raises :class:`PlugInError` when JSON cannot hold the result (the operation is then still under way), and
        :class:`UsageError` when the invocation is not under way.
        """
        builder = self._builder
        payload = (
            result
            if result.__class__ is int and -INTEGER_LIMIT < result < INTEGER_LIMIT
            else builder.values.payload(result)
        )
        if error is not None:
            error = error[:ERROR_CHARACTERS_MAX].encode("utf-8", "backslashreplace").decode()
        row = self._under_way.pop(invocation.index, None)
        if row is None or self._closed:
            raise UsageError(f"the operation {invocation} is not under way, so it cannot complete")
        index, time_ns = self._next_index, self._now()
        if attempts > ATTEMPTS_MAX:
            attempts = ATTEMPTS_MAX
        builder.close(row, index, time_ns, payload, error, TYPE_CODES[type], attempts)
        self._next_index = index + 1
        process, f = invocation.process, invocation.f
        if self._fd >= 0:
            self._stage_end(index, invocation, type, payload, time_ns, error, attempts)
        if process is not None and process >= 0:
            if type is _OK:
                self.ok += 1
            elif type is OperationType.FAIL:
                self.fail += 1
            else:
                self.info += 1
            self._latencies.append(time_ns - (invocation.time_ns or 0))
        return Operation(
            f, invocation.key, invocation.value, type, process, time_ns, index, result, error, invocation.node
        )

    def _stage_end(
        self,
        index: int,
        invocation: Operation,
        type: OperationType,  # noqa: A002
        payload: int,
        time_ns: int,
        error: str | None,
        attempts: int,
    ) -> None:
        invoked, process, f = invocation.index, invocation.process, invocation.f
        assert invoked is not None
        assert process is not None
        result = payload if payload > NONE_PAYLOAD else json_of_payload(self._builder.values, payload)
        line: OkLine | EndLine
        if type is _OK:
            line = OkLine(index, invoked, "ok", process, f, result, time_ns, error, attempts)
        else:
            line = EndLine(index, invoked, type.value, process, f, time_ns, result, error, attempts)
        self._lines.append(line)

    def flush(self) -> None:
        """Hand all that is staged to write(2). Raises :class:`HarnessError` when that fails."""
        if self._failure is not None:
            raise self._failure
        if not self._lines:
            return
        try:
            self._write()
        except OSError as error:
            self._failure = self._cannot_write(error)
            raise self._failure from error

    def history(self) -> History:
        """The history so far; what is under way is info. Once the recorder is closed it is the same object."""
        if self._history is not None:
            return self._history
        history = History(self._builder.columns())
        if self._closed:
            self._history = history
            self._builder.release()
        return history

    def recent_latency_ms(self) -> tuple[float, float]:
        """The median and the 99th percentile of the last client operations, in ms, for the live view."""
        if not self._latencies:
            return 0.0, 0.0
        latencies = sorted(self._latencies)
        last = len(latencies) - 1
        return latencies[last // 2] / 1e6, latencies[last * 99 // 100] / 1e6

    def close(self) -> None:
        """Write what is staged and close the file; idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._fd < 0:
            return
        try:
            if self._failure is None:
                self.flush()
            else:
                # The failure has been raised already; perhaps there is room again for the completions since.
                with contextlib.suppress(OSError):
                    self._write()
        finally:
            os.close(self._fd)
            self._fd = -1

    def _write(self) -> None:
        """Write all that is staged. When that fails, no part of an event stays in the file."""
        data = self._unwritten + self._encode_lines(self._lines)
        self._lines.clear()
        written = 0
        try:
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:] if written else data)
        except OSError:
            self._unwritten = data[self._cut_to_whole_lines(data, written) :]
            raise
        self._unwritten = b""

    def _cut_to_whole_lines(self, data: bytes, written: int) -> int:
        """Take the part of a line that was written last out of the file; returns how much of ``data`` is in it."""
        whole = data.rfind(b"\n", 0, written) + 1
        try:
            if written > whole:
                os.ftruncate(self._fd, os.lseek(self._fd, 0, os.SEEK_END) - (written - whole))
        except OSError:
            # No regular file: its last line stays torn, which readers leave out, and goes on from there.
            return written
        return whole

    def _cannot_write(self, error: OSError) -> HarnessError:
        return HarnessError(
            f"the history {str(self._path)!r} cannot be written: {error.strerror} "
            f"(event {self._next_index}); what was recorded before is kept"
        )
