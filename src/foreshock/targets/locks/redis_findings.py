"""What the Redis locks promise, and the tests that show where each promise ends: ``docs/findings.md`` tells of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.request import Request
from foreshock.targets.faults import KILLS

_FENCED: Final[Mapping[str, Any]] = {"tokens": True, "workload.fencing": True}
_BY_THE_RESOURCE: Final[Mapping[str, Any]] = {**_FENCED, "workload.beliefs": False}
_LONG_USES: Final[Mapping[str, Any]] = {
    "ttl_ms": 1000,
    "use_ms": 100,
    "locks": 4,
    "stall.processes": "some",
    "stall.duration_ms_max": 3000,
}
"""Uses that last long beside the time to live, so that a client which stands still mostly does so within one."""
_LONG_HOLDS: Final[Mapping[str, Any]] = {"ttl_ms": 2000, "uses_max": 20}
_LESS_BUSY: Final[Mapping[str, Any]] = {"retry_ms": 100}
"""Five servers and ten clients that poll are much to simulate, and half as often does as well."""


def _lock_test(target: str, nemesis: str, options: Mapping[str, Any], **others: Any) -> Request:
    """A test of ten processes and two locks, which keeps the locks busy."""
    return Request(
        target=target,
        workload="lock",
        nemesis=nemesis,
        options=options,
        **{"concurrency": "10", "time_limit": 10.0, "interval": 1.0, **others},
    )


REDIS_LOCK_PROMISES: Final = (
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause", "power"),
        concurrency="10",
        because="every grant is on disk before it is answered, and the client counts from before it asked",
    ),
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause"),
        options={"persistence": "aof-everysec"},
        concurrency="10",
        because="what the server has written survives its process, and only a power cut takes it back",
    ),
    Promise(
        workload="lock",
        nemeses=("pause",),
        options={"persistence": "none"},
        concurrency="10",
        because="a server that never ends never forgets",
    ),
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause", "power", "stall"),
        options=_FENCED,
        concurrency="10",
        because="a client that stands still past its time is refused by the resource, which has seen a newer token",
    ),
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause", "power", "stall", "clock"),
        options=_BY_THE_RESOURCE,
        concurrency="10",
        because="when the server's clock jumps two clients believe in one lock, and the resource still heeds only one",
    ),
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause", "power", "stall", "clock"),
        options={**_BY_THE_RESOURCE, "watchdog": True},
        concurrency="10",
        because="the same holds for clients that never stop believing, since it does not depend on what they believe",
    ),
    Promise(
        workload="lock",
        options={"watchdog": True},
        concurrency="10",
        because="the watchdog renews in time as long as nothing goes wrong, and nobody notices when it does not",
    ),
)

REDIS_LOCK_EXHIBITS: Final = (
    Exhibit(
        name="redis-lock/stalled-client",
        request=_lock_test("redis-lock", "stall", _LONG_USES, time_limit=20.0),
        shows="a client that stands still between the look at its clock and its write overwrites what the next holder "
        "wrote",
    ),
    Exhibit(
        name="redis-lock/clock-jump",
        request=_lock_test("redis-lock", "clock", {"ttl_ms": 1000}),
        shows="the server's clock runs ahead, the key expires early, and two clients use the resource at once",
    ),
    Exhibit(
        name="redis-lock/kill-without-persistence",
        request=_lock_test("redis-lock", "kill", {"persistence": "none"}),
        shows="the server is killed, comes back without the lock, and grants it again",
    ),
    Exhibit(
        name="redis-lock/power-cut-everysec",
        request=_lock_test(
            "redis-lock",
            "power",
            {"persistence": "aof-everysec", "ttl_ms": 8000, "uses_max": 20, "locks": 4},
            time_limit=20.0,
        ),
        shows="a power cut takes the last second of the append-only file and a granted lock with it",
    ),
    Exhibit(
        name="redis-lock/watchdog-paused-server",
        request=_lock_test(
            "redis-lock", "pause", {"ttl_ms": 500, "use_ms": 100, "uses_max": 20, "watchdog": True}
        ),
        shows="while the server stands still no renewal gets through, and nobody tells the holder that its lock went",
    ),
    Exhibit(
        name="lock/deletes-without-comparing-token",
        request=_lock_test(
            "redis-lock", "pause", {"ttl_ms": 500}, bug="lock/deletes-without-comparing-token"
        ),
        shows="a late release deletes the lock of the next holder, and a third client gets it beside the second",
    ),
    Exhibit(
        name="lock/expiry-on-client-clock",
        request=_lock_test(
            "redis-lock",
            "none",
            {"ttl_ms": 1000, "client_clock_skew_ms": 1000},
            bug="lock/expiry-on-client-clock",
        ),
        shows="a client whose clock is ahead takes over a lock whose holder has most of its time left",
    ),
)

REDLOCK_PROMISES: Final = (
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause", "power", "partition", "packet"),
        because="a majority remembers every grant until it runs out, and two majorities share a server",
    ),
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause", "partition", "packet"),
        options={"persistence": "aof-everysec"},
        because="what a server has written survives its process, and only a power cut takes it back",
    ),
    Promise(
        workload="lock",
        nemeses=(*KILLS, "pause", "power", "partition", "packet"),
        options={"persistence": "none", "ttl_ms": 2000, "restart_delay_ms": 2000},
        because="a server that forgets stays away until whatever it had granted has run out",
    ),
    Promise(
        workload="lock",
        options={"watchdog": True},
        because="the watchdog renews in time as long as nothing goes wrong, and nobody notices when it does not",
    ),
)

REDLOCK_EXHIBITS: Final = (
    Exhibit(
        name="redlock/tokens-by-counters",
        request=_lock_test("redlock", "none", {**_LESS_BUSY, "counters": True, "workload.fencing": True}),
        shows="the servers' counters go apart with every split vote, and a later majority counts no further than an "
        "earlier one: a token is granted twice",
    ),
    Exhibit(
        name="redlock/clock-jump",
        request=_lock_test("redlock", "clock", {**_LESS_BUSY, **_LONG_HOLDS}, interval=0.5),
        shows="the clocks of some servers jump, their keys expire early, and two clients have a majority each",
    ),
    Exhibit(
        name="redlock/restart-without-persistence",
        request=_lock_test(
            "redlock", "kill", {**_LESS_BUSY, **_LONG_HOLDS, "persistence": "none"}, interval=0.5
        ),
        shows="servers are killed, come back empty at once, and complete a second majority",
    ),
    Exhibit(
        name="redlock/power-cut-everysec",
        request=_lock_test(
            "redlock",
            "power",
            {
                **_LESS_BUSY,
                "persistence": "aof-everysec",
                "uses_max": 20,
                "locks": 4,
                "power.targets": "majority,all",
            },
            time_limit=20.0,
        ),
        shows="a power cut takes the last second of some servers' files, and with it a granted majority",
    ),
    Exhibit(
        name="redlock/stalled-client",
        request=_lock_test("redlock", "stall", {**_LESS_BUSY, **_LONG_USES}, time_limit=20.0),
        shows="a client that stands still between the look at its clock and its write overwrites what the next holder "
        "wrote, and five servers do not help",
    ),
)
