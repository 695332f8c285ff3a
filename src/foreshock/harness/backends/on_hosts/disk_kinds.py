"""What the disk layer can do, and whether this machine can carry it: asked of a backend before it is used."""

from __future__ import annotations

import ctypes.util
import os
import shutil
from collections.abc import Mapping
from typing import Final

KINDS: Final = ("full", "slow-sync", "failing-sync", "read-only", "bit-flip")
"""The kinds of :class:`~foreshock.harness.capabilities.DiskFault` that the layer carries out: all."""

_LAYER: Final = "a FUSE layer under the node's data"


def layer_mechanisms() -> Mapping[str, str]:
    """By what the faults of disks are carried out where there is a layer."""
    kinds = {f"disk/{kind}": _LAYER for kind in KINDS}
    return {"power": f"SIGKILL, and {_LAYER} that forgets what was not synced", **kinds}


def reason_no_layer() -> str | None:
    """``None`` when this machine can carry the layer, else one sentence with the mend."""
    why = "disks cannot fail here, nor power be cut:"
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return (
            f"{why} there is no /dev/fuse that this user may open (sudo modprobe fuse, or run as its group)"
        )
    if ctypes.util.find_library("fuse") is None and ctypes.util.find_library("fuse3") is None:
        return f"{why} libfuse is missing (sudo apt install fuse3)"
    if os.geteuid() != 0 and shutil.which("fusermount3") is None and shutil.which("fusermount") is None:
        return f"{why} fusermount is missing (sudo apt install fuse3)"
    return None
