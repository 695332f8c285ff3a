"""The lock server as something that a node can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.program import NodeProgram, ProgramKind, variant
from foreshock.targets.reference.node.tcp_lock.knobs import TcpLockKnobs
from foreshock.targets.reference.node.tcp_lock.lock_server import LockServer


def _build(
    configuration: NodeConfiguration,
    files: Files,
    random_bits: Callable[[int], int],  # noqa: ARG001 - nothing is drawn here
    now_ns: int,
    bug: type[Any] | None,
) -> NodeProgram:
    server: NodeProgram = variant(bug, LockServer)(configuration, configuration.program_knobs, files, now_ns)
    return server


def no_message(message: Any) -> Any:
    """Lock servers do not talk to each other."""
    raise ValueError(f"a lock server has no peers, so this is none of its messages: {message!r:.80}")


PROGRAM: Final = ProgramKind(knobs=TcpLockKnobs, build=_build, encode=no_message, decode=no_message)
