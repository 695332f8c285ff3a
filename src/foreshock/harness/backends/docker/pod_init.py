"""The first process of a pod: keeps the network namespace alive, and sends and hears probes.

It runs inside the container, or on a host as a process of ours, on the standard library alone. It may be given its
directory and its UDP port, in this order. A command is a line in ``/run/foreshock/commands``::

    send WORD ADDRESS...      one UDP datagram that carries the word to each address

Every word that arrives is appended, as a line, to ``/run/foreshock/heard``. So a shell is all that is needed to see
which pods hear which.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from typing import Final

DIRECTORY: Final = "/run/foreshock"
PORT: Final = 19_599
"""UDP port of the probes; below the ports that kernels hand out."""

_HEARD_BYTES_MAX: Final = 256 << 10
_WORD_BYTES_MAX: Final = 200


def _reap(*_: object) -> None:
    """The first process of a container inherits orphans; leave no zombies."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _send(udp: socket.socket, line: str, port: int) -> None:
    words = line.split()
    if len(words) < 3 or words[0] != "send":
        return
    for address in words[2:]:
        with contextlib.suppress(OSError):  # an address that cannot be reached is a probe that is not heard
            udp.sendto(words[1].encode()[:_WORD_BYTES_MAX], (address, port))


def _hear(udp: socket.socket, heard: int) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            word = udp.recv(2048)[:_WORD_BYTES_MAX]
            if os.fstat(heard).st_size > _HEARD_BYTES_MAX:
                os.ftruncate(heard, 0)
            os.write(heard, word.replace(b"\n", b" ") + b"\n")


def main() -> None:
    """Serve until killed."""
    signal.signal(signal.SIGCHLD, _reap)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    directory = sys.argv[1] if len(sys.argv) > 1 else DIRECTORY
    port = int(sys.argv[2]) if len(sys.argv) > 2 else PORT
    os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - starts twice as fast without pathlib
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("0.0.0.0", port))
    udp.setblocking(False)
    heard = os.open(f"{directory}/heard", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.mkfifo(f"{directory}/commands", 0o600)
    commands = os.open(f"{directory}/commands", os.O_RDWR | os.O_NONBLOCK)  # for writing too: it never ends
    pending = b""
    while True:
        ready, _, _ = select.select([commands, udp.fileno()], [], [])
        if udp.fileno() in ready:
            _hear(udp, heard)
        if commands in ready:
            *lines, pending = (pending + os.read(commands, 65_536)).split(b"\n")
            for line in lines:
                _send(udp, line.decode(errors="replace"), port)


if __name__ == "__main__":
    main()
