"""What Paxos promises under which faults, and the tests that show each of its planted bugs."""

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

_exhibit = partial(register_exhibit, "paxos", concurrency=15)

PROMISES: Final[tuple[Promise, ...]] = (
    Promise(
        workload="register",
        nemeses=EVERY_FAULT,
        because="consensus needs no clock, and no more than a majority, to be right; reads ask a majority",
    ),
    CACHE_PROMISE,
    *MUTEX_PROMISES,
)

EXHIBITS: Final[tuple[Exhibit, ...]] = (
    _exhibit(
        "forgets-promise-on-restart",
        "partition,kill",
        LEADERS
        | {
            "kill.targets": "majority",
            "target.election_timeout_min_ms": 150,
            "target.election_timeout_max_ms": 250,
            "target.heartbeat_ms": 50,
        },
        shows="a leader that was cut off is accepted again by nodes that restarted, and overwrites what was written",
    ),
    _exhibit(
        "ignores-accepted-value",
        "partition",
        LEADERS,
        shows="a new leader overwrites the last writes that the old one acknowledged",
    ),
    _exhibit(
        "accepts-below-promise",
        "partition",
        LEADERS,
        shows="a leader that was cut off comes back and overwrites what another one acknowledged",
    ),
    _exhibit(
        "ballots-not-unique",
        "partition",
        LEADERS,
        shows="two nodes lead under one ballot, and both acknowledge writes in the same slots",
    ),
    _exhibit(
        "half-is-majority",
        "partition",
        {"partition.kinds": "halves"},
        shows="both halves of a cluster of four acknowledge writes that the other one does not have",
        nodes=4,
    ),
    _exhibit(
        "learns-from-one-acceptor",
        "partition",
        LEADERS,
        shows="a leader that was cut off acknowledges writes that nobody else has",
    ),
    _exhibit(
        "skips-phase-one-for-gaps",
        "partition,kill",
        {},
        shows="a new leader that lacks acknowledged writes puts no-ops in their place",
    ),
)
