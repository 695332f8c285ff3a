"""Client sessions: what makes a retried request take effect once.

A client opens a session by a log entry, and the entry's position is the session's id, so an id is never used
twice. Each replicated request carries the session (``client``) and a sequence number (``seq``) that its client
counts up. The sessions remember the last sequence number of each client together with its reply: a copy of a
request that has taken effect is answered from there and not applied again. All of it is replicated state: it is in
every snapshot, and comes back after a restart. (Ongaro's thesis, section 6.3, is the source of the idea.)

There is no clock in here. A session ends by a log entry: ``close`` of its client, or ``expire``, which the leader
proposes for sessions that were silent for longer than their time to live. ``expire`` names, beside the session,
the position of the last entry of the session that the leader had applied: a session that was heard of in between,
in the order of the log, stays. The number of sessions is bounded: opening one too many ends the one that was
silent for longest and holds nothing.

A request of a session that is not there any more is refused with a code of its own (``SESSION_UNKNOWN``) and
never applied, so a client can never execute a request again by way of a second session without knowing it.

Commands, as they stand in the log::

    ["open", ttl_ms, sessions_max]      ["close", session]      ["expire", [[session, touched], ...]]
    ["do", session | null, seq | null, [type, key, arguments...]]
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from foreshock.targets.reference.node.codes import (
    MALFORMED,
    SEQUENCE_STALE,
    SESSION_UNKNOWN,
    TEMPORARILY_UNAVAILABLE,
    Body,
    error,
)
from foreshock.targets.reference.node.services.base import Operation, Service


class Session:
    """What is remembered of one client: its last request's number and reply, and when it was last heard of.

    ``touched`` is the position of the session's last log entry; ``ttl_ms`` is how long it may be silent.
    """

    __slots__ = ("reply", "sequence", "touched", "ttl_ms")

    def __init__(self, ttl_ms: int, touched: int, sequence: int = 0, reply: Body | None = None) -> None:
        self.ttl_ms = ttl_ms
        self.touched = touched
        self.sequence = sequence
        self.reply = reply


class Sessions:
    """The replicated state machine: sessions around the services. Equal logs give equal states and replies."""

    def __init__(self, services: Iterable[Service]) -> None:
        self.services: dict[str, Service] = {service.name: service for service in services}
        self._service_of = {kind: s for s in self.services.values() for kind in sorted(s.operations)}
        self._sessions: OrderedDict[int, Session] = OrderedDict()  # the longest silent one first

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session: int) -> Session | None:
        """The session, or ``None`` when there is none of this id (any more)."""
        return self._sessions.get(session)

    def names(self) -> list[int]:
        """The id of every session, the longest silent one first."""
        return list(self._sessions)

    def apply(self, position: int, command: Any) -> Body:
        """Apply the command of the log entry at ``position``; returns the reply's body, an error's included.

        Never raises: nonsense gets an error reply and changes nothing.
        """
        try:
            match command:
                case ["do", int() | None as client, sequence, operation]:
                    return self._do(position, client, sequence, operation)
                case ["open", int(ttl_ms), int(sessions_max)]:
                    return self._open(position, ttl_ms, sessions_max)
                case ["close", int(session)]:
                    return self._close(session)
                case ["expire", list(silent)]:
                    return self._expire(silent)
        except (TypeError, ValueError, LookupError) as problem:
            return error(MALFORMED, f"the log entry at {position} makes no sense: {problem!r}")
        return error(MALFORMED, f"the log entry at {position} holds no known command")

    def answered(self, session: Session, sequence: int) -> Body | None:
        """The one decision that makes a retry take effect once: the reply to a request that is not to be applied.

        ``None`` when the request is new to the session, and so is to be applied.
        """
        if sequence == session.sequence:
            return session.reply
        if sequence < session.sequence:
            return error(SEQUENCE_STALE, f"the session is past {sequence}: it is at {session.sequence}")
        return None

    def snapshot(self) -> Any:
        """The whole state as a JSON value."""
        sessions = [[i, s.ttl_ms, s.touched, s.sequence, s.reply] for i, s in self._sessions.items()]
        return {"sessions": sessions, "services": {n: s.snapshot() for n, s in self.services.items()}}

    def restore(self, data: Any) -> None:
        """Put the state of a snapshot in place of the present one; raises ``ValueError`` on nonsense."""
        try:
            sessions = OrderedDict((i, _session(i, *fields)) for i, *fields in data["sessions"])
            for name, service in self.services.items():
                service.restore(data["services"][name])
        except (TypeError, LookupError) as problem:
            raise ValueError(f"the snapshot of the state machine makes no sense: {problem!r}") from problem
        self._sessions = sessions

    def _do(self, position: int, client: int | None, sequence: Any, operation: Operation) -> Body:
        service = self._service_of[operation[0]]
        if client is None:
            return service.apply(None, operation)
        session = self._sessions.get(client)
        if session is None:
            return error(SESSION_UNKNOWN, f"there is no session {client}: it has expired or was closed")
        session.touched = position
        self._sessions.move_to_end(client)
        reply = self.answered(session, sequence)
        if reply is None:
            reply = service.apply(client, operation)
            session.sequence, session.reply = sequence, reply
        return reply

    def _open(self, position: int, ttl_ms: int, sessions_max: int) -> Body:
        if len(self._sessions) >= sessions_max:
            idle = next((i for i in self._sessions if not self._holds(i)), None)
            if idle is None:
                return error(
                    TEMPORARILY_UNAVAILABLE, f"all of the {sessions_max} sessions hold locks; try again later"
                )
            self._end(idle)
        self._sessions[position] = Session(ttl_ms, position)
        return {"type": "open_ok", "client": position, "ttl_ms": ttl_ms}

    def _close(self, session: int) -> Body:
        if session not in self._sessions:
            return error(SESSION_UNKNOWN, f"there is no session {session}: it has expired or was closed")
        self._end(session)
        return {"type": "close_ok"}

    def _expire(self, silent: list[Any]) -> Body:
        known = self._sessions
        ended = [i for i, touched in silent if i in known and known[i].touched == touched]
        for session in ended:
            self._end(session)
        return {"type": "expire_ok", "ended": ended}

    def _holds(self, session: int) -> bool:
        return any(service.holds(session) for service in self.services.values())

    def _end(self, session: int) -> None:
        del self._sessions[session]
        for service in self.services.values():
            service.end_session(session)


def _session(session: Any, ttl_ms: Any, touched: Any, sequence: Any, reply: Any) -> Session:
    """A session as a snapshot tells of it; raises ``TypeError`` on one that no sessions can have written."""
    if not all(type(number) is int for number in (session, ttl_ms, touched)) or not isinstance(
        reply, dict | None
    ):
        raise TypeError(f"there is no session {session!r} of {ttl_ms!r} ms, touched at {touched!r}")
    return Session(ttl_ms, touched, sequence, reply)
