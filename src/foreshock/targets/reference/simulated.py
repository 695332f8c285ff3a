"""The simulator's shell around a node's program: the same node, on a simulated network, disk and clock.

Peers talk by datagrams that carry protocol messages by reference; clients come over connections. Storage bytes are
real: what was not synced is lost in a crash, and one sync at a time is under way, as in the asyncio server.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foreshock.harness.simulation.program import Disk, Machine
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.effects import Effects, NodeFailure
from foreshock.targets.reference.node.program import NodeProgram

_TICK = "tick"
_SYNCED = "synced"
_FOUND = "found"


class _DiskFiles:
    """The node's ``Files`` on a simulated disk, which remembers what was touched since the last sync."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.touched: set[str] = set()
        self.names = disk.names
        self.read = disk.read

    def append(self, name: str, data: bytes) -> None:
        self.touched.add(name)
        self._disk.append(name, data)

    def truncate(self, name: str, length: int) -> None:
        self.touched.add(name)
        self._disk.truncate(name, length)

    def replace(self, name: str, data: bytes) -> None:
        self.touched.add(name)
        self._disk.replace(name, data)

    def remove(self, name: str) -> None:
        self.touched.discard(name)
        self._disk.remove(name)


class SimulatedNode:
    """One node as a program of the simulator (``harness.simulation.program.Program``)."""

    def __init__(
        self,
        machine: Machine,
        configuration: NodeConfiguration,
        bug_class: type[Any] | None = None,
        *,
        build: Callable[..., NodeProgram] = build_program,
    ) -> None:
        """``build`` stands in for a program's own builder where that would touch the real world."""
        self._build = build
        self._machine = machine
        self._configuration = configuration
        self._bug_class = bug_class
        self._files = _DiskFiles(machine.disk)
        self._sync_wanted = 0
        self._syncing = 0
        self._files_syncing = 0
        self._files_found = 0
        """How many files of an earlier life are being made durable: before that nothing is read from them."""
        self._timer_ns: int | None = None
        self._connections: set[int] = set()
        self.node: NodeProgram | None = None
        """The program inside, for invariants; ``None`` before the start and after a failure to start."""

    def on_start(self) -> None:
        """Recover from the disk and begin, once all that is found there is durable.

        A node that was killed while it wrote leaves what the kernel has and the disk has not. Its next life would
        take that for safe, tell others of it, and lose it to a power cut.
        """
        disk = self._machine.disk
        found = [name for name in disk.names() if not disk.is_durable(name)]
        self._files_found = len(found)
        for name in found:
            disk.sync(name, _FOUND)
        if not found:
            self._begin()

    def _begin(self) -> None:
        random_bits = self._machine.random(self._configuration.program).bits
        try:
            self.node = self._build(
                self._configuration,
                self._files,
                random_bits,
                self._machine.now(),
                bug_class=self._bug_class,
            )
        except (OSError, NodeFailure) as problem:
            self._machine.crash(str(problem))
            return
        self._step(self.node.on_start)

    def on_datagram(self, source: str, message: Any) -> None:
        """A protocol message of a peer."""
        if self.node is not None:
            self._step(self.node.on_peer, source, message)

    def on_open(self, connection: int, source: str, *, accepted: bool) -> None:
        """A client connected; it will speak first."""

    def on_message(self, connection: int, message: Any) -> None:
        """A client's request; a node that has not begun does not listen, so it hangs up."""
        if self._files_found:
            self._machine.close(connection)
        elif self.node is not None:
            self._connections.add(connection)
            self._step(self.node.on_request, connection, message)

    def on_close(self, connection: int) -> None:
        """A client's connection is gone; one that never said anything is none of the node's business."""
        if self.node is not None and connection in self._connections:
            self._connections.discard(connection)
            self._step(self.node.on_close, connection)

    def on_timer(self, token: Any) -> None:
        """The node's one timer, which may ring before a deadline that has moved on; or a sync with nothing to do."""
        node = self.node
        if node is None:
            return
        if token == _SYNCED:
            self._end_sync(node)
            return
        self._timer_ns = None
        if self._machine.now() < node.deadline_ns:
            self._arm(node)
        else:
            self._step(node.on_tick)

    def on_synced(self, token: object) -> None:
        """One file of the sync that is under way is durable, or one that was found at the start."""
        if token == _FOUND:
            self._files_found -= 1
            if not self._files_found:
                self._begin()
            return
        if self.node is None or token != self._syncing:
            return
        self._files_syncing -= 1
        if not self._files_syncing:
            self._end_sync(self.node)

    def _step(self, step: Callable[..., Effects], *arguments: Any) -> None:
        """Call the node's program and do what it asks for; one that cannot go on ends, with nothing promised."""
        machine = self._machine
        try:
            effects = step(*arguments, machine.now())
        except (OSError, NodeFailure) as problem:
            self.node = None
            machine.crash(str(problem))
            return
        for sentence in effects.logs:
            machine.log(sentence)
        for peer, message in effects.send:
            machine.send(peer, message)
        for connection, reply in effects.replies:
            machine.write(connection, reply)
        if effects.sync_up_to:
            self._sync_wanted = effects.sync_up_to
            if not self._syncing:
                self._begin_sync()
        for connection in effects.close:
            machine.close(connection)
            self.on_close(connection)
        if self.node is not None:
            self._arm(self.node)

    def _begin_sync(self) -> None:
        self._syncing = self._sync_wanted
        names = sorted(self._files.touched)
        self._files.touched.clear()
        self._files_syncing = len(names)
        for name in names:
            self._machine.disk.sync(name, self._syncing)
        if not names:  # what was touched was removed since, and removals are durable at once
            self._machine.set_timer(0, _SYNCED)

    def _end_sync(self, node: NodeProgram) -> None:
        up_to, self._syncing = self._syncing, 0
        if self._sync_wanted > up_to:
            self._begin_sync()
        self._step(node.on_synced, up_to)

    def _arm(self, node: NodeProgram) -> None:
        deadline_ns = node.deadline_ns
        if self._timer_ns is not None and self._timer_ns <= deadline_ns:
            return
        self._timer_ns = deadline_ns
        self._machine.set_timer(max(deadline_ns - self._machine.now(), 0), _TICK)
