"""The generator of workloads over keys that rotate: a few are active, each retires after so many updates.

Short histories a key are what makes every history decidable; several keys at a time are what makes the order
between them matter to the target. Values count up over the whole history, so they are distinct and never ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from foreshock.harness.generator.base import PENDING, Context, Generator, Pending
from foreshock.harness.operation import Operation, OperationType
from foreshock.harness.randomness import RandomStream


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


class Mix(NamedTuple):
    """The part of the generator that never changes."""

    kinds: tuple[Kind, ...]
    effects: Mapping[str, Effect]
    read: Kind
    write: Kind
    weight: int
    """Of all kinds together."""
    updates_per_key: int
    readers: int
    """Threads below this number only read."""

    @classmethod
    def of(cls, kinds: tuple[Kind, ...], *, updates_per_key: int, readers: int = 0) -> Mix:
        """The mix of some kinds, of which one reads and one writes."""
        return cls(
            kinds=kinds,
            effects={kind.f: kind.effect for kind in kinds},
            read=next(kind for kind in kinds if kind.effect is Effect.READ),
            write=next(kind for kind in kinds if kind.effect is Effect.WRITE),
            weight=sum(kind.weight for kind in kinds),
            updates_per_key=updates_per_key,
            readers=readers,
        )

    def draw(self, rng: RandomStream) -> Kind:
        """One of the kinds, by weight."""
        ticket = rng.below(self.weight)
        for kind in self.kinds:
            ticket -= kind.weight
            if ticket < 0:
                return kind
        raise AssertionError("a ticket is below the sum of all weights")

    def learned(self, event: Operation) -> int | None:
        """The value that the event's key is known to have held; ``None`` when that is absence or unknown."""
        effect = self.effects.get(event.f)
        found = event.result if effect is Effect.READ else event.value
        if effect is Effect.CAS and isinstance(found, list | tuple):
            found = found[-1]
        return found if isinstance(found, int) else None


class Slot(NamedTuple):
    """One active key: how many updates it still takes, and the value last seen or written there."""

    key: int
    updates_left: int
    seen: int | None


class RotatingKeys(Generator):
    """Random operations on the active keys, without end; immutable.

    Some threads only read. A process that also writes soon hangs on a node that has lost its quorum, and moves on;
    one that only reads stays there, and so it is the one to meet a stale node.

    A compare-and-set expects the value that was last seen, so that it has a chance; where none was seen yet it
    becomes a write.
    """

    __slots__ = ("mix", "next_key", "next_value", "slots")

    def __init__(self, mix: Mix, slots: tuple[Slot, ...], next_key: int, next_value: int) -> None:
        self.mix = mix
        self.slots = slots
        self.next_key = next_key
        self.next_value = next_value

    @classmethod
    def over(cls, mix: Mix, *, active_keys: int) -> RotatingKeys:
        """The generator at the start of a test."""
        slots = tuple(Slot(key, mix.updates_per_key, None) for key in range(active_keys))
        return cls(mix, slots, next_key=active_keys, next_value=1)

    def op(self, ctx: Context) -> tuple[Operation, Generator] | Pending:
        """One operation of a random free process on a random active key."""
        thread = ctx.some_free()
        if thread is None:
            return PENDING
        rng, mix = ctx.rng, self.mix
        place = rng.below(len(self.slots))
        slot = self.slots[place]
        kind = mix.read if thread < mix.readers else mix.draw(rng)
        if kind.effect is Effect.CAS and slot.seen is None:
            kind = mix.write
        value: object = None
        if kind.effect is Effect.WRITE:
            value = self.next_value
        elif kind.effect is Effect.CAS:
            value = [slot.seen, self.next_value]
        operation = Operation(
            f=kind.f, key=slot.key, value=value, process=ctx.process(thread), time_ns=ctx.time_ns
        )
        return operation, self if kind.effect is Effect.READ else self._updated(place, value)

    def update(self, ctx: Context, event: Operation) -> Generator:  # noqa: ARG002
        """Learns from every ok completion what its key holds."""
        if event.type is not OperationType.OK:
            return self
        for place, slot in enumerate(self.slots):
            if slot.key == event.key:
                seen = self.mix.learned(event)
                if seen is None or seen == slot.seen:
                    return self
                slots = self._with(place, Slot(slot.key, slot.updates_left, seen))
                return RotatingKeys(self.mix, slots, self.next_key, self.next_value)
        return self

    def _updated(self, place: int, value: object) -> RotatingKeys:
        """After an update of a key, which retires when that was its last one."""
        slot = self.slots[place]
        next_key, next_value = self.next_key, self.next_value + (value is not None)
        if slot.updates_left > 1:
            after = Slot(slot.key, slot.updates_left - 1, slot.seen)
        else:
            after = Slot(next_key, self.mix.updates_per_key, None)
            next_key += 1
        return RotatingKeys(self.mix, self._with(place, after), next_key, next_value)

    def _with(self, place: int, slot: Slot) -> tuple[Slot, ...]:
        return (*self.slots[:place], slot, *self.slots[place + 1 :])


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
