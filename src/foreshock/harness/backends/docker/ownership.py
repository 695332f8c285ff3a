"""Whether a container is ours: looked at each time before anything is done to it, because names can be taken over.

A container that was removed behind our back may have left its name to somebody else's. What is done is then done to the
id whose labels were read, never to the name.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import docker

from foreshock.harness.backends.docker.leftovers import OURS, RUN
from foreshock.harness.backends.process_identity import boot
from foreshock.harness.errors import FaultError


def inspected(client: docker.APIClient, container: str, run: str) -> dict[str, Any]:
    """What the engine knows of a container of the run; raises ``FaultError`` when it is not ours.

    ``NotFound`` goes through: there is nothing of that name.
    """
    found: dict[str, Any] = client.inspect_container(container)
    labels = found["Config"].get("Labels") or {}
    if labels.get(OURS) != "1" or labels.get(RUN) != run:
        whose = f"it belongs to run {labels[RUN]}" if labels.get(RUN) else "it has no label of ours"
        raise FaultError(
            f"the container {found['Name'].lstrip('/')} is not one of run {run}: {whose}, so nothing was done to it"
        )
    return found


def own_network_refused() -> str:
    """The script that fails where the network is the one that this process lives in: rules there would cut us off."""
    try:
        own = f"{boot()} {Path('/proc/self/ns/net').readlink()}"
    except OSError:
        return ""  # no such thing here: the engine then runs in a machine of its own
    there = "$(cat /proc/sys/kernel/random/boot_id 2>/dev/null) $(readlink /proc/self/ns/net)"
    said = "it shares its network with this machine, whose own rules and routes are not to be touched"
    return f'[ "{there}" != {shlex.quote(own)} ] || {{ echo {shlex.quote(said)} >&2; exit 1; }}\n'
