"""Nodes that listen on more than one port: each is known to all, and a fault of the network strikes every one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from relay_target import deployed

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.link_proxy.owners import SENDER_VARIABLE
from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.backends.process.links import LinkProxy
from foreshock.harness.backends.process_identity import NODE_VARIABLE
from foreshock.harness.cluster import ClusterSpecification, Endpoint, Node
from foreshock.harness.errors import UsageError
from foreshock.harness.further_ports import further_ports
from foreshock.harness.options import Options
from foreshock.harness.runtime import ConnectionRefused
from foreshock.harness.target import Target

NAMES = ("a", "b", "c")
PROGRAM = """
import json, socket, sys, time
open(sys.argv[1], "w").write(sys.argv[2])
held = [socket.create_server((host, port)) for host, port in json.loads(sys.argv[3])]
time.sleep(600)
"""


class ThreePorts(Target[Options]):
    """Says what it was told, and listens on all of its ports."""

    port = 7001
    further_ports: ClassVar[Mapping[str, int]] = {"peer": 7002, "election": 7003}

    def command(self, node: Node) -> list[str]:
        told = {
            name: {peer: list(at_) for peer, at_ in _pairs(port.peers)} for name, port in node.further.items()
        }
        listens = [node.listen, *(port.listen for port in node.further.values())]
        places = json.dumps([[each.host, each.port] for each in listens])
        return ["python3", "-c", PROGRAM, f"{node.data_directory}/told", json.dumps(told), places]


class NeedsWhatIsNotThere(ThreePorts):
    packages = ("some-package", "another")
    binaries = ("/no/such/*/program",)


def _pairs(places: Mapping[str, Endpoint]) -> list[tuple[str, tuple[str, int]]]:
    return [(peer, (place.host, place.port)) for peer, place in places.items()]


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


async def answers(place: Endpoint, patience_s: float = 5.0) -> bool:
    reader, writer = await asyncio.open_connection(place.host, place.port)
    try:
        writer.write(b"hello")
        async with asyncio.timeout(patience_s):
            return await reader.read(100) == b"hello"
    except TimeoutError:
        return False
    finally:
        writer.close()


def test_a_cut_and_a_reset_strike_every_port_of_the_nodes_and_no_other(tmp_path: Path) -> None:
    async def test() -> None:
        servers = [await asyncio.start_server(echo, "127.0.0.1", 0) for _ in range(6)]
        places = [Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]) for server in servers]
        listens, peers = dict(zip(NAMES, places[:3], strict=True)), dict(zip(NAMES, places[3:], strict=True))
        proxy = await LinkProxy.start(listens, tmp_path / "log", dict(os.environ), {}, {"peer": peers})
        try:
            both = [proxy.endpoint("a", "b"), proxy.endpoint("a", "b", "peer")]
            assert [await answers(each) for each in both] == [True, True]
            await proxy.cut({"b": frozenset({"a"})})
            assert [await answers(each, 0.2) for each in both] == [False, False]
            assert await answers(proxy.endpoint("c", "b", "peer"))
            await proxy.cut({})
            streams = [await asyncio.open_connection(each.host, each.port) for each in both]
            for reader, writer in streams:
                writer.write(b"hello")
                await reader.read(100)
            assert (await proxy.reset([("a", "b")]))[("a", "b")] >= 2
            for reader, writer in streams:
                with pytest.raises(ConnectionResetError):
                    await reader.read(1)
                writer.close()
        finally:
            await proxy.close()
            for server in servers:
                server.close()

    asyncio.run(test())


CALLER = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
connection.settimeout(float(sys.argv[3]))
connection.sendall(b"hello")
try:
    print(connection.recv(100).decode())
except (TimeoutError, ConnectionError):
    pass
"""


async def called(name: str, place: Endpoint, patience_s: float = 5.0) -> bool:
    """Whether a process of the node gets an answer there, which binds no address of its own before it connects."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", CALLER, place.host, str(place.port), str(patience_s)),
        env={**os.environ, NODE_VARIABLE: "this-run", SENDER_VARIABLE: name},
        stdout=asyncio.subprocess.PIPE,
    )
    return (await process.communicate())[0] == b"hello\n"


@pytest.mark.skipif(sys.platform != "linux", reason="who owns a connection is told on Linux")
def test_where_all_reach_a_node_at_one_address_links_know_senders_by_their_processes(tmp_path: Path) -> None:
    async def test() -> None:
        servers = [await asyncio.start_server(echo, "127.0.0.1", 0) for _ in range(6)]
        places = [Endpoint("127.0.0.1", server.sockets[0].getsockname()[1]) for server in servers]
        listens, peers = dict(zip(NAMES, places[:3], strict=True)), dict(zip(NAMES, places[3:], strict=True))
        sources = {name: f"127.0.1.{number}" for number, name in enumerate(NAMES, 1)}
        environment = {**os.environ, NODE_VARIABLE: "this-run"}
        proxy = await LinkProxy.start(listens, tmp_path / "log", environment, sources, {"peer": peers})
        try:
            for place in (proxy.front("c"), proxy.front("c", "peer")):
                assert place is not None
                assert place in (proxy.endpoint("a", "c"), proxy.endpoint("b", "c", "peer"))
                assert await called("a", place)
                assert not await called("nobody", place)
                await proxy.cut({"c": frozenset({"a"})})
                assert not await called("a", place, 0.2)
                assert await called("b", place)
                await proxy.cut({})
        finally:
            await proxy.close()
            for server in servers:
                server.close()

    asyncio.run(test())


@pytest.mark.skipif(sys.platform != "linux", reason="loopback has one address elsewhere")
def test_each_node_finds_the_others_at_their_own_port_numbers(tmp_path: Path) -> None:
    runtime = AsyncioRuntime(seed=1)
    target = ThreePorts(Options(), seed=1)
    specification = ClusterSpecification(
        run="further-ports", target=target, node_names=NAMES, directory=tmp_path, seed=1
    )
    cluster: Any = ProcessBackend().cluster(specification, runtime)

    async def test() -> None:
        async with deployed(cluster):
            for node in cluster.nodes:
                assert set(node.further) == {"peer", "election"}
                for name, port in node.further.items():
                    assert port.endpoint == port.listen
                    await _reached(runtime, port.endpoint)
                    for peer in cluster.nodes:
                        if peer is not node:
                            assert port.peers[peer.name].port == peer.further[name].listen.port
                            assert port.peers[peer.name].host != peer.further[name].listen.host
                told = json.loads((Path(node.data_directory) / "told").read_text())
                assert set(told["peer"]) == set(NAMES) - {node.name}

    runtime.run(test())


async def _reached(runtime: AsyncioRuntime, place: Endpoint) -> None:
    for _ in range(200):
        try:
            (await runtime.connect(place)).close()
        except ConnectionRefused:
            await runtime.sleep(10_000_000)
        else:
            return
    raise AssertionError(f"nobody listens at {place}")


def test_nodes_with_addresses_of_their_own_have_the_same_ports_everywhere() -> None:
    found = further_ports({"peer": 7002}, "a", "0.0.0.0", {"a": "10.0.0.1", "b": "10.0.0.2"})
    assert found["peer"].listen == Endpoint("0.0.0.0", 7002)
    assert found["peer"].endpoint == Endpoint("10.0.0.1", 7002)
    assert found["peer"].peers == {"b": Endpoint("10.0.0.2", 7002)}


def test_who_lacks_a_program_is_told_of_its_packages(tmp_path: Path) -> None:
    specification = ClusterSpecification(
        run="missing",
        target=NeedsWhatIsNotThere(Options(), seed=1),
        node_names=NAMES,
        directory=tmp_path,
        seed=1,
    )
    with pytest.raises(UsageError, match=r"'/no/such/\*/program' is not here.*install some-package another"):
        ProcessBackend().cluster(specification, AsyncioRuntime(seed=1))
