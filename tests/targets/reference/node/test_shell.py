"""The asyncio shell in this process: what it admits, how it slows a flood, and every way in which it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from tests.targets.reference.conftest import HOST, free_ports

from foreshock.targets.reference.node import connections
from foreshock.targets.reference.node.addresses import Address
from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.disk import DirectoryFiles
from foreshock.targets.reference.node.raft import RaftKnobs
from foreshock.targets.reference.node.server import Ended, NodeExit, Server
from foreshock.targets.reference.node.wire import encode_line, hello

QUICK = RaftKnobs(election_timeout_min_ms=100, election_timeout_max_ms=200, heartbeat_ms=20)
DEADLINE_SECONDS = 240.0


class Shell:
    """Servers of one cluster in one event loop."""

    def __init__(
        self, directory: Path, count: int = 1, *, strangers: tuple[str, ...] = (), **options: Any
    ) -> None:
        self.strangers = strangers
        names = [f"n{i + 1}" for i in range(count)]
        self.addresses = {
            name: Address(HOST, port) for name, port in zip(names, free_ports(count), strict=True)
        }
        self.logs: list[str] = []
        self.files = {name: DirectoryFiles(directory / name) for name in names}
        self.servers = {name: self._server(name, tuple(names), options) for name in names}
        self.tasks: dict[str, asyncio.Task[Ended]] = {}

    def _server(self, name: str, names: tuple[str, ...], options: dict[str, Any]) -> Server:
        configuration = NodeConfiguration(
            name, names, "raft", QUICK, "red" if name in self.strangers else "blue"
        )
        peers = {peer: address for peer, address in self.addresses.items() if peer != name}
        return Server(
            configuration, self.addresses[name], peers, self.files[name], self.logs.append, **options
        )

    async def __aenter__(self) -> Shell:
        for name, server in self.servers.items():
            self.tasks[name] = asyncio.create_task(server.run())
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.end(NodeExit.STOPPED, "the test is over")
        await asyncio.gather(*self.tasks.values())
        for files in self.files.values():
            files.close()

    @contextlib.asynccontextmanager
    async def client(self, name: str = "n1") -> AsyncIterator[Client]:
        """A connection to a node, as soon as it listens."""
        while True:
            try:
                streams = await asyncio.open_connection(*self.addresses[name])
            except ConnectionRefusedError:
                await asyncio.sleep(0)
            else:
                break
        try:
            yield Client(*streams)
        finally:
            streams[1].close()

    async def leader(self) -> str:
        """The node that leads, once one does."""
        while True:
            for name in self.servers:
                async with self.client(name) as client:
                    if (await client.ask(type="status"))["leading"]:
                        return name


class Client:
    """One connection's streams."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, message: Any) -> None:
        self.writer.write(message if isinstance(message, bytes) else encode_line(message))

    async def hear(self) -> dict[str, Any] | None:
        line = await self.reader.readline()
        return json.loads(line)["body"] if line else None

    async def ask(self, **body: Any) -> dict[str, Any]:
        self.say({"body": body})
        reply = await self.hear()
        assert reply is not None
        return reply


def run(test: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    async def bounded() -> Any:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await test()

    return asyncio.run(bounded())


def test_three_nodes_elect_commit_and_read(tmp_path: Path) -> None:
    async def go() -> None:
        async with Shell(tmp_path, 3) as shell:
            async with shell.client(await shell.leader()) as client:
                assert (await client.ask(type="write", key="k", value=1))["type"] == "write_ok"
                assert (await client.ask(type="read", key="k"))["value"] == 1
            assert any("is connected to" in line for line in shell.logs)
        assert [task.result().code for task in shell.tasks.values()] == [NodeExit.STOPPED] * 3

    run(go)


def test_a_flood_is_taken_a_few_hundred_requests_at_a_time(tmp_path: Path) -> None:
    async def go() -> None:
        async with Shell(tmp_path) as shell:
            await shell.leader()
            server, most = shell.servers["n1"], 0
            async with shell.client() as flooder, shell.client() as other:
                for number in range(3000):
                    flooder.say({"body": {"type": "write", "key": "k", "value": number, "msg_id": number}})
                for number in range(3000):
                    body = await flooder.hear()
                    assert body is not None
                    assert (body["type"], body["in_reply_to"]) == ("write_ok", number)
                    most = max(most, server._program.describe()["requests"])  # type: ignore[attr-defined]
                    if number % 500 == 0:
                        assert (await other.ask(type="read", key="k"))["type"] == "read_ok"
            assert 100 < most <= connections.UNANSWERED_MAX + 1

    run(go)


def test_a_client_whose_messages_have_no_answers_is_heard_again_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_PATIENCE_SECONDS", 0.01)

    async def go() -> None:
        async with Shell(tmp_path) as shell:
            heard = 0
            full, everything = asyncio.Event(), asyncio.Event()

            def on_request(_: int, __: object) -> None:
                nonlocal heard
                heard += 1
                if heard == connections.UNANSWERED_MAX:
                    full.set()
                if heard == 700:
                    everything.set()

            shell.servers["n1"].on_request = on_request  # type: ignore[method-assign]
            async with shell.client() as client:
                client.say(encode_line({"body": {"type": "status"}}) * 700)
                await full.wait()
                assert heard == connections.UNANSWERED_MAX
                await everything.wait()

    run(go)


def test_answers_of_one_turn_that_nobody_reads_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count, value = 4_000, "x" * 200_000
    encoded = 0

    def encode(message: Any) -> bytes:
        nonlocal encoded
        line = encode_line(message)
        encoded += len(line)
        return line

    monkeypatch.setattr(connections, "encode_line", encode)

    async def go() -> None:
        async with Shell(tmp_path) as shell:
            await shell.leader()
            async with shell.client() as flooder, shell.client() as other:
                assert (await other.ask(type="write", key="k", value=value))["type"] == "write_ok"
                flooder.say(encode_line({"body": {"type": "read", "key": "k", "msg_id": 1}}) * count)
                await flooder.writer.drain()
                for _ in range(50):
                    assert (await other.ask(type="status"))["type"] == "status_ok"
                assert len(value) < encoded < count * len(value) // 10

    run(go)


def test_a_client_that_does_not_read_is_not_read_from_until_it_does(tmp_path: Path) -> None:
    count, value = 2_000, "x" * 10_000

    async def go() -> None:
        async with Shell(tmp_path) as shell, shell.client() as greedy, shell.client() as other:
            await shell.leader()
            assert (await greedy.ask(type="write", key="k", value=value))["type"] == "write_ok"
            greedy.say(encode_line({"body": {"type": "read", "key": "k"}}) * count)
            (connection,) = [c for n, c in shell.servers["n1"]._connections.items() if n == 1]
            for _ in range(1000):
                assert (await other.ask(type="status"))["type"] == "status_ok"
                if connection._unread:
                    break
            assert connection._unread
            assert not connection._transport.is_reading()
            for _ in range(count):
                body = await greedy.hear()
                assert body is not None
                assert body["value"] == value
            assert connection._transport.is_reading()

    run(go)


def test_a_node_of_another_cluster_is_turned_away_and_says_so_itself(tmp_path: Path) -> None:
    async def go() -> None:
        async with Shell(tmp_path, 2, strangers=("n2",)) as shell, shell.client() as client:
            while not any("n2 was turned away by its peer n1: n1 turned away" in line for line in shell.logs):
                await client.ask(type="status")
            while not any("n1 was turned away by its peer n2" in line for line in shell.logs):
                await client.ask(type="status")

    run(go)


def test_one_connection_too_many_is_told_so(tmp_path: Path) -> None:
    async def go() -> None:
        async with Shell(tmp_path, connections_max=1) as shell, shell.client() as first:
            assert (await first.ask(type="status"))["type"] == "status_ok"
            async with shell.client() as second:
                refused = await second.hear()
                assert refused is not None
                assert "1 connections are open here already" in refused["text"]
                assert await second.hear() is None

    run(go)


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([hello("n9", "n1", "blue", "raft")], "n9"),
        ([hello("n2", "n1", "red", "raft")], "belongs to the cluster 'red'"),
        ([hello("n2", "n1", "blue", "zab")], "runs 'zab'"),
        ([{"body": {"type": "status"}}, hello("n2", "n1", "blue", "raft")], "must be the first line"),
        (
            [hello("n2", "n1", "blue", "raft"), {"body": {"type": "status"}}],
            "nothing but messages of the protocol",
        ),
        (
            [hello("n2", "n1", "blue", "raft"), {"body": {"type": "protocol", "message": ["nonsense"]}}],
            "makes no sense",
        ),
        ([b"x" * (1 << 21) + b"\n"], "long at most"),
        ([b"\xff\xfe\n"], ""),
    ],
)
def test_what_a_connection_may_not_say_is_answered_with_a_sentence(
    tmp_path: Path, lines: list[Any], text: str
) -> None:
    async def go() -> None:
        async with Shell(tmp_path, 2) as shell, shell.client() as client:
            for line in lines:
                client.say(line)
            while True:
                body = await client.hear()
                assert body is not None
                if body["type"] == "error":
                    break
            assert text in body["text"]

    run(go)


def test_a_port_that_is_taken_ends_a_node(tmp_path: Path) -> None:
    async def go() -> None:
        async with Shell(tmp_path / "one") as shell, shell.client() as client:
            await client.ask(type="status")
            configuration = shell.servers["n1"].configuration
            files = DirectoryFiles(tmp_path / "other")
            second = Server(configuration, shell.addresses["n1"], {}, files, shell.logs.append)
            ended = await second.run()
            assert (ended.code, "cannot listen" in ended.sentence) == (NodeExit.PORT, True)
            files.close()

    run(go)


def test_a_disk_that_refuses_ends_a_node_before_it_answers(tmp_path: Path) -> None:
    async def go() -> None:
        async with Shell(tmp_path) as shell:
            await shell.leader()

            def refuse(name: str, data: bytes) -> None:
                raise OSError(28, f"No space left for {len(data)} bytes", name)

            shell.files["n1"].append = refuse  # type: ignore[method-assign]
            async with shell.client() as client:
                client.say({"body": {"type": "write", "key": "k", "value": 1}})
                assert await client.hear() is None
            ended = await shell.tasks["n1"]
            assert (ended.code, "the disk is full" in ended.sentence) == (NodeExit.DISK, True)

    run(go)


def test_a_fault_of_its_own_ends_a_node_and_a_broken_socket_does_not(tmp_path: Path) -> None:
    async def go() -> None:
        async with Shell(tmp_path) as shell, shell.client() as client:
            loop = asyncio.get_running_loop()
            await client.ask(type="status")
            loop.call_exception_handler({"message": "a socket broke", "exception": OSError("reset")})
            assert (await client.ask(type="status"))["type"] == "status_ok"
            loop.call_exception_handler({"message": "a callback raised", "exception": KeyError("odd")})
            ended = await shell.tasks["n1"]
            assert ended == Ended(NodeExit.FAULT, "a fault of its own: a callback raised: KeyError('odd')")
            assert any("a socket broke" in line for line in shell.logs)

    run(go)
