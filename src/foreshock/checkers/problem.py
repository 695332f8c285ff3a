"""A history made ready for the search: returns in order, the window of pending operations before each, slots.

Operations are numbered so that the search needs no look-up: the completed ones by their return (operation ``j`` is
the one that returns ``j``-th, and *level* ``j`` is the moment just before), then the crashed ones by their call.
So the first operation in the window of level ``j`` is always ``j`` itself.
"""

from __future__ import annotations

import heapq
from bisect import insort
from collections.abc import Hashable, Sequence

from foreshock.checkers.answers import Answers, Question
from foreshock.checkers.entries import NEVER, Entry, freeze
from foreshock.checkers.models.base import KnowsWhatCrashesMatter, Specializes, argument_of, asked
from foreshock.harness.model import UNKNOWN, Model

ILLEGAL_STATE = -1
"""What :meth:`Steps.after` answers for an operation that the state does not allow."""

_CHECKPOINT_MIN = 64


class Problem:
    """One key's history as the search sees it.

    Left out are crashed reads, and crashed updates that no later operation can notice. ``levels`` is the number of
    returns; ``classes[operation]`` is equal for operations that no model can tell apart.
    """

    def __init__(self, entries: Sequence[Entry], model: Model) -> None:
        self.model = specialized(model, entries)
        self.is_specialized = self.model is not model
        reads = is_reading(model, entries)
        horizons = useful_horizons(model, entries)
        completed = [o for o, e in enumerate(entries) if not e.crashed]
        completed.sort(key=lambda o: (entries[o].ret, entries[o].call))
        last = entries[completed[-1]].ret if completed else -NEVER
        crashed = [
            o
            for o, e in enumerate(entries)
            if e.crashed and not reads[e.f] and e.call <= min(horizons[o], last)
        ]
        crashed.sort(key=lambda o: entries[o].call)
        order = completed + crashed
        self.offsets = order
        self.operations = [entries[o] for o in order]
        self.levels = len(completed)
        self.is_read = [reads[e.f] for e in self.operations]
        self.classes, self.arguments = questions_of(self.model, self.operations)
        self._place([horizons[o] for o in crashed])

    def _place(self, horizons: list[int]) -> None:
        """Work out when each operation enters and leaves the window, and which bit of its mask it owns meanwhile.

        Completed operations and crashed ones have a mask each.
        """
        operations, levels = self.operations, self.levels
        calls = sorted(range(len(operations)), key=lambda o: operations[o].call)
        expiries = sorted((horizon, levels + c) for c, horizon in enumerate(horizons))
        self.bits = [0] * len(operations)
        self.enters: list[list[int]] = []
        self.expires: list[list[int]] = []
        self.expired_bits: list[int] = []
        completed_slots, crashed_slots = _Slots(), _Slots()
        called = expired = 0
        for level in range(levels):
            position = operations[level].ret
            gone = []
            while expired < len(expiries) and expiries[expired][0] < position:
                gone.append(expiries[expired][1])
                expired += 1
            new = []
            while called < len(calls) and operations[calls[called]].call <= position:
                new.append(calls[called])
                called += 1
            # One that entered and expired between two returns was never in any window.
            new = sorted(set(new) - set(gone)) if gone else sorted(new)
            gone = [o for o in gone if self.bits[o]]
            if level:
                completed_slots.free(self.bits[level - 1])
            for o in gone:
                crashed_slots.free(self.bits[o])
            for o in new:
                self.bits[o] = (completed_slots if o < levels else crashed_slots).take()
            self.enters.append(new)
            self.expires.append(gone)
            self.expired_bits.append(sum(self.bits[o] for o in gone))
        self.slots = completed_slots.count + crashed_slots.count

    @property
    def concurrency(self) -> int:
        """The greatest number of operations in one window: the width of both masks, in bits."""
        return self.slots


class _Slots:
    """Bits of a mask that are handed out, the lowest free one first, and come back."""

    def __init__(self) -> None:
        self.count = 0
        self._free: list[int] = []

    def take(self) -> int:
        if not self._free:
            self.count += 1
            return 1 << (self.count - 1)
        return 1 << heapq.heappop(self._free)

    def free(self, bit: int) -> None:
        heapq.heappush(self._free, bit.bit_length() - 1)


class Windows:
    """The window of each level, rebuilt from checkpoints: memory linear in the history, whatever its concurrency.

    A checkpoint is set down when as much has changed since the last one as a window holds, so that coming back to
    a level costs about as much as reading its window.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._checkpoints: dict[int, list[int]] = {}
        self._nearest: list[int] = []
        self._level = -1
        self._window: list[int] = []
        changed = _CHECKPOINT_MIN
        nearest = 0
        window: list[int] = []
        for level in range(problem.levels):
            self._advance(window, level)
            changed += len(problem.enters[level]) + len(problem.expires[level]) + 1
            if changed >= max(_CHECKPOINT_MIN, len(window)):
                self._checkpoints[level] = window.copy()
                nearest = level
                changed = 0
            self._nearest.append(nearest)

    def at(self, level: int) -> list[int]:
        """The operations pending just before return ``level``, those that return first in front. Not to be kept."""
        if level == self._level:
            return self._window
        nearest = self._nearest[level]
        if not nearest <= self._level < level:
            self._window = self._checkpoints[nearest].copy()
            self._level = nearest
        while self._level < level:
            self._level += 1
            self._advance(self._window, self._level)
        return self._window

    def _advance(self, window: list[int], level: int) -> None:
        if level:
            del window[0]
        for operation in self._problem.expires[level]:
            window.remove(operation)
        for operation in self._problem.enters[level]:
            insort(window, operation)


class Steps:
    """The model's ``step``, tabulated as it is needed: states are numbers, operations are classes."""

    def __init__(self, problem: Problem) -> None:
        self._answers = answers = Answers(problem.model, problem.arguments)
        self._table: list[dict[int, int]] = [{}]
        self.states, self.sizes, self.initial = answers.states, answers.sizes, answers.initial

    def after(self, state: int, operation_class: int) -> int:
        """The number of the state after an operation of that class, or :data:`ILLEGAL_STATE`."""
        row = self._table[state]
        answer = row.get(operation_class)
        if answer is None:
            answer = row[operation_class] = self._answers.after(state, operation_class, ILLEGAL_STATE)
            if len(self.states) > len(self._table):
                self._table.append({})
        return answer


def is_reading(model: Model, entries: Sequence[Entry]) -> dict[str, bool]:
    """Which of the names of these operations are those of reads."""
    return {f: asked(model, "is_read", f) for f in {entry.f for entry in entries}}


def specialized(model: Model, entries: Sequence[Entry]) -> Model:
    """The smallest model that serves for a history of these operations."""
    return asked(model, "specialized", entries) if isinstance(model, Specializes) else model


def questions_of(model: Model, entries: Sequence[Entry]) -> tuple[list[int], list[Question]]:
    """The class of each operation, equal for those that the model cannot tell apart, and the question of each class."""
    canonical = getattr(model, "canonical", None)
    numbers: dict[Hashable, int] = {}
    classes: list[int] = []
    questions: list[Question] = []
    for e in entries:
        result = UNKNOWN if e.crashed and e.result is None else e.result
        question = (e.f, argument_of(model, e), result)
        identity = (
            (e.f, freeze(question[1]), freeze(result))
            if canonical is None
            else asked(model, "canonical", *question)
        )
        number = numbers.setdefault(identity, len(numbers))
        if number == len(questions):
            questions.append(question)
        classes.append(number)
    return classes, questions


def useful_horizons(model: Model, entries: Sequence[Entry]) -> list[int]:
    """The last position at which each crashed entry can matter: for ever, unless the model knows better."""
    if isinstance(model, KnowsWhatCrashesMatter):
        horizons: list[int] = asked(model, "useful_until", entries)
        return horizons
    return [NEVER] * len(entries)
