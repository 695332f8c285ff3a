"""A history made ready for the search of sequential consistency: threads, and who is still to see which value."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry, freeze
from foreshock.checkers.models.base import argument_of, asked
from foreshock.checkers.models.register import CAS, DELETES, READS, CasRegister, Register
from foreshock.checkers.problem import useful_horizons
from foreshock.harness.model import UNKNOWN, Model


class Item(NamedTuple):
    """An operation on a key (a number). A ``free`` one is optional, and not bound to the order of its process."""

    key: int
    entry: Entry
    free: bool = False


class Optional(NamedTuple):
    """An update that need not have happened: a bit of its own, and its thread."""

    operation: int
    bit: int
    thread: int
    after: int
    """How many operations of its thread come before it."""


class Problem:
    """The operations by thread, those that need not have happened apart, and the model's steps as numbers."""

    def __init__(self, items: Sequence[Item], model: Model) -> None:
        self.items, self.model = items, model
        self.keys = max((item.key for item in items), default=0) + 1
        reads = {f: asked(model, "is_read", f) for f in {item.entry.f for item in items}}
        self.is_read = [reads[item.entry.f] for item in items]
        self.key = [item.key for item in items]
        self._classify()
        unnoticed = self._unnoticed()
        by_process: dict[int, list[int]] = {}
        for operation in sorted(range(len(items)), key=lambda o: (items[o].entry.call, items[o].entry.ret)):
            by_process.setdefault(items[operation].entry.process, []).append(operation)
        self.threads: list[list[int]] = []
        self.optional: list[Optional] = []
        self.place: dict[int, tuple[int, int]] = {}
        for operations in by_process.values():
            thread: list[int] = []
            for operation in operations:
                entry, free = items[operation].entry, items[operation].free
                if not entry.crashed and not free:
                    self.place[operation] = (len(self.threads), len(thread))
                    thread.append(operation)
                elif not self.is_read[operation] and operation not in unnoticed:
                    bit = 1 << len(self.optional)
                    after = 0 if free else len(thread)
                    self.optional.append(Optional(operation, bit, len(self.threads), after))
            self.threads.append(thread)
        self.operations = len(self.place)
        self.demands = Demands(self) if type(model) in (Register, CasRegister) else None

    def _classify(self) -> None:
        numbers: dict[Hashable, int] = {}
        self.classes: list[int] = []
        self.arguments: list[tuple[str, Any, Any]] = []
        for item in self.items:
            entry = item.entry
            unknown = (entry.crashed or item.free) and entry.result is None
            argument, result = argument_of(self.model, entry), UNKNOWN if unknown else entry.result
            number = numbers.setdefault((entry.f, freeze(argument), freeze(result)), len(numbers))
            if number == len(self.arguments):
                self.arguments.append((entry.f, argument, result))
            self.classes.append(number)

    def _unnoticed(self) -> set[int]:
        """The optional updates that nothing on their key can ever notice, whatever the order."""
        of_key: dict[int, list[int]] = {}
        for operation, item in enumerate(self.items):
            of_key.setdefault(item.key, []).append(operation)
        found = set()
        for operations in of_key.values():
            entries = [self.items[o].entry for o in operations]
            optional = [e.crashed or self.items[o].free for e, o in zip(entries, operations, strict=True)]
            if not any(optional):
                continue
            # All at once, for here time excludes nothing.
            timeless = [
                e._replace(call=0, ret=NEVER if maybe else 1, crashed=maybe)
                for e, maybe in zip(entries, optional, strict=True)
            ]
            horizons = useful_horizons(self.model, timeless)
            found |= {o for o, horizon in zip(operations, horizons, strict=True) if horizon == UNNOTICED}
        return found


class Demands:
    """For each value of each register who is still to observe it, and who is still to write it."""

    def __init__(self, problem: Problem) -> None:
        self._observers: dict[tuple[int, Any], dict[int, int]] = {}
        self._writers: dict[tuple[int, Any], dict[int, int]] = {}
        self._optional: dict[tuple[int, Any], int] = {}
        for operation, (thread, position) in problem.place.items():
            key, entry = problem.items[operation].key, problem.items[operation].entry
            if entry.f in READS or entry.f == CAS:
                seen = freeze(entry.result if entry.f in READS else entry.value[0])
                observers = self._observers.setdefault((key, seen), {})
                observers[thread] = max(observers.get(thread, -1), position)
            if entry.f not in READS:
                writers = self._writers.setdefault((key, _written(entry)), {})
                writers[thread] = max(writers.get(thread, -1), position)
        for optional in problem.optional:
            value = (problem.items[optional.operation].key, _written(problem.items[optional.operation].entry))
            self._optional[value] = self._optional.get(value, 0) | optional.bit
        initial = problem.model.initial()
        self.from_nowhere = any(
            value[1] != initial and value not in self._writers and value not in self._optional
            for value in self._observers
        )

    def is_missed(self, key: int, value: Any, positions: Sequence[int], used: int) -> bool:
        """Whether somebody is still to observe a value that nobody is still to write."""
        observers = self._observers.get((key, value))
        if observers is None or self._optional.get((key, value), 0) & ~used:
            return False
        if not any(positions[thread] <= last for thread, last in observers.items()):
            return False
        writers = self._writers.get((key, value), {})
        return not any(positions[thread] <= last for thread, last in writers.items())


def _written(entry: Entry) -> Any:
    if entry.f in DELETES:
        return None
    return freeze(entry.value[1] if entry.f == CAS else entry.value)
