"""What the other kinds of consensus lock promise; and what must be found: planted bugs, and what no lease can stand."""

from __future__ import annotations

from typing import Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.request import Request
from foreshock.targets.reference.consensus_exhibits import LEASE_FAULTS

LOCK_PROMISES: Final = tuple(
    Promise(
        workload="lock",
        nemeses=LEASE_FAULTS,
        options={"kind": kind},
        because=f"a {what} is held by the session and granted through the log, as a mutex is",
    )
    for kind, what in (
        ("reentrant", "re-entrant lock"),
        ("read-write", "read-write lock"),
        ("semaphore", "semaphore's permit"),
    )
)
"""They are those of every protocol, for the service is the same on all of them."""

LOCK_EXHIBITS: Final = (
    Exhibit(
        name="lock/release-by-non-owner",
        request=Request(
            target="raft",
            workload="lock",
            nemesis="stall",
            bug="lock/release-by-non-owner",
            interval=2.0,
            time_limit=20.0,
            options={"lock_ttl_ms": 1_000, "fencing": True},
        ),
        budget=10,
        shows="a client that stood still past its session releases the lock of whoever holds it now, and a third "
        "gets it",
    ),
    Exhibit(
        name="lock/grant-table-not-replicated",
        request=Request(
            target="raft",
            workload="lock",
            nemesis="kill",
            bug="lock/grant-table-not-replicated",
            concurrency="20",
            interval=2.0,
            time_limit=20.0,
            options={
                "snapshot_after_entries": 10,
                "lock_ttl_ms": 8_000,
                "uses_max": 200,
                "use_ms": 50,
                "locks": 6,
                "tries": 5,
            },
        ),
        budget=10,
        shows="a node that started from a snapshot leads, and grants a lock that is held",
    ),
    Exhibit(
        name="raft/stalled-lock-client",
        request=Request(
            target="raft",
            workload="lock",
            nemesis="stall",
            interval=2.0,
            time_limit=20.0,
            options={"lock_ttl_ms": 1_000, "use_ms": 100},
        ),
        budget=20,
        shows="a client that stood still between its last look at the clock and its write wipes out another's update; "
        "with fencing=true the resource refuses it",
    ),
)
"""They are the ``raft`` target's; the service is the same on ``paxos`` and ``zab``."""
