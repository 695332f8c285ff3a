"""Real servers on the disk layer: what Redis and etcd keep of what they acknowledged, when the power is cut."""

from __future__ import annotations

import base64
import contextlib
import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from layered import Layered
from tests.commands import until

ATTEMPTS = 5


@pytest.fixture(scope="module")
def layer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Layered]:
    layer = Layered(tmp_path_factory.mktemp("servers"))
    yield layer
    layer.close()


@contextlib.contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A server, until it is killed at the end."""
    with log.open("ab") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait(20)


@contextlib.contextmanager
def redis_server(layer: Layered, name: str, appendfsync: str) -> Iterator[redis.Redis]:
    folder, place = layer.mount / name, layer.archive.parent / f"{name}.socket"
    folder.mkdir(exist_ok=True)
    command = ["redis-server", "--dir", str(folder), "--port", "0", "--unixsocket", str(place), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", appendfsync]
    with running(command, layer.archive.parent / f"{name}.log"):
        client = redis.Redis(unix_socket_path=str(place))
        until(lambda: _answers(client), "an answer")
        yield client
        client.close()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


def missing(client: redis.Redis, count: int) -> list[int]:
    return [number for number in range(count) if client.get(f"key{number}") is None]


def test_redis_that_syncs_always_keeps_every_acknowledged_write(layer: Layered) -> None:
    with redis_server(layer, "always", "always") as client:
        for number in range(50):
            client.set(f"key{number}", number)
    layer.cut()
    with redis_server(layer, "always", "always") as client:
        assert missing(client, 50) == []


def test_redis_that_syncs_every_second_loses_acknowledged_writes(layer: Layered) -> None:
    for attempt in range(ATTEMPTS):  # a second may end just after the last write
        name = f"everysec{attempt}"
        with redis_server(layer, name, "everysec") as client:
            for number in range(300):
                client.set(f"key{number}", number)
        layer.cut()
        with redis_server(layer, name, "everysec") as client:
            lost = missing(client, 300)
        assert lost == list(range(300 - len(lost), 300))  # the last ones, without a gap
        if lost:
            return
    raise AssertionError(f"nothing was lost in {ATTEMPTS} power cuts")


class Etcd:
    """One etcd of its own, by its JSON gateway."""

    def __init__(self, layer: Layered) -> None:
        self._layer = layer
        self._ports = free_ports()

    @contextlib.contextmanager
    def running(self) -> Iterator[Etcd]:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports)
        folder = self._layer.archive.parent
        command = ["etcd", "--name", "n1", "--data-dir", str(self._layer.mount / "etcd")]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        command += ["--initial-cluster", f"n1={peer}"]
        with running(command, folder / "etcd.log"):
            until(self._answers, "an answer")
            yield self

    def put(self, key: str, value: str) -> None:
        self._ask("put", key=_coded(key), value=_coded(value))

    def get(self, key: str) -> str | None:
        found = self._ask("range", key=_coded(key)).get("kvs")
        return base64.b64decode(found[0]["value"]).decode() if found else None

    def _answers(self) -> bool:
        try:
            self.get("anything")
        except OSError:
            return False
        return True

    def _ask(self, what: str, **body: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self._ports[0]}/v3/kv/{what}"
        request = urllib.request.Request(url, json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def test_etcd_keeps_every_acknowledged_write_and_starts_again(layer: Layered) -> None:
    etcd = Etcd(layer)
    with etcd.running():
        for number in range(20):
            etcd.put(f"key{number}", str(number))
    assert layer.status()["unsynced_bytes"] > 0  # its database is written in the background
    layer.cut()
    with etcd.running():
        assert [etcd.get(f"key{number}") for number in range(20)] == [str(number) for number in range(20)]
