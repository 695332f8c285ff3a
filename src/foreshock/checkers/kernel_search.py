"""The general search by the compiled kernel: the same rules and answers as ``search.py``, some fifty times as fast.

Importing this module imports numba.
"""

from __future__ import annotations

import threading
import time
from itertools import pairwise
from typing import Any, Final

import numpy as np

from foreshock.checkers.encoding import Encoded
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernels import layout
from foreshock.checkers.kernels.layout import Int64s, Memo, Operations, Table, Windows
from foreshock.checkers.kernels.memo_kernel import rehash
from foreshock.checkers.kernels.prepare_kernel import Given, Made, Room, prepare
from foreshock.checkers.kernels.search_kernel import search_on, trace
from foreshock.checkers.kernels.window_kernel import put_in_table
from foreshock.checkers.search import Deepest, Limits, SearchResult
from foreshock.harness.verdict import Verdict

_SLICE_FIRST: Final = 2_000
_SLICE_NS: Final = 20_000_000
_WATCH_AFTER_NS: Final = 100_000_000
_CAPACITY_MIN: Final = 128
_TABLE_MIN: Final = 256
_WEIGH_EVERY: Final = 64
"""After so many answers of a model it is asked whether they take too much time or memory."""
_OUT_OF_MEMORY: Final = "its memory limit was reached"


class Prepared:
    """The operations of some keys, ready to be searched.

    With ``exact``, values that nobody observes are told apart all the same: more to search, but no state is hidden.
    """

    def __init__(self, encoded: Encoded, *, exact: bool = False) -> None:
        self.encoded = encoded
        self.starts = starts = encoded.starts.tolist()
        size, keys = starts[-1], len(encoded)
        longest = max((stop - start for start, stop in pairwise(starts)), default=0)
        values, of_values = (2 * (size + keys), size) if encoded.by_value else (0, 0)
        places = _room(4 * longest + 4)
        ints, longs = np.int32, np.int64
        self.made = Made(
            place=np.empty(size, ints),
            code=np.empty(size, ints),
            first=np.empty(size, longs),
            second=np.empty(size, longs),
            kind=np.empty(size, ints),
            joins=np.empty(size, ints),
            slot=np.empty(size, ints),
            entering_from=np.empty(size + keys, ints),
            entering=np.empty(size, ints),
            expiring_from=np.empty(size + keys, ints),
            expiring=np.empty(size, ints),
            levels=np.empty(keys, ints),
            kept=np.empty(keys, ints),
            kinds=np.empty(keys, ints),
            completed_slots=np.empty(keys, ints),
            crashed_slots=np.empty(keys, ints),
            observer_begin=np.empty(of_values, ints),
            observer_needs=np.empty(of_values, ints),
            needs=np.empty(of_values, ints),
            swaps=np.zeros(keys, ints),
            token=np.empty(values, longs),
            useful_last=np.empty(values, ints),
            observers_from=np.empty(values + keys, ints),
            values=np.zeros(keys, ints),
        )
        room = Room(
            value=np.empty(places, longs),
            latest=np.empty(places, longs),
            state=np.zeros(places, longs),
            number=np.empty(places, ints),
            begin=np.empty(longest + 1, ints),
            end=np.empty(longest + 1, ints),
            writers_from=np.empty(2 * longest + 4, ints),
            writer_begin=np.empty(longest + 1, ints),
        )
        e = encoded
        # The kernel writes over what it is given in these three.
        own = (e.horizon.copy(), e.code, e.first.copy(), e.second.copy())
        given = Given(e.starts, e.call, e.ret, e.crashed, e.is_read, *own)
        prepare(given, self.made, room, encoded.by_value, exact, encoded.initial, encoded.unobserved)

    def operations(self, key: int) -> Operations:
        """The operations of a key (counted from 0) as the kernel takes them."""
        made, start = self.made, self.starts[key]
        levels, stop = int(made.levels[key]), start + int(made.kept[key])
        base = start + key
        values = int(made.values[key])
        own = slice(start, stop) if values else slice(0)
        awaited = slice(2 * start + 3 * key, 2 * start + 3 * key + values + 1) if values else slice(0)
        return Operations(
            code=made.code[start:stop],
            first=made.first[start:stop],
            second=made.second[start:stop],
            kind=made.kind[start:stop],
            joins=made.joins[start:stop],
            slot=made.slot[start:stop],
            entering_from=made.entering_from[base : base + levels + 1],
            entering=made.entering[start:stop],
            expiring_from=made.expiring_from[base : base + levels + 1],
            expiring=made.expiring[start:stop],
            observers_from=made.observers_from[awaited],
            observer_begin=made.observer_begin[own],
            observer_needs=made.observer_needs[own],
            needs=made.needs[own],
            useful_last=made.useful_last[2 * base : 2 * base + values],
            levels=levels,
            mask_words=max(1, (int(made.completed_slots[key]) + 63) >> 6),
            used_words=(int(made.crashed_slots[key]) + 63) >> 6,
            unobserved=1,
            has_swaps=bool(made.swaps[key]),
        )

    def state(self, key: int, number: int) -> Any:
        """The state behind its number in the search of a key."""
        encoded = self.encoded
        if encoded.by_value:
            number = int(self.made.token[2 * (self.starts[key] + key) + number])
        return encoded.decode(number)

    @property
    def initial(self) -> int:
        """The number of the initial state."""
        return 0 if self.encoded.by_value else self.encoded.initial

    def offsets(self, key: int) -> Any:
        """Where each operation of a key, by its number, stood among the key's operations."""
        start = self.starts[key]
        places = self.made.place[start : start + int(self.made.kept[key])]
        return self.encoded.offset[start + places]


class KernelSearch:
    """One search, which can be run in slices, without Python's global lock: several can run at once.

    ``key`` counts into what was prepared.
    """

    def __init__(self, prepared: Prepared, key: int = 0) -> None:
        self._encoded = encoded = prepared.encoded
        self._prepared = prepared
        self._key = key
        self._registers = np.zeros(layout.REGISTERS, dtype=np.int64)
        self._registers[layout.DEEPEST_LEVEL] = -1
        self._operations = prepared.operations(key)
        self._levels = self._operations.levels
        self._windows = self._make_windows(prepared)
        self._table = _NO_TABLE if encoded.answers is None else _empty_table(_TABLE_MIN)
        self._answered = 0
        self._slice = _SLICE_FIRST
        self._memo = self._make_memo(max(_CAPACITY_MIN, min(2 * self._levels, 1 << 16)))
        self._status = layout.SOLVED if self._levels == 0 else layout.ONGOING
        if self._levels:
            self._memo.stack_parent[0] = self._memo.stack_operation[0] = layout.ROOT
            self._memo.stack_state[0] = prepared.initial
            self._registers[layout.STACKED] = 1

    @classmethod
    def warm_up(cls) -> None:
        """Load every kernel, and compile it where that was never done, by deciding two small histories."""
        for code in (layout.SWAP, layout.READ):
            crashed = np.array([False, False, code == layout.SWAP])
            encoded = Encoded(
                starts=np.array((0, 3)),
                offset=np.arange(3),
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
            cls(Prepared(encoded)).run(Limits(time.monotonic_ns() + 10**12, 1 << 30))
        table = np.full(2, -1, dtype=np.int32)
        rehash(table, np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64), table, table, 1)
        put_in_table(0, 0, _empty_table(2))

    @property
    def configurations(self) -> int:
        """How many configurations were entered."""
        return int(self._registers[layout.CONFIGURATIONS])

    @property
    def bytes_used(self) -> int:
        """The memory that the search holds by now."""
        arrays = (*self._memo, *self._table, *(a for a in self._operations if isinstance(a, np.ndarray)))
        states = self._encoded.answers.bytes_used if self._encoded.answers is not None else 0
        return sum(array.nbytes for array in arrays) + states

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
                if self._answered % _WEIGH_EVERY == 0 and self.bytes_used > limits.memory_bytes:
                    return _OUT_OF_MEMORY
                if self._answered % _WEIGH_EVERY == 0 and (stopped := limits.exceeded()):
                    return stopped
            elif status == layout.NEEDS_SPACE:
                if not self._grow(limits.memory_bytes):
                    return _OUT_OF_MEMORY
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

    def _make_windows(self, prepared: Prepared) -> Windows:
        operations, made, key = self._operations, prepared.made, self._key
        completed_slots, crashed_slots = int(made.completed_slots[key]), int(made.crashed_slots[key])
        widest = max(completed_slots, crashed_slots, 1)
        windows = Windows(
            completed=np.full(max(completed_slots, 1), -1, dtype=np.int32),
            crashed=np.full(crashed_slots, -1, dtype=np.int32),
            mask=np.zeros(operations.mask_words, dtype=np.int64),
            used=np.zeros(operations.used_words, dtype=np.int64),
            followers=np.zeros(widest, dtype=np.int32),
            followed_by=np.zeros(widest, dtype=np.int64),
            tried=np.zeros(int(made.kinds[key]), dtype=np.int64),
            deepest_states=np.zeros(layout.DEEPEST_STATES_MAX, dtype=np.int64),
        )
        if operations.levels:
            for operation in operations.entering[: operations.entering_from[1]].tolist():
                slots = windows.completed if operation < operations.levels else windows.crashed
                slots[operations.slot[operation]] = operation
        return windows

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
            words = self._operations.mask_words
            rehash(memo.level, memo.state, memo.mask, memo.table, grown["table"], words)
        self._memo = memo._replace(**grown)
        return True

    def _valid(self) -> SearchResult:
        return SearchResult(Verdict.VALID, self._levels, self._levels, self.configurations)

    def order(self) -> tuple[int, ...]:
        """The legal order that was found, in offsets into the operations of the key; call it when it was valid."""
        if not self._levels:
            return ()
        registers = self._registers
        return self._order(int(registers[layout.SOLUTION_PARENT]), int(registers[layout.SOLUTION_OPERATION]))

    def _unknown(self, stopped: str) -> SearchResult:
        passed = max(int(self._registers[layout.DEEPEST_LEVEL]), 0)
        return SearchResult(Verdict.UNKNOWN, self._levels, passed, self.configurations, stopped=stopped)

    def _invalid(self) -> SearchResult:
        passed = int(self._registers[layout.DEEPEST_LEVEL])
        # Where states are values the search prunes what is bound to end, so this is not where all orders end.
        deepest = None if self._encoded.by_value else self.deepest()
        return SearchResult(Verdict.INVALID, self._levels, passed, self.configurations, deepest=deepest)

    def deepest(self) -> Deepest:
        """The furthest point that any order reached which was not given up before."""
        registers, levels = self._registers, self._levels
        offsets = self._prepared.offsets(self._key)
        level, number = int(registers[layout.DEEPEST_LEVEL]), int(registers[layout.DEEPEST])
        memo, operations = self._memo, self._operations
        prefix = self._order(int(memo.parent[number]), int(memo.operation[number]))
        pending = pending_at(level, operations)
        states = self._windows.deepest_states[: int(registers[layout.DEEPEST_STATES])].tolist()
        words, used_words = operations.mask_words, operations.used_words
        mask = memo.mask[number * words : (number + 1) * words]
        used = memo.used[number * used_words : (number + 1) * used_words]
        return Deepest(
            impossible=int(offsets[level]),
            states=tuple(self._prepared.state(self._key, state) for state in states),
            pending=tuple(int(offsets[o]) for o in pending),
            linearized=frozenset(
                int(offsets[o])
                for o in pending
                if _is_set(mask if o < levels else used, int(operations.slot[o]))
            ),
            prefix=prefix,
        )

    def _order(self, parent: int, operation: int) -> tuple[int, ...]:
        """The order that leads to where ``operation`` is linearized after the configuration ``parent``."""
        operations, memo = self._operations, self._memo
        order = np.empty(len(operations.code) + 1, dtype=np.int32)
        length = trace(
            parent,
            operation,
            self._prepared.initial,
            operations,
            self._windows,
            memo,
            self._table,
            self._registers,
            order,
        )
        return tuple(self._prepared.offsets(self._key)[order[:length]].tolist())


def pending_at(level: int, operations: Operations) -> list[int]:
    """The numbers of the operations that are pending at a level, those that return first in front."""
    begun = operations.entering[: operations.entering_from[level + 1]]
    over = operations.expiring[: operations.expiring_from[level + 1]]
    return sorted(o for o in set(begun.tolist()).difference(over.tolist()) if o >= level)


def _doubled(array: Any) -> Any:
    return np.concatenate((array, np.empty_like(array)))


def _empty_table(size: int) -> Table:
    return Table(np.full(size, -1, dtype=np.int64), np.zeros(size, dtype=np.int64))


_NO_TABLE: Final = _empty_table(2)


def _room(size: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(1, (size - 1).bit_length())


def _is_set(words: Int64s, bit: int) -> bool:
    return bool(int(words[bit >> 6]) >> (bit & 63) & 1)
