"""Nodes that tell each other their addresses: one address a node, and links that still know who connects."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.backends.process.links import LinkProxy
from foreshock.harness.cluster import Endpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="loopback has one address elsewhere")
SOURCES = {"a": "127.0.1.1", "b": "127.0.1.2", "c": "127.0.1.3"}


def in_a_loop(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        asyncio.run(test(tmp_path))

    return run


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def answers(front: Endpoint, source: str, patience_s: float = 5.0) -> bool:
    """Whether what is sent from the source comes back; false when it is turned away or nothing comes."""
    reader, writer = await asyncio.open_connection(front.host, front.port, local_addr=(source, 0))
    try:
        writer.write(b"hello")
        async with asyncio.timeout(patience_s):
            return await reader.read(100) == b"hello"
    except (TimeoutError, ConnectionError):
        return False
    finally:
        writer.close()


@in_a_loop
async def test_all_reach_a_node_at_one_address_and_a_cut_concerns_only_whom_it_names(tmp_path: Path) -> None:
    servers = {name: await asyncio.start_server(echo, "127.0.0.1", 0) for name in SOURCES}
    ports = {name: server.sockets[0].getsockname()[1] for name, server in servers.items()}
    listens = {name: Endpoint(host="127.0.0.1", port=port) for name, port in ports.items()}
    proxy = await LinkProxy.start(listens, tmp_path / "log", dict(os.environ), SOURCES)
    try:
        front = proxy.front("c")
        assert front is not None
        assert proxy.endpoint("a", "c") == proxy.endpoint("b", "c") == front
        assert await answers(front, SOURCES["a"])
        await proxy.cut({"c": frozenset({"a"}), "a": frozenset({"c"})})
        assert not await answers(front, SOURCES["a"], patience_s=0.2)
        assert await answers(front, SOURCES["b"])
        await proxy.cut({})
        assert await answers(front, SOURCES["a"])
    finally:
        await proxy.close()
        for server in servers.values():
            server.close()


@in_a_loop
async def test_who_is_no_node_is_turned_away_and_a_reset_concerns_one_sender(tmp_path: Path) -> None:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    listens = dict.fromkeys(SOURCES, Endpoint(host="127.0.0.1", port=server.sockets[0].getsockname()[1]))
    proxy = await LinkProxy.start(listens, tmp_path / "log", dict(os.environ), SOURCES)
    try:
        front = proxy.front("c")
        assert front is not None
        assert not await answers(front, "127.0.0.1")
        streams = {}
        for name in ("a", "b"):
            streams[name] = await asyncio.open_connection(
                front.host, front.port, local_addr=(SOURCES[name], 0)
            )
            streams[name][1].write(b"hello")
            assert await streams[name][0].read(100) == b"hello"
        assert await proxy.reset([("a", "c")]) == {("a", "c"): 1}
        with pytest.raises(ConnectionResetError):
            await streams["a"][0].read(1)
        streams["b"][1].write(b"again")
        assert await streams["b"][0].read(100) == b"again"
        for _, writer in streams.values():
            writer.close()
    finally:
        await proxy.close()
        server.close()


@in_a_loop
async def test_without_it_each_link_has_a_way_of_its_own(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listens = dict.fromkeys(SOURCES, Endpoint(host="127.0.0.1", port=server.getsockname()[1]))
        proxy = await LinkProxy.start(listens, tmp_path / "log", dict(os.environ), {})
        try:
            assert proxy.front("c") is None
            assert proxy.endpoint("a", "c") != proxy.endpoint("b", "c")
        finally:
            await proxy.close()
