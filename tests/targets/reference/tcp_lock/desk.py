"""A lock server by hand: connections ask, time passes, and what each connection is told is kept."""

from __future__ import annotations

from typing import Any

from tests.targets.reference.node.conftest import MemoryFiles

from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.tcp_lock.knobs import TcpLockKnobs
from foreshock.targets.reference.node.tcp_lock.lock_server import LockServer

MS = 1_000_000
KNOBS = TcpLockKnobs(ttl_ms=1_000, clock_margin_percent=20, ping_ms=300, tokens_at_once=10)


class Desk:
    """One server, started again on the same files at will."""

    def __init__(self, knobs: TcpLockKnobs = KNOBS, server: type[LockServer] = LockServer) -> None:
        self.knobs = knobs
        self.files = MemoryFiles()
        self.now_ms = 10
        self.told: dict[int, list[dict[str, Any]]] = {}
        self.closed: list[int] = []
        self.logs: list[str] = []
        self.disk_works = True
        """Whether a sync ends at once; else it ends by hand, in :meth:`sync`."""
        self._syncing = 0
        self._class = server
        self.start()

    def start(self) -> None:
        """A new life of the server; the connections of the last one are gone."""
        self._syncing = 0
        configuration = NodeConfiguration("n1", ("n1",), "tcp-lock", self.knobs, cluster="c")
        self.server = self._class(configuration, self.knobs, self.files, self.now_ms * MS)
        self._carry_out(self.server.on_start(self.now_ms * MS))

    def say(self, connection: int, kind: str, key: Any = "k", **fields: Any) -> None:
        """A message of a client."""
        body = {"type": kind, "msg_id": 1, **fields} | ({} if kind in ("pong", "status") else {"key": key})
        self._carry_out(self.server.on_request(connection, {"src": "c", "body": body}, self.now_ms * MS))

    def ask(self, connection: int, kind: str, key: Any = "k", **fields: Any) -> dict[str, Any] | None:
        """A message of a client, and the newest thing that it is told, if anything."""
        before = len(self.told.get(connection, ()))
        self.say(connection, kind, key, **fields)
        return self.told[connection][-1] if len(self.told.get(connection, ())) > before else None

    def close(self, connection: int) -> None:
        """The client hangs up."""
        self._carry_out(self.server.on_close(connection, self.now_ms * MS))

    def wait(self, ms: int) -> None:
        """Time passes, and the server ticks when it wants to."""
        end_ms = self.now_ms + ms
        while self.server.deadline_ns <= end_ms * MS:
            self.now_ms = max(self.now_ms, -(-self.server.deadline_ns // MS))
            before = self.server.deadline_ns
            self._carry_out(self.server.on_tick(self.now_ms * MS))
            assert self.server.deadline_ns > before, (
                "a tick that leaves its own deadline would repeat for ever"
            )
        self.now_ms = end_ms

    def stand_still(self, ms: int) -> None:
        """Time passes without the server, as after SIGSTOP."""
        self.now_ms += ms

    def sync(self) -> None:
        """The disk has done what it was asked for."""
        up_to, self._syncing = self._syncing, 0
        if up_to:
            self._carry_out(self.server.on_synced(up_to, self.now_ms * MS))

    def _carry_out(self, effects: Effects) -> None:
        for connection, message in effects.replies:
            self.told.setdefault(connection, []).append(message["body"])
        self.logs += effects.logs
        for connection in effects.close:
            self.closed.append(connection)
            self.close(connection)
        if effects.sync_up_to:
            self._syncing = effects.sync_up_to
            if self.disk_works:
                self.sync()
