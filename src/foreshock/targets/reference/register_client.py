"""The client of the register service."""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.services import Key, Value
from foreshock.targets.reference.client import ReferenceClient


class ReferenceRegisterClient(ReferenceClient):
    """Linearizable registers: reads confirmed by a quorum, writes and compare-and-sets once each."""

    service: ClassVar[str] = "register"

    async def read(self, key: Key) -> Value | None:
        """The value of the key, ``None`` when it is absent."""
        reply = await self.query({"type": "read", "key": key})
        return reply.get("value")

    async def write(self, key: Key, value: Value) -> None:
        """Set the key to the value."""
        await self.replicate({"type": "write", "key": key, "value": value})

    async def cas(self, key: Key, old: Value | None, new: Value) -> None:
        """Set the key to ``new`` if it is ``old``; raises ``Definite`` when it was not."""
        await self.replicate({"type": "cas", "key": key, "from": old, "to": new})
