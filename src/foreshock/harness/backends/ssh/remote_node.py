"""One node on its host: its folder, its process, its log, its signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.backends.ssh.host import SshHost
from foreshock.harness.errors import DeployError, FaultError, HarnessError

_SCRIPT_TIMEOUT_MS: Final = 30_000
_STATE_TIMEOUT_MS: Final = 10_000
_LOG_TAIL_BYTES: Final = 8 << 10
ALIVE: Final = ("running", "paused")


class RemoteNode:
    """The process of one node. It leads a session and a process group of its own, so signals reach all of it."""

    def __init__(self, host: SshHost, base: str, run: str) -> None:
        self.name = host.name
        self.killed = False
        self.started = False
        """Whether it was started at all, so that there is a log."""
        self._host = host
        self._base = base
        self._run = run
        self.folder = folder_of(base, run, host.name)

    async def prepare(self, files: Mapping[str, bytes]) -> None:
        """Claim the host, make the node's folders and write its files; raises ``DeployError``."""
        name = self.name
        claimed = await self._host.run(
            node_scripts.claim(self._base, self._run), timeout_ms=_SCRIPT_TIMEOUT_MS
        )
        if claimed.exit_code == node_scripts.CLAIMED:
            raise DeployError(
                f"the host of node {name} carries the run {claimed.stdout.strip() or '?'} already: wait for its end, "
                f"or, when its harness is dead, foreshock clean (or remove {self._base}/claim there)"
            )
        if claimed.exit_code:
            raise DeployError(
                f"{self._base} cannot be used on the host of node {name} ({claimed.stderr.strip()}): choose another "
                "folder with -o ssh.remote_directory=DIR"
            )
        made = await self._host.run(node_scripts.make_folders(self.folder), timeout_ms=_SCRIPT_TIMEOUT_MS)
        if made.exit_code:
            raise DeployError(f"the folders of node {name} cannot be made: {made.stderr.strip()}")
        for file, data in files.items():
            await self._host.upload(data, f"{self.folder}/files/{file}", mode=0o755)

    async def write(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Write down how the node is to be started."""
        own = {
            "start": node_scripts.start_file(command),
            "supervise": node_scripts.supervise_file(),
            "environment": node_scripts.environment_file(environment, self._run),
        }
        for file, text in own.items():
            await self._host.upload(text.encode(), f"{self.folder}/{file}", mode=0o600)

    async def start(self) -> None:
        """Start the process unless it runs; raises ``HarnessError``."""
        script = node_scripts.start(self.folder, self._run)
        result = await self._host.run(script, timeout_ms=_SCRIPT_TIMEOUT_MS)
        if result.exit_code:
            raise HarnessError(f"node {self.name} cannot be started: {result.stderr.strip()}")
        self.killed, self.started = False, True

    async def kill(self) -> None:
        """Kill the process group and wait until its process is gone; raises ``FaultError``."""
        state, _ = await self.state()
        self.killed = self.killed or state in ALIVE
        await self._signal(node_scripts.kill(self.folder), "killed")

    async def pause(self) -> None:
        """Stop the process group and wait until its process stands; raises ``FaultError``."""
        await self._signal(node_scripts.pause(self.folder), "paused")

    async def resume(self) -> None:
        """Let the process group go on, and wait until it does; raises ``FaultError``."""
        await self._signal(node_scripts.resume(self.folder), "resumed")

    async def state(self) -> tuple[str, str]:
        """``running`` or ``paused`` and its pid, ``ended`` and its exit status, or ``absent``."""
        result = await self._host.run(node_scripts.state(self.folder), timeout_ms=_STATE_TIMEOUT_MS)
        words = result.stdout.split()
        if result.exit_code or not words:
            raise HarnessError(
                f"the host of node {self.name} does not say how it is: {result.stderr.strip()}"
            )
        return words[0], words[1] if len(words) > 1 else ""

    async def shown_state(self) -> str | None:
        """``running``, ``paused``, ``killed`` (by us), ``lost`` (by itself, or with its host) or ``unreachable``.

        ``None`` when the host does not say in time.
        """
        if self._host.lost:
            return "unreachable"
        try:
            state, _ = await self.state()
        except HarnessError:
            return None
        return state if state in ALIVE else "killed" if self.killed else "lost"

    async def exit_status(self) -> str | None:
        """How the process ended, in words; ``None`` while it runs, and until its end was written down."""
        state, about = await self.state()
        return node_scripts.exit_words(about) if state == "ended" else None

    async def log_tail(self) -> str:
        """The end of the node's log."""
        return (await self._host.run(node_scripts.tail(self.folder, _LOG_TAIL_BYTES))).stdout

    async def fetch_log(self, directory: Path) -> None:
        """Write the log to ``directory/<node>/node.log``; raises ``HarnessError``."""
        folder = directory / self.name
        folder.mkdir(parents=True, exist_ok=True)
        await self._host.download(f"{self.folder}/{node_scripts.LOG}", folder / node_scripts.LOG)

    async def _signal(self, script: str, struck: str) -> None:
        result = await self._host.run(script, timeout_ms=_SCRIPT_TIMEOUT_MS)
        if result.exit_code:
            raise FaultError(f"node {self.name} cannot be {struck}: {result.stderr.strip()}")


def folder_of(base: str, run: str, name: str) -> str:
    """A node's folder on its host."""
    return f"{base}/{run}/{name}"
