"""Zab: the replica, its knobs, and its messages on the wire."""

from foreshock.targets.reference.node.zab.codec import decode, encode
from foreshock.targets.reference.node.zab.core import Zab
from foreshock.targets.reference.node.zab.knobs import ZabKnobs

__all__ = ["Zab", "ZabKnobs", "decode", "encode"]
