"""What happens to packets on their way between hosts."""

from __future__ import annotations

from foreshock.harness.backends.on_hosts.base import HostCluster


class HostPackets(HostCluster):
    """What happens to packets on their way between hosts."""
