"""The clients of the naive targets: one request an operation, to the node that the process is bound to.

They are the reference node's client with the cleverness left out: no sessions, and nothing is sent a second time that
may have arrived the first time (the naive nodes would perform it twice). A node that cannot be reached is passed over.
"""

from __future__ import annotations

from typing import ClassVar, Final

from foreshock.harness.errors import Definite
from foreshock.harness.services import Grant, Key, Value
from foreshock.harness.target import ClientContext
from foreshock.targets.reference.client import Body, ClientSettings, ReferenceClient

_MS: Final = 1_000_000
_POLL_NS: Final = 20 * _MS
"""A client that waits for a lock asks again after so long, or half of it: the naive lock has no line to stand in."""


class NaiveClient(ReferenceClient):
    """What the clients of all five share."""

    def __init__(self, context: ClientContext, settings: ClientSettings) -> None:
        super().__init__(context, settings)
        self._deadline_ns = 0

    def begin(self) -> None:
        """An operation begins now."""
        self.attempts = 0
        self._deadline_ns = self.deadline_ns()

    async def ask(self, body: Body) -> Body:
        """The reply to one request; raises ``Definite`` or ``Indefinite``."""
        return await self._perform(body, self._deadline_ns, resend=False)

    async def once(self, body: Body) -> Body:
        """An operation that is one request."""
        self.begin()
        return await self.ask(body)


class NaiveRegisterClient(NaiveClient):
    """Registers."""

    service: ClassVar[str] = "register"

    async def read(self, key: Key) -> Value | None:
        """The value of the key, ``None`` when it is absent."""
        return (await self.once({"type": "read", "key": key})).get("value")

    async def write(self, key: Key, value: Value) -> None:
        """Set the key to the value."""
        await self.once({"type": "write", "key": key, "value": value})

    async def cas(self, key: Key, old: Value | None, new: Value) -> None:
        """Set the key to ``new`` if it is ``old``; raises ``Definite`` when it was not."""
        await self.once({"type": "cas", "key": key, "from": old, "to": new})


class NaiveLockClient(NaiveClient):
    """Locks with a time to live, without fencing tokens; each request for one has an owner of its own, at random."""

    service: ClassVar[str] = "lock"

    def __init__(self, context: ClientContext, settings: ClientSettings) -> None:
        super().__init__(context, settings)
        self._random = context.runtime.random(f"naive-lock/{context.identity}")
        self._owners: dict[Key, int] = {}

    async def acquire(self, key: Key, wait_ms: int) -> Grant:
        """Take the lock, asking again and again for ``wait_ms``; ``Definite`` when it was not granted."""
        self.begin()
        last_ns = min(self._runtime.now() + wait_ms * _MS, self._deadline_ns) - _POLL_NS
        while True:
            owner = 1 + self._random.bits(62)
            try:
                reply = await self.ask({"type": "acquire", "key": key, "client": owner, "seq": 1})
            except Definite:
                if self._runtime.now() >= last_ns:
                    raise
            else:
                self._owners[key] = owner
                return Grant(ttl_ms=reply["ttl_ms"])
            await self._runtime.sleep(self._random.between(_POLL_NS // 2, _POLL_NS))

    async def renew(self, key: Key, token: int | None) -> Grant:
        """Keep the lock for another time to live; ``Definite`` when every node says that another has it."""
        reply = await self.once({"type": "renew", "key": key, "token": token, **self._ownership(key)})
        return Grant(ttl_ms=reply["ttl_ms"])

    async def release(self, key: Key, token: int | None) -> None:
        """Give the lock back."""
        await self.once({"type": "release", "key": key, "token": token, **self._ownership(key)})
        del self._owners[key]

    def _ownership(self, key: Key) -> Body:
        owner = self._owners.get(key)
        if owner is None:
            raise Definite(f"this client does not hold the lock {key!r}")
        return {"client": owner, "seq": 1}


class NaiveCacheClient(NaiveClient):
    """A cache; the nodes' copies are all that there is."""

    service: ClassVar[str] = "cache"

    async def get(self, key: Key) -> Value | None:
        """The first copy found, ``None`` when there is none."""
        return (await self.once({"type": "get", "key": key})).get("value")

    async def put(self, key: Key, value: Value) -> None:
        """Have every node keep the value."""
        await self.once({"type": "put", "key": key, "value": value})

    async def delete(self, key: Key) -> None:
        """Have every node forget the key."""
        await self.once({"type": "delete", "key": key})
