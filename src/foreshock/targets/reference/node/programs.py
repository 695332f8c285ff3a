"""The table of everything that a node can run."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import import_module
from typing import Final

from foreshock.targets.reference.node.program import ProgramKind

PROGRAMS: Final = {
    "raft": "foreshock.targets.reference.node.raft.program",
    "paxos": "foreshock.targets.reference.node.paxos.program",
    "zab": "foreshock.targets.reference.node.zab.program",
    "cache": "foreshock.targets.reference.node.cache.program",
    "tcp-lock": "foreshock.targets.reference.node.tcp_lock.program",
    "shm-lock": "foreshock.targets.reference.node.shm_lock.program",
    "naive-paxos": "foreshock.targets.naive.node.paxos",
    "naive-raft": "foreshock.targets.naive.node.raft",
    "naive-zab": "foreshock.targets.naive.node.zab",
    "naive-lock": "foreshock.targets.naive.node.lock",
    "naive-cache": "foreshock.targets.naive.node.cache",
}
"""The module of each program, which has its kind as ``PROGRAM``. Loaded when a node is told to run it."""


@cache
def load_program(name: str) -> ProgramKind:
    """The program of that name; raises ``ValueError`` with a sentence."""
    if name not in PROGRAMS:
        near = difflib.get_close_matches(name, PROGRAMS, n=1) or [", ".join(sorted(PROGRAMS))]
        raise ValueError(f"there is no program {name!r}; did you mean {near[0]}?")
    kind: ProgramKind = import_module(PROGRAMS[name]).PROGRAM
    return kind
