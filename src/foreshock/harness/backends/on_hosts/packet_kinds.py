"""By what packet faults are carried out on hosts of Linux, as far as it can be told before there is a host."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from typing import Final

OF_LINKS: Final = frozenset({"delay", "loss", "duplicate", "reorder", "corrupt", "rate"})
"""The kinds of shape that a link has for itself."""

_NETEM: Final = "sch_netem"
_BY_KERNEL: Final = "tc: netem and htb"
_BY_PROCESS: Final = "NFQUEUE and a process of ours in user space"


def packet_mechanisms(*, here: bool) -> Mapping[str, str]:
    """By what packets are shaped; ``here``: on hosts that share the kernel of this machine.

    A deployment finds out by trying; what is said here is what it will find, unless a host is unlike the others.
    """
    if not here:
        links = f"{_BY_KERNEL}, or {_BY_PROCESS}, as the host has it"
    else:
        links = _BY_KERNEL if _kernel_has(_NETEM) else _BY_PROCESS
    kinds = {f"packet/{kind}": links for kind in sorted(OF_LINKS)}
    if here and not _kernel_has(_NETEM):
        kinds["packet/rate"] = f"tc htb; with a delay {_BY_PROCESS}"
    return {
        **kinds,
        "packet/reset": "ss -K, or iptables REJECT until the connection is gone",
        "packet/names": "iptables: no answer of a name server comes in",
    }


def engine_is_here() -> bool:
    """Whether containers of the Docker engine share the kernel of this machine, as far as can be told from here."""
    return sys.platform == "linux" and os.environ.get("DOCKER_HOST", "unix://").startswith("unix://")


def _kernel_has(module: str) -> bool:
    """Whether the kernel of this machine has a module, loaded, built in, or to be loaded."""
    release = platform.release()
    if os.path.isdir(f"/sys/module/{module}"):  # noqa: PTH112 - asked of every plan, and pathlib is slow to load
        return True
    for listing in ("modules.builtin", "modules.dep"):
        try:
            with open(f"/lib/modules/{release}/{listing}", encoding="utf-8", errors="replace") as lines:
                if any(f"/{module}.ko" in line.partition(":")[0] for line in lines):
                    return True
        except OSError:
            continue
    return False
