"""The asyncio shell around a node's program: sockets, files, the clock, and signals. Standard library only.

One port serves peers and clients. Everything that the program wants durable rides on one fsync at a time, in a thread:
what is appended while one is under way is made durable by the next (group commit).
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import signal
import traceback
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, NamedTuple

from foreshock.targets.reference.node.addresses import Address
from foreshock.targets.reference.node.clock import NodeClock
from foreshock.targets.reference.node.codes import TEMPORARILY_UNAVAILABLE
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.connections import Connection
from foreshock.targets.reference.node.disk import DirectoryFiles, sync_files
from foreshock.targets.reference.node.effects import Effects, NodeFailure
from foreshock.targets.reference.node.links import Link
from foreshock.targets.reference.node.programs import load_program
from foreshock.targets.reference.node.wire import Message, hello, refusal


class NodeExit(IntEnum):
    """How a node's process ends."""

    STOPPED = 0
    """By SIGTERM or SIGINT."""
    FAULT = 1
    """A fault of the node's own: it stops rather than go on from a state that nobody foresaw."""
    USAGE = 2
    """The command line makes no sense."""
    PORT = 3
    """The node cannot listen at its address."""
    CORRUPT = 4
    """What the data directory holds cannot be trusted, or is another node's."""
    DISK = 5
    """The disk refused: full, not writable, or failing."""


class Ended(NamedTuple):
    """Why a node has ended, and the sentence for its log."""

    code: NodeExit
    sentence: str


class Server:
    """One node on real sockets and files. ``run`` ends by a signal, or when the node cannot go on."""

    def __init__(
        self,
        configuration: NodeConfiguration,
        listen: Address,
        peers: Mapping[str, Address],
        files: DirectoryFiles,
        log: Callable[[str], None],
        *,
        clock: NodeClock | None = None,
        connections_max: int = 2_000,
    ) -> None:
        self.configuration = configuration
        self.peers = peers
        self.log = log
        self._listen = listen
        self._files = files
        self._clock = clock or NodeClock()
        self._now_ns = self._clock.monotonic_ns
        self._connections_max = connections_max
        self._connections: dict[int, Connection] = {}
        self._connection_numbers = 0
        kind = load_program(configuration.program)
        self.decode = kind.decode
        self.greeting = self._greet(configuration.name)
        self._links = {
            peer: Link(self._greet(peer), address, kind.encode, log) for peer, address in peers.items()
        }
        self._program = build_program(configuration, files, secrets.randbits, self._now_ns())
        self._sync_wanted = 0
        self._sync_running = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ns = 0

    def _greet(self, peer: str) -> Message:
        return hello(self.configuration.name, peer, self.configuration.cluster, self.configuration.program)

    async def run(self) -> Ended:
        """Serve until the end; returns how it came."""
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ended] = self._loop.create_future()
        self._loop.set_exception_handler(self._unforeseen)
        # Before anybody can connect: who sees the node may tell it to stop.
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.end, NodeExit.STOPPED, "was told to stop")
        try:
            server = await self._loop.create_server(lambda: Connection(self), *self._listen, backlog=1024)
        except OSError as problem:
            return Ended(NodeExit.PORT, f"cannot listen at {self._listen}: {problem.strerror or problem}")
        self.log(f"{self.configuration.name} listens at {self._listen}")
        tasks = [asyncio.create_task(link.run()) for link in self._links.values()]
        for task in tasks:
            task.add_done_callback(self._link_ended)
        self.guard(lambda: self.carry_out(self._program.on_start(self._now_ns())))
        try:
            return await self._ended
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for connection in list(self._connections.values()):
                connection.close()

    def end(self, code: NodeExit, sentence: str) -> None:
        """End the node; the first reason counts."""
        if not self._ended.done():
            self._ended.set_result(Ended(code, sentence))

    def guard(self, call: Callable[[], None]) -> None:
        """Make a call into the program; what says that the node cannot go on ends it, with nothing promised."""
        if self._ended.done():
            return
        try:
            call()
        except OSError as problem:
            self.end(NodeExit.DISK, disk_sentence(problem))
        except NodeFailure as problem:
            self.end(NodeExit.CORRUPT, str(problem))

    # --- what the connections call ------------------------------------------------------------------------------

    def admit(self, connection: Connection) -> int | None:
        """A number for a new connection, or ``None`` when there are too many."""
        if len(self._connections) >= self._connections_max:
            connection.reply(
                refusal(
                    self.configuration.name,
                    TEMPORARILY_UNAVAILABLE,
                    f"{self._connections_max} connections are open here already",
                )
            )
            return None
        self._connection_numbers += 1
        self._connections[self._connection_numbers] = connection
        return self._connection_numbers

    def dismiss(self, number: int) -> None:
        """A connection is gone."""
        self._connections.pop(number, None)
        self.guard(lambda: self.carry_out(self._program.on_close(number, self._now_ns())))

    def on_request(self, number: int, message: object) -> None:
        """A client's message arrived."""
        self.carry_out(self._program.on_request(number, message, self._now_ns()))

    def on_peer(self, source: str, message: object) -> None:
        """A peer's message arrived, decoded."""
        self.carry_out(self._program.on_peer(source, message, self._now_ns()))

    # --- effects ------------------------------------------------------------------------------------------------

    def carry_out(self, effects: Effects) -> None:
        """Do what the program asked for."""
        for sentence in effects.logs:
            self.log(sentence)
        for peer, message in effects.send:
            link = self._links.get(peer)
            if link is not None:
                link.send(message)
        for number, reply in effects.replies:
            self._reply(number, reply)
        for number in effects.close:
            connection = self._connections.get(number)
            if connection is not None:
                connection.close()
        if effects.sync_up_to:
            self._sync_wanted = effects.sync_up_to
            if not self._sync_running:
                self._begin_sync()
        self._arm()

    def _reply(self, number: int, reply: Message) -> None:
        connection = self._connections.get(number)
        if connection is None:
            return
        if reply["body"]["type"] == "status_ok":
            reply["body"]["clock"] = self._clock.describe()
        connection.answer(reply)

    def _begin_sync(self) -> None:
        self._sync_running = True
        up_to = self._sync_wanted
        syncing = self._loop.run_in_executor(None, sync_files, self._files.begin_sync())
        syncing.add_done_callback(lambda done: self.guard(lambda: self._end_sync(up_to, done)))

    def _end_sync(self, up_to: int, done: asyncio.Future[None]) -> None:
        done.result()
        self._sync_running = False
        if self._sync_wanted > up_to:
            self._begin_sync()
        self.carry_out(self._program.on_synced(up_to, self._now_ns()))

    def _arm(self) -> None:
        """See to it that the timer rings at the program's deadline or before; one that rings early is set anew."""
        deadline_ns = self._program.deadline_ns
        if self._timer is not None:
            if self._timer_ns <= deadline_ns:
                return
            self._timer.cancel()
        self._timer_ns = deadline_ns
        delay_ns = max(deadline_ns - self._now_ns(), 0)
        self._timer = self._loop.call_later(delay_ns / 1e9, self._ring)

    def _ring(self) -> None:
        self._timer = None
        now_ns = self._now_ns()
        if now_ns < self._program.deadline_ns:
            self._arm()
        else:
            self.guard(lambda: self.carry_out(self._program.on_tick(now_ns)))

    def _link_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._unforeseen(self._loop, {"message": "a link ended", "exception": task.exception()})

    def _unforeseen(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:  # noqa: ARG002
        problem = context.get("exception")
        if problem is None or isinstance(problem, OSError):
            self.log(f"{self.configuration.name}: {context['message']}: {problem}")
            return
        for line in traceback.format_exception(problem):
            self.log(line.rstrip())
        self.end(NodeExit.FAULT, f"a fault of its own: {context['message']}: {problem!r}")


def disk_sentence(problem: OSError) -> str:
    """What the user can do about a disk that refused."""
    where = f" ({problem.filename})" if problem.filename else ""
    if problem.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"the disk is full{where}; the node stops before it promises anything: free some space, start it again"
    if problem.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"the data directory is not writable{where}; let --data name one that this user may write to"
    return f"the disk refused{where}: {problem.strerror or problem}"
