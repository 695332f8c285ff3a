"""What etcd, ZooKeeper and PostgreSQL promise as they are set up here, and the tests that show where that ends.

They cannot be simulated, so ``foreshock zoo`` leaves them out; ``docs/external`` tells of each, and the tests run them
on real processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.request import Request
from foreshock.targets.faults import KILLS

_BY_THE_RESOURCE: Final[Mapping[str, Any]] = {"workload.fencing": True, "workload.beliefs": False}
_ON_DISK: Final[Mapping[str, Any]] = {"fsync": True, "synchronous_commit": True}
_LONG_HOLDS: Final[Mapping[str, Any]] = {"use_ms": 200, "uses_max": 100}
"""So that a fault finds somebody who holds a lock, and holds it on."""


def _exhibit(name: str, workload: str, nemesis: str, options: Mapping[str, Any], shows: str) -> Exhibit:
    """A test of a few seconds with many faults, much concurrency, and operations that are soon given up."""
    request = Request(
        target=name.partition("/")[0],
        workload=workload,
        nemesis=nemesis,
        options=options,
        concurrency="12" if workload == "register" else "10",
        rate=400.0 if workload == "register" else 100.0,
        time_limit=6.0 if workload == "register" else 10.0,
        interval=1.0 if workload == "register" else 2.0,
        operation_timeout_ms=1_000 if workload == "register" else 1_500,
    )
    return Exhibit(name=name, request=request, budget=5, shows=shows)


ETCD_PROMISES: Final = (
    Promise(
        workload="register",
        nemeses=("partition", "packet", "pause", "power", *KILLS),
        options={"read_mode": "linearizable"},
        because="a quorum has every write on disk before it is answered, and confirms every read",
    ),
    Promise(
        workload="lock",
        nemeses=("partition", "packet", "pause", "stall", "power", *KILLS),
        options=_BY_THE_RESOURCE,
        because="revisions only grow, whoever believes what: a lease that is renewed or revoked by a leader that is "
        "one no more is no promise to its holder",
    ),
    Promise(
        workload="lock",
        because="while nothing goes wrong a lease lasts as long as it was renewed for",
    ),
)

ETCD_EXHIBITS: Final = (
    _exhibit(
        "etcd/stalled-client",
        "lock",
        "stall",
        {
            "use_ms": 300,
            "uses_max": 20,
            "locks": 5,
            "stall.processes": "some",
            "stall.duration_ms_min": 2000,
            "stall.duration_ms_max": 4000,
        },
        "a client that stands still between the look at its clock and its write overwrites what the next holder wrote",
    ),
    _exhibit(
        "etcd/serializable-reads",
        "register",
        "partition",
        {"read_mode": "serializable", "reads": 8},
        "a member that is cut off answers from what it had",
    ),
)

ZOOKEEPER_PROMISES: Final = (
    Promise(
        workload="register",
        nemeses=("partition", "packet", "pause"),
        options={"read_mode": "quorum"},
        because="a server that has the client's own write has all that was written before; but one that led, ended "
        "and comes back may have kept in a snapshot what was never committed",
    ),
    Promise(
        workload="lock",
        nemeses=("partition", "packet", "pause", "stall"),
        options=_BY_THE_RESOURCE,
        because="the numbers of sequential znodes only grow, whoever believes what",
    ),
    Promise(
        workload="lock",
        nemeses=("stall",),
        because="kazoo keeps the session alive in threads of its own, and the lock lasts as long as the session",
    ),
)

ZOOKEEPER_EXHIBITS: Final = (
    _exhibit(
        "zookeeper/local-reads",
        "register",
        "partition",
        {"read_mode": "local", "reads": 20},
        "a server that is cut off answers from what it has until it misses its leader",
    ),
    _exhibit(
        "zookeeper/lost-session",
        "lock",
        "pause",
        {**_LONG_HOLDS, "session_ms": 800},
        "the server of a holder stands still, the session ends, the lock goes to somebody else, and nobody tells the "
        "holder",
    ),
)

POSTGRESQL_PROMISES: Final = (
    Promise(
        workload="register",
        nemeses=("pause", "stall", "power", *KILLS),
        options=_ON_DISK,
        because="a commit is on disk before it is answered, and seen by nobody before",
    ),
    Promise(
        workload="lock",
        nemeses=("pause", "stall"),
        because="a lock lasts as long as its session, and sessions last while the server does",
    ),
    Promise(
        workload="lock",
        nemeses=("pause", "stall", "power", *KILLS),
        options={**_ON_DISK, **_BY_THE_RESOURCE},
        because="the number of a grant is on disk before it is answered, though the lock is not",
    ),
)

POSTGRESQL_EXHIBITS: Final = (
    _exhibit(
        "postgresql/killed-server",
        "lock",
        "kill",
        _LONG_HOLDS,
        "with the server all sessions end, and with them all locks, and no holder hears of it while it does not ask",
    ),
    _exhibit(
        "postgresql/asynchronous-commit",
        "register",
        "kill",
        {"synchronous_commit": False, "wal_writer_delay_ms": 5000},
        "commits that were answered before their log was written are gone",
    ),
)
