"""The dials of the simulated world, each with its unit, and how a seed sets them."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from foreshock.harness.randomness import RandomStream

MICROSECOND: Final = 1_000
MILLISECOND: Final = 1_000_000
SECOND: Final = 1_000_000_000

Nanoseconds = Annotated[int, msgspec.Meta(ge=0)]
PartsPerMillion = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]


class SimKnobs(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the simulated network and disks behave. A delay is its minimum plus an exponential of the given mean.

    ``latency_*`` holds for datagrams and for connections; ``loss_ppm``, ``duplication_ppm`` and ``reorder_ppm``
    for datagrams between nodes only (a reordered datagram is held back up to ``reorder_delay_ns`` longer).
    ``connection_retry_ns`` is how long after a partition has healed a connection's held messages go on, and
    ``connection_timeout_ns`` how long one stays half-open with something unsent before its sender gives it up.
    A sync now and then (``sync_stall_ppm``) takes ``sync_stall_ns`` longer. When a node's power is cut,
    ``crash_keeps_percent`` is the chance that a prefix of a file's unsynced tail survives (else none of it does),
    and ``crash_tears_percent`` the chance that this prefix ends in the middle of an append.
    ``disk_capacity_bytes`` is the size of each node's disk; ``None`` means without limit.
    """

    latency_min_ns: Nanoseconds = 200 * MICROSECOND
    latency_mean_ns: Nanoseconds = 300 * MICROSECOND
    loss_ppm: PartsPerMillion = 0
    duplication_ppm: PartsPerMillion = 0
    reorder_ppm: PartsPerMillion = 0
    reorder_delay_ns: Nanoseconds = 20 * MILLISECOND
    connection_retry_ns: Nanoseconds = 200 * MILLISECOND
    connection_timeout_ns: Nanoseconds = 15 * SECOND
    sync_min_ns: Nanoseconds = 100 * MICROSECOND
    sync_mean_ns: Nanoseconds = 400 * MICROSECOND
    sync_stall_ppm: PartsPerMillion = 0
    sync_stall_ns: Nanoseconds = 100 * MILLISECOND
    crash_keeps_percent: Percent = 50
    crash_tears_percent: Percent = 50
    disk_capacity_bytes: Annotated[int, msgspec.Meta(ge=0)] | None = None

    @classmethod
    def draw(cls, rng: RandomStream) -> SimKnobs:
        """Knobs for one test: a network that is calm, slow, lossy or all at once, on a disk that is fast or slow.

        Every seed stays within what a cluster of the reference node (elections within a second) can live with.
        """
        network = rng.choice(("calm", "calm", "ordinary", "lossy", "slow", "stormy"))
        disk = rng.choice(("fast", "ordinary", "ordinary", "slow", "stalling"))
        slow = network in ("slow", "stormy")
        lossy = network in ("lossy", "stormy")
        ordinary = network == "ordinary"
        return cls(
            latency_min_ns=rng.between(1, 5) * MILLISECOND if slow else rng.between(50, 500) * MICROSECOND,
            latency_mean_ns=rng.between(1, 10) * MILLISECOND if slow else rng.between(50, 1000) * MICROSECOND,
            loss_ppm=rng.between(5_000, 50_000) if lossy else rng.between(0, 1_000) * ordinary,
            duplication_ppm=rng.between(1_000, 50_000) if lossy else rng.between(0, 1_000) * ordinary,
            reorder_ppm=rng.between(5_000, 50_000) if lossy else rng.between(0, 5_000) * ordinary,
            reorder_delay_ns=rng.between(1, 100) * MILLISECOND,
            connection_retry_ns=rng.between(10, 1_000) * MILLISECOND,
            connection_timeout_ns=rng.between(3, 30) * SECOND,
            sync_min_ns=rng.between(1, 5) * MILLISECOND
            if disk == "slow"
            else rng.between(20, 200) * MICROSECOND,
            sync_mean_ns=rng.between(1, 10) * MILLISECOND
            if disk == "slow"
            else rng.between(50, 800) * MICROSECOND,
            sync_stall_ppm=rng.between(100, 5_000) if disk == "stalling" else 0,
            sync_stall_ns=rng.between(20, 400) * MILLISECOND,
            crash_keeps_percent=rng.choice((0, 50, 100)),
            crash_tears_percent=rng.choice((0, 50, 100)),
        )
