"""What is not ours, of every kind that faults and healing touch, and how to see that it is as it was."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.commands import until
from tests.harness import traces

STOPPED_AND_RUNNING = 2
TABLES = ("filter", "mangle", "nat", "raw")
BRIDGE = re.compile(r"br-[0-9a-f]{12}")
"""Rules for the networks of other containers come and go with these."""


class Strangers:
    """Processes (one stopped, one that looks like a node), rules, a mount, a control group, files, containers."""

    def __init__(self, folder: Path, *, image: str | None) -> None:
        self.name = f"stranger{secrets.token_hex(3)}"
        self.folder = folder / self.name
        self.image = image
        self.root = os.geteuid() == 0
        self.chain = f"{self.name}-rules"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.containers: list[str] = []

    def come(self) -> None:
        """Make them all."""
        self.folder.mkdir(parents=True)
        (self.folder / "file").write_bytes(secrets.token_bytes(10_000))
        node = [sys.executable, "-c", "import time; time.sleep(3600)", "/files/reference_node.pyz", "n1"]
        for _ in range(STOPPED_AND_RUNNING):
            environment = {**os.environ, "FORESHOCK_NODE_OF": self.name}
            self.processes.append(subprocess.Popen(node, start_new_session=True, env=environment))
        os.kill(self.processes[0].pid, signal.SIGSTOP)
        until(lambda: self._state(self.processes[0].pid)[0] == "T", "a stopped process")
        if self.root:
            self._run("iptables", "-w", "-N", self.chain)
            self._run("iptables", "-w", "-A", self.chain, "-s", "203.0.113.7/32", "-j", "DROP")
            self._run("iptables", "-w", "-A", "INPUT", "-s", "203.0.113.0/24", "-j", self.chain)
            (self.folder / "mounted").mkdir()
            self._run("mount", "-t", "tmpfs", "tmpfs", str(self.folder / "mounted"))
            for hierarchy in self._hierarchies():
                (hierarchy / f"foreshock-{self.name}").mkdir()
        if self.image is not None:
            for number in range(STOPPED_AND_RUNNING):
                name = f"foreshock-{self.name}-{number}"
                labels = ["--label", f"foreshock.run={self.name}", "--label", "foreshock.node=n1"]
                self._run("docker", "run", "-d", "--name", name, *labels, self.image, "sleep", "3600")
                self.containers.append(name)
            self._run("docker", "pause", self.containers[0])

    def go(self) -> None:
        """Remove them all, whatever became of them."""
        for name in self.containers:
            self._run("docker", "rm", "-f", name)
        for process in self.processes:
            process.kill()
            process.wait()
        if self.root:
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("iptables", "-w", "-D", "INPUT", "-s", "203.0.113.0/24", "-j", self.chain)
                self._run("iptables", "-w", "-F", self.chain)
                self._run("iptables", "-w", "-X", self.chain)
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("umount", str(self.folder / "mounted"))
            for hierarchy in self._hierarchies():
                with contextlib.suppress(FileNotFoundError):
                    (hierarchy / f"foreshock-{self.name}").rmdir()

    def look(self) -> Mapping[str, Any]:
        """How they all are now."""
        file = self.folder / "file"
        return {
            "file": (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns),
            "processes": [(each.pid, *self._state(each.pid)) for each in self.processes],
            "rules": {table: self._rules(table) for table in TABLES} if self.root else {},
            "mounts": traces.mounts_with(self.name),
            "control groups": traces.cgroups_with(self.name),
            "containers": [self._container(name) for name in self.containers],
        }

    @staticmethod
    def _state(pid: int) -> tuple[str, str]:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return ("T" if fields[0] in "tT" else "runs"), fields[19]

    def _rules(self, table: str) -> list[str]:
        return [
            line
            for line in self._run("iptables", "-w", "-t", table, "-S").splitlines()
            if not BRIDGE.search(line)
        ]

    def _container(self, name: str) -> str:
        state = "{{.Id}} {{.State.Status}} {{.State.Pid}} {{.State.StartedAt}} {{.RestartCount}}"
        return self._run("docker", "inspect", "--format", state, name)

    @staticmethod
    def _hierarchies() -> list[Path]:
        """Where control groups can be made: the one hierarchy, or two of the many."""
        base = traces.CGROUPS
        return [base] if (base / "cgroup.procs").exists() else [base / "cpu", base / "freezer"]

    @staticmethod
    def _run(*command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@contextlib.contextmanager
def untouched(folder: Path, *, image: str | None = None) -> Iterator[Strangers]:
    """Strangers are there while the block runs, and after it they are as they were."""
    strangers = Strangers(folder, image=image)
    try:
        strangers.come()
        before = strangers.look()
        yield strangers
        assert strangers.look() == before
    finally:
        strangers.go()
