"""Paxos: the single-decree core, the replica made of it, its knobs, and its messages on the wire."""

from foreshock.targets.reference.node.paxos.codec import decode, encode
from foreshock.targets.reference.node.paxos.core import Paxos
from foreshock.targets.reference.node.paxos.knobs import PaxosKnobs

__all__ = ["Paxos", "PaxosKnobs", "decode", "encode"]
