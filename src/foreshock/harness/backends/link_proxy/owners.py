"""Which node a connection comes from, as the system knows it: by the process that owns the other end (Linux)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SENDER_VARIABLE: Final = "FORESHOCK_NODE_NAME"
"""Environment variable of a node's process where links tell senders apart: its name. Children inherit it."""

_PROC: Final = Path("/proc")
_TABLES: Final = ("net/tcp", "net/tcp6")


class Owners:
    """Finds the nodes behind connections on this machine; ``run`` and ``variable`` say which processes are nodes."""

    def __init__(self, variable: str, run: str) -> None:
        self._mark = f"{variable}={run}".encode()
        self._known: set[int] = set()
        """Processes that were nodes' when they were looked at last: those are looked at first."""

    def sender(self, connected_from: tuple[str, int], connected_to: tuple[str, int]) -> str | None:
        """The node whose process made the connection; ``None`` when it is nobody's, or gone."""
        inode = _inode(connected_from, connected_to)
        if inode is None:
            return None
        target = f"socket:[{inode}]"
        for pid in self._candidates():
            name = self._node(pid)
            if name is None:
                self._known.discard(pid)
                continue
            self._known.add(pid)
            if _holds(pid, target):
                return name
        return None

    def _candidates(self) -> Iterator[int]:
        known = tuple(self._known)
        yield from known
        yield from (int(name) for name in os.listdir(_PROC) if name.isdigit() and int(name) not in known)  # noqa: PTH208

    def _node(self, pid: int) -> str | None:
        """The name of the node that a process belongs to."""
        try:
            variables = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is somebody else's
            return None
        if self._mark not in variables:
            return None
        wanted = f"{SENDER_VARIABLE}=".encode()
        return next((each[len(wanted) :].decode() for each in variables if each.startswith(wanted)), None)


def _inode(connected_from: tuple[str, int], connected_to: tuple[str, int]) -> str | None:
    """The number of the socket that is the sender's end of a connection."""
    ends = [_hexadecimal(*connected_from), _hexadecimal(*connected_to)]
    for table in _TABLES:
        try:
            lines = (_PROC / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            # An IPv4 address within an IPv6 one is its end.
            if all(field.endswith(end) for field, end in zip(fields[1:3], ends, strict=True)):
                return fields[9]
    return None


def _hexadecimal(host: str, port: int) -> str:
    """An IPv4 address and a port as the system's table has them."""
    return f"{int.from_bytes(socket.inet_aton(host), 'little'):08X}:{port:04X}"


def _holds(pid: int, target: str) -> bool:
    """Whether one of the process's open files is the target."""
    folder = _PROC / str(pid) / "fd"
    try:
        return any(_link(each) == target for each in folder.iterdir())
    except OSError:  # it has ended
        return False


def _link(path: Path) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - what it says is no path
    except OSError:
        return ""
