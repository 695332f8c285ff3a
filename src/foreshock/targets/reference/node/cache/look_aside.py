"""A node that is no more than a store of copies: clients look aside into it, fill it, and invalidate it.

What a copy's age is counted from is the moment at which the ticket to fill it was issued, by this node's own clock:
the client reads the origin after that. So however late a fill arrives, no copy is used for longer than its time to
live after it was current.
"""

from __future__ import annotations

from typing import Any

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.cache.copy_node import Asker, CopyNode
from foreshock.targets.reference.node.cache.fills import Fills
from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.cache.requests import Fill, Invalidate, Lookup, Request, Ticket
from foreshock.targets.reference.node.cache.store import Copy
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.effects import Effects


class LookAsideNode(CopyNode):
    """Serves ``lookup``, ``fill`` and ``invalidate``, in the modes ``aside`` and ``leases``."""

    def __init__(self, *arguments: Any, fills: type[Fills]) -> None:
        super().__init__(*arguments)
        self._fills = fills(
            boot=self.boot,
            wait_ns=self._knobs.fill_wait_ms * 1_000_000,
            protected=self._knobs.stampede_protection,
        )

    def serve(self, request: Request, asker: Asker, now_ns: int, effects: Effects) -> bool:
        """Do what the client says."""
        if isinstance(request, Lookup):
            self._look_up(request.key, asker, now_ns, effects)
        elif isinstance(request, Fill):
            self._fill(request, asker, now_ns, effects)
        elif isinstance(request, Invalidate):
            self._invalidate(request.key, asker, now_ns, effects)
        else:
            return False
        return True

    def _look_up(self, key: Key, asker: Asker, now_ns: int, effects: Effects) -> None:
        copy = self._store.get(key)
        if copy is not None and copy.until_ns > now_ns:
            self.hits += 1
            self.reply(asker, _found(copy), effects)
            return
        self.misses += 1
        ticket = self._fills.begin(key, asker, now_ns)
        if ticket is not None:
            self._let_fill(key, asker, ticket, effects)
        crowded_out, self._fills.crowded_out = self._fills.crowded_out, []
        for other in crowded_out:
            text = "too many keys are being filled here"
            self.reply(other, error(codes.TEMPORARILY_UNAVAILABLE, text), effects)

    def _let_fill(self, key: Key, asker: Asker, ticket: Ticket, effects: Effects) -> None:
        """Send the client to the origin; a copy that has run out goes with it, in case it is still the right one."""
        body: Body = {"type": "lookup_ok", "hit": False, "ticket": list(ticket)}
        copy = self._store.get(key)
        if copy is not None:
            body |= {"version": copy.version, "as_of": copy.as_of, "value": copy.value}
        self.reply(asker, body, effects)

    def _fill(self, fill: Fill, asker: Asker, now_ns: int, effects: Effects) -> None:
        key, ticket = fill.key, fill.ticket
        term_ns = self._knobs.term_ns(fill.value)
        copy = Copy(fill.version, fill.as_of, fill.value, ticket.issued_ns + term_ns)
        admitted = ticket.issued_ns <= now_ns and self._fills.admits(key, ticket)
        kept = admitted and copy.until_ns > now_ns
        if kept:
            self._store.put(key, copy)
            for waiter in self._fills.end(key):  # what was brought is as fresh for them as a hit would be
                self.reply(waiter, _found(copy), effects)
        elif admitted:  # it may not be kept, so it is not for others either
            self._let_next_fill(key, self._fills.pass_on(key, now_ns), effects)
        self.reply(asker, {"type": "fill_ok", "kept": kept}, effects)

    def _invalidate(self, key: Key, asker: Asker, now_ns: int, effects: Effects) -> None:
        self._store.remove(key)
        self._let_next_fill(key, self._fills.void(key, now_ns), effects)
        self.reply(asker, {"type": "invalidate_ok"}, effects)

    def _let_next_fill(self, key: Key, heir: tuple[Asker, Ticket] | None, effects: Effects) -> None:
        if heir is not None:
            self._let_fill(key, *heir, effects)

    def on_close(self, connection: int, now_ns: int) -> Effects:
        """Who waited on that connection waits no longer."""
        self._fills.forget(connection)
        return self._finish(Effects(), now_ns)

    def heed(self, message: Any, now_ns: int, effects: Effects) -> None:
        """The origin has nothing to say to nodes that clients look aside into."""

    def pass_time(self, now_ns: int, effects: Effects) -> None:
        """Let others fill what was not filled in time."""
        for key, asker, ticket in self._fills.overdue(now_ns):
            self._let_fill(key, asker, ticket, effects)

    def waiting(self) -> int:
        """How many clients wait for somebody else's fill."""
        return self._fills.waiting()

    def next_ns(self) -> int:
        """When a fill has taken too long."""
        return self._fills.next_ns()


def _found(copy: Copy) -> Body:
    return {
        "type": "lookup_ok",
        "hit": True,
        "version": copy.version,
        "as_of": copy.as_of,
        "value": copy.value,
    }
