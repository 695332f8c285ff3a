"""The page of the zoo: what had to be found, what had to survive, and where to read on."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.reporter import Reporter
from foreshock.harness.verdict import ExitCode
from foreshock.harness.zoo.document import BugRow, CorrectRow, ZooDocument
from foreshock.harness.zoo.journal import DOCUMENT
from foreshock.reports.links import Links
from foreshock.reports.plots import Plot
from foreshock.reports.rendering import render, write_page
from foreshock.reports.spans import long_duration
from foreshock.reports.zoo_plot import hunts_plot

PAGE = "zoo.html"
_SCRIPTS = ("page.js", "tables.js")
_STYLES = ("campaign.css",)
_FAMILIES = {"target": "Targets that are wrong by themselves", "finding": "Known weaknesses"}


class Family(NamedTuple):
    """Exhibits that belong together: the bugs of one protocol or service, the naive targets, the findings."""

    title: str
    found: int
    rows: tuple[tuple[BugRow, str | None], ...]
    """Each with the link to the report of the test that found it, where there is one."""


class ZooPage(NamedTuple):
    """What the template is given."""

    verdict: str
    document: ZooDocument
    found: int
    plot: Plot | None
    families: tuple[Family, ...]
    correct: tuple[CorrectRow, ...]
    failures: tuple[tuple[CorrectRow, int, str | None], ...]
    """A row, the place of one of its failures, and the link to that test's report."""
    jobs: str
    took: str
    simulated: str


class ZooReporter(Reporter):
    """Writes ``zoo.html`` beside the ``zoo.json`` of a run of the zoo; any other folder is not its business."""

    name = "zoo"

    def report(self, run: Path) -> Path | None:
        """Render a run of the zoo; returns the path of the page. Raises :class:`HarnessError`."""
        path = next((p for p in (run / DOCUMENT, run / f"incomplete-{DOCUMENT}") if p.is_file()), None)
        if path is None:
            return None
        try:
            document = msgspec.json.decode(path.read_bytes(), type=ZooDocument)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise HarnessError(f"{path} is not what a run of the zoo writes: {error}") from error
        return write_page(run / PAGE, render("zoo.html.j2", _SCRIPTS, _STYLES, page=zoo_page(document, run)))


def zoo_page(document: ZooDocument, directory: Path) -> ZooPage:
    """Put the page together; links are relative to ``directory``."""
    links = Links(directory, document.run)
    words = {ExitCode.VALID: "valid", ExitCode.INVALID: "invalid"}
    rows = sorted(document.bugs, key=lambda row: (_family(row), row.name))
    return ZooPage(
        verdict=words.get(ExitCode(document.exit), "unknown"),
        document=document,
        found=sum(row.found for row in rows),
        plot=hunts_plot(rows),
        families=tuple(
            _make_family(title, list(members), links) for (_, title), members in groupby(rows, _family)
        ),
        correct=document.correct,
        failures=tuple(
            (row, place, links.to(failure.run))
            for row in document.correct
            for place, failure in enumerate(row.failures)
        ),
        jobs=f"{document.jobs} at a time",
        took=long_duration(document.seconds),
        simulated=long_duration(document.simulated_seconds),
    )


def _family(row: BugRow) -> tuple[int, str]:
    """Where the row stands: the order of its family, and the family's title."""
    if row.kind in _FAMILIES:
        return list(_FAMILIES).index(row.kind) + 1, _FAMILIES[row.kind]
    return 0, f"Planted bugs: {row.name.partition('/')[0]}"


def _make_family(title: str, rows: list[BugRow], links: Links) -> Family:
    return Family(title, sum(row.found for row in rows), tuple((row, links.to(row.run)) for row in rows))
