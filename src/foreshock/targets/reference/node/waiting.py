"""Clients that wait for an answer: requests under way in the protocol, and clients that stand in line for a lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from foreshock.targets.reference.node.requests import Query, Replicate
from foreshock.targets.reference.node.wire import Message

_NEVER_NS = 1 << 62


class Asker(NamedTuple):
    """Whom to answer, and to which message."""

    connection: int
    message: Message


class Pending(NamedTuple):
    """A request under way. ``asker`` is ``None`` for the node's own; ``request`` says what to do in the end."""

    asker: Asker | None
    request: Replicate | Query | None
    deadline_ns: int


class PendingRequests:
    """The requests under way by number, oldest first; all are given the same time, so the oldest ends first.

    ``deadline_ns`` may be that of a request that has been answered: it is corrected when it comes.
    """

    def __init__(self, *, timeout_ns: int) -> None:
        self._timeout_ns = timeout_ns
        self._pending: dict[int, Pending] = {}
        self.deadline_ns = _NEVER_NS
        """No request has waited too long before."""

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, number: int, asker: Asker | None, request: Replicate | Query | None, now_ns: int) -> None:
        """Remember a request that is handed to the protocol under this number."""
        deadline_ns = now_ns + self._timeout_ns
        if not self._pending or self.deadline_ns == _NEVER_NS:
            self.deadline_ns = deadline_ns
        self._pending[number] = Pending(asker, request, deadline_ns)

    def take(self, number: int | None) -> Pending | None:
        """The request of this number, which is remembered no longer."""
        return None if number is None else self._pending.pop(number, None)

    def overdue(self, now_ns: int) -> list[Pending]:
        """Take away and return the requests that have waited too long."""
        if now_ns < self.deadline_ns:
            return []
        late = []
        self.deadline_ns = _NEVER_NS
        for number, pending in self._pending.items():
            if pending.deadline_ns > now_ns:
                self.deadline_ns = pending.deadline_ns
                break
            late.append(number)
        return [self._pending.pop(number) for number in late]


class Lines:
    """Clients that wait to hear that a lock was granted to them, by (session, key)."""

    def __init__(self) -> None:
        self._parked: dict[tuple[int, int | str], tuple[Asker, int]] = {}
        self.deadline_ns = _NEVER_NS
        """Nobody's wait ends before."""

    def __len__(self) -> int:
        return len(self._parked)

    def park(self, session: int, key: int | str, asker: Asker, until_ns: int) -> Asker | None:
        """Let a client wait; returns the asker that it takes the place of, an older attempt of the same client."""
        old = self._parked.pop((session, key), None)
        self._parked[session, key] = (asker, until_ns)
        self.deadline_ns = min(self.deadline_ns, until_ns)
        return old[0] if old else None

    def take(self, session: int, key: int | str) -> Asker | None:
        """The client that waits for this, which waits no longer."""
        parked = self._parked.pop((session, key), None)
        return parked[0] if parked else None

    def overdue(self, now_ns: int) -> Iterator[tuple[int, int | str, Asker]]:
        """Take away and yield those whose wait is over."""
        if now_ns < self.deadline_ns:
            return
        late = [name for name, (_, until_ns) in self._parked.items() if until_ns <= now_ns]
        for session, key in late:
            yield session, key, self._parked.pop((session, key))[0]
        self.deadline_ns = min((until_ns for _, until_ns in self._parked.values()), default=_NEVER_NS)

    def forget(self, connection: int) -> None:
        """A connection is gone, and so is everybody who waited on it."""
        gone = [name for name, (asker, _) in self._parked.items() if asker.connection == connection]
        for name in gone:
            del self._parked[name]
