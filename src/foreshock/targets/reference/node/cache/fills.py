"""Who may fill a key that a client has looked up in vain, and who waits for that.

One client fills a key at a time, so that a popular key that has run out is read from the origin once and not by
everybody at the same moment (a stampede). The others wait for it, but not for long.

A fill may come late, with a value that was overwritten and invalidated in the meantime: a *stale set*. :class:`Fills`
does not mind; :class:`LeasedFills` refuses it (Nishtala et al., "Scaling Memcache at Facebook", 2013, section 3.2.1).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from foreshock.targets.reference.node.cache.copy_node import Asker
from foreshock.targets.reference.node.cache.knobs import NEVER_NS
from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.cache.requests import Ticket

FILLS_MAX: Final = 10_000
"""How many keys may be being filled; the ticket that is the oldest of more is worth nothing any more."""


class Filling(NamedTuple):
    """A key that is being filled: by the holder of the ticket, who has until then; and who waits for it."""

    ticket: Ticket
    until_ns: int
    waiting: list[Asker]


class Fills:
    """The keys that are being filled. A key is given to the next in line when its fill takes too long."""

    def __init__(self, *, boot: int, wait_ns: int, protected: bool) -> None:
        self._boot = boot
        self._wait_ns = wait_ns
        self._protected = protected
        self._number = 0
        self._filling: OrderedDict[Key, Filling] = OrderedDict()
        self.crowded_out: list[Asker] = []
        """Who waited for a key that is no longer kept account of; the node is to tell them so."""

    def begin(self, key: Key, asker: Asker, now_ns: int) -> Ticket | None:
        """A ticket, or ``None``: somebody else fills the key, and the asker waits here."""
        filling = self._filling.get(key)
        if filling is not None and filling.until_ns > now_ns and self._protected:
            filling.waiting.append(asker)
            return None
        return self._issue(key, [] if filling is None else filling.waiting, now_ns)

    def admits(self, key: Key, ticket: Ticket) -> bool:  # noqa: ARG002
        """Whether what the holder of the ticket brings may be kept."""
        return ticket.boot == self._boot

    def end(self, key: Key) -> list[Asker]:
        """The key is filled: returns those who waited for it."""
        filling = self._filling.pop(key, None)
        return [] if filling is None else filling.waiting

    def void(self, key: Key, now_ns: int) -> tuple[Asker, Ticket] | None:  # noqa: ARG002
        """The key was invalidated; returns who is to fill it now, when it is somebody else than before."""
        return None

    def overdue(self, now_ns: int) -> list[tuple[Key, Asker, Ticket]]:
        """The fills that have taken too long: those who are next in line, with tickets of their own."""
        heirs = []
        while self._filling:
            key, filling = next(iter(self._filling.items()))
            if filling.until_ns > now_ns:
                break
            heir = self.pass_on(key, now_ns)
            if heir is not None:
                heirs.append((key, *heir))
        return heirs

    def forget(self, connection: int) -> None:
        """A client is gone, and waits no longer."""
        for filling in self._filling.values():
            filling.waiting[:] = [asker for asker in filling.waiting if asker.connection != connection]

    def waiting(self) -> int:
        """How many clients wait."""
        return sum(len(filling.waiting) for filling in self._filling.values())

    def next_ns(self) -> int:
        """When a fill has taken too long."""
        first = next(iter(self._filling.values()), None)  # all have equally long, so the oldest is the first
        return NEVER_NS if first is None else first.until_ns

    def _issue(self, key: Key, waiting: list[Asker], now_ns: int) -> Ticket:
        self._number += 1
        ticket = Ticket(self._boot, self._number, now_ns)
        self._filling.pop(key, None)
        self._filling[key] = Filling(ticket, now_ns + self._wait_ns, waiting)
        if len(self._filling) > FILLS_MAX:
            self.crowded_out += self._filling.popitem(last=False)[1].waiting
        return ticket

    def pass_on(self, key: Key, now_ns: int) -> tuple[Asker, Ticket] | None:
        """Let the next in line fill the key, while the others go on waiting."""
        filling = self._filling.pop(key, None)
        if filling is None or not filling.waiting:
            return None
        heir, *rest = filling.waiting
        return heir, self._issue(key, rest, now_ns)


class LeasedFills(Fills):
    """Only the ticket that was issued last may fill, and an invalidation makes it worth nothing."""

    def admits(self, key: Key, ticket: Ticket) -> bool:
        """Whether this is the ticket that was issued last, and nothing was invalidated since."""
        filling = self._filling.get(key)
        return filling is not None and filling.ticket == ticket

    def void(self, key: Key, now_ns: int) -> tuple[Asker, Ticket] | None:
        """The ticket that is out is worth nothing any more: the next in line gets one that is."""
        return self.pass_on(key, now_ns)
