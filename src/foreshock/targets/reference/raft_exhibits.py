"""What Raft promises under which faults, and the tests that show each of its planted bugs."""

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

_exhibit = partial(register_exhibit, "raft")

PROMISES: Final[tuple[Promise, ...]] = (
    Promise(
        workload="register",
        nemeses=EVERY_FAULT,
        because="consensus needs no clock, and no more than a majority, to be right; reads ask a majority",
    ),
    CACHE_PROMISE,
    Promise(
        workload="register",
        nemeses=EVERY_FAULT,
        options={"target.reads": "lease"},
        because="a lease allows for clocks whose rates differ by a fifth, and no monotonic clock jumps",
    ),
    *MUTEX_PROMISES,
)

EXHIBITS: Final[tuple[Exhibit, ...]] = (
    _exhibit(
        "vote-not-persisted",
        "partition,kill",
        LEADERS | {"kill.targets": "all"},
        shows="after all nodes restarted, one whose log lacks acknowledged writes leads, and reads miss them",
    ),
    _exhibit(
        "votes-for-shorter-log",
        "partition",
        LEADERS,
        shows="a node that missed acknowledged writes is elected, and reads miss them",
    ),
    _exhibit(
        "commits-old-term-by-counting",
        "partition",
        LEADERS | {"target.attempt_timeout_ms": 4000},
        shows="a write is acknowledged when a later leader has it on a majority, and overwritten by one between",
        time_limit=60.0,
    ),
    _exhibit(
        "stale-leader-reads",
        "partition",
        LEADERS,
        shows="a leader that was cut off answers from the past",
        rate=20.0,
        interval=2.0,
    ),
    _exhibit(
        "replies-before-fsync",
        "power",
        {},
        shows="a power cut takes back writes that were acknowledged",
    ),
    _exhibit(
        "applies-retry-twice",
        "kill",
        {"target.attempt_timeout_ms": 200},
        shows="an old write takes effect again after a newer one",
    ),
    _exhibit(
        "keeps-conflicting-suffix",
        "partition",
        LEADERS,
        shows="a leader that was cut off keeps its own entries, and serves them when it leads again",
    ),
    _exhibit(
        "snapshot-drops-dedup-table",
        "partition,kill",
        LEADERS | {"target.snapshot_after_entries": 16, "target.attempt_timeout_ms": 100},
        shows="a node that restarted from a snapshot applies a write again that its client sent again",
    ),
    _exhibit(
        "lease-outlives-skewed-clock",
        "partition,clock",
        LEADERS
        | {
            "clock.kinds": "drift",
            "clock.targets": "all",
            "clock.drift_percent_max": 50,
            "target.reads": "lease",
            "target.clock_drift_percent": 200,
            "target.election_timeout_min_ms": 1500,
            "target.election_timeout_max_ms": 1600,
        },
        shows="a leader with a slow clock that was cut off answers from the past after others elected a new one",
        rate=100.0,
        interval=3.0,
    ),
    _exhibit(
        "two-membership-changes-at-once",
        "partition,membership",
        {
            "membership.kinds": "remove-two",
            "partition.kinds": "minority",
            "target.election_timeout_min_ms": 1500,
            "target.election_timeout_max_ms": 3000,
        },
        shows="two sides of a partition are majorities of two configurations, and both acknowledge writes",
        nodes=5,
        interval=4.0,
        time_limit=60.0,
    ),
)
