"""The general search by the compiled kernel: the same rules and answers as ``search.py``, some fifty times as fast.

Importing this module imports numba.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import numpy as np

from foreshock.checkers.encoding import Encoded
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernels import layout
from foreshock.checkers.kernels.layout import Int32s, Int64s, Memo, Operations, Table, Windows
from foreshock.checkers.kernels.prepare_kernel import number_kinds, place_in_slots
from foreshock.checkers.kernels.search_kernel import put_in_table, rehash, search_on, trace
from foreshock.checkers.search import Deepest, Limits, SearchResult
from foreshock.harness.verdict import Verdict

_SLICE_FIRST: Final = 2_000
_SLICE_NS: Final = 20_000_000
_WATCH_AFTER_NS: Final = 100_000_000
_CAPACITY_MIN: Final = 128
_TABLE_MIN: Final = 256
_NO_ORDER: Final = np.zeros(0, dtype=np.int32)


class KernelSearch:
    """One search, which can be run in slices, without Python's global lock: several can run at once."""

    def __init__(self, encoded: Encoded) -> None:
        self._encoded = encoded
        self._registers = np.zeros(layout.REGISTERS, dtype=np.int64)
        self._registers[layout.DEEPEST_LEVEL] = -1
        self._prepare()
        self._table = _empty_table(_TABLE_MIN if encoded.answers is not None else 2)
        self._answered = 0
        self._slice = _SLICE_FIRST
        self._memo = self._make_memo(max(_CAPACITY_MIN, min(2 * self._levels, 1 << 16)))
        self._status = layout.SOLVED if self._levels == 0 else layout.ONGOING
        if self._levels:
            self._memo.stack_parent[0] = self._memo.stack_operation[0] = layout.ROOT
            self._memo.stack_state[0] = encoded.initial
            self._registers[layout.STACKED] = 1

    @classmethod
    def warm_up(cls) -> None:
        """Load every kernel, and compile it where that was never done, by deciding two small histories."""
        for code in (layout.SWAP, layout.READ):
            crashed = np.array([False, False, code == layout.SWAP])
            encoded = Encoded(
                call=np.arange(3),
                ret=np.where(crashed, NEVER, 5 + np.arange(3)),
                crashed=crashed,
                is_read=np.full(3, code == layout.READ),
                horizon=np.full(3, NEVER),
                code=np.full(3, code, dtype=np.int32),
                first=np.ones(3, dtype=np.int64),
                second=np.ones(3, dtype=np.int64),
                initial=1,
                decode=int,
            )
            search = cls(encoded)
            search.run(Limits(time.monotonic_ns() + 10**12, 1 << 30))
            rehash(search._operations, search._memo, np.full(1 << 12, -1, dtype=np.int32))
        put_in_table(0, 0, _empty_table(2))

    @property
    def configurations(self) -> int:
        """How many configurations were entered."""
        return int(self._registers[layout.CONFIGURATIONS])

    @property
    def bytes_used(self) -> int:
        """The memory that the search holds by now."""
        arrays = (*self._memo, *self._table, *(a for a in self._operations if isinstance(a, np.ndarray)))
        return sum(array.nbytes for array in arrays)

    @property
    def progress(self) -> str:
        """How far the search has got, in words."""
        return f"{max(int(self._registers[layout.DEEPEST_LEVEL]), 0)} of {self._levels} returns"

    def run(self, limits: Limits, configurations_max: int | None = None) -> SearchResult | None:
        """Search on until decided or a limit is reached; ``None`` after ``configurations_max`` more configurations."""
        budget = layout.NEVER_ENOUGH
        if configurations_max is not None:
            budget = self.configurations + configurations_max
        if self._status == layout.ONGOING and (stopped := limits.exceeded()):
            return self._unknown(stopped)
        watch: threading.Timer | None = None
        started = now = time.monotonic_ns()
        try:
            while self._status in (layout.ONGOING, layout.STOPPED):
                if self.configurations >= budget:
                    return None
                if stopped := self._slice_until(min(budget, self.configurations + self._slice), limits):
                    return self._unknown(stopped)
                before, now = now, time.monotonic_ns()
                self._adapt(now - before)
                if self._status == layout.ONGOING or self._status == layout.STOPPED:
                    if stopped := limits.exceeded():
                        return self._unknown(stopped)
                    if watch is None and now - started > _WATCH_AFTER_NS:
                        watch = self._watch(limits)
        finally:
            if watch is not None:
                watch.cancel()
                self._registers[layout.STOP] = 0
        return self._valid() if self._status == layout.SOLVED else self._invalid()

    def _adapt(self, took_ns: int) -> None:
        """Slices of a length that interrupts are seen in good time."""
        if took_ns < _SLICE_NS // 2:
            self._slice = min(self._slice * 2, 1 << 24)
        elif took_ns > 2 * _SLICE_NS:
            self._slice = max(self._slice // 2, 16)

    def _watch(self, limits: Limits) -> threading.Timer:
        """Stop the kernel at the deadline, wherever it is then."""

        def stop() -> None:
            self._registers[layout.STOP] = 1

        timer = threading.Timer(max(0, limits.deadline_ns - time.monotonic_ns()) / 1e9, stop)
        timer.daemon = True
        timer.start()
        return timer

    def _slice_until(self, configurations: int, limits: Limits) -> str:
        """Run the kernel, and give it what it comes back for; returns why not, if it cannot be had."""
        while True:
            status = search_on(
                configurations, self._operations, self._windows, self._memo, self._table, self._registers
            )
            if status == layout.NEEDS_STEP:
                self._answer()
            elif status == layout.NEEDS_SPACE:
                if not self._grow(limits.memory_bytes):
                    return "its memory limit was reached"
            else:
                self._status = status
                return ""

    def _answer(self) -> None:
        """Ask the model what the kernel wanted to know."""
        answers = self._encoded.answers
        assert answers is not None  # only operations that are looked up can be missing
        state, kind = int(self._registers[layout.MISSING_STATE]), int(self._registers[layout.MISSING_CLASS])
        if 2 * (self._answered + 1) > len(self._table.key):
            larger = _empty_table(4 * len(self._table.key))
            for place in np.flatnonzero(self._table.key >= 0):
                put_in_table(self._table.key[place], self._table.after[place], larger)
            self._table = larger
        put_in_table((state << 32) | kind, answers.after(state, kind), self._table)
        self._answered += 1

    def _prepare(self) -> None:
        """Number the operations, and work out when each is pending and which slot it owns meanwhile."""
        encoded = self._encoded
        completed = np.flatnonzero(~encoded.crashed)
        completed = completed[np.lexsort((encoded.call[completed], encoded.ret[completed]))]
        self._levels = levels = len(completed)
        returns = encoded.ret[completed]
        crashed = np.flatnonzero(encoded.crashed & ~encoded.is_read)
        if len(crashed):
            crashed = crashed[np.argsort(encoded.call[crashed], kind="stable")]
            begins = np.searchsorted(returns, encoded.call[crashed])
            ends = np.searchsorted(returns, encoded.horizon[crashed], side="right")
            useful = begins < ends
            crashed, ends = crashed[useful], ends[useful]
        else:
            ends = crashed
        order = np.concatenate((completed, crashed))
        self._offsets = order
        begin = np.searchsorted(returns, encoded.call[order])
        # Ending after the last level is never ending.
        passing = np.flatnonzero(ends < levels)
        entering, entering_from = _by_level(np.arange(len(order)), begin, levels)
        expiring, expiring_from = _by_level(passing + levels, ends[passing], levels)
        slot = np.zeros(len(order), dtype=np.int32)
        room = np.empty(len(order) + 1, dtype=np.int32)
        slots = place_in_slots(levels, entering_from, entering, expiring_from, expiring, slot, room)
        self._completed_slots, self._crashed_slots = slots
        code, first, second = encoded.code[order], encoded.first[order], encoded.second[order]
        if encoded.answers is None:
            kind = np.empty(len(order), dtype=np.int32)
            kinds = number_kinds(
                code, first, second, kind, np.full(_room(2 * len(order)), -1, dtype=np.int32)
            )
        else:
            kind = first.astype(np.int32)
            kinds = int(kind.max(initial=-1)) + 1
        self._operations = Operations(
            code=code,
            first=first,
            second=second,
            kind=kind,
            is_read=encoded.is_read[order],
            slot=slot,
            entering_from=entering_from,
            entering=entering,
            expiring_from=expiring_from,
            expiring=expiring,
            levels=levels,
            mask_words=max(1, (self._completed_slots + 63) >> 6),
            used_words=(self._crashed_slots + 63) >> 6,
        )
        self._make_windows(kinds)

    def _make_windows(self, kinds: int) -> None:
        operations, levels = self._operations, self._levels
        widest = max(self._completed_slots, self._crashed_slots, 1)
        self._windows = Windows(
            completed=np.full(max(self._completed_slots, 1), -1, dtype=np.int32),
            crashed=np.full(self._crashed_slots, -1, dtype=np.int32),
            mask=np.zeros(operations.mask_words, dtype=np.int64),
            used=np.zeros(operations.used_words, dtype=np.int64),
            followers=np.zeros(widest, dtype=np.int32),
            followed_by=np.zeros(widest, dtype=np.int64),
            tried=np.zeros(kinds, dtype=np.int64),
            deepest_states=np.zeros(layout.DEEPEST_STATES_MAX, dtype=np.int64),
        )
        if levels:
            for operation in operations.entering[: operations.entering_from[1]].tolist():
                slots = self._windows.completed if operation < levels else self._windows.crashed
                slots[operations.slot[operation]] = operation

    def _make_memo(self, capacity: int) -> Memo:
        operations = self._operations
        stack = capacity + len(self._windows.followers) + 4
        return Memo(
            level=np.empty(capacity, dtype=np.int32),
            state=np.empty(capacity, dtype=np.int64),
            mask=np.empty(capacity * operations.mask_words, dtype=np.int64),
            used=np.empty(capacity * operations.used_words, dtype=np.int64),
            parent=np.empty(capacity, dtype=np.int32),
            operation=np.empty(capacity, dtype=np.int32),
            same=np.empty(capacity, dtype=np.int32),
            table=np.full(_room(2 * capacity), -1, dtype=np.int32),
            stack_parent=np.empty(stack, dtype=np.int32),
            stack_operation=np.empty(stack, dtype=np.int32),
            stack_state=np.empty(stack, dtype=np.int64),
        )

    def _grow(self, memory_bytes: int) -> bool:
        """Double what is full; no where that would take more memory than allowed."""
        memo = self._memo
        full = self.configurations >= len(memo.level) - 1
        growing = [name for name in Memo._fields if name.startswith("stack_") != full]
        # Old and new stand side by side for a moment.
        if self.bytes_used + 2 * sum(getattr(memo, name).nbytes for name in growing) > memory_bytes:
            return False
        grown = {name: _doubled(getattr(memo, name)) for name in growing if name != "table"}
        if full:
            grown["table"] = np.full(2 * len(memo.table), -1, dtype=np.int32)
            rehash(self._operations, memo, grown["table"])
        self._memo = memo._replace(**grown)
        return True

    def _valid(self) -> SearchResult:
        order: tuple[int, ...] = ()
        if self._levels:
            registers = self._registers
            # The kernel leaves the step that solved it on top of the stack.
            top = int(registers[layout.STACKED]) - 1
            order = self._order(
                int(registers[layout.SOLUTION_PARENT]),
                int(registers[layout.SOLUTION_OPERATION]),
                int(self._memo.stack_state[top]),
            )
        return SearchResult(Verdict.VALID, self._levels, self._levels, self.configurations, order=order)

    def _unknown(self, stopped: str) -> SearchResult:
        passed = max(int(self._registers[layout.DEEPEST_LEVEL]), 0)
        return SearchResult(Verdict.UNKNOWN, self._levels, passed, self.configurations, stopped=stopped)

    def _invalid(self) -> SearchResult:
        registers, offsets = self._registers, self._offsets
        level, number = int(registers[layout.DEEPEST_LEVEL]), int(registers[layout.DEEPEST])
        memo, operations, decode = self._memo, self._operations, self._encoded.decode
        parent, operation = int(memo.parent[number]), int(memo.operation[number])
        prefix = self._order(parent, operation, int(memo.state[number]))
        pending = self._pending_at(level)
        states = self._windows.deepest_states[: int(registers[layout.DEEPEST_STATES])].tolist()
        words, used_words = operations.mask_words, operations.used_words
        mask = memo.mask[number * words : (number + 1) * words]
        used = memo.used[number * used_words : (number + 1) * used_words]
        deepest = Deepest(
            impossible=int(offsets[level]),
            states=tuple(decode(state) for state in states),
            pending=tuple(int(offsets[o]) for o in pending),
            linearized=frozenset(
                int(offsets[o])
                for o in pending
                if _is_set(mask if o < self._levels else used, int(operations.slot[o]))
            ),
            prefix=prefix,
        )
        return SearchResult(Verdict.INVALID, self._levels, level, self.configurations, deepest=deepest)

    def _pending_at(self, level: int) -> list[int]:
        operations = self._operations
        begun = operations.entering[: operations.entering_from[level + 1]]
        over = operations.expiring[: operations.expiring_from[level + 1]]
        return sorted(o for o in set(begun.tolist()) - set(over.tolist()) if o >= level)

    def _order(self, parent: int, operation: int, state: int) -> tuple[int, ...]:
        """The order that leads to ``state`` where ``operation`` is linearized after the configuration ``parent``."""
        memo = self._memo
        steps = [(parent, operation, state)]
        while parent != layout.ROOT:
            steps.append((int(memo.parent[parent]), int(memo.operation[parent]), int(memo.state[parent])))
            parent = int(memo.parent[parent])
        steps.reverse()
        parents, path, states = (np.array(column) for column in zip(*steps, strict=True))
        order = np.empty(len(self._offsets) + 1, dtype=np.int32)
        length = trace(
            path.astype(np.int32),
            states.astype(np.int64),
            parents.astype(np.int32),
            self._operations,
            self._windows,
            memo,
            self._table,
            self._registers,
            order,
        )
        return tuple(self._offsets[order[:length]].tolist())


def _by_level(operations: Any, level: Any, levels: int) -> tuple[Int32s, Int32s]:
    """The operations by level, and where each level's begin (``levels + 1`` places)."""
    order = np.argsort(level, kind="stable")
    starts = np.searchsorted(level[order], np.arange(levels + 1))
    return operations[order].astype(np.int32), starts.astype(np.int32)


def _doubled(array: Any) -> Any:
    return np.concatenate((array, np.empty_like(array)))


def _empty_table(size: int) -> Table:
    return Table(np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=np.int64))


def _room(size: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(1, (size - 1).bit_length())


def _is_set(words: Int64s, bit: int) -> bool:
    return bool(int(words[bit >> 6]) >> (bit & 63) & 1)
