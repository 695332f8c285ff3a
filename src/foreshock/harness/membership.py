"""The capability of changing a cluster's members, as its target offers it."""

from __future__ import annotations

from typing import Any

from foreshock.harness.cluster import Cluster
from foreshock.harness.runtime import Runtime
from foreshock.harness.target import Target


class TargetMembership:
    """Offers ``Membership`` through the target's own interface."""

    def __init__(self, target: Target[Any], cluster: Cluster, runtime: Runtime) -> None:
        self._target = target
        self._cluster = cluster
        self._runtime = runtime

    async def add(self, name: str, via: str) -> None:
        """Have a running node made a member."""
        await self._target.add_member(self._cluster, self._runtime, name, via)

    async def remove(self, name: str, via: str) -> None:
        """Have a node made a member no longer."""
        await self._target.remove_member(self._cluster, self._runtime, name, via)

    async def members(self) -> frozenset[str] | None:
        """Who the members are, as who leads says."""
        return await self._target.members(self._cluster, self._runtime)
