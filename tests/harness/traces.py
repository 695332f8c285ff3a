"""What a run leaves on this machine, looked for by other means than those by which Foreshock cleans up.

Processes are found by a variable of their environment that whoever started the harness had set, and by the folder that
they were started in or are called with; what is in the engine by its label; mounts and control groups by their paths.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

MARK: Final = "FORESHOCK_SOAK_TRIAL"
"""Environment variable of a harness whose descendants are to be found again."""
CGROUPS: Final = Path("/sys/fs/cgroup")
SHARED_MEMORY: Final = Path("/dev/shm")
POLL_S: Final = 0.05


def marked_processes(mark: str) -> list[str]:
    """Every process that descends from a harness with that mark, zombies left out: ``pid command``."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(f"process {folder.name} {_command(folder)}")
    return sorted(found)


def processes_at(folder: Path) -> list[str]:
    """Every process that works in the folder or is called with its path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            where = str((process / "cwd").readlink())
            if where.startswith(f"{folder}/") or f"{folder}/".encode() in (process / "cmdline").read_bytes():
                found.append(f"process {process.name} {_command(process)}")
    return sorted(found)


def _command(process: Path) -> str:
    return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()[:120]


def mounts_with(text: str) -> list[str]:
    """Mount points whose path, or what is mounted there, holds the text."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [f"mount {line.split()[4]}" for line in lines if text in line]


def cgroups_with(text: str) -> list[str]:
    """Control groups with the text in their name, in every hierarchy."""
    found = []
    for folder, names, _ in os.walk(CGROUPS):
        found += [f"cgroup {folder}/{name}" for name in names if text in name]
    return sorted(found)


def shared_memory_with(text: str) -> list[str]:
    """Files in shared memory with the text in their name."""
    return sorted(f"shared memory {path}" for path in SHARED_MEMORY.glob("*") if text in path.name)


def paused_in_engine(run: str) -> list[str]:
    """The run's containers that are frozen."""
    command = ["docker", "ps", "-a", "--format", "{{.Names}}", "--filter", "status=paused"]
    command += ["--filter", f"label=foreshock.run={run}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()


def engine_has(run: str) -> list[str]:
    """Containers, volumes and networks with the run's label."""
    label = ["--filter", f"label=foreshock.run={run}"]
    found = []
    for what, command in (
        ("container", ["ps", "-a", "--format", "{{.Names}}"]),
        ("volume", ["volume", "ls", "--format", "{{.Name}}"]),
        ("network", ["network", "ls", "--format", "{{.Name}}"]),
    ):
        done = subprocess.run(
            ["docker", *command, *label], capture_output=True, text=True, timeout=60, check=True
        )
        found += [f"{what} {name}" for name in done.stdout.split()]
    return found


def registered(state: Path) -> list[str]:
    """Every file of the registry of live runs, whole or not."""
    return sorted(f"registry entry {path.name}" for path in (state / "foreshock" / "runs").glob("*"))


def left_behind(run: Path, state: Path, mark: str, *, engine: bool) -> list[str]:
    """All that is left of a run, but for its results. ``run`` need not exist."""
    name = run.name.lower()
    return [
        *marked_processes(mark),
        *processes_at(run),
        *mounts_with(str(run)),
        *mounts_with(name),
        *cgroups_with(name),
        *shared_memory_with(name),
        *(engine_has(name) if engine else ()),
        *registered(state),
        *([f"data {run / 'data'}"] if (run / "data").exists() else []),
    ]


def gone(look: Callable[[], list[str]], within_s: float) -> list[str]:
    """What is still there after so long; returns as soon as nothing is."""
    deadline = time.monotonic() + within_s
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return left


def faults_of(run: Path) -> list[dict[str, object]]:
    """The faults of a ledger by their kind and whether they are still open, read without our own reader."""
    found: dict[int, dict[str, object]] = {}
    path = run / "faults.jsonl"
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, KeyError):
            event = json.loads(line)
            if event["event"] == "planned":
                found[event["id"]] = {"kind": event["kind"], "verified": False, "open": True}
            elif event["event"] == "verified":
                found[event["id"]]["verified"] = True
            elif event["event"] in ("healed", "healed-later"):
                found[event["id"]]["open"] = False
    return list(found.values())


def has_engine() -> bool:
    """Whether a container engine answers here."""
    if shutil.which("docker") is None:
        return False
    asked = subprocess.run(["docker", "version"], capture_output=True, timeout=60, check=False)
    return asked.returncode == 0
