"""What nodes on hosts have to live on: processor, memory, descriptors."""

from __future__ import annotations

from foreshock.harness.backends.on_hosts.base import HostCluster


class HostResources(HostCluster):
    """What nodes on hosts have to live on: processor, memory, descriptors."""
