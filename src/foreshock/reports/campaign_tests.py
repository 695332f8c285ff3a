"""The tests of a campaign as its page lists them: by their place in the matrix, what is not as it should be in full.

A campaign may have ten thousand tests. What did not pass is listed first and in full; of what passed only the first
have a line of their own, then a seed with its link, then nothing but their number. So the page stays small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from foreshock.harness.campaign.document import Attempt, CampaignRow
from foreshock.reports.links import REPORT, Links
from foreshock.reports.operation_text import clip

OUTCOMES: Final = ("failed", "flaky", "error", "unknown", "running", "waiting", "passed")
"""The outcomes of a test, those first that a reader looks for."""
BAD: Final = ("failed", "flaky", "error", "unknown")
DONE: Final = (*BAD, "passed")
UNFINISHED: Final = ("running", "waiting")
SIGNS: Final[Mapping[str, str]] = {
    "failed": "✗", "flaky": "~", "error": "!", "unknown": "?", "running": "▸", "waiting": "…", "passed": "✓",
}  # fmt: skip
LINES_MAX = 1_000
"""Tests with a line of their own, over the whole page."""
PASSED_LINES_MAX = 12
"""Of a cell's passed tests, these have a line of their own."""
SEEDS_MAX = 2_500
"""Passed tests that are told by their seed, over the whole page."""
REASON_CHARACTERS_MAX = 260
NO_BUG: Final = "no bug"
PLACE_ORDER: Final = ("target", "workload", "nemesis", "backend", "bug")


class Tally(NamedTuple):
    """How many tests had each outcome; the fields are in the order of ``OUTCOMES``."""

    failed: int = 0
    flaky: int = 0
    error: int = 0
    unknown: int = 0
    running: int = 0
    waiting: int = 0
    passed: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[str]) -> Tally:
        """Count outcomes."""
        counts = dict.fromkeys(OUTCOMES, 0)
        for outcome in outcomes:
            counts[outcome] += 1
        return cls(*counts.values())

    @property
    def counts(self) -> list[tuple[str, str, int]]:
        """Outcome, its sign and its count, of those that there are."""
        return [(name, SIGNS[name], count) for name, count in zip(OUTCOMES, self, strict=True) if count]

    @property
    def shares(self) -> list[tuple[str, str, int]]:
        """The same for a bar that fills up: what has ended first."""
        return sorted(self.counts, key=lambda count: count[0] in UNFINISHED)

    @property
    def worst(self) -> str:
        """The first outcome that any test had."""
        return self.counts[0][0] if self.counts else "waiting"

    @property
    def total(self) -> int:
        """All tests."""
        return sum(self)

    @property
    def done(self) -> int:
        """The tests that have ended."""
        return self.total - self.running - self.waiting

    @property
    def words(self) -> str:
        """The counts as a phrase."""
        return ", ".join(f"{count} {name}" for name, _, count in self.counts) or "no tests"


class AttemptMark(NamedTuple):
    """One attempt in small: its outcome and what to say of it."""

    outcome: str
    sign: str
    title: str


class TestLine(NamedTuple):
    """One test with a line of its own. ``link`` leads to the report of the attempt that decided it."""

    anchor: str
    outcome: str
    sign: str
    seed: int
    attempts: tuple[AttemptMark, ...]
    reason: str
    seconds: float
    worker: str
    link: str | None
    replay: str


class CellTests(NamedTuple):
    """The tests of one place in the matrix; ``seeds`` are of more that passed, ``left_out`` of what is not listed."""

    number: int
    title: str
    tally: Tally
    lines: tuple[TestLine, ...]
    seeds: tuple[tuple[int, str | None], ...]
    left_out: Tally


def place_text(row: CampaignRow) -> str:
    """A test's place in the matrix in one line; that no bug is planted goes without saying."""
    order = dict.fromkeys([axis for axis in PLACE_ORDER if axis in row.cell] + sorted(row.cell))
    return " · ".join(value for axis in order if (value := value_of(row, axis)) != NO_BUG)


def value_of(row: CampaignRow, axis: str) -> str:
    """The value of a test on an axis, in words."""
    return named(axis, row.cell.get(axis, ""))


def named(axis: str, value: str) -> str:
    """A value of an axis in words; absence is said."""
    if axis == "bug" and value in ("", "none"):
        return NO_BUG
    if not value:
        return "none" if axis == "nemesis" else "default"
    return value.replace(",", ", ")


def needs_a_line(row: CampaignRow) -> bool:
    """Whether a reader wants to see a test: what went wrong, also where it is still to be run again."""
    return row.outcome in BAD or (row.outcome in UNFINISHED and bool(row.attempts))


def deciding(row: CampaignRow) -> Attempt | None:
    """The attempt that a row's verdict is from: the last with that verdict, else the last with a summary, else any."""
    return next(iter([*ended_attempts(row), *row.attempts[::-1]]), None)


def reported_run(row: CampaignRow) -> str:
    """The folder of the run that tells of a row's verdict best: one that has a report, if any has; else empty or any.

    The deciding attempt's may have none: a simulated test that is run again writes no pages.
    """
    runs = [attempt.summary.run for attempt in ended_attempts(row) if attempt.summary is not None]
    return next((run for run in runs if (Path(run) / REPORT).is_file()), runs[0] if runs else "")


def report_link(row: CampaignRow, links: Links) -> str | None:
    """The way to the report that tells of a row's verdict best; see :func:`reported_run`."""
    runs = (attempt.summary.run for attempt in ended_attempts(row) if attempt.summary is not None)
    return next((link for run in runs if (link := links.to(run))), None)


def ended_attempts(row: CampaignRow) -> list[Attempt]:
    """The attempts that came to an end, newest first, those with the row's verdict before the others."""
    ended = [attempt for attempt in reversed(row.attempts) if attempt.summary is not None]
    return sorted(ended, key=lambda a: a.summary is not None and a.summary.verdict != row.verdict)


def reason_of(row: CampaignRow) -> str:
    """Why a test has its outcome, in one line."""
    attempt = deciding(row)
    if attempt is None:
        return ""
    if attempt.summary is None:
        return clip(attempt.error, REASON_CHARACTERS_MAX)
    summary = attempt.summary
    if row.outcome == "error":
        said = attempt.error or "; ".join(summary.harness_errors) or summary.reason
    else:
        said = summary.reason
    return clip(said, REASON_CHARACTERS_MAX)


def line_of(row: CampaignRow, links: Links, anchor: str) -> TestLine:
    """A test's line."""
    attempt = deciding(row)
    summary = attempt.summary if attempt else None
    return TestLine(
        anchor=anchor,
        outcome=row.outcome,
        sign=SIGNS[row.outcome],
        seed=row.seed,
        attempts=tuple(_mark(each) for each in row.attempts[:12]),
        reason="" if row.outcome == "passed" else reason_of(row),
        seconds=sum(each.seconds for each in row.attempts),
        worker=attempt.worker if attempt else "",
        link=report_link(row, links),
        replay=summary.replay if summary else "",
    )


def _mark(attempt: Attempt) -> AttemptMark:
    if attempt.summary is None:
        return AttemptMark("error", SIGNS["error"], f"attempt {attempt.number}: {clip(attempt.error, 120)}")
    words = {"valid": "passed", "invalid": "failed"}
    outcome = words.get(attempt.summary.verdict, "unknown")
    if attempt.error or (attempt.summary.harness_errors and outcome != "failed"):
        outcome = "error"
    said = f"attempt {attempt.number}: {attempt.summary.verdict}, {attempt.seconds:.3g} s"
    return AttemptMark(outcome, SIGNS[outcome], said)


def tests_of(cells: Sequence[tuple[int, str, Sequence[CampaignRow]]], links: Links) -> tuple[CellTests, ...]:
    """The tests of every cell, given by its number and its title, within the limits of the page."""
    found, lines_left, seeds_left = [], LINES_MAX, SEEDS_MAX
    anchors = _Anchors()
    reserved = sum(needs_a_line(row) for _, _, rows in cells for row in rows)
    # What went wrong is never left out for the sake of what did not.
    spare = max(0, lines_left - reserved)
    for number, title, rows in cells:
        ordered = sorted(rows, key=lambda row: (OUTCOMES.index(row.outcome), row.seed))
        bad = [row for row in ordered if needs_a_line(row)][:lines_left]
        good = [row for row in ordered if row.outcome == "passed"]
        own = good[: min(PASSED_LINES_MAX, spare)]
        lines_left, spare = lines_left - len(bad), spare - len(own)
        told = good[len(own) : len(own) + seeds_left]
        seeds_left -= len(told)
        shown = {row.key for row in (*bad, *own, *told)}
        found.append(
            CellTests(
                number=number,
                title=title,
                tally=Tally.of(row.outcome for row in rows),
                lines=tuple(line_of(row, links, anchors.of(row)) for row in (*bad, *own)),
                seeds=tuple((row.seed, report_link(row, links)) for row in told),
                left_out=Tally.of(row.outcome for row in rows if row.key not in shown),
            )
        )
    return tuple(found)


class _Anchors:
    """Names for tests within the page: a key may hold anything, and an anchor may not."""

    def __init__(self) -> None:
        self._count = 0

    def of(self, _row: CampaignRow) -> str:
        self._count += 1
        return f"test-{self._count}"
