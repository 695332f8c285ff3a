"""A redis-server as a program of the simulator: one thread, expiry by the wall clock, and an append-only file.

Clients send ``{"command": [words]}`` and get ``{"reply": ...}`` or ``{"error": "CODE text"}``, in order.

Persistence is Redis's own (its manual, "Redis persistence"): ``none`` keeps nothing; ``aof-everysec`` writes each
change to the file before it answers and syncs the file once a second, so a killed process loses nothing and a power
cut up to a second or two; ``aof-always`` syncs before it answers, and does nothing else meanwhile, for the one thread
that serves clients is the one that syncs. The file is JSON lines, not Redis's format; each line is one command's
changes (a script's included), so a torn last line is lost as a whole, as ``aof-load-truncated`` has it. What comes in
while a sync is under way is run after it, together.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from foreshock.harness.simulation.program import Machine
from foreshock.targets.redis.commands import CommandError, Commands, Effect
from foreshock.targets.redis.keyspace import Keyspace
from foreshock.targets.redis.scripts import Script

Persistence = Literal["none", "aof-everysec", "aof-always"]

AOF: Final = "appendonly.aof"
STARTED: Final = "started"
"""A file that says that this server ran before."""
REWRITE_BYTES_MIN: Final = 1 << 20
"""The log is written anew once it is this long and twice as long as after its last rewrite."""
WAITING_MAX: Final = 10_000
"""How many commands may wait for a sync before their clients are hung up on."""
WORDS_MAX: Final = 1_048_576

_MILLISECOND: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_SWEEP_NS: Final = 100 * _MILLISECOND
_SWEEP: Final = "sweep"
_FSYNC: Final = "fsync"
_DELAYED: Final = "delayed"


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is run. ``maxmemory_bytes`` 0: without limit, else ``allkeys-lru``."""

    persistence: Persistence = "none"
    maxmemory_bytes: int = 0
    restart_delay_ms: int = 0
    """How long a server that ran before stays away when it is started again."""


class SimulatedRedis:
    """One redis-server (``harness.simulation.program.Program``)."""

    def __init__(self, machine: Machine, settings: ServerSettings, scripts: Sequence[Script] = ()) -> None:
        self._machine = machine
        self._settings = settings
        self.keyspace = Keyspace(maxmemory_bytes=settings.maxmemory_bytes)
        self._commands = Commands(self.keyspace, scripts)
        self._away = False
        self._syncs = 0
        self._unsynced = False
        self._held: list[tuple[int, dict[str, Any]]] = []
        """Replies that wait for the sync that is under way."""
        self._waiting: list[tuple[int, Any]] = []
        """Commands that came meanwhile: they are run together, and share the next sync."""
        self._aof_bytes = 0
        self._rewritten_bytes = 0

    # --- the program --------------------------------------------------------------------------------------------

    def on_start(self) -> None:
        """Load what the last life left, and serve; after ``restart_delay_ms`` if there was one."""
        settings, disk = self._settings, self._machine.disk
        if settings.restart_delay_ms:
            self._away = True
            if STARTED in disk.names():
                self._machine.set_timer(settings.restart_delay_ms * _MILLISECOND, _DELAYED)
            else:  # nothing is granted before the next life is sure to know of this one
                disk.replace(STARTED, b"")
                disk.sync(STARTED, STARTED)
        if settings.persistence != "none":
            self._load()
        self._machine.set_timer(_SWEEP_NS, _SWEEP)
        if settings.persistence == "aof-everysec":
            self._machine.set_timer(_SECOND, _FSYNC)

    def on_datagram(self, source: str, message: Any) -> None:
        """Redis servers do not talk to each other here."""

    def on_open(self, connection: int, source: str, *, accepted: bool) -> None:
        """A client connected; it will speak first."""

    def on_message(self, connection: int, message: Any) -> None:
        """A client's command: run now, or when the sync that is under way has ended.

        A server that stays away does not listen in the real world. A program of the simulator cannot refuse a
        connection, so it refuses the command: to a client that is the same, for neither has any effect.
        """
        if self._away:
            self._machine.write(
                connection, {"error": "LOADING the server stays away for a while after its restart"}
            )
        elif not self._held:
            self._serve([(connection, message)])
        elif len(self._waiting) < WAITING_MAX:
            self._waiting.append((connection, message))
        else:
            self._machine.close(connection)

    def on_close(self, connection: int) -> None:
        """A client is gone; what it asked for is done all the same, as Redis does with what it has read."""

    def on_timer(self, token: Any) -> None:
        """The sweep of expired keys, the sync of each second, or the end of a delayed restart."""
        if token == _SWEEP:
            if not self._held:
                self.keyspace.sweep(self._wall_ms())
                if self._log([["del", key] for key in self.keyspace.removed]) and self._synchronous:
                    self._sync()
                self.keyspace.removed.clear()
            self._machine.set_timer(_SWEEP_NS, _SWEEP)
        elif token == _FSYNC:
            if self._unsynced:
                self._sync()
            self._machine.set_timer(_SECOND, _FSYNC)
        elif token == _DELAYED:
            self._away = False

    def on_synced(self, token: object) -> None:
        """The file is durable: what waited for that is answered, and the next commands are run."""
        if token == STARTED:
            self._away = False
        if token != self._syncs:
            return
        held, self._held = self._held, []
        for connection, answer in held:
            self._machine.write(connection, answer)
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            self._serve(waiting)

    # --- serving ------------------------------------------------------------------------------------------------

    def _serve(self, commands: Sequence[tuple[int, Any]]) -> None:
        """Run what has come in, as one turn of Redis's event loop does, and answer; after a sync if need be."""
        answers, changed = [], False
        for connection, message in commands:
            words = _words_of(message)
            if words is None:
                self._machine.write(
                    connection, {"error": "ERR Protocol error: a command is a list of strings"}
                )
                self._machine.close(connection)
                continue
            answers.append((connection, self._answer(words)))
            effects, self._commands.effects = self._commands.effects, []
            changed = self._log(effects) or changed
        if changed and self._synchronous:
            self._held = answers
            self._sync()
            return
        for connection, answer in answers:
            self._machine.write(connection, answer)

    def _answer(self, words: list[str]) -> dict[str, Any]:
        try:
            return {"reply": self._commands.execute(words, self._wall_ms())}
        except CommandError as refused:
            return {"error": str(refused)}

    @property
    def _synchronous(self) -> bool:
        return self._settings.persistence == "aof-always"

    def _wall_ms(self) -> int:
        """Redis expires keys by the wall clock, which can be set."""
        return self._machine.wall_now() // _MILLISECOND

    # --- the append-only file -----------------------------------------------------------------------------------

    def _log(self, effects: Sequence[Effect]) -> bool:
        """Write changes to the file, if there is one; says whether anything was written."""
        if not effects or self._settings.persistence == "none":
            return False
        line = json.dumps(effects).encode() + b"\n"
        try:
            if self._aof_bytes > max(REWRITE_BYTES_MIN, 2 * self._rewritten_bytes):
                self._rewrite()  # of the keyspace as it is, which has the new changes already
                return True
            self._machine.disk.append(AOF, line)
        except OSError as full:
            self._machine.crash(f"the append-only file cannot be written: {full}")
            return False
        self._aof_bytes += len(line)
        self._unsynced = True
        return True

    def _rewrite(self) -> None:
        effects = [["set", key, entry.value, entry.expires_ms] for key, entry in self.keyspace.items()]
        data = json.dumps([["flush"], *effects]).encode() + b"\n"
        self._machine.disk.replace(AOF, data)
        self._aof_bytes = self._rewritten_bytes = len(data)
        self._unsynced = True

    def _sync(self) -> None:
        self._unsynced = False
        self._syncs += 1
        self._machine.disk.sync(AOF, self._syncs)

    def _load(self) -> None:
        disk = self._machine.disk
        if AOF not in disk.names():
            return
        data = disk.read(AOF)
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            self._machine.log(f"the append-only file ends in the middle of a command: cut to {whole} bytes")
            disk.truncate(AOF, whole)
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            try:
                for effect in json.loads(line):
                    self._commands.apply(effect)
            except (ValueError, TypeError) as broken:
                self._machine.crash(f"the append-only file {AOF} is broken in line {number}: {broken}")
        self._aof_bytes = self._rewritten_bytes = whole


def _words_of(message: Any) -> list[str] | None:
    words = message.get("command") if isinstance(message, dict) else None
    if not isinstance(words, list) or not 0 < len(words) <= WORDS_MAX:
        return None
    return words if all(isinstance(word, str) for word in words) else None
