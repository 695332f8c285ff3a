"""The lock agent as something that a node can run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.effects import NodeFailure
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.program import NodeProgram, ProgramKind, variant
from foreshock.targets.reference.node.shm_lock.agent import LockAgent
from foreshock.targets.reference.node.shm_lock.knobs import ShmLockKnobs
from foreshock.targets.reference.node.shm_lock.shared_memory import MappedFiles
from foreshock.targets.reference.node.tcp_lock.program import no_message


def _build(
    configuration: NodeConfiguration,
    files: Files,  # noqa: ARG001 - what there is to remember is in the shared memory
    random_bits: Callable[[int], int],
    now_ns: int,  # noqa: ARG001
    bug: type[Any] | None,
) -> NodeProgram:
    knobs: ShmLockKnobs = configuration.program_knobs
    if not knobs.shared_directory:
        raise NodeFailure(
            "a lock agent needs --set shared_directory=DIR, the same for all agents of the host"
        )
    memory = MappedFiles(knobs.shared_directory, cells_max=knobs.locks_max)
    agent: NodeProgram = variant(bug, LockAgent)(configuration, knobs, memory, random_bits)
    return agent


PROGRAM: Final = ProgramKind(knobs=ShmLockKnobs, build=_build, encode=no_message, decode=no_message)
