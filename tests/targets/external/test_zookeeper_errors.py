"""An acquire that ended while the connection was gone is in doubt: its znode may be there, and be next."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kazoo.exceptions import LockTimeout

from foreshock.harness.errors import Definite
from foreshock.targets.external.zookeeper import ZooKeeperLock, ZooKeeperOptions


class ZooKeeperOf:
    """What a client of kazoo has that a lock looks at; its locks are never granted, and something happens meanwhile."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self.connected, self.meanwhile = True, meanwhile

    def Lock(self, _path: str) -> Any:  # noqa: N802 - kazoo's name
        return SimpleNamespace(acquire=self.acquire)

    def acquire(self, **_: Any) -> bool:
        self.meanwhile()
        raise LockTimeout("it is held")


def client_with(zk: ZooKeeperOf) -> ZooKeeperLock:
    place = SimpleNamespace(host="127.0.0.1", port=1)
    context: Any = SimpleNamespace(node=SimpleNamespace(endpoint=place), timeout_ms=1_000)
    client = ZooKeeperLock(context, ZooKeeperOptions())
    client.zk = zk
    return client


def test_an_acquire_that_timed_out_has_certainly_failed_only_where_the_connection_was_there_throughout() -> (
    None
):
    quiet = client_with(ZooKeeperOf(lambda: None))
    with pytest.raises(Definite, match="held"):
        quiet.acquire(1, 100)
    told = client_with(ZooKeeperOf(lambda: told.states.append("SUSPENDED")))
    with pytest.raises(ConnectionError):
        told.acquire(1, 100)
    untold = client_with(
        ZooKeeperOf(lambda: setattr(untold.zk, "connected", False))
    )  # kazoo tells listeners later
    with pytest.raises(ConnectionError):
        untold.acquire(1, 100)
