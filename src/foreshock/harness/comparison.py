"""What a comparison of two runs, or of two campaigns, comes to: what ``foreshock compare`` prints and its page shows.

Nothing here is a verdict: of two runs either may be the better one, and most differences are noise. Where a
difference can be told from noise, ``told`` says so, and ``says`` says how it was decided.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One of the two: a run or a campaign. ``path`` is its folder; ``what`` is what was tested, in short."""

    path: str
    name: str
    what: str
    verdict: str
    reason: str
    started: str = ""
    seed: int | None = None
    seconds: float = 0.0
    complete: bool = True


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that differs; a side that does not have it says so."""

    setting: str
    first: str
    second: str


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A measure of both. ``unit`` is ``ns``, ``/s``, ``share`` or ``s``; ``None``: nothing to measure.

    ``ratio`` is second over first, and ``low`` to ``high`` its 95 % interval, where one could be had. ``told`` is
    whether the difference can be told from noise; ``None`` where that cannot be asked.
    """

    group: str
    name: str
    unit: str
    first: float | None
    second: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    told: bool | None = None
    says: str = ""


class OutcomeRow(msgspec.Struct, frozen=True, kw_only=True):
    """How the operations of one ``f`` ended on each side: ok, fail, info."""

    f: str
    first: tuple[int, int, int]
    second: tuple[int, int, int]


class RecoveryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of fault on both sides: how many, the share of operations that were ok meanwhile, and recovery in ms.

    ``longer`` is the chance that a recovery of the second takes longer than one of the first (0.5: as often as not).
    """

    kind: str
    first_count: int
    second_count: int
    first_during: float | None
    second_during: float | None
    first_median_ms: float | None
    second_median_ms: float | None
    first_max_ms: float | None
    second_max_ms: float | None
    longer: float | None = None
    told: bool | None = None
    says: str = ""


class CheckerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One checker on both sides; an empty verdict: it was not asked there."""

    checker: str
    first: str
    second: str
    first_reason: str = ""
    second_reason: str = ""


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """Where the histories of one seed part. ``event`` counts from 0; ``None``: they are the same to the last byte.

    ``first`` and ``second`` are the events there in words (``""``: that history has ended), ``before`` is the last
    event that they share.
    """

    event: int | None
    events: int
    at_s: float | None = None
    before: str = ""
    first: str = ""
    second: str = ""


class RunComparison(msgspec.Struct, frozen=True, kw_only=True, tag="runs", tag_field="compared"):
    """Two runs. ``same_plan``: every setting but the seed is the same."""

    first: Side
    second: Side
    summary: str
    same_plan: bool
    same_seed: bool
    settings: tuple[Difference, ...]
    equal_settings: int
    versions: tuple[Difference, ...]
    checkers: tuple[CheckerRow, ...]
    outcomes: tuple[OutcomeRow, ...]
    figures: tuple[Figure, ...]
    recoveries: tuple[RecoveryRow, ...]
    divergence: Divergence | None = None
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the figures."""
    page: str | None = None


class ChangedTest(msgspec.Struct, frozen=True, kw_only=True):
    """A test that ended otherwise. ``change`` is ``broken``, ``mended`` or ``other``; runs are those that decided."""

    change: str
    place: str
    seed: int
    first: str
    second: str
    reason: str
    first_run: str = ""
    second_run: str = ""
    replay: str = ""


class KindOfFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A group of failures; the counts are of tests.

    ``state`` is ``new``, ``gone``, ``still`` (there), or ``alone`` where the other side has done none of its tests.
    """

    state: str
    checker: str
    core: tuple[str, ...]
    faults: tuple[str, ...]
    first: int
    second: int
    reason: str
    run: str = ""
    replay: str = ""


class DurationRow(msgspec.Struct, frozen=True, kw_only=True):
    """The tests of one place that passed on both sides: the median of their seconds, and of the ratio test by test."""

    place: str
    tests: int
    first_s: float
    second_s: float
    ratio: float


class CampaignComparison(msgspec.Struct, frozen=True, kw_only=True, tag="campaigns", tag_field="compared"):
    """Two campaigns. ``both`` are the tests that both have ended; counts are by outcome."""

    first: Side
    second: Side
    summary: str
    settings: tuple[Difference, ...]
    both: int
    only_first: int
    only_second: int
    first_counts: Mapping[str, int]
    second_counts: Mapping[str, int]
    changed: tuple[ChangedTest, ...]
    changed_left_out: int
    kinds: tuple[KindOfFailure, ...]
    duration: Figure
    durations: tuple[DurationRow, ...]
    notes: tuple[str, ...] = ()
    page: str | None = None
