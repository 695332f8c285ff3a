"""The generator of workloads over keys that rotate: a few are active, each retires after so many updates.

Short histories a key are what makes every history decidable; several keys at a time are what makes the order
between them matter to the target. Values count up over the whole history, so they are distinct and never ``None``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from foreshock.harness.generator.base import PENDING, Context, Generator, Pending
from foreshock.harness.operation import Operation, OperationType


class Effect(Enum):
    """What an operation does to its key."""

    READ = "read"
    WRITE = "write"
    CAS = "cas"
    DELETE = "delete"


class Kind(NamedTuple):
    """One kind of operation: its name, what it does, and how likely it is beside the others."""

    f: str
    effect: Effect
    weight: int


class Slot(NamedTuple):
    """One active key: how many updates it still takes, and the value last seen or written there."""

    key: int
    updates_left: int
    seen: int | None


@dataclass(frozen=True, slots=True)
class RotatingKeys(Generator):
    """Random operations on the active keys, without end.

    Some threads only read. A process that also writes soon hangs on a node that has lost its quorum, and moves on;
    one that only reads stays there, and so it is the one to meet a stale node.

    A compare-and-set expects the value that was last seen, so that it has a chance; where none was seen yet it
    becomes a write (of the first kind that writes).
    """

    kinds: tuple[Kind, ...]
    updates_per_key: int
    readers: int
    """Threads below this number only read."""
    slots: tuple[Slot, ...]
    next_key: int
    next_value: int = 1

    @classmethod
    def over(
        cls, kinds: tuple[Kind, ...], *, active_keys: int, updates_per_key: int, readers: int = 0
    ) -> RotatingKeys:
        """The generator at the start of a test; ``kinds`` holds one that reads and one that writes."""
        slots = tuple(Slot(key, updates_per_key, None) for key in range(active_keys))
        return cls(kinds, updates_per_key, readers, slots, next_key=active_keys)

    def op(self, ctx: Context) -> tuple[Operation, Generator] | Pending:
        """One operation of a random free process on a random active key."""
        thread = ctx.some_free()
        if thread is None:
            return PENDING
        rng = ctx.rng
        place = rng.below(len(self.slots))
        slot = self.slots[place]
        kind = self._draw(rng.below(sum(kind.weight for kind in self.kinds)))
        if thread < self.readers:
            kind = self._first(Effect.READ)
        elif kind.effect is Effect.CAS and slot.seen is None:
            kind = self._first(Effect.WRITE)
        operation = Operation(
            f=kind.f,
            key=slot.key,
            value=self._value(kind.effect, slot),
            process=ctx.process(thread),
            time_ns=ctx.time_ns,
        )
        return operation, self if kind.effect is Effect.READ else self._after_update(place, kind.effect)

    def update(self, ctx: Context, event: Operation) -> Generator:  # noqa: ARG002
        """Learns from every ok completion what its key holds."""
        if event.type is not OperationType.OK:
            return self
        for place, slot in enumerate(self.slots):
            if slot.key == event.key:
                seen = self._learned(event)
                if seen is None or seen == slot.seen:
                    return self
                return self._with_slot(place, slot._replace(seen=seen))
        return self

    def _draw(self, ticket: int) -> Kind:
        for kind in self.kinds:
            ticket -= kind.weight
            if ticket < 0:
                return kind
        raise AssertionError("a ticket is below the sum of all weights")

    def _first(self, effect: Effect) -> Kind:
        return next(kind for kind in self.kinds if kind.effect is effect)

    def _value(self, effect: Effect, slot: Slot) -> object:
        if effect is Effect.WRITE:
            return self.next_value
        return [slot.seen, self.next_value] if effect is Effect.CAS else None

    def _after_update(self, place: int, effect: Effect) -> RotatingKeys:
        slot = self.slots[place]
        next_value = self.next_value + (effect is not Effect.DELETE)
        if slot.updates_left > 1:
            after = self._with_slot(place, slot._replace(updates_left=slot.updates_left - 1))
            return replace(after, next_value=next_value)
        after = self._with_slot(place, Slot(self.next_key, self.updates_per_key, None))
        return replace(after, next_key=self.next_key + 1, next_value=next_value)

    def _with_slot(self, place: int, slot: Slot) -> RotatingKeys:
        return replace(self, slots=(*self.slots[:place], slot, *self.slots[place + 1 :]))

    def _learned(self, event: Operation) -> int | None:
        effect = next((kind.effect for kind in self.kinds if kind.f == event.f), None)
        if effect is Effect.READ:
            found = event.result
        elif effect is Effect.CAS and isinstance(event.value, list | tuple):
            found = event.value[-1]
        else:
            found = event.value
        return found if isinstance(found, int) else None


class KeyJournal:
    """Which keys a test has used, kept by the workload as it performs operations, for the final phase."""

    def __init__(self, updates_per_key: int) -> None:
        self._updates_per_key = updates_per_key
        self._updates: dict[int, int] = {}

    def note(self, operation: Operation, *, update: bool) -> None:
        """An operation is about to be performed."""
        if isinstance(operation.key, int):
            self._updates[operation.key] = self._updates.get(operation.key, 0) + update

    def live(self, count_max: int) -> list[int]:
        """The keys that are not retired, in order; the newest ones where there are more than ``count_max``."""
        return self._newest(count_max, live=True)

    def retired(self, count_max: int) -> list[int]:
        """The newest ``count_max`` retired keys, in order."""
        return self._newest(count_max, live=False)

    def _newest(self, count_max: int, *, live: bool) -> list[int]:
        found = [
            key for key, updates in sorted(self._updates.items()) if (updates < self._updates_per_key) is live
        ]
        return found[-count_max:]
