"""The general search: is there a legal order of these operations, for any model?

It walks the events and keeps only the pending window (after Wing & Gong 1993 and Lowe 2017, but not over sets of
all operations). A configuration is (the return to come next, which operations of its window are already
linearized, the state). Between returns nothing needs deciding; at the return of an operation that is not yet
linearized, the search linearizes it, or first some other pending operation. Depth first, and no configuration is
entered twice: the memo compares whole keys, since a collision would be a false conviction. Nor is one entered that
differs from an earlier one only in that more crashed operations are used up: fewer are left to it.

What keeps it small, each sound by itself:

* a read that agrees with the state is linearized at once: the state stays, and fewer obligations are left;
* of operations that no model can tell apart only the one that returns first is tried (exchange argument);
* a crashed update is tried only where it changes the state, while something may still notice it, and just before
  a pending operation that would not end the same without it (later is as good, and never is better);
* a slot of the mask is freed when its operation returns, or can no longer be noticed.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from foreshock.checkers.entries import Entry
from foreshock.checkers.problem import ILLEGAL_STATE, Problem, Steps, Windows
from foreshock.harness.model import Model
from foreshock.harness.verdict import Verdict

Trail = tuple[int, Any] | None
"""Operations linearized so far, the last one first, as a chain of pairs that configurations share."""

_ASK_EVERY_MAX: Final = 512
_WORK_UNASKED: Final = 250_000
"""About how many operations are looked at before a search asks whether it has to stop."""
_STATES_MAX: Final = 64
_CONFIGURATION_BYTES: Final = 240
"""What a configuration costs in the memo, on the stack and in its trail, beyond its masks (170 measured)."""


@dataclass(frozen=True)
class Limits:
    """When a search has to give up. ``deadline_ns`` is on ``time.monotonic_ns()``."""

    deadline_ns: int
    memory_bytes: int
    should_stop: Callable[[], bool] = lambda: False

    def exceeded(self) -> str:
        """Why to stop now, in words; empty while there is no reason."""
        if time.monotonic_ns() >= self.deadline_ns:
            return "the deadline passed"
        return "it was interrupted" if self.should_stop() else ""


@dataclass(frozen=True)
class Deepest:
    """The furthest point that any order reached: the first return that no linearization survives.

    Offsets into the entries. ``states`` are those possible just before that return (at most 64 of them).
    """

    impossible: int
    states: tuple[Any, ...]
    pending: tuple[int, ...]
    linearized: frozenset[int]
    prefix: tuple[int, ...]


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    ``order`` is a legal order when valid (offsets into the entries; crashed operations that are not in it never
    took effect), ``deepest`` says where every order ended when invalid, if the search can tell, ``stopped`` says
    why it is unknown.
    """

    verdict: Verdict
    returns: int
    passed: int
    configurations: int
    order: tuple[int, ...] = ()
    deepest: Deepest | None = None
    stopped: str = ""


class Search:
    """One search, which can be run in slices: so one hard history need not hold up the others."""

    def __init__(self, entries: Sequence[Entry], model: Model) -> None:
        self._problem = problem = Problem(entries, model)
        self._windows = Windows(problem)
        self._steps = Steps(problem)
        self._entering_reads = [[o for o in new if problem.is_read[o]] for new in problem.enters]
        # A branch looks at every pair of operations in a window at worst.
        self._ask_every = max(1, min(_ASK_EVERY_MAX, _WORK_UNASKED // (problem.concurrency**2 + 1)))
        self._level_bits = max(problem.levels, 1).bit_length()
        self._memo: dict[int, list[int]] = {}
        self._stack: list[tuple[int, int, int, int, Trail, bool]] = []
        self._deepest_level = -1
        self._deepest_states: dict[int, None] = {}
        self._deepest: tuple[int, int, Trail] = (0, 0, None)
        self._solution: tuple[Trail] | None = None
        self.configurations = 0
        if problem.levels == 0:
            self._solution = (None,)
        else:
            self._enter(0, 0, 0, self._steps.initial, None)

    @property
    def returns(self) -> int:
        """How many operations have to be put into an order."""
        return self._problem.levels

    @property
    def bytes_used(self) -> int:
        """An estimate of the memory that the search holds by now (upper, within a factor of two)."""
        mask_bytes = self._problem.concurrency // 4
        return self.configurations * (_CONFIGURATION_BYTES + mask_bytes) + self._steps.sizes.bytes_used

    @property
    def progress(self) -> str:
        """How far the search has got, in words."""
        return f"{max(self._deepest_level, 0)} of {self._problem.levels} returns"

    def run(self, limits: Limits, configurations_max: int | None = None) -> SearchResult | None:
        """Search on until decided or a limit is reached; ``None`` after ``configurations_max`` more configurations."""
        stack = self._stack
        budget = self.configurations + configurations_max if configurations_max is not None else None
        if self._solution is None and (stopped := limits.exceeded()):
            return self._unknown(stopped)
        while self._solution is None and stack:
            if budget is not None and self.configurations >= budget:
                return None
            for _ in range(self._ask_every):
                self._branch(*stack.pop())
                if self._solution is not None or not stack:
                    break
            else:
                if stopped := limits.exceeded():
                    return self._unknown(stopped)
            if self.bytes_used > limits.memory_bytes:
                return self._unknown("its memory limit was reached")
        return self._valid(self._solution[0]) if self._solution is not None else self._invalid()

    def _branch(self, level: int, mask: int, used: int, state: int, trail: Trail, crashed: bool) -> None:
        """Try every pending operation as the next one; of those that returned, the one that returns first is first.

        Those that crashed come last, in a turn of their own (``crashed``) that legal histories seldom get to.
        """
        levels, bits = self._problem.levels, self._problem.bits
        window = self._windows.at(level)
        first_crashed = bisect_left(window, levels)
        completed = [o for o in window[:first_crashed] if not mask & bits[o]]
        if not crashed:
            if first_crashed < len(window):
                self._stack.append((level, mask, used, state, trail, True))
            for operation, next_state in reversed(self._followers(completed, state)):
                self._enter(level, mask | bits[operation], used, next_state, (operation, trail))
            return
        unused = [o for o in window[first_crashed:] if not used & bits[o]]
        for operation, next_state in reversed(self._followers(unused, state)):
            if self._is_noticed(state, next_state, operation, completed + unused):
                self._enter(level, mask, used | bits[operation], next_state, (operation, trail))

    def _followers(self, operations: list[int], state: int) -> list[tuple[int, int]]:
        """The updates among these operations that are legal, each with the state after it; one of each class."""
        problem, after = self._problem, self._steps.after
        classes, is_read = problem.classes, problem.is_read
        tried = set()
        followers = []
        for operation in operations:
            operation_class = classes[operation]
            # A read that is still unlinearized here disagrees with the state: it was tried on arrival.
            if is_read[operation] or operation_class in tried:
                continue
            tried.add(operation_class)
            next_state = after(state, operation_class)
            if next_state != ILLEGAL_STATE:
                followers.append((operation, next_state))
        return followers

    def _is_noticed(self, state: int, next_state: int, crashed: int, open_operations: list[int]) -> bool:
        """Whether some pending operation is legal after a crashed one and would end otherwise without it."""
        if next_state == state:
            return False
        after, classes = self._steps.after, self._problem.classes
        for operation in open_operations:
            end = after(next_state, classes[operation])
            if end != ILLEGAL_STATE and end != after(state, classes[operation]) and operation != crashed:
                return True
        return False

    def _enter(self, level: int, mask: int, used: int, state: int, trail: Trail) -> None:
        """Go on as far as nothing needs deciding; remember the configuration if it is new."""
        problem, after = self._problem, self._steps.after
        bits, classes, is_read = problem.bits, problem.classes, problem.is_read
        for operation in self._windows.at(level):
            if (
                is_read[operation]
                and not mask & bits[operation]
                and after(state, classes[operation]) == state
            ):
                mask |= bits[operation]
                trail = (operation, trail)
        while mask & bits[level]:
            mask ^= bits[level]
            level += 1
            if level == problem.levels:
                self._solution = (trail,)
                return
            used &= ~problem.expired_bits[level]
            for operation in self._entering_reads[level]:
                if after(state, classes[operation]) == state:
                    mask |= bits[operation]
                    trail = (operation, trail)
        if self._is_new(((mask << 32 | state) << self._level_bits) | level, used):
            self.configurations += 1
            self._stack.append((level, mask, used, state, trail, False))
            if level >= self._deepest_level:
                self._remember_deepest(level, mask, used, state, trail)

    def _is_new(self, key: int, used: int) -> bool:
        """Whether no configuration was entered yet that is the same with as many crashed operations left, or more."""
        entered = self._memo.get(key)
        if entered is None:
            self._memo[key] = [used]
            return True
        for other in entered:
            if other & used == other:
                return False
        entered.append(used)
        return True

    def _remember_deepest(self, level: int, mask: int, used: int, state: int, trail: Trail) -> None:
        if level > self._deepest_level:
            self._deepest_level = level
            self._deepest_states = {}
            self._deepest = (mask, used, trail)
        if len(self._deepest_states) < _STATES_MAX:
            self._deepest_states[state] = None

    def _valid(self, trail: Trail) -> SearchResult:
        levels = self._problem.levels
        order = self._offsets(trail)
        return SearchResult(Verdict.VALID, levels, levels, self.configurations, order=order)

    def _unknown(self, stopped: str) -> SearchResult:
        return SearchResult(
            Verdict.UNKNOWN,
            self._problem.levels,
            max(self._deepest_level, 0),
            self.configurations,
            stopped=stopped,
        )

    def _invalid(self) -> SearchResult:
        problem, level = self._problem, self._deepest_level
        if problem.is_specialized:
            # What comes later may have ended orders before their time: see ``deepest_by_parts.py``.
            return SearchResult(Verdict.INVALID, problem.levels, level, self.configurations)
        mask, used, trail = self._deepest
        window = self._windows.at(level)
        deepest = Deepest(
            impossible=problem.offsets[level],
            states=tuple(self._steps.states[state] for state in self._deepest_states),
            pending=tuple(problem.offsets[o] for o in window),
            linearized=frozenset(
                problem.offsets[o] for o in window if (mask if o < problem.levels else used) & problem.bits[o]
            ),
            prefix=self._offsets(trail),
        )
        return SearchResult(Verdict.INVALID, problem.levels, level, self.configurations, deepest=deepest)

    def _offsets(self, trail: Trail) -> tuple[int, ...]:
        order = []
        while trail is not None:
            operation, trail = trail
            order.append(self._problem.offsets[operation])
        return tuple(reversed(order))


def search(entries: Sequence[Entry], model: Model, limits: Limits) -> SearchResult:
    """Decide one history (of one key) by the general search, within the limits."""
    result = Search(entries, model).run(limits)
    assert result is not None  # no budget was set
    return result
