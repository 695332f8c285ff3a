"""Bugs planted in locks: each overrides one decision. All of them have happened."""

from __future__ import annotations

from typing import Any

from foreshock.targets.reference.node.codes import Body
from foreshock.targets.reference.node.services.lock import Key, Locks
from foreshock.targets.reference.node.tcp_lock.lock_server import LockServer


class ReleaseByNonOwner(Locks):
    """Releases a lock for whoever asks, without a look at who holds it.

    delta-rs did so (its pull request 440: "release_lock" let non-owners release). A client whose session has ended
    gives back the lock that it takes for its own, and somebody else's is gone: a third gets it beside the second.
    """

    def _release(self, session: int, key: Key, token: Any) -> Body:  # noqa: ARG002
        lock = self._locks.get(key)
        owner = session if lock is None or session in lock.holders else next(iter(lock.holders))
        return super()._release(owner, key, None)


class GrantTableNotReplicated(Locks):
    """Leaves the grants out of the snapshots: they are known where their log entries were applied, and nowhere else.

    A lock service that fails over to a replica without its grants gives every lock away a second time. Redis does
    with its asynchronous replication, which its own page on distributed locks warns of ("Why Failover-based
    Implementations Are Not Enough"). Here a node that starts from a snapshot, or is sent one, knows of no lock that
    was granted before, and grants them anew when it leads; and as it then counts other grants than the rest, tokens
    are given twice.
    """

    def snapshot(self) -> Any:
        """The number of grants, and not one of them."""
        return {**super().snapshot(), "locks": []}


class HalfOpenDoubleGrants(LockServer):
    """Passes a lock on as soon as its holder leaves one ping unanswered, and tells the holder nothing.

    The connection is taken for half-open when its client is merely busy, long before the client gives its lock up:
    two hold it then. With PostgreSQL's advisory locks it is the same when the connection ends at the server and its
    client works on, for which reason Chainlink came to recommend a lease instead (its pull request 5632).
    """

    def _look_after(self, connection: int) -> None:
        pinged_ns = self._pinged_ns.get(connection, 0)
        silent_ns = self.now_ns - pinged_ns
        if pinged_ns > self._heard_ns[connection] and silent_ns >= self.knobs.ping_ns:
            self._drop(connection)
        else:
            super()._look_after(connection)
