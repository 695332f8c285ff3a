"""What Zab promises under which faults, and the tests that show its planted bugs and what its weaker reads are not."""

from __future__ import annotations

from functools import partial
from typing import Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.targets.reference.consensus_exhibits import (
    CACHE_PROMISE,
    EVERY_FAULT,
    LEADERS,
    MUTEX_PROMISES,
    register_exhibit,
)

_STAY = {"target.attempt_timeout_ms": 3_000}
"""Clients that wait for long stay with the leader that was cut off, and give it proposals that nobody else has."""

_exhibit = partial(register_exhibit, "zab", time_limit=20.0)

PROMISES: Final[tuple[Promise, ...]] = (
    Promise(
        workload="register",
        nemeses=EVERY_FAULT,
        because="agreement needs no clock, and no more than a majority; linearizable reads ask a majority",
    ),
    CACHE_PROMISE,
    *MUTEX_PROMISES,
)
"""All with ``reads=linearizable``, the default; the weaker reads promise nothing that these workloads check."""

EXHIBITS: Final[tuple[Exhibit, ...]] = (
    _exhibit(
        "broadcasts-before-synchronization",
        "partition,kill",
        {"partition.kinds": "isolate-primary,one", "kill.targets": "primaries,one"},
        shows="a node that was away never gets what was written meanwhile; when it leads, reads miss it",
    ),
    _exhibit(
        "epoch-not-persisted",
        "partition,kill",
        {"partition.kinds": "one,isolate-primary", "kill.targets": "all,majority"},
        shows="after a restart the epochs begin anew; a node with an old history leads, or nobody can any more",
    ),
    _exhibit(
        "commits-past-gap",
        "partition,kill",
        LEADERS | {"kill.targets": "primaries"},
        shows="a follower to whom a proposal came late goes on without it, and leads: an acknowledged write is gone",
    ),
    _exhibit(
        "elects-by-id-alone",
        "partition,kill",
        {"partition.kinds": "one,isolate-primary", "kill.targets": "primaries,all"},
        shows="the greatest id leads though its history is shorter, and the others forget acknowledged writes",
    ),
    _exhibit(
        "does-not-truncate",
        "partition,kill",
        LEADERS | _STAY | {"kill.targets": "primaries", "workload.active_keys": 20},
        shows="a deposed leader keeps proposals that nobody else has in the place of committed ones, and leads again",
    ),
    _exhibit(
        "local-reads-linearizable",
        "partition",
        {},
        shows="a follower, or a leader that was cut off, answers from the past",
    ),
    _exhibit(
        "local-reads",
        "partition",
        {"target.reads": "local"},
        planted=False,
        shows="with reads=local a node answers from its own state, which may be long past: by design, as ZooKeeper",
    ),
    _exhibit(
        "sync-reads",
        "pause",
        {"pause.targets": "primaries", "target.reads": "sync"},
        planted=False,
        shows="a leader that stood still while another was elected answers a sync without a quorum: a stale read",
    ),
)
