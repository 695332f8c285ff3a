"""What the exhibits and the promises of the three protocols share: the faults, the load, and what the services hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.request import Request
from foreshock.targets.faults import KILLS

LEASE_FAULTS: Final = (
    "partition",
    "packet",
    *KILLS,
    "pause",
    "clock",
    "power",
    "disk",
    "membership",
    "primary",
)
"""The faults that a lock stands whose clients know no fencing."""
EVERY_FAULT: Final = (*LEASE_FAULTS, "stall")
LEADERS: Final = {"partition.kinds": "isolate-primary"}
"""Partitions that cut off whoever leads."""

CACHE_PROMISE: Final = Promise(
    workload="cache",
    nemeses=EVERY_FAULT,
    because="the cache's origin is one more replicated register",
)
MUTEX_PROMISES: Final = (
    Promise(
        workload="lock",
        nemeses=LEASE_FAULTS,
        because="a lock ends by its session's time to live, with a margin for clocks that drift; a client that "
        "stands still believes in a lock that it has lost, and only fencing helps against that",
    ),
    Promise(
        workload="lock",
        nemeses=EVERY_FAULT,
        options={"fencing": True},
        because="a resource that checks fencing tokens turns away whoever has lost the lock",
    ),
)
"""They are those of every protocol, for the services are the same on all of them."""


def register_exhibit(
    protocol: str,
    name: str,
    nemesis: str,
    options: Mapping[str, Any],
    *,
    shows: str,
    planted: bool = True,
    nodes: int = 3,
    concurrency: int = 30,
    rate: float = 50.0,
    interval: float = 1.0,
    time_limit: float = 30.0,
) -> Exhibit:
    """A test of registers by many clients, most of which stay where they are while leaders come and go.

    It shows the planted bug ``protocol/name``; or, when nothing is ``planted``, what the options make of the protocol.
    """
    return Exhibit(
        name=f"{protocol}/{name}",
        request=Request(
            target=protocol,
            workload="register",
            nemesis=nemesis,
            bug=f"{protocol}/{name}" if planted else None,
            nodes=str(nodes),
            concurrency=str(concurrency),
            rate=rate,
            interval=interval,
            time_limit=time_limit,
            options=options,
        ),
        shows=shows,
    )
