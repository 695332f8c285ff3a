"""The page of the zoo: what had to be found, what had to survive, and where to read on."""

from __future__ import annotations

import os
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.reporter import Reporter
from foreshock.harness.verdict import ExitCode
from foreshock.harness.zoo.document import BugRow, CorrectRow, ZooDocument
from foreshock.harness.zoo.journal import DOCUMENT
from foreshock.reports.html import REPORT
from foreshock.reports.rendering import render, write_page

PAGE = "zoo.html"
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
    families: tuple[Family, ...]
    correct: tuple[CorrectRow, ...]
    failures: tuple[tuple[CorrectRow, int, str | None], ...]
    """A row, the place of one of its failures, and the link to that test's report."""
    jobs: str


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
        return write_page(run / PAGE, render("zoo.html.j2", ("page.js",), page=zoo_page(document, run)))


def zoo_page(document: ZooDocument, directory: Path) -> ZooPage:
    """Put the page together; links are relative to ``directory``."""
    words = {ExitCode.VALID: "valid", ExitCode.INVALID: "invalid"}
    rows = sorted(document.bugs, key=lambda row: (_family(row), row.name))
    return ZooPage(
        verdict=words.get(ExitCode(document.exit), "unknown"),
        document=document,
        families=tuple(
            _make_family(title, list(members), directory) for (_, title), members in groupby(rows, _family)
        ),
        correct=document.correct,
        failures=tuple(
            (row, place, _link(failure.run, directory))
            for row in document.correct
            for place, failure in enumerate(row.failures)
        ),
        jobs=f"{document.jobs} at a time",
    )


def _family(row: BugRow) -> tuple[int, str]:
    """Where the row stands: the order of its family, and the family's title."""
    if row.kind in _FAMILIES:
        return list(_FAMILIES).index(row.kind) + 1, _FAMILIES[row.kind]
    return 0, f"Planted bugs: {row.name.partition('/')[0]}"


def _make_family(title: str, rows: list[BugRow], directory: Path) -> Family:
    return Family(
        title, sum(row.found for row in rows), tuple((row, _link(row.run, directory)) for row in rows)
    )


def _link(run: str | None, directory: Path) -> str | None:
    if run is None or not (Path(run) / REPORT).is_file():
        return None
    return Path(os.path.relpath(Path(run) / REPORT, directory)).as_posix()
