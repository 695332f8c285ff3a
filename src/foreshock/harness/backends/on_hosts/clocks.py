"""What the clocks of nodes on hosts show."""

from __future__ import annotations

from foreshock.harness.backends.on_hosts.base import HostCluster


class HostClocks(HostCluster):
    """What the clocks of nodes on hosts show."""
