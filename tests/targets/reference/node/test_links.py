"""A link to a peer, where real sockets would be a matter of luck."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from foreshock.targets.reference.node.addresses import Address
from foreshock.targets.reference.node.links import Link
from foreshock.targets.reference.node.wire import hello


@pytest.mark.parametrize("turns", range(4))
def test_a_link_ends_when_it_is_cancelled_at_the_moment_at_which_its_peer_refuses(
    monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    """A node that was told to stop did not: ``asyncio.wait_for`` let the refusal have precedence."""

    async def go() -> bool:
        refused: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def connect(*address: object) -> Any:
            return await refused

        monkeypatch.setattr(asyncio, "open_connection", connect)
        link = Link(hello("n1", "n2", "blue", "raft"), Address("127.0.0.1", 1), str, lambda _: None)
        task = asyncio.create_task(link.run())
        for _ in range(5):
            await asyncio.sleep(0)
        refused.set_exception(ConnectionRefusedError("refused"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        ended = task.done()
        task.cancel()
        return ended

    assert asyncio.run(go())
