"""The command line of ``node.pyz``, for every target whose nodes run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foreshock.harness.cluster import Endpoint, Node
from foreshock.targets.reference.node.addresses import Address
from foreshock.targets.reference.node.configuration import bug_name


def node_command(
    zipapp: str,
    node: Node,
    program: str,
    knobs: Mapping[str, Any],
    *,
    peers: Mapping[str, Endpoint],
    bug: type[Any] | None,
) -> list[str]:
    """Run ``program`` from the zipapp at the path ``zipapp``, with these knobs, peers and planted bug."""
    listen = Address(node.listen.host, node.listen.port)
    command = ["python3", zipapp, "--name", node.name, "--listen", str(listen), "--program", program]
    command += ["--cluster", node.cluster, "--data", node.data_directory]
    for name, peer in sorted(peers.items()):
        command += ["--peer", f"{name}={Address(peer.host, peer.port)}"]
    if node.clock_file is not None:
        command += ["--clock", node.clock_file]
    for knob, value in knobs.items():
        command += ["--set", f"{knob}={str(value).lower() if isinstance(value, bool) else value}"]
    if bug is not None:
        command += ["--bug", bug_name(bug)]
    return command
