"""The client of a cluster's administration: status, membership, leadership."""

from __future__ import annotations

from typing import ClassVar

from foreshock.harness.cluster import Node
from foreshock.harness.runtime import ConnectionClosed, ConnectionRefused, Runtime, TimeoutExpired
from foreshock.targets.reference.client import Body, ReferenceClient


class ReferenceAdminClient(ReferenceClient):
    """What an operator may change about the cluster. A change whose outcome is in doubt is not sent again."""

    service: ClassVar[str] = "admin"

    async def add_member(self, name: str) -> list[str]:
        """Make the node a member of the cluster; returns all members. ``Definite`` when refused."""
        return await self._change({"type": "add_member", "node": name})

    async def remove_member(self, name: str) -> list[str]:
        """Make the node a member no longer; returns all members. ``Definite`` when refused."""
        return await self._change({"type": "remove_member", "node": name})

    async def transfer_leadership(self, name: str | None = None) -> None:
        """Hand leadership to the node, or to the most advanced follower."""
        self.attempts = 0
        request = (
            {"type": "transfer_leadership"} if name is None else {"type": "transfer_leadership", "node": name}
        )
        await self._perform(request, self.deadline_ns(), resend=False)

    async def _change(self, request: Body) -> list[str]:
        self.attempts = 0
        reply = await self._perform(
            request, self.deadline_ns(), wait_ms=self.context.timeout_ms, resend=False
        )
        members: list[str] = reply["members"]
        return members


async def ask_status(node: Node, runtime: Runtime, *, timeout_ms: int) -> Body | None:
    """How the node stands, as it says itself; ``None`` when it does not answer in time."""

    async def ask() -> Body:
        connection = await runtime.connect(node.endpoint)
        try:
            await connection.send(
                {"src": "foreshock", "dest": node.name, "body": {"type": "status", "msg_id": 1}}
            )
            body: Body = (await connection.receive())["body"]
            return body
        finally:
            connection.close()

    try:
        body = await runtime.timeout(ask(), timeout_ms * 1_000_000)
    except (ConnectionClosed, ConnectionRefused, TimeoutExpired):
        return None
    return body if body.get("type") == "status_ok" else None
