"""What the disks of nodes on hosts do."""

from __future__ import annotations

from foreshock.harness.backends.on_hosts.base import HostCluster


class HostDisks(HostCluster):
    """What the disks of nodes on hosts do."""
