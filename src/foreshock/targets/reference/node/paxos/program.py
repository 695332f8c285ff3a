"""Paxos as something that a node can run."""

from __future__ import annotations

from typing import Final

from foreshock.targets.reference.node.paxos.codec import decode, encode
from foreshock.targets.reference.node.paxos.core import Paxos
from foreshock.targets.reference.node.paxos.knobs import PaxosKnobs
from foreshock.targets.reference.node.replica_program import replica_kind

PROGRAM: Final = replica_kind(Paxos, PaxosKnobs, encode, decode)
