"""The lock service: locks by name, each owner a session, granted in the order of asking.

Operations in the log, all of a session:

* ``["acquire", key, wait]`` or ``["acquire", key, wait, mode, permits]``: take the lock if it can be had. Otherwise
  ``wait`` says whether to stand in line. The reply has ``granted``; if it is false, ``queued`` says whether the session
  stands in line.
* ``["await", key]``: still waiting. Takes nothing, but, like every entry, keeps the session alive; the reply is as of
  ``acquire``.
* ``["withdraw", key]``: wait no longer. If the lock was granted in the meantime the reply says so, and it is held.
* ``["renew", key, token]``: refused unless the session holds the lock (by that grant); keeps the session alive.
* ``["release", key, token]``: give it back; refused unless the session holds it (by that grant).

The *mode* says with whom a holder shares the lock: ``exclusive`` (a mutex), ``reentrant`` and ``write`` with nobody,
``read`` with other readers, ``permit`` with so many others as make ``permits`` holders together (a semaphore). A
holder's acquire is refused, but that of a ``reentrant`` lock counts: it is the same grant once more, ``depth`` in the
reply says how often it is held, and it takes as many releases to let it go.

Waiting is first come, first served in every mode: nobody overtakes whoever stands in line, so that readers who keep
coming do not keep a writer waiting for ever (Courtois, Heymans & Parnas 1971 show both unfair ways).

Every grant of any lock has a *fencing token* greater than those of all grants before it. A lock is lost when its
session ends; nothing else takes it from its owner. There is no clock in here: how a session ends, and why its client
has stopped believing by then, is told in ``expiry.py``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, ClassVar, Final, NamedTuple

from foreshock.targets.reference.node.codes import MALFORMED, PRECONDITION_FAILED, Body, error
from foreshock.targets.reference.node.services.base import Operation

Key = int | str

EXCLUSIVE: Final = "exclusive"
REENTRANT: Final = "reentrant"
READ: Final = "read"
WRITE: Final = "write"
PERMIT: Final = "permit"
MODES: Final = (EXCLUSIVE, REENTRANT, READ, WRITE, PERMIT)
PERMITS_MAX: Final = 1_000_000
DEPTH_MAX: Final = 1_000_000
"""How often a re-entrant lock can be held by its owner."""

_RELEASED: Body = {"type": "release_ok"}


class Granted(NamedTuple):
    """A session that stood in line was given the lock; the node tells its client if that waits for the news."""

    session: int
    key: Key
    token: int


class Wish(NamedTuple):
    """In which mode a session holds a lock or wants to; ``permits`` is 1 but for a semaphore."""

    mode: str = EXCLUSIVE
    permits: int = 1


class Hold(NamedTuple):
    """How a session holds a lock: by which grant, in which mode, and how often."""

    token: int
    wish: Wish
    depth: int = 1


class _Lock:
    """One lock that is held: who by and how, and who waits for what, in order. The first holder is the oldest."""

    __slots__ = ("holders", "line")

    def __init__(self, holders: OrderedDict[int, Hold], line: OrderedDict[int, Wish]) -> None:
        self.holders = holders
        self.line = line


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
        """The answer to a query: who holds the lock (the oldest holder, and all of them) and how many wait."""
        lock = self._locks.get(key)
        if lock is None:
            return {"type": "holder_ok", "client": None, "token": None, "waiting": 0, "holders": []}
        client, hold = next(iter(lock.holders.items()))
        holders = [[session, hold.token] for session, hold in lock.holders.items()]
        return {
            "type": "holder_ok",
            "client": client,
            "token": hold.token,
            "waiting": len(lock.line),
            "holders": holders,
        }

    def standing(self, session: int, key: Key) -> Body:
        """How the session stands with the lock at this moment: ``acquire_ok``, granted or not, queued or not."""
        lock = self._locks.get(key)
        hold = None if lock is None else lock.holders.get(session)
        if hold is not None:
            return _granted(hold)
        return {"type": "acquire_ok", "granted": False, "queued": lock is not None and session in lock.line}

    def apply(self, session: int | None, operation: Operation) -> Body:
        """Apply one operation of a session."""
        if session is None:
            return error(MALFORMED, "a lock needs a session to own it: give client and seq")
        match operation:
            case ["acquire", int() | str() as key, bool(wait)]:
                return self._acquire(session, key, wait, Wish())
            case ["acquire", int() | str() as key, bool(wait), mode, int(permits)] if mode in MODES:
                return self._acquire(session, key, wait, Wish(mode, permits))
            case ["await", int() | str() as key]:
                return self.standing(session, key)
            case ["withdraw", int() | str() as key]:
                return self._withdraw(session, key)
            case ["renew", int() | str() as key, token]:
                owner = self._owner(session, key, token)
                return owner if isinstance(owner, dict) else {"type": "renew_ok", "token": owner.token}
            case ["release", int() | str() as key, token]:
                return self._release(session, key, token)
        return error(MALFORMED, "the lock service knows no such operation")

    def holds(self, session: int) -> bool:
        """Whether the session holds a lock or stands in line for one."""
        return session in self._keys_of

    def end_session(self, session: int) -> None:
        """Take the session out of every line, and pass on what it held."""
        for key in list(self._keys_of.get(session, ())):
            if session in self._locks[key].holders:
                self._let_go(session, key)
            else:
                self._leave_line(session, key)

    def snapshot(self) -> Any:
        """``{"grants": n, "locks": [[key, holders, line], ...]}``, both in order.

        A holder is ``[session, token, mode, permits, depth]``, and who waits ``[session, mode, permits]``.
        """
        locks = [
            [
                key,
                [[session, hold.token, *hold.wish, hold.depth] for session, hold in lock.holders.items()],
                [[session, *wish] for session, wish in lock.line.items()],
            ]
            for key, lock in self._locks.items()
        ]
        return {"grants": self._grants, "locks": locks}

    def restore(self, data: Any) -> None:
        """Take over the locks of a snapshot."""
        locks = {
            key: _Lock(
                OrderedDict((s, Hold(token, Wish(mode, n), depth)) for s, token, mode, n, depth in holders),
                OrderedDict((s, Wish(mode, n)) for s, mode, n in line),
            )
            for key, holders, line in data["locks"]
        }
        self._grants, self._locks, self._keys_of = data["grants"], locks, {}
        for key, lock in locks.items():
            for session in (*lock.holders, *lock.line):
                self._keys_of.setdefault(session, OrderedDict())[key] = None

    def _acquire(self, session: int, key: Key, wait: bool, wish: Wish) -> Body:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = _Lock(OrderedDict(), OrderedDict())
            return _granted(self._grant(session, key, lock, wish))
        hold = lock.holders.get(session)
        if hold is not None:
            return self._again(session, key, lock, hold, wish)
        if not _fits(lock, wish):
            return error(PRECONDITION_FAILED, f"the semaphore {key!r} has not {wish.permits} permits")
        if not lock.line and _shares(lock, wish):
            return _granted(self._grant(session, key, lock, wish))
        if wait and session not in lock.line:
            lock.line[session] = wish
            self._keys_of.setdefault(session, OrderedDict())[key] = None
        return self.standing(session, key)

    def _again(self, session: int, key: Key, lock: _Lock, hold: Hold, wish: Wish) -> Body:
        """The acquire of a holder: one more level of a re-entrant lock, and else refused."""
        if wish.mode != REENTRANT or hold.wish.mode != REENTRANT:
            return error(PRECONDITION_FAILED, f"the session holds the lock {key!r} already")
        if hold.depth >= DEPTH_MAX:
            return error(PRECONDITION_FAILED, f"the lock {key!r} is held {DEPTH_MAX} times already")
        lock.holders[session] = deeper = hold._replace(depth=hold.depth + 1)
        return _granted(deeper)

    def _withdraw(self, session: int, key: Key) -> Body:
        lock = self._locks.get(key)
        if lock is not None and session in lock.line:
            self._leave_line(session, key)
        return self.standing(session, key)

    def _release(self, session: int, key: Key, token: Any) -> Body:
        owner = self._owner(session, key, token)
        if isinstance(owner, dict):
            return owner
        if owner.depth > 1:
            self._locks[key].holders[session] = owner._replace(depth=owner.depth - 1)
            return {**_RELEASED, "depth": owner.depth - 1}
        self._let_go(session, key)
        return _RELEASED

    def _owner(self, session: int, key: Key, token: Any) -> Hold | Body:
        """How the session holds the lock, or the refusal of what only a holder (by the grant named) may do."""
        lock = self._locks.get(key)
        hold = None if lock is None else lock.holders.get(session)
        if hold is None:
            return error(PRECONDITION_FAILED, f"the session does not hold the lock {key!r}")
        if token is not None and token != hold.token:
            return error(
                PRECONDITION_FAILED, f"the lock {key!r} is held by grant {hold.token}, not by the one named"
            )
        return hold

    def _grant(self, session: int, key: Key, lock: _Lock, wish: Wish) -> Hold:
        self._grants += 1
        lock.holders[session] = hold = Hold(self._grants, wish)
        self._keys_of.setdefault(session, OrderedDict())[key] = None
        return hold

    def _let_go(self, session: int, key: Key) -> None:
        """A holder holds no more; whoever is next in line and can have the lock has it."""
        del self._locks[key].holders[session]
        self._forget(session, key)
        self._serve(key)

    def _leave_line(self, session: int, key: Key) -> None:
        """Out of the line; a reader may have waited for nobody but the writer who leaves."""
        del self._locks[key].line[session]
        self._forget(session, key)
        self._serve(key)

    def _serve(self, key: Key) -> None:
        lock = self._locks[key]
        while lock.line:
            heir, wish = next(iter(lock.line.items()))
            if not _shares(lock, wish):
                break
            del lock.line[heir]
            self.news.append(Granted(heir, key, self._grant(heir, key, lock, wish).token))
        if not lock.holders:
            del self._locks[key]

    def _forget(self, session: int, key: Key) -> None:
        keys = self._keys_of[session]
        del keys[key]
        if not keys:
            del self._keys_of[session]


def _granted(hold: Hold) -> Body:
    reply: Body = {"type": "acquire_ok", "granted": True, "token": hold.token}
    return {**reply, "depth": hold.depth} if hold.wish.mode == REENTRANT else reply


def _shares(lock: _Lock, wish: Wish) -> bool:
    """Whether one more may hold the lock so, beside all who hold it."""
    if not lock.holders:
        return True
    # All who hold a lock at once hold it in one mode, and as many permits are told by each.
    first = next(iter(lock.holders.values())).wish
    if wish.mode == READ:
        return first.mode == READ
    return wish.mode == PERMIT and first == wish and len(lock.holders) < wish.permits


def _fits(lock: _Lock, wish: Wish) -> bool:
    """Whether a wish for a permit agrees with those who hold one, or wait for one, on how many there are."""
    if wish.mode != PERMIT:
        return True
    others = (*(hold.wish for hold in lock.holders.values()), *lock.line.values())
    return next((other.permits for other in others if other.mode == PERMIT), wish.permits) == wish.permits
