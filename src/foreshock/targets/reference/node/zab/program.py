"""Zab as something that a node can run."""

from __future__ import annotations

from typing import Final

from foreshock.targets.reference.node.replica_program import replica_kind
from foreshock.targets.reference.node.zab.codec import decode, encode
from foreshock.targets.reference.node.zab.core import Zab
from foreshock.targets.reference.node.zab.knobs import ZabKnobs

PROGRAM: Final = replica_kind(Zab, ZabKnobs, encode, decode)
