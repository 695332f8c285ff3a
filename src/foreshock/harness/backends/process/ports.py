"""Ports of this machine that nodes may listen on, kept for the run even while a node is down."""

from __future__ import annotations

import fcntl
import os
import random
import socket
from pathlib import Path
from typing import Final

from foreshock.harness.errors import DeployError
from foreshock.harness.live_runs import ensure_directory, state_directory

LOOPBACK: Final = "127.0.0.1"
_LOWEST: Final = 10_000
_HIGHEST_WITHOUT_PROC: Final = 32_767
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


def port_is_free(port: int) -> bool:
    """Whether a listener could be bound to the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _highest() -> int:
    """The highest port below those that the kernel hands out to outgoing connections.

    One of those may be taken while its node is down; worse, a connection to it can then meet itself.
    """
    try:
        lowest_ephemeral = int(_EPHEMERAL.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _HIGHEST_WITHOUT_PROC
    return lowest_ephemeral - 1 if lowest_ephemeral > _LOWEST + 1_000 else _HIGHEST_WITHOUT_PROC


class PortReservations:
    """Ports that no other harness of this user takes; the kernel frees them when the harness ends.

    A reservation is a lock on a file in the state directory: a bound socket would keep the node itself out.
    """

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}

    def reserve(self, count: int) -> tuple[int, ...]:
        """Reserve that many free ports; raises ``DeployError`` when there are not enough."""
        candidates = list(range(_LOWEST, _highest() + 1))
        random.SystemRandom().shuffle(candidates)  # two harnesses should rarely try the same port
        taken: list[int] = []
        for port in candidates:
            if len(taken) == count:
                break
            if self._lock(port):
                if port_is_free(port):
                    taken.append(port)
                else:
                    self._unlock(port)
        if len(taken) < count:
            raise DeployError(
                f"only {len(taken)} of {count} loopback ports are free: end what holds the others"
            )
        return tuple(taken)

    def release(self) -> None:
        """Give back every reservation; idempotent."""
        for port in tuple(self._locks):
            self._unlock(port)

    def _lock(self, port: int) -> bool:
        path = ensure_directory(state_directory() / "ports") / str(port)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._locks[port] = descriptor
        return True

    def _unlock(self, port: int) -> None:
        # The file stays: removing it would let two harnesses lock two files of one name.
        os.close(self._locks.pop(port))
