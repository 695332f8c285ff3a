"""Everything that the page of a campaign says, put together from its document."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from markupsafe import Markup

from foreshock.harness.campaign.document import CampaignDocument, CampaignRow, Group
from foreshock.reports.campaign_matrix import Matrix, matrix_of
from foreshock.reports.campaign_plots import attempts_of, strip, trend_plots, within_plots
from foreshock.reports.campaign_tests import (
    BAD,
    OUTCOMES,
    UNFINISHED,
    CellTests,
    Tally,
    TestLine,
    line_of,
    place_text,
    reason_of,
    tests_of,
)
from foreshock.reports.campaign_trends import PastCampaign, past_campaigns
from foreshock.reports.links import Links
from foreshock.reports.operation_text import clip
from foreshock.reports.page import Fact
from foreshock.reports.plots import Plot
from foreshock.reports.scales import number
from foreshock.reports.spans import long_duration

PAGE: Final = "campaign.html"
GROUPS_MAX = 60
GROUPS_OPEN_MAX = 6
"""More kinds of failure than this begin folded."""
CELLS_MANY = 40
"""With more fields than this, those in which every test passed are folded away together."""
GROUP_TESTS_MAX = 30
UNGROUPED_MAX = 60
SLOWEST_MAX = 12
ERRORS_MAX = 30
_REASON_CHARACTERS_MAX = 600


class GroupView(NamedTuple):
    """One group of failures that look alike. ``tests`` are seed, place and link of its tests, newest first."""

    number: int
    group: Group
    reason: str
    size: int
    outcome: str
    tally: Tally
    place: str
    link: str | None
    tests: tuple[tuple[int, str, str | None], ...]


class Grievance(NamedTuple):
    """A test that is neither passed nor in a group: flaky, undecided, or not done by the harness."""

    place: str
    line: TestLine


class CampaignPage(NamedTuple):
    """What the template is given. Every string is plain text and is escaped when it is written."""

    document: CampaignDocument
    verdict: str
    tally: Tally
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]
    strip: Markup | None
    groups: tuple[GroupView, ...]
    groups_open: int
    groups_left_out: int
    grievances: tuple[Grievance, ...]
    grievances_left_out: int
    matrix: Matrix
    cells: tuple[CellTests, ...]
    quiet_cells: tuple[CellTests, ...]
    past: tuple[PastCampaign, ...]
    trends: tuple[Plot, ...]
    within: tuple[Plot, ...]
    slowest: tuple[Grievance, ...]
    compare: str
    files: tuple[str, ...]


def campaign_page(document: CampaignDocument, folder: Path) -> CampaignPage:
    """Put the page together; links are relative to ``folder``, where the document was found."""
    links = Links(folder, document.directory)
    rows = document.rows
    tally = Tally.of(row.outcome for row in rows)
    tally = tally._replace(waiting=tally.waiting + max(0, document.planned - tally.total))
    placed = matrix_of(rows, document.axes)
    attempts = attempts_of(rows)
    past = past_campaigns(folder, PAGE)
    grouped = {key for group in document.groups for key in group.tests}
    aggrieved = [row for row in rows if row.outcome in BAD and row.key not in grouped]
    slowest = sorted((row for row in rows if row.attempts), key=_longest, reverse=True)[:SLOWEST_MAX]
    cells = sorted(tests_of(placed.cells, links), key=lambda cell: OUTCOMES.index(cell.tally.worst))
    quiet = [cell for cell in cells if cell.tally.worst == "passed"] if len(cells) > CELLS_MANY else []
    return CampaignPage(
        document=document,
        verdict=document.verdict if document.verdict in ("valid", "invalid") else "unknown",
        tally=tally,
        facts=_facts(document, tally),
        notes=tuple(_notes(document, tally)),
        strip=strip(attempts),
        groups=_groups(document.groups[:GROUPS_MAX], rows, links),
        groups_open=GROUPS_OPEN_MAX,
        groups_left_out=max(0, len(document.groups) - GROUPS_MAX),
        grievances=tuple(_grievance(row, links) for row in aggrieved[:UNGROUPED_MAX]),
        grievances_left_out=max(0, len(aggrieved) - UNGROUPED_MAX),
        matrix=placed.matrix,
        cells=tuple(cell for cell in cells if not quiet or cell.tally.worst != "passed"),
        quiet_cells=tuple(quiet),
        past=past,
        trends=tuple(trend_plots(past)),
        within=tuple(within_plots(attempts)),
        slowest=tuple(_slow(row, links) for row in slowest),
        compare=_compare(past),
        files=tuple(name for name in _FILES if (folder / name).is_file()),
    )


_FILES = ("campaign.json", "plan.json", "tests.jsonl", "junit.xml", "tests.csv", "tests.parquet")


def _facts(document: CampaignDocument, tally: Tally) -> tuple[Fact, ...]:
    work_s = sum(attempt.seconds for row in document.rows for attempt in row.attempts)
    summaries = [a.summary for row in document.rows for a in row.attempts if a.summary is not None]
    operations = sum(sum(summary.operations.values()) for summary in summaries)
    faults = sum(sum(summary.faults.values()) for summary in summaries)
    facts = [Fact("tests", number(document.planned))]
    facts += [Fact(name, number(count), name) for name, _, count in tally.counts]
    facts.append(Fact("took", long_duration(document.seconds)))
    if document.seconds > 0 and work_s > 0:
        facts.append(Fact("tests took", f"{long_duration(work_s)} together"))
        facts.append(
            Fact("at a time", f"{number(float(f'{work_s / document.seconds:.2g}'))} of {document.jobs}")
        )
    facts += [Fact("operations", number(operations)), Fact("faults", number(faults))]
    facts.append(Fact("started", document.started[:19].replace("T", " ")))
    return tuple(facts)


def _notes(document: CampaignDocument, tally: Tally) -> list[str]:
    notes = []
    if not document.complete:
        running = f", {number(tally.running)} under way" if tally.running else ""
        again = sum(row.outcome in UNFINISHED and bool(row.attempts) for row in document.rows)
        running += f", {number(again)} that did not pass to be run again" if again else ""
        notes.append(
            f"Not complete: {number(document.done)} of {number(document.planned)} tests are done{running}. "
            "This page shows what is known so far; the same command goes on where it was."
        )
    if document.shard:
        notes.append(f"This is shard {document.shard}: the other tests of the matrix are in other campaigns.")
    return notes


_GROUPED: Final = {"invalid": "failed", "error": "error"}


def _groups(groups: Sequence[Group], rows: Sequence[CampaignRow], links: Links) -> tuple[GroupView, ...]:
    by_key = {row.key: row for row in rows}
    views = []
    for at, group in enumerate(groups, start=1):
        members = [by_key[key] for key in group.tests[:GROUP_TESTS_MAX] if key in by_key]
        lines = [line_of(row, links, "") for row in members]
        tally = Tally.of(by_key[key].outcome for key in group.tests if key in by_key)
        views.append(
            GroupView(
                number=at,
                group=group,
                reason=clip(group.reason, _REASON_CHARACTERS_MAX),
                size=len(group.tests),
                outcome="flaky" if tally.worst == "flaky" else _GROUPED.get(group.verdict, "unknown"),
                tally=tally,
                place=place_text(members[0]) if members else "",
                link=links.to(group.run) or next((line.link for line in lines if line.link), None),
                tests=tuple(
                    (line.seed, place_text(row), line.link) for row, line in zip(members, lines, strict=True)
                ),
            )
        )
    return tuple(views)


def _grievance(row: CampaignRow, links: Links) -> Grievance:
    line = line_of(row, links, "")
    return Grievance(place_text(row), line._replace(reason=reason_of(row)))


def _longest(row: CampaignRow) -> float:
    return max(attempt.seconds for attempt in row.attempts)


def _slow(row: CampaignRow, links: Links) -> Grievance:
    """A test by its longest attempt: several are no slowness."""
    return Grievance(place_text(row), line_of(row, links, "")._replace(seconds=_longest(row)))


def _compare(past: Sequence[PastCampaign]) -> str:
    """The command that compares this campaign with the one before it."""
    if len(past) < 2 or not past[-1].current:
        return ""
    return shlex.join(["foreshock", "compare", past[-2].name, past[-1].name])
