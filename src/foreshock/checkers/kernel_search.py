"""The general search by the compiled kernel: the same rules and answers as ``search.py``, some fifty times as fast.

Importing this module imports numba.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np

from foreshock.checkers.encoding import Encoded
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernels import layout
from foreshock.checkers.kernels.layout import Int64s, Memo, Operations, Windows
from foreshock.checkers.kernels.memo_kernel import rehash
from foreshock.checkers.kernels.prepare_kernel import Given, Made, Room, prepare
from foreshock.checkers.kernels.search_kernel import search_on, trace
from foreshock.checkers.kernels.window_kernel import put_in_table
from foreshock.checkers.search import Deepest, Limits, SearchResult
from foreshock.harness.verdict import Verdict

_INT: Final = np.int32
_LONG: Final = np.int64
_SLICE_FIRST: Final = 2_000
_SLICE_NS: Final = 20_000_000
_WATCH_AFTER_NS: Final = 100_000_000
_WORK_UNASKED: Final = 4_000_000
"""About so many pairs of operations are looked at before it is asked whether to stop."""
_CAPACITY_MIN: Final = 128
_CAPACITY_FIRST: Final = 1 << 16
_FIRST_BYTES: Final = 8 << 20
"""No more room than this is made for configurations before there are any."""
_TABLE_MIN: Final = 256
_SMALL: Final = 10_000
_SMALL_BYTES: Final = 64 << 20
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
        values, observers = (2 * size + 3 * keys, size) if encoded.by_value else (0, 0)
        places = _room(4 * longest + 4)
        self.made = Made(
            place=np.empty(size, _INT),
            each=np.empty((size, layout.OPERATION_COLUMNS), _INT),
            levels=np.empty((size + keys, 2), _INT),
            listed=np.empty((size, 2), _INT),
            values=np.empty((values, 2), _INT),
            observers=np.empty((observers, 2), _INT),
            token=np.empty(values, _LONG),
            sizes=np.zeros((keys, layout.SIZES), _LONG),
        )
        # One piece of memory each, for a small history is made ready sooner than eight pieces are asked for.
        longs, ints = np.zeros((3, places), _LONG), np.empty((5, places), _INT)
        room = Room(
            value=longs[0],
            latest=longs[1],
            state=longs[2],
            number=ints[0],
            begin=ints[1],
            end=ints[2],
            writers_from=ints[3],
            writer_begin=ints[4],
        )
        e = encoded
        # The kernel writes over what it is given in these three.
        own = (e.horizon.copy(), e.code, e.first.copy(), e.second.copy())
        given = Given(e.starts, e.call, e.ret, e.crashed, e.is_read, *own)
        prepare(given, self.made, room, encoded.by_value, exact, encoded.initial, encoded.unobserved)

    def operations(self, key: int) -> Operations:
        """The operations of a key (counted from 0) as the kernel takes them."""
        made, start = self.made, self.starts[key]
        sizes = made.sizes[key]
        numbers = sizes.tolist()
        levels, kept, values = numbers[layout.LEVELS], numbers[layout.KEPT], numbers[layout.VALUES]
        first_level, first_value = start + key, 2 * start + 3 * key
        return Operations(
            each=made.each[start : start + kept],
            levels=made.levels[first_level : first_level + levels + 1],
            listed=made.listed[start : start + kept],
            values=made.values[first_value : first_value + values + 1] if values else made.values[:0],
            observers=made.observers[start : start + kept] if values else made.observers[:0],
            sizes=sizes,
        )

    def state(self, key: int, number: int) -> Any:
        """The state behind its number in the search of a key."""
        encoded = self.encoded
        if encoded.by_value:
            number = int(self.made.token[2 * self.starts[key] + 3 * key + number])
        return encoded.decode(number)

    @property
    def initial(self) -> int:
        """The number of the initial state."""
        return 0 if self.encoded.by_value else self.encoded.initial

    def offsets(self, key: int) -> Any:
        """Where each operation of a key, by its number, stood among the key's operations."""
        start = self.starts[key]
        places = self.made.place[start : start + int(self.made.sizes[key, layout.KEPT])]
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
        self._sizes: list[int] = self._operations.sizes.tolist()
        self._levels: int = self._sizes[layout.LEVELS]
        self._windows = self._make_windows()
        self._table = _NO_TABLE if encoded.answers is None else _empty_table(_TABLE_MIN)
        self._answered = 0
        # A branch looks at every pair of pending operations at worst.
        widest = len(self._windows.followers)
        self._slice = max(1, min(_SLICE_FIRST, _WORK_UNASKED // (widest * widest)))
        self._is_wide = self._slice < _SLICE_FIRST
        row_bytes = 8 * (layout.MASKS + len(self._windows.masks))
        capacity = min(2 * self._levels, _CAPACITY_FIRST, _FIRST_BYTES // row_bytes)
        self._memo = self._make_memo(max(_CAPACITY_MIN, capacity))
        self._status = layout.SOLVED if self._levels == 0 else layout.ONGOING
        if self._levels:
            self._memo.stack[0] = (layout.ROOT, layout.ROOT, prepared.initial)
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
        table = np.full(2, -1, dtype=_INT)
        rehash(np.zeros((1, layout.MASKS + 1), dtype=_LONG), table, table, 1)
        put_in_table(0, 0, _empty_table(2))

    @property
    def returns(self) -> int:
        """How many operations have to be put into an order."""
        return self._levels

    @property
    def configurations(self) -> int:
        """How many configurations were entered."""
        return int(self._registers[layout.CONFIGURATIONS])

    @property
    def bytes_used(self) -> int:
        """The memory that the search holds by now."""
        arrays = (*self._memo, self._table, *self._operations)
        states = self._encoded.answers.sizes.bytes_used if self._encoded.answers is not None else 0
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
        if self._status == layout.ONGOING and (stopped := self._exceeded(limits)):
            return self._unknown(stopped)
        watch = self._watch(limits) if self._is_wide else None
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

    def _exceeded(self, limits: Limits) -> str:
        """Why to stop now, in words; empty while there is no reason."""
        # A search that has just begun holds little, and need not be weighed where much is allowed.
        is_small = self.configurations == 0 and self._levels < _SMALL and limits.memory_bytes > _SMALL_BYTES
        if not is_small and self.bytes_used > limits.memory_bytes:
            return _OUT_OF_MEMORY
        return limits.exceeded()

    def _adapt(self, took_ns: int) -> None:
        """Slices of a length that interrupts are seen in good time."""
        if took_ns < _SLICE_NS // 2:
            self._slice = min(self._slice * 2, 1 << 24)
        elif took_ns > 2 * _SLICE_NS:
            self._slice = max(self._slice // 2, 1)

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
                if self._answered % _WEIGH_EVERY == 0 and (stopped := self._exceeded(limits)):
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
        if 2 * (self._answered + 1) > len(self._table):
            larger = _empty_table(4 * len(self._table))
            for question, answer in self._table[self._table[:, 0] >= 0].tolist():
                put_in_table(question, answer, larger)
            self._table = larger
        put_in_table((state << 32) | kind, answers.after(state, kind, layout.ILLEGAL), self._table)
        self._answered += 1

    def _make_windows(self) -> Windows:
        operations, sizes = self._operations, self._sizes
        widest = max(sizes[layout.COMPLETED_SLOTS], sizes[layout.CRASHED_SLOTS], 1)
        words = sizes[layout.MASK_WORDS] + sizes[layout.USED_WORDS]
        # One piece of memory for all that is small, as in what is prepared.
        longs = np.zeros(words + 2 * widest + sizes[layout.KINDS] + layout.DEEPEST_STATES_MAX, dtype=_LONG)
        followers_end = words + 2 * widest
        tried_end = followers_end + sizes[layout.KINDS]
        windows = Windows(
            slots=np.full((2, widest), -1, dtype=_INT),
            masks=longs[:words],
            followers=longs[words:followers_end].reshape(widest, 2),
            tried=longs[followers_end:tried_end],
            deepest_states=longs[tried_end:],
        )
        if self._levels:
            first = operations.listed[: operations.levels[1, layout.ENTERING], layout.ENTERING]
            rows = (first >= self._levels).astype(_INT)
            windows.slots[rows, operations.each[first, layout.SLOT]] = first
        return windows

    def _make_memo(self, capacity: int) -> Memo:
        stack = capacity + len(self._windows.followers) + 4
        return Memo(
            configurations=np.empty((capacity, layout.MASKS + len(self._windows.masks)), dtype=_LONG),
            table=np.full(_room(2 * capacity), -1, dtype=_INT),
            stack=np.empty((stack, layout.STACK_COLUMNS), dtype=_LONG),
        )

    def _grow(self, memory_bytes: int) -> bool:
        """Double what is full; no where that would take more memory than allowed."""
        memo = self._memo
        full = self.configurations >= len(memo.configurations) - 1
        growing = memo.configurations.nbytes + memo.table.nbytes if full else memo.stack.nbytes
        # Old and new stand side by side for a moment.
        if self.bytes_used + 2 * growing > memory_bytes:
            return False
        if full:
            table = np.full(2 * len(memo.table), -1, dtype=_INT)
            rehash(memo.configurations, memo.table, table, self._sizes[layout.MASK_WORDS])
            self._memo = memo._replace(configurations=_doubled(memo.configurations), table=table)
        else:
            self._memo = memo._replace(stack=_doubled(memo.stack))
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
        # Where what is bound to end is pruned, this is not where all orders end.
        prunes = self._encoded.by_value or self._encoded.is_specialized
        deepest = None if prunes else self.deepest()
        return SearchResult(Verdict.INVALID, self._levels, passed, self.configurations, deepest=deepest)

    def deepest(self) -> Deepest:
        """The furthest point that any order reached which was not given up before."""
        registers, operations = self._registers, self._operations
        offsets = self._prepared.offsets(self._key)
        level = int(registers[layout.DEEPEST_LEVEL])
        reached = self._memo.configurations[int(registers[layout.DEEPEST])].tolist()
        masks = reached[layout.MASKS :]
        pending = pending_at(level, operations)
        states = self._windows.deepest_states[: int(registers[layout.DEEPEST_STATES])].tolist()
        words = self._sizes[layout.MASK_WORDS]
        slots = operations.each[pending, layout.SLOT].tolist()
        return Deepest(
            impossible=int(offsets[level]),
            states=tuple(self._prepared.state(self._key, state) for state in states),
            pending=tuple(int(offsets[o]) for o in pending),
            linearized=frozenset(
                int(offsets[o])
                for o, slot in zip(pending, slots, strict=True)
                if _is_set(masks[:words] if o < self._levels else masks[words:], slot)
            ),
            prefix=self._order(reached[layout.PARENT], reached[layout.OPERATION]),
        )

    def _order(self, parent: int, operation: int) -> tuple[int, ...]:
        """The order that leads to where ``operation`` is linearized after the configuration ``parent``."""
        operations, memo = self._operations, self._memo
        order = np.empty(self._sizes[layout.KEPT] + 1, dtype=_INT)
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
    begun, over = operations.levels[level + 1].tolist()
    entered = operations.listed[:begun, layout.ENTERING].tolist()
    expired = operations.listed[:over, layout.EXPIRING].tolist()
    return sorted(o for o in set(entered).difference(expired) if o >= level)


def _doubled(array: Any) -> Any:
    return np.concatenate((array, np.empty_like(array)))


def _empty_table(size: int) -> Int64s:
    table = np.zeros((size, 2), dtype=_LONG)
    table[:, 0] = -1
    return table


_NO_TABLE: Final = _empty_table(2)


def _room(size: int) -> int:
    """The least power of two that is not less."""
    return 1 << max(1, (size - 1).bit_length())


def _is_set(words: Sequence[int], bit: int) -> bool:
    return bool(words[bit >> 6] >> (bit & 63) & 1)
