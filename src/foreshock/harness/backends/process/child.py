"""One node as a child process: its command, its log, its data, its signals."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from foreshock.harness.backends.process_identity import (
    ProcessIdentity,
    alive,
    descendants_outside_group,
    identify,
    signal_group,
    stopped,
)
from foreshock.harness.errors import DeployError, HarnessError

LOG_NAME: Final = "node.log"
_DEATH_TIMEOUT_S: Final = 10.0
_STOP_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.002
_TAIL_BYTES: Final = 8 << 10


class Child:
    """The process of one node. It leads a session and a process group of its own, so signals reach all of it."""

    def __init__(self, name: str, folder: Path, log: Path) -> None:
        self.name = name
        self.folder = folder
        self.data = folder / "data"
        self.control = folder / "control"
        self.log = log
        self.identity: ProcessIdentity | None = None
        self.killed = False
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, files: Mapping[str, bytes]) -> None:
        """Make the node's folders and write its files; raises ``DeployError``."""
        try:
            self.data.mkdir(parents=True, exist_ok=True)
            self.control.mkdir(exist_ok=True)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "files").mkdir(exist_ok=True)
            for name, data in files.items():
                path = self.folder / "files" / name
                path.write_bytes(data)
                path.chmod(0o755)
        except OSError as error:
            raise DeployError(f"the files of node {self.name} cannot be written: {error}") from error

    def start(
        self, command: Sequence[str], environment: Mapping[str, str], starter: Sequence[str] = ()
    ) -> None:
        """Start the process unless it runs; raises ``DeployError`` when the command cannot be run.

        ``starter`` is a command that becomes the one that it is given, as the same process.
        """
        if self.running():
            return
        arguments = list(command)
        if arguments and arguments[0] in ("python3", "python"):
            arguments[0] = sys.executable  # the interpreter that is known to be here and new enough
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [*starter, *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self.data,
                    env=dict(environment),
                    start_new_session=True,
                )
        except (OSError, ValueError, IndexError) as error:
            raise DeployError(f"node {self.name} cannot be started by {arguments!r}: {error}") from error
        self.killed = False
        self.identity = identify(self._process.pid)

    def running(self) -> bool:
        """Whether the process that was started last still exists (stopped or not)."""
        return self._process is not None and self._process.poll() is None

    def paused(self) -> bool:
        """Whether the process exists and is stopped, as the system sees it."""
        return self.identity is not None and self.running() and stopped(self.identity)

    def exit_status(self) -> str | None:
        """How the process ended, in words; ``None`` while it runs or before it was started."""
        code = None if self._process is None else self._process.poll()
        if code is None:
            return None
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"

    def state(self) -> str:
        """``running``, ``paused``, ``killed`` (by us) or ``lost`` (by itself)."""
        if not self.running():
            return "killed" if self.killed or self._process is None else "lost"
        return "paused" if self.paused() else "running"

    async def kill(self) -> None:
        """Kill all of the node's processes and wait until they are gone."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        self.killed = True
        self.signal(signal.SIGSTOP)
        strays = set() if self.identity is None else descendants_outside_group(self.identity)
        self.signal(signal.SIGKILL)
        await self._until(
            lambda: process.poll() is not None and not any(map(alive, strays)),
            "die of SIGKILL",
            _DEATH_TIMEOUT_S,
        )

    async def pause(self) -> None:
        """Stop the process group and wait until its process is stopped; nothing when it does not run."""
        if self.running() and self.signal(signal.SIGSTOP):
            await self._until(lambda: self.paused() or not self.running(), "stop", _STOP_TIMEOUT_S)

    async def resume(self) -> None:
        """Let the process group go on, and wait until it does; nothing when it does not run."""
        if self.running() and self.signal(signal.SIGCONT):
            await self._until(lambda: not self.paused(), "go on", _STOP_TIMEOUT_S)

    def signal(self, number: signal.Signals) -> bool:
        """Signal the process group; false when its leader is gone."""
        return self.identity is not None and signal_group(self.identity, number)

    def sweep(self) -> None:
        """Kill what the node left in its process group after its own process ended.

        The group's number is the pid of that process. Once that is reaped and a process has it again, this is a
        stranger, and so is its group: the number would still have been taken if anybody of ours were left in it.
        """
        process = self._process
        if process is None or (process.poll() is not None and identify(process.pid) is not None):
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # nothing of the group is left (macOS says so with EPERM when only a zombie is)

    def log_tail(self) -> str:
        """The end of the node's log."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, self.log.stat().st_size - _TAIL_BYTES))
                return log.read(_TAIL_BYTES).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def remove_files(self) -> None:
        """Remove the node's data and files (its log stays); raises ``HarnessError``."""
        try:
            shutil.rmtree(self.folder)
        except FileNotFoundError:
            return
        except OSError as error:
            raise HarnessError(f"the data of node {self.name} cannot be removed: {error}") from error

    async def _until(self, done: Callable[[], bool], what: str, timeout_s: float) -> None:
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not done():
            if asyncio.get_running_loop().time() > deadline:
                raise HarnessError(f"node {self.name} did not {what} within {timeout_s:g} s")
            await asyncio.sleep(_POLL_S)
