"""The client of the lock service.

Its session is the owner. Every request of the session keeps it alive; there is no keep-alive behind the caller's back,
so that what a process may believe can be read off its history: a grant lasts, without renewal, until ``ttl_ms`` after
the *call* of the last acknowledged ``acquire`` or ``renew``. The session was certainly heard of after that call, and
``node/expiry.py`` argues why the lock is given to nobody else before then.
"""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.errors import Definite, Indefinite, OperationError
from foreshock.harness.services import Grant, Key
from foreshock.targets.reference.client import Body, ReferenceClient, SessionLost

_MS = 1_000_000


class ReferenceLockClient(ReferenceClient):
    """Locks of every kind, with first-in-first-out waiting and fencing tokens."""

    service: ClassVar[str] = "lock"
    kinds: ClassVar[frozenset[str]] = frozenset({"reentrant", "read-write", "semaphore"})

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        """Take the lock, waiting at most ``wait_ms`` (0: try only); ``Definite`` when it was certainly not granted."""
        return await self._acquire({"type": "acquire", "key": key, "wait_ms": wait_ms})

    async def acquire_mode(self, key: Key, wait_ms: int, mode: str, permits: int) -> Grant:
        """Take the lock as ``reentrant``, ``read``, ``write`` or ``permit`` (of so many); else as :meth:`acquire`."""
        return await self._acquire(
            {"type": "acquire", "key": key, "wait_ms": wait_ms, "mode": mode, "permits": permits}
        )

    async def _acquire(self, request: Body) -> Grant:
        """See the lock granted.

        Waiting is a series of requests, each of which the node answers at the grant or after a third of the time to
        live, so a session that stands in line stays alive; at the end the client withdraws from the line.
        """
        key, wait_ms = request["key"], request["wait_ms"]
        deadline_ns = self.deadline_ns()
        # The last tenth of the time is for the withdrawal.
        last_ns = self._runtime.now() + (deadline_ns - self._runtime.now()) * 9 // 10
        until_ns = min(self._runtime.now() + wait_ms * _MS, last_ns)
        reply = await self.replicate(request, deadline_ns=deadline_ns, wait_ms=self._slice_ms(wait_ms))
        try:
            while reply.get("queued"):
                left_ms = (until_ns - self._runtime.now()) // _MS
                if left_ms > 0:
                    further: Body = {"type": "await", "key": key, "wait_ms": left_ms}
                else:
                    further = {"type": "withdraw", "key": key}
                reply = await self.replicate(
                    further, deadline_ns=deadline_ns, wait_ms=self._slice_ms(left_ms), reopen=False
                )
        except OperationError as problem:  # it stood in line, so it may have been granted, or may yet be
            raise Indefinite(f"the wait for the lock ended in doubt: {problem}") from None
        if not reply.get("granted"):
            raise Definite(f"the lock {key!r} was not granted within {wait_ms} ms")
        depth = reply.get("depth", 1) if request.get("mode") == "reentrant" else None
        return Grant(token=reply["token"], ttl_ms=self.session_ttl_ms, depth=depth)

    async def renew(self, key: Key, token: int | None) -> Grant:
        """Keep the grant for another time to live; ``Definite`` when it is no longer held."""
        if self.session is None:
            raise Definite("this client has no session, so it holds no lock")
        try:
            reply = await self.replicate({"type": "renew", "key": key, "token": token}, reopen=False)
        except SessionLost as lost:
            raise _gone(lost) from None
        return Grant(token=reply["token"], ttl_ms=self.session_ttl_ms)

    async def release(self, key: Key, token: int | None) -> None:
        """Give the lock back; ``Definite`` when this client did not hold it.

        A client whose session is gone asks under a new one: who owns the lock is for the service to say.
        """
        try:
            await self.replicate({"type": "release", "key": key, "token": token})
        except SessionLost as lost:
            raise _gone(lost) from None

    def _slice_ms(self, wait_ms: int) -> int:
        """How long the node may take to answer one request of a wait, beyond the usual."""
        return min(max(wait_ms, 0), self.session_ttl_ms // 3)


def _gone(lost: SessionLost) -> OperationError:
    text = f"the lock is lost with its session: {lost}"
    return Indefinite(text) if lost.uncertain else Definite(text)
