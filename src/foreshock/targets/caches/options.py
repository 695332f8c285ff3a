"""The options that every cache target has."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from foreshock.harness.options import Options
from foreshock.targets.reference.node.cache.knobs import CacheKnobs

DEFAULTS = CacheKnobs()

Mode = Literal["aside", "leases", "write-through", "linearizable"]


class CacheOptions(Options, frozen=True, kw_only=True):
    """How the cache keeps its copies from being stale, and for how long it keeps them."""

    mode: Annotated[
        Mode,
        Meta(
            description="aside (clients fill and invalidate), leases (the same with fill leases), write-through "
            "(the origin takes copies back after a write), linearizable (it does so before: read leases)"
        ),
    ] = "linearizable"
    origin: Annotated[
        str,
        Meta(
            description="the origin's database: sqlite, log, or postgresql://USER@HOST:PORT/DATABASE (the password by "
            "PGPASSWORD or PGPASSFILE in the environment); in the simulator always a log"
        ),
    ] = "sqlite"
    replicas: Annotated[int, Meta(description="how many nodes may hold a copy of a key", ge=1, le=64)] = 1
    ttl_ms: Annotated[
        int,
        Meta(
            description="how long a copy may be used after it was current (ms); 0: until it is invalidated; "
            "read leases have lease_ms instead",
            ge=0,
            le=86_400_000,
        ),
    ] = DEFAULTS.ttl_ms
    negative_ttl_ms: Annotated[
        int,
        Meta(
            description="the same for the absence of a key (ms); 0: absence is not cached",
            ge=0,
            le=86_400_000,
        ),
    ] = DEFAULTS.negative_ttl_ms
    stampede_protection: Annotated[
        bool, Meta(description="whether a key is read from the origin once for all who wait for it")
    ] = DEFAULTS.stampede_protection
    attempt_timeout_ms: Annotated[
        int, Meta(description="how long a client waits for a node before it does without (ms)", ge=1)
    ] = 500


class NodeCacheOptions(CacheOptions, frozen=True, kw_only=True):
    """Options of the caches whose nodes are our own."""

    lease_ms: Annotated[int, Meta(description="the term of a read lease (ms)", ge=1, le=3_600_000)] = (
        DEFAULTS.lease_ms
    )
    clock_margin_percent: Annotated[
        int,
        Meta(
            description="how much longer than its term the origin honours a lease: more than any two clocks' rates "
            "differ (percent)",
            ge=0,
            le=1_000,
        ),
    ] = 20
    fill_wait_ms: Annotated[
        int,
        Meta(description="how long others wait for the client that fills a key (ms)", ge=1, le=60_000),
    ] = DEFAULTS.fill_wait_ms
    invalidation_wait_ms: Annotated[
        int,
        Meta(
            description="how long a write-through waits for copies to be dropped before it is answered (ms)",
            ge=1,
            le=60_000,
        ),
    ] = DEFAULTS.invalidation_wait_ms
    entries_max: Annotated[
        int | None,
        Meta(
            description=f"how many copies a node keeps. Default: {DEFAULTS.entries_max}; drawn from the seed in the "
            "simulator",
        ),
    ] = None
    bytes_max: Annotated[
        int | None,
        Meta(
            description=f"how many bytes of copies a node keeps. Default: {DEFAULTS.bytes_max}; drawn from the seed "
            "in the simulator",
        ),
    ] = None
