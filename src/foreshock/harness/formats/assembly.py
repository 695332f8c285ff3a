"""Events into operations: the rules that every imported history has to keep, whatever it was written in.

A process has at most one operation under way, and a completion names the operation that it completes. An operation
that never completes is ``info``. An ``info`` completion leaves its operation open for ever and sets its process free:
Jepsen gives a crashed client's thread a new process number, other recorders go on with the same one, and either way
the crashed operation may take effect at any later time.

A nemesis has no outcomes in Jepsen, where both of its events are ``info``: the first begins, the second ends.
"""

from __future__ import annotations

from typing import Final

from foreshock.harness.history import History
from foreshock.harness.history_columns import PROCESS_MAX, ColumnBuilder
from foreshock.harness.history_values import NONE_PAYLOAD
from foreshock.harness.operation import NEMESIS

INDEX_MAX: Final = 1 << 62
EVENT_TYPES: Final = ("invoke", "ok", "fail", "info")
ECHOES: Final = frozenset({"write", "put", "append", "cas", "add", "enqueue", "push"})
"""Operations whose ``ok`` repeats the value that was asked for, where a completion has but one value."""
WRITES: Final = frozenset({"write", "put"})


_UnderWay = tuple[int, str, int, int, int]
"""An operation under way: its row, ``f``, key, value and the index of its invocation."""


class Malformed(Exception):
    """An event that cannot be in a history; its text says why. The reader adds the file and the line."""


class Assembly:
    """Takes the events of one history in their order. Keys, values and results come as payloads of ``values``.

    Its methods raise :class:`Malformed` for an event that breaks the rules.
    """

    def __init__(self) -> None:
        self.builder = ColumnBuilder()
        self.values = self.builder.values
        self._under_way: dict[int, _UnderWay] = {}
        self._last_index = -1

    def history(self) -> History:
        """The operations so far."""
        return History(self.builder.columns())

    def invoke(
        self,
        process: int,
        f: str,
        value: int,
        key: int = NONE_PAYLOAD,
        time_ns: int = -1,
        index: int = -1,
        node: str | None = None,
    ) -> None:
        """Begin an operation. An ``index`` of -1 is the next one."""
        if process in self._under_way:
            earlier = self._under_way[process]
            raise Malformed(
                f"process {process} invokes {f!r} while its {earlier[1]!r} (event {earlier[4]}) is still under way"
            )
        if process > PROCESS_MAX:
            raise Malformed(f"there is no process {process}: {PROCESS_MAX} is the last")
        index = self._next_index(index)
        row = self.builder.open(index, time_ns, key, value, process, f, node)
        self._under_way[process] = (row, f, key, value, index)

    def asked(self, process: int, f: str, key: int = NONE_PAYLOAD) -> int:
        """The value that the operation under way, which ``f`` (of ``key``, if any) completes, was invoked with."""
        under_way = self._under_way.get(process)
        if under_way is None:
            raise Malformed(
                f"process {process} completes {f!r}, but has invoked nothing that is still under way"
            )
        if under_way[1] != f:
            raise Malformed(
                f"process {process} completes {f!r}, but its {under_way[1]!r} (event {under_way[4]}) is under way"
            )
        if key not in (NONE_PAYLOAD, under_way[2]):
            asked, told = self.values.value(under_way[2]), self.values.value(key)
            raise Malformed(
                f"process {process} completes {f!r} of key {told!r}, but invoked it of key {asked!r}"
            )
        return under_way[3]

    def result(self, f: str, asked: int, told: int) -> int:
        """The result of an ``ok`` that has ``told`` one value: that, or ``None`` where a write repeats its own."""
        if f not in ECHOES:
            return told
        text = self.values.text
        if told == asked or text(told) == text(asked):
            return NONE_PAYLOAD
        if f in WRITES and asked == NONE_PAYLOAD:
            raise Malformed(
                f"only the completion of this {f!r} says what was written: its invocation must say it too"
            )
        return told

    def complete(
        self,
        process: int,
        code: int,
        result: int = NONE_PAYLOAD,
        time_ns: int = -1,
        index: int = -1,
        error: str | None = None,
        attempts: int = 1,
    ) -> None:
        """End the operation that is under way, which :meth:`asked` has looked at. An ``index`` of -1 is the next."""
        row = self._under_way.pop(process)[0]
        self.builder.close(row, self._next_index(index), time_ns, result, error, code, attempts)

    def nemesis_begins(self, kind: str, f: str) -> bool:
        """Whether an event of the nemesis, ``info`` or otherwise, begins an operation; else it ends one.

        An operation of another name that is under way is left as one that never ended: nothing depends on it.
        """
        under_way = self._under_way.get(NEMESIS)
        if under_way is not None and under_way[1] != f:
            del self._under_way[NEMESIS]
            under_way = None
        return kind == "invoke" or (kind == "info" and under_way is None)

    def _next_index(self, given: int) -> int:
        if given == -1 and self._last_index < INDEX_MAX:
            self._last_index += 1
            return self._last_index
        if not self._last_index < given <= INDEX_MAX:
            raise Malformed(f"event {given} follows event {self._last_index}, but indexes must go up")
        self._last_index = given
        return given
