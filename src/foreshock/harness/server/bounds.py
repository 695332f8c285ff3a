"""What files say, cut to what a page has room for: a stranger's store may hold names and numbers of any size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import msgspec

from foreshock.harness.live_file import LiveState
from foreshock.harness.progress import Snapshot
from foreshock.harness.store_campaigns import StoredCampaign
from foreshock.harness.summary import TestSummary

TEXT_MAX: Final = 160
NAME_MAX: Final = 100
NAMES_MAX: Final = 100
"""How many nodes or nemeses are told."""
NUMBER_MAX: Final = 1e9
"""More seconds, milliseconds or operations a second than there ever are."""


def clipped(text: str, length: int = TEXT_MAX) -> str:
    """A text of bounded length."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def clamped(number: float) -> float:
    """A measure as it can be: not negative, and not beyond all bounds."""
    return min(max(number, 0.0), NUMBER_MAX) if not math.isnan(number) else 0.0


def names(given: tuple[str, ...]) -> tuple[str, ...]:
    """As many names as there is room for."""
    return tuple(clipped(name, NAME_MAX) for name in given[:NAMES_MAX])


def bounded_summary(known: TestSummary) -> TestSummary:
    """A summary for a line in a list."""
    return msgspec.structs.replace(
        known,
        target=clipped(known.target, NAME_MAX),
        workload=clipped(known.workload, NAME_MAX),
        nemeses=names(known.nemeses),
        backend=clipped(known.backend, NAME_MAX),
        bug=clipped(known.bug, NAME_MAX) if known.bug else None,
        faults_in_force=names(known.faults_in_force),
        duration_s=clamped(known.duration_s),
    )


def bounded_live(state: LiveState) -> LiveState:
    """Where a test stands, for a page."""
    snapshot = state.snapshot
    return msgspec.structs.replace(
        state,
        phase=clipped(state.phase),
        written=clamped(state.written / 10)
        * 10,  # which are seconds since the epoch, and a little more than that
        snapshot=None if snapshot is None else _bounded_snapshot(snapshot),
    )


def _bounded_snapshot(snapshot: Snapshot) -> Snapshot:
    limit_s = snapshot.time_limit_s
    nodes: Mapping[str, str] = {
        clipped(name, NAME_MAX): clipped(state, NAME_MAX)
        for name, state in list(snapshot.nodes.items())[:NAMES_MAX]
    }
    return msgspec.structs.replace(
        snapshot,
        phase=clipped(snapshot.phase),
        elapsed_s=clamped(snapshot.elapsed_s),
        time_limit_s=None if limit_s is None else clamped(limit_s),
        rate=clamped(snapshot.rate),
        p50_ms=clamped(snapshot.p50_ms),
        p99_ms=clamped(snapshot.p99_ms),
        faults=names(snapshot.faults),
        nodes=nodes,
    )


def bounded_campaign(campaign: StoredCampaign) -> StoredCampaign:
    """A campaign for a line in a list."""
    return msgspec.structs.replace(
        campaign,
        name=clipped(campaign.name, NAME_MAX),
        verdict=clipped(campaign.verdict, NAME_MAX),
        seconds=clamped(campaign.seconds),
        summary=clipped(campaign.summary, 4 * TEXT_MAX),
    )
