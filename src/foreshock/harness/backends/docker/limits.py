"""The limits of a container, as the engine sets and keeps them; blocking calls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import docker

from foreshock.harness.backends.docker.engine import explained
from foreshock.harness.backends.on_hosts import control_groups
from foreshock.harness.errors import FaultError

if TYPE_CHECKING:
    from foreshock.harness.backends.docker.containers import NodeContainers

NO_LIMIT_BYTES: Final = (1 << 63) - 4096
"""What the kernel calls no limit: the engine has no other way to take one away."""


def set_limit(containers: NodeContainers, resource: str, limit: int | None) -> None:
    """Limit a container to ``cpu`` percent of a core or bytes of ``memory``; ``None``: to nothing any more.

    Raises ``FaultError``. What is not limited is left alone.
    """
    client, container = containers.client, containers.ours()
    with explained(f"the {resource} of node {containers.name} cannot be limited", FaultError):
        if limit is not None or resource in _limits(client, container):
            client.update_container(container, **_updates(resource, limit))


def limits_of(containers: NodeContainers) -> dict[str, int]:
    """The limits that the container has as the engine keeps them, in the units of the kernel."""
    with explained(f"the limits of node {containers.name} cannot be had", FaultError):
        return _limits(containers.client, containers.container)


def memory_of(containers: NodeContainers) -> dict[str, int]:
    """What the container uses as the engine counts it (``used``, ``inactive``); nothing while it does not run."""
    with explained(f"the memory that node {containers.name} uses cannot be had", FaultError):
        counted = containers.client.stats(containers.container, stream=False, one_shot=True)["memory_stats"]
    if "usage" not in counted:
        return {}
    pages = counted.get("stats", {})
    inactive = pages.get("total_inactive_file", pages.get("inactive_file", 0))
    return {"used": int(counted["usage"]), "inactive": int(inactive)}


def lift_limits(client: docker.APIClient, container: str) -> bool:
    """Take all limits away; false when there are none."""
    found = _limits(client, container)
    for resource in sorted(found):
        client.update_container(container, **_updates(resource, None))
    return bool(found)


def _limits(client: docker.APIClient, container: str) -> dict[str, int]:
    settings = client.inspect_container(container)["HostConfig"]
    found = {"cpu": settings.get("CpuQuota") or 0, "memory": settings.get("Memory") or 0}
    return {key: value for key, value in found.items() if 0 < value < NO_LIMIT_BYTES}


def _updates(resource: str, limit: int | None) -> Mapping[str, Any]:
    """A limit as the engine's client wants it."""
    if resource == "cpu":
        quota = -1 if limit is None else control_groups.PERIOD_US * limit // 100
        return {"cpu_period": control_groups.PERIOD_US, "cpu_quota": quota}
    if limit is None:
        return {"mem_limit": NO_LIMIT_BYTES, "memswap_limit": NO_LIMIT_BYTES}
    return {"mem_limit": limit, "memswap_limit": limit}  # swap counts: no more of both together
