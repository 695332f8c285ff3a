"""What Redis Sentinel, memcached and nodes for Maelstrom promise as they are set up here, and where that ends.

They cannot be simulated, so ``foreshock zoo`` leaves them out; ``docs/external`` tells of each, and the tests run them
on real processes.
"""

from __future__ import annotations

from typing import Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.request import Request
from foreshock.targets.caches.findings import LONG_LIVED, STRICTLY, finding
from foreshock.targets.faults import KILLS

SENTINEL_PROMISES: Final[tuple[Promise, ...]] = (
    Promise(
        workload="register", nemeses=("stall",), because="as long as no master is replaced there is but one"
    ),
    Promise(
        workload="lock",
        because="a lock is a lease, and nobody uses it after its time while nothing stands still",
    ),
)

SENTINEL_EXHIBITS: Final[tuple[Exhibit, ...]] = (
    Exhibit(
        name="redis-sentinel/partition-loses-writes",
        request=Request(
            target="redis-sentinel",
            workload="register",
            nemesis="partition",
            interval=6.0,
            time_limit=35.0,
            options={"partition.kinds": "isolate-primary,minority"},
        ),
        shows="a master that is cut off acknowledges writes, and they are gone once it follows the new one",
    ),
    Exhibit(
        name="redis-sentinel/stalled-client",
        request=Request(
            target="redis-sentinel",
            workload="lock",
            nemesis="stall",
            concurrency="12",
            interval=1.0,
            time_limit=12.0,
            options={
                "ttl_ms": 1000,
                "use_ms": 100,
                "locks": 6,
                "stall.processes": "some",
                "stall.duration_ms_min": 1000,
                "stall.duration_ms_max": 2000,
            },
        ),
        shows="a client that stood still writes when its lock has run out, over what the next holder wrote",
    ),
)

MEMCACHED_PROMISES: Final[tuple[Promise, ...]] = (
    Promise(
        workload="cache",
        nemeses=("partition", "packet", *KILLS),
        options={"mode": "aside"},
        because="a copy that nobody could drop runs out",
    ),
    Promise(
        workload="cache",
        nemeses=("partition", "packet", *KILLS, "pause", "stall"),
        options={"mode": "leases"},
        because="a fill that comes late finds no mark of its own, and a copy runs out",
    ),
    Promise(
        workload="cache",
        nemeses=("stall",),
        options={"mode": "leases", **LONG_LIVED},
        because="an invalidation deletes the mark of whoever read the origin before, so no old value is kept after it",
    ),
)

MEMCACHED_EXHIBITS: Final[tuple[Exhibit, ...]] = (
    finding(
        "memcached/aside-keeps-a-stale-copy",
        "memcached",
        {"mode": "aside", **LONG_LIVED},
        rate=400.0,
        time_limit=10.0,
        shows="a client that was slow sets an old value after the invalidation, and it stays",
    ),
    finding(
        "memcached/aside-is-stale",
        "memcached",
        {"mode": "aside", **STRICTLY},
        rate=300.0,
        time_limit=6.0,
        shows="a copy is read after the put that overwrote it was done",
    ),
)
