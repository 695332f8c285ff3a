"""The lock service: mutual exclusion by name, one owner a session, granted in the order of asking.

Operations in the log, all of a session:

* ``["acquire", key, wait]``: take the lock if it is free. Otherwise ``wait`` says whether to stand in line. The reply
  has ``granted``; if it is false, ``queued`` says whether the session stands in line.
* ``["await", key]``: still waiting. Takes nothing, but, like every entry, keeps the session alive; the reply is as of
  ``acquire``.
* ``["withdraw", key]``: wait no longer. If the lock was granted in the meantime the reply says so, and it is held.
* ``["renew", key, token]``: refused unless the session holds the lock (by that grant); keeps the session alive.
* ``["release", key, token]``: give it back; refused unless the session holds it (by that grant).

Every grant of any lock has a *fencing token* greater than those of all grants before it. A lock is lost when its
session ends; nothing else takes it from its owner. There is no clock in here: how a session ends, and why its client
has stopped believing by then, is told in ``expiry.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar, NamedTuple

from foreshock.targets.reference.node.codes import MALFORMED, PRECONDITION_FAILED, Body, error
from foreshock.targets.reference.node.services.base import Operation

Key = int | str

_RELEASED: Body = {"type": "release_ok"}


class Granted(NamedTuple):
    """A session that stood in line was given the lock; the node tells its client if that waits for the news."""

    session: int
    key: Key
    token: int


class _Lock:
    """One lock that is held: who by, under which token, and who waits (an ordered set of sessions)."""

    __slots__ = ("line", "session", "token")

    def __init__(self, session: int, token: int, line: list[int]) -> None:
        self.session = session
        self.token = token
        self.line: OrderedDict[int, None] = OrderedDict.fromkeys(line)


class Locks:
    """All locks that are held, and the lines before them; a lock that nobody holds is not there at all."""

    name: ClassVar[str] = "lock"
    operations: ClassVar[frozenset[str]] = frozenset({"acquire", "await", "withdraw", "renew", "release"})

    def __init__(self) -> None:
        self._locks: dict[Key, _Lock] = {}
        self._keys_of: dict[int, OrderedDict[Key, None]] = {}  # held or stood in line for, by session
        self._grants = 0
        self.news: list[Granted] = []
        """Grants to sessions that stood in line, since the node last took them away. No part of the state."""

    def holder(self, key: Key) -> Body:
        """The answer to a query: who holds the lock and how many wait."""
        lock = self._locks.get(key)
        if lock is None:
            return {"type": "holder_ok", "client": None, "token": None, "waiting": 0}
        return {"type": "holder_ok", "client": lock.session, "token": lock.token, "waiting": len(lock.line)}

    def standing(self, session: int, key: Key) -> Body:
        """How the session stands with the lock at this moment: ``acquire_ok``, granted or not, queued or not."""
        lock = self._locks.get(key)
        if lock is not None and lock.session == session:
            return {"type": "acquire_ok", "granted": True, "token": lock.token}
        return {"type": "acquire_ok", "granted": False, "queued": lock is not None and session in lock.line}

    def apply(self, session: int | None, operation: Operation) -> Body:
        """Apply one operation of a session."""
        if session is None:
            return error(MALFORMED, "a lock needs a session to own it: give client and seq")
        match operation:
            case ["acquire", int() | str() as key, bool(wait)]:
                return self._acquire(session, key, wait)
            case ["await", int() | str() as key]:
                return self.standing(session, key)
            case ["withdraw", int() | str() as key]:
                return self._withdraw(session, key)
            case ["renew", int() | str() as key, token]:
                refusal = self._not_owner(session, key, token)
                return refusal or {"type": "renew_ok", "token": self._locks[key].token}
            case ["release", int() | str() as key, token]:
                return self._release(session, key, token)
        return error(MALFORMED, "the lock service knows no such operation")

    def holds(self, session: int) -> bool:
        """Whether the session holds a lock or stands in line for one."""
        return session in self._keys_of

    def end_session(self, session: int) -> None:
        """Take the session out of every line, and pass on what it held."""
        for key in list(self._keys_of.get(session, ())):
            lock = self._locks[key]
            if lock.session == session:
                self._pass_on(key)
            else:
                self._leave_line(session, key)

    def snapshot(self) -> Any:
        """``{"grants": n, "locks": [[key, session, token, [waiting sessions]], ...]}``."""
        locks = [[key, lock.session, lock.token, list(lock.line)] for key, lock in self._locks.items()]
        return {"grants": self._grants, "locks": locks}

    def restore(self, data: Any) -> None:
        """Take over the locks of a snapshot."""
        locks = {key: _Lock(session, token, line) for key, session, token, line in data["locks"]}
        self._grants, self._locks, self._keys_of = data["grants"], locks, {}
        for key, lock in locks.items():
            for session in (lock.session, *lock.line):
                self._keys_of.setdefault(session, OrderedDict())[key] = None

    def _acquire(self, session: int, key: Key, wait: bool) -> Body:
        lock = self._locks.get(key)
        if lock is None:
            token = self._grant(session, key, [])
            return {"type": "acquire_ok", "granted": True, "token": token}
        if lock.session == session:
            return error(PRECONDITION_FAILED, f"the session holds the lock {key!r} already")
        if wait and session not in lock.line:
            lock.line[session] = None
            self._keys_of.setdefault(session, OrderedDict())[key] = None
        return self.standing(session, key)

    def _withdraw(self, session: int, key: Key) -> Body:
        lock = self._locks.get(key)
        if lock is not None and session in lock.line:
            self._leave_line(session, key)
        return self.standing(session, key)

    def _release(self, session: int, key: Key, token: Any) -> Body:
        refusal = self._not_owner(session, key, token)
        if refusal is None:
            self._pass_on(key)
        return refusal or _RELEASED

    def _not_owner(self, session: int, key: Key, token: Any) -> Body | None:
        lock = self._locks.get(key)
        if lock is None or lock.session != session:
            return error(PRECONDITION_FAILED, f"the session does not hold the lock {key!r}")
        if token is not None and token != lock.token:
            return error(
                PRECONDITION_FAILED, f"the lock {key!r} is held by grant {lock.token}, not by the one named"
            )
        return None

    def _grant(self, session: int, key: Key, line: list[int]) -> int:
        self._grants += 1
        self._locks[key] = _Lock(session, self._grants, line)
        self._keys_of.setdefault(session, OrderedDict())[key] = None
        return self._grants

    def _pass_on(self, key: Key) -> None:
        lock = self._locks.pop(key)
        self._forget(lock.session, key)
        if lock.line:
            heir, *line = lock.line
            self.news.append(Granted(heir, key, self._grant(heir, key, line)))

    def _leave_line(self, session: int, key: Key) -> None:
        del self._locks[key].line[session]
        self._forget(session, key)

    def _forget(self, session: int, key: Key) -> None:
        keys = self._keys_of[session]
        del keys[key]
        if not keys:
            del self._keys_of[session]
