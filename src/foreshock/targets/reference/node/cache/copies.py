"""The origins that keep account of copies: the one takes them back after a write, the other before."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, NamedTuple

from foreshock.targets.reference.node.cache.database import Begun, Done, Row, Write
from foreshock.targets.reference.node.cache.grants import Outstanding
from foreshock.targets.reference.node.cache.knobs import NEVER_NS
from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.cache.origin import Origin, Passing, Writer
from foreshock.targets.reference.node.effects import Effects

_EARLIER_LIVES: Final = "(earlier lives)"
"""Stands for all nodes that may have a lease of an origin that is no more. No node has such a name."""


class Answerable(NamedTuple):
    """A write that is durable, and is answered when its copies are gone, or at this time."""

    writer: Writer
    done: Done
    term_ns: int
    at_ns: int


class WriteThroughOrigin(Origin):
    """Takes back every copy after a write; a node that does not answer is asked until its copy has run out.

    The writer waits for that, but not for long: a node that is cut off costs freshness, no writes.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._answerable: dict[int, Answerable] = {}

    def _may_grant(self, key: Key) -> bool:  # noqa: ARG002
        return True

    def _waiting(self) -> int:
        return len(self._answerable)

    def _write(self, key: Key, value: Any, writer: Writer, now_ns: int, effects: Effects) -> None:  # noqa: ARG002
        self._submit(Write(key, value), partial(self._committed, key, writer))

    def _committed(self, key: Key, writer: Writer, done: Done, now_ns: int, effects: Effects) -> None:
        row = done.result
        if not isinstance(row, Row):
            self._answer_write(writer, done, effects)
            return
        holders = self._grants.take(key, now_ns)
        # What a node that passed the write on keeps is the new value: the next write takes it back from there.
        term_ns = self._grant(key, row.value, writer.node, now_ns) if isinstance(writer, Passing) else 0
        if not holders:
            self._answer_write(writer, done, effects, term_ns=term_ns)
            return
        number = self._recall(Outstanding(key, row.version, holders), now_ns, effects)
        at_ns = now_ns + self._knobs.invalidation_wait_ms * 1_000_000
        self._answerable[number] = Answerable(writer, done, term_ns, at_ns)

    def _recalled(self, number: int, now_ns: int, effects: Effects) -> None:  # noqa: ARG002
        answerable = self._answerable.pop(number, None)
        if answerable is not None:
            writer, done, term_ns, _ = answerable
            self._answer_write(writer, done, effects, term_ns=term_ns)

    def _pass_time(self, now_ns: int, effects: Effects) -> None:
        super()._pass_time(now_ns, effects)
        for number in [n for n, answerable in self._answerable.items() if answerable.at_ns <= now_ns]:
            self._recalled(number, now_ns, effects)

    def _next_ns(self) -> int:
        first = next(
            iter(self._answerable.values()), None
        )  # all wait equally long, so the oldest is the first
        return NEVER_NS if first is None else first.at_ns


class LeasingOrigin(Origin):
    """Writes only when nobody has a lease on the key: every holder has given it back, or it has run out.

    While a write waits or is being made durable, no lease on its key is granted; readers get the value that is still
    the current one, for this once. An origin that starts anew does not know who holds what: it lets the longest
    lease that an earlier life may have granted, which the database remembers, run out before its first write.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._queues: dict[Key, list[tuple[Any, Writer]]] = {}
        """The writes that wait, by key; a key that is being written is there, though its list may be empty."""
        self._queued = 0
        self._committing: dict[Key, int] = {}
        self._recalling: dict[int, Key] = {}
        self._grace_ns = 0

    def _lease_ms_max(self) -> int:
        return max(self._knobs.lease_ms, 1)

    def _began(self, begun: Begun, now_ns: int) -> None:
        self._grace_ns = now_ns + self._grants.lasts_ns(begun.lease_ms_before * 1_000_000)

    def _may_grant(self, key: Key) -> bool:
        return key not in self._queues

    def _waiting(self) -> int:
        return self._queued

    def _write(self, key: Key, value: Any, writer: Writer, now_ns: int, effects: Effects) -> None:
        self._queued += 1
        queue = self._queues.get(key)
        if queue is not None:
            queue.append((value, writer))
            return
        self._queues[key] = [(value, writer)]
        holders = self._grants.take(key, now_ns)
        if now_ns < self._grace_ns:
            holders[_EARLIER_LIVES] = self._grace_ns
        if holders:
            self._recalling[self._recall(Outstanding(key, None, holders), now_ns, effects)] = key
        else:
            self._commit(key)

    def _recalled(self, number: int, now_ns: int, effects: Effects) -> None:  # noqa: ARG002
        self._commit(self._recalling.pop(number))

    def _commit(self, key: Key) -> None:
        """Nobody has a lease: write all that waits, in its order."""
        batch, self._queues[key] = self._queues[key], []
        self._queued -= len(batch)
        self._committing[key] = len(batch)
        for value, writer in batch:
            self._submit(Write(key, value), partial(self._committed, key, writer))

    def _committed(self, key: Key, writer: Writer, done: Done, now_ns: int, effects: Effects) -> None:  # noqa: ARG002
        self._answer_write(writer, done, effects)
        self._committing[key] -= 1
        if self._committing[key]:
            return
        del self._committing[key]
        if self._queues[key]:
            self._commit(key)
        else:
            del self._queues[key]
