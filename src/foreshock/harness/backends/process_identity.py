"""Which process is meant: a pid alone does not say, because pids are used again.

A process is identified by its pid, by when it started, and by the place in which the pid counts (the machine and
its pid namespace). Only with all three may a signal be sent to a process that an earlier harness started.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import signal
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

_PROC: Final = Path("/proc")
_PS_TIMEOUT_S: Final = 5
_DEATH_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.005
_STOP_TIMEOUT_S: Final = 0.1
NODE_VARIABLE: Final = "FORESHOCK_NODE_OF"
"""Environment variable of every node's process: the run that it belongs to. Children of a node inherit it."""


class ProcessIdentity(msgspec.Struct, frozen=True):
    """One process for good: a later process with the same pid has another ``started``."""

    pid: int
    started: str
    place: str


@cache
def machine() -> str:
    """The name of this machine."""
    return platform.node()


@cache
def _place() -> str:
    try:
        namespace = str((_PROC / "self/ns/pid").readlink())
    except OSError:
        namespace = "pid"
    return f"{machine()} {namespace}"


@cache
def boot() -> str:
    """What names the time since this machine was started, and no other."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "boot"


def _stat_fields(pid: int) -> list[str] | None:
    """The fields of ``/proc/<pid>/stat`` after the command's name (proc(5)); ``None`` when there is no process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rindex(")") + 2 :].split()


def _ps(pid: int, column: str) -> str | None:
    """What ``ps`` says of a process where there is no ``/proc``; ``None`` when there is no process."""
    command = ["ps", "-o", f"{column}=", "-p", str(pid)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PS_TIMEOUT_S, check=False)
    return done.stdout.strip() or None


def _started(pid: int) -> str | None:
    """When the process started, as text that no later process of this pid repeats; ``None``: none, or a zombie."""
    if (_PROC / "self/stat").exists():
        fields = _stat_fields(pid)
        return None if fields is None or fields[0] in "ZX" else f"{boot()} {fields[19]}"
    started = _ps(pid, "lstart")
    state = _ps(pid, "stat")
    return None if started is None or state is None or state.startswith("Z") else started


def identify(pid: int) -> ProcessIdentity | None:
    """The identity of a process of this machine; ``None`` when none with this pid runs."""
    started = _started(pid)
    return None if started is None else ProcessIdentity(pid=pid, started=started, place=_place())


def alive(process: ProcessIdentity) -> bool | None:
    """Whether exactly this process runs; ``None`` when it lives elsewhere and nobody here can tell."""
    if process.place != _place():
        return False if _of_an_earlier_boot(process) else None
    return _started(process.pid) == process.started


def _of_an_earlier_boot(process: ProcessIdentity) -> bool:
    """Whether it ran here before this machine was started again: pid namespaces have other names after that."""
    made_in, blank, _ = process.started.partition(" ")
    here = process.place.rpartition(" ")[0] == machine()
    return here and bool(blank) and _is_boot(made_in) and _is_boot(boot()) and made_in != boot()


def _is_boot(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) is not None


def stopped(process: ProcessIdentity) -> bool:
    """Whether exactly this process runs and is stopped (by SIGSTOP)."""
    if not alive(process):
        return False
    if (_PROC / "self/stat").exists():
        fields = _stat_fields(process.pid)
        return fields is not None and fields[0] in "Tt"
    return (_ps(process.pid, "stat") or "").startswith("T")


def signal_group(process: ProcessIdentity, number: signal.Signals) -> bool:
    """Send a signal to the process group that this process leads, and to those of its descendants that left it.

    False when the process is gone.
    """
    if not alive(process):
        return False
    try:
        if number in (signal.SIGSTOP, signal.SIGKILL):
            os.killpg(process.pid, signal.SIGSTOP)  # so that nothing more is started while it is counted
            _wait_until_stopped(process)
        strays = descendants_outside_group(process)
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    for stray in sorted(strays, key=lambda each: each.pid):
        if alive(stray):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(stray.pid, number)
    return True


def _wait_until_stopped(process: ProcessIdentity) -> None:
    """A stop takes a moment where the process is running just now; one that waits in the kernel may not heed it."""
    until = time.monotonic() + _STOP_TIMEOUT_S
    while alive(process) and not stopped(process) and time.monotonic() < until:
        time.sleep(_POLL_S / 5)


def descendants_outside_group(process: ProcessIdentity) -> set[ProcessIdentity]:
    """What the process has started, and what that has, in other process groups; none where there is no ``/proc``.

    A server whose workers have sessions of their own (PostgreSQL) is more than a group.
    """
    children: dict[int, list[int]] = {}
    groups: dict[int, int] = {}
    for name in os.listdir(_PROC) if _PROC.exists() else ():  # noqa: PTH208 - names are all that is wanted
        fields = _stat_fields(int(name)) if name.isdigit() else None
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(name))
            groups[int(name)] = int(fields[2])
    family, found = [process.pid], set()
    while family:
        for child in children.pop(family.pop(), ()):
            family.append(child)
            stray = identify(child) if groups[child] != process.pid else None
            if stray is not None:
                found.add(stray)
    return found


def processes_of_run(run: str) -> list[int]:
    """The pids of all processes that carry the run in their environment; empty where there is no ``/proc``.

    This finds what a node left behind outside its process group, and a node whose start was not yet written
    down when the harness was killed. Processes of other users cannot be read and are not ours.
    """
    pids = (int(folder.name) for folder in _PROC.glob("[0-9]*"))
    return sorted(pid for pid in pids if pid != os.getpid() and _carries(pid, run))


def _carries(pid: int, run: str) -> bool:
    try:
        variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return False  # it ended meanwhile, or belongs to somebody else
    return f"{NODE_VARIABLE}={run}".encode() in variables


def _signal_process_of_run(pid: int, run: str, number: signal.Signals) -> bool:
    """Signal a process if it still is one of the run, never a stranger that has its pid by now."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    except (AttributeError, OSError):  # a kernel without handles of processes
        if not _carries(pid, run):
            return False
        os.kill(pid, number)
        return True
    try:
        if not _carries(pid, run):
            return False
        signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)
    return True


def end_processes_of_run(run: str, number: signal.Signals = signal.SIGKILL) -> list[int]:
    """Signal all processes that carry the run in their environment until they are gone.

    Returns their pids. One that does not die within a few seconds (it is stuck in the kernel) is waited for no more.
    """
    ended: set[int] = set()
    deadline = time.monotonic() + _DEATH_TIMEOUT_S
    while (left := processes_of_run(run)) and time.monotonic() < deadline:
        for pid in left:
            if pid in ended and number != signal.SIGKILL:
                continue  # it was asked already, and may be at it
            with contextlib.suppress(ProcessLookupError):
                if _signal_process_of_run(pid, run, number):
                    ended.add(pid)
        time.sleep(_POLL_S)
    return sorted(ended)
