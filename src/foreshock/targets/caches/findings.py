"""What each mode of a cache promises, and the tests that show what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.request import Request
from foreshock.targets.faults import KILLS

FAULTS: Final = ("partition", "packet", *KILLS, "pause", "power", "disk", "clock", "stall", "membership")

BECAUSE: Final[Mapping[str, str]] = {
    "aside": "the age of a copy counts from before its value was read, so none is used past its time to live",
    "leases": "the age of a copy counts from before its value was read, so none is used past its time to live",
    "write-through": "a client wants no version that is older than the last one it saw, and copies run out",
    "linearizable": "a write waits until nobody has a lease on its key, by clocks that differ less than the margin",
}
LONG_LIVED: Final[Mapping[str, Any]] = {
    "ttl_ms": 60_000,
    "workload.consistency": "bounded-staleness",
    "workload.staleness_bound_ms": 1_500,
    "updates_per_key": 10,
}
"""Copies that live long, of keys that are soon written for the last time: a stale one stays where nobody mends it."""
STRICTLY: Final[Mapping[str, Any]] = {"workload.consistency": "linearizable"}


def promises_of(modes: tuple[str, ...], faults: tuple[str, ...] = FAULTS) -> tuple[Promise, ...]:
    """What the modes promise: each the consistency that it states, under all of these faults."""
    return tuple(
        Promise(workload="cache", nemeses=faults, options={"mode": mode}, because=BECAUSE[mode])
        for mode in modes
    )


def no_stale_sets(mode: str, faults: tuple[str, ...]) -> Promise:
    """The promise that a copy which lives long is not stale for long."""
    return Promise(
        workload="cache",
        nemeses=faults,
        options={"mode": mode, **LONG_LIVED},
        because="an invalidation voids the lease of whoever read the origin before, so no old value is filled after it",
    )


def finding(
    name: str,
    target: str,
    options: Mapping[str, Any],
    *,
    shows: str,
    nemesis: str = "none",
    bug: str | None = None,
    interval: float = 2.0,
    time_limit: float = 20.0,
    rate: float = 100.0,
) -> Exhibit:
    """An exhibit: an ordinary test of one mode of the target."""
    request = Request(
        target=target,
        workload="cache",
        nemesis=nemesis,
        bug=bug,
        time_limit=time_limit,
        interval=interval,
        rate=rate,
        options=options,
    )
    return Exhibit(name=name, request=request, budget=20, shows=shows)


def weaknesses(target: str) -> tuple[Exhibit, ...]:
    """What cache-aside and fill leases do not keep, on any store."""
    return (
        finding(
            f"{target}/aside-keeps-a-stale-copy",
            target,
            {"mode": "aside", **LONG_LIVED},
            shows="a slow client fills an old value after the invalidation, and it stays; with leases it does not",
        ),
        finding(
            f"{target}/aside-is-stale",
            target,
            {"mode": "aside", **STRICTLY},
            shows="a copy is read after the put that overwrote it was done",
        ),
        finding(
            f"{target}/leases-on-two-replicas-are-stale",
            target,
            {"mode": "leases", "replicas": 2, "active_keys": 1, **STRICTLY},
            rate=400.0,
            time_limit=10.0,
            shows="one replica has been invalidated and the other has not: a reader goes back from new to old",
        ),
    )
