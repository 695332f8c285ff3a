"""When a session that fell silent may be ended: the only place where the node's clock meets the state machine.

The leader alone keeps this time. It starts a session's time anew whenever it *applies* an entry of the session; one
that becomes leader gives every session a full time to live from that moment. A session that was silent for longer
than its time to live, with a margin, is proposed for expiry together with the position of its last entry applied;
the entry takes effect only if no other entry of the session stands before it in the log (see ``sessions.py``).

Why the client of a lock has stopped believing before the lock can be granted to somebody else. Let the session's time
to live be T, and let a client believe in its lock until T after it *sent* (first) the last request that was
acknowledged, by its own clock. Call p the position of that request's entry.

1. The entry that ends the session, at position q, was proposed by a leader at a moment e.
2. If p < q, the ending names p (or a later entry of the session), or else it has no effect. So that leader had applied
   p before it proposed, and waited for T and the margin from that moment or from a later one by its clock. It applied
   p after the client had sent it, at s. So e is at least T and the margin after s.
3. If p > q, the session was gone when p was applied; so p was refused and not acknowledged, against what was assumed.
4. The next grant takes effect after q was applied, hence after e. The client stopped believing at s + T by its clock.
   With clocks that run at rates within the margin of one another, that is before e. A clock that jumps breaks this,
   and then only fencing tokens protect the resource: they do not depend on any clock.

A node that was stopped and goes on sees silence where requests only waited in its sockets: that costs a session its
life, but breaks nothing, for the time has really passed. A single-member restart begins as a new leader does.
"""

from __future__ import annotations

from typing import Any

from foreshock.targets.reference.node.sessions import Sessions

_NEVER_NS = 1 << 62
_RETRY_NS = 500_000_000


class Expiry:
    """The leader's view of when each session runs out. Times are ns of the node's monotonic clock."""

    def __init__(self, sessions: Sessions, *, margin_percent: int) -> None:
        self._sessions = sessions
        self._margin_percent = margin_percent
        self._due: dict[int, int] = {}
        self._leading = False
        self.deadline_ns = _NEVER_NS
        """No session runs out before; :meth:`silent` wants to be asked then."""

    def lead(self, leading: bool, now_ns: int) -> None:
        """Say whether this node leads; a new leader gives every session its full time."""
        if leading == self._leading:
            return
        self._leading = leading
        self._due.clear()
        self.deadline_ns = _NEVER_NS
        if leading:
            for session in self._sessions.names():
                self.touch(session, now_ns)

    def touch(self, session: int, now_ns: int) -> None:
        """An entry of the session was applied now."""
        if not self._leading:
            return
        state = self._sessions.get(session)
        if state is None:
            self._due.pop(session, None)
            return
        due = now_ns + state.ttl_ms * 10_000 * (100 + self._margin_percent)
        self._due[session] = due
        self.deadline_ns = min(self.deadline_ns, due)

    def silent(self, now_ns: int) -> list[Any]:
        """What an ``expire`` command names: the sessions that have run out by now, with their last positions.

        Each is named again half a second later, in case the command is lost, and until it is applied.
        """
        if now_ns < self.deadline_ns:
            return []
        silent = []
        deadline = _NEVER_NS
        for session in list(self._due):
            state = self._sessions.get(session)
            if state is None:
                del self._due[session]
                continue
            if self._due[session] <= now_ns:
                silent.append([session, state.touched])
                self._due[session] = now_ns + _RETRY_NS
            deadline = min(deadline, self._due[session])
        self.deadline_ns = deadline
        return silent
