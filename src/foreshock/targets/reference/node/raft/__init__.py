"""Raft: the replica, its knobs, and its messages on the wire."""

from foreshock.targets.reference.node.raft.codec import decode, encode
from foreshock.targets.reference.node.raft.core import Raft
from foreshock.targets.reference.node.raft.knobs import RaftKnobs

__all__ = ["Raft", "RaftKnobs", "decode", "encode"]
