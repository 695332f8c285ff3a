"""Raft as something that a node can run."""

from __future__ import annotations

from typing import Final

from foreshock.targets.reference.node.raft.codec import decode, encode
from foreshock.targets.reference.node.raft.core import Raft
from foreshock.targets.reference.node.raft.knobs import RaftKnobs
from foreshock.targets.reference.node.replica_program import replica_kind

PROGRAM: Final = replica_kind(Raft, RaftKnobs, encode, decode)
