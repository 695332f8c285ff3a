"""By what this machine starves, freezes and tells apart the processes of nodes: for a backend that is only asked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from foreshock.harness.backends.on_hosts import control_groups


def has_limits() -> bool:
    """Whether descriptors of a running process can be limited on this machine."""
    return shutil.which("prlimit") is not None and Path("/proc/self/limits").exists()


def has_environments() -> bool:
    """Whether a process shows with what environment it was started: that is how its version is known."""
    return Path("/proc/self/environ").exists()


def resource_mechanisms() -> Mapping[str, str]:
    """The kinds of fault that need what this machine may lack."""
    found: dict[str, str] = {}
    if control_groups.usable():
        found |= {
            "pause/freezer": "the freezer of a control group of the node's own",
            "starve/cpu": "the quota of a control group of the node's own",
            "starve/memory": "the limit of a control group of the node's own, swap counted",
        }
    if has_limits():
        found["starve/files"] = "prlimit on the node's process"
    if has_environments():
        found["upgrade"] = "another command on the same data"
    return found
