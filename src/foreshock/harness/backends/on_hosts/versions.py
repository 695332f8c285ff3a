"""In which version of its program each node of a host runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from foreshock.harness.backends.on_hosts.base import HostCluster
from foreshock.harness.backends.together import try_all
from foreshock.harness.errors import FaultError
from foreshock.harness.options import nearest

VERSION_VARIABLE: Final = "FORESHOCK_VERSION"
"""Environment variable of a node's process, where its target has several versions."""

_READ: Final = "tr '\\0' '\\n' </proc/{pid}/environ | sed -n 's/^" + VERSION_VARIABLE + "=//p'\n"


def check_version(version: str, known: Sequence[str]) -> None:
    """Raises ``FaultError`` for a version that the target does not have."""
    if version not in known:
        raise FaultError(f"the target has no version {version!r}{nearest(version, known)}")


class HostVersions(HostCluster):
    """Reads in which version a node's process was started from the process itself."""

    async def versions(self, nodes: frozenset[str]) -> Mapping[str, str]:
        """By node, what its process has in its environment; nothing for a node without a process, or of no version."""
        ordered = sorted(nodes)
        found = await try_all([self._version(name) for name in ordered])
        return {name: version for name, version in zip(ordered, found, strict=True) if version}

    async def _version(self, name: str) -> str:
        pid = await self.process_on_host(name)
        if pid is None:
            return ""
        return (await self.host(name).run(_READ.format(pid=pid))).stdout.strip()
