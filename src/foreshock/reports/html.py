"""The HTML report: one self-contained page a test, readable from disk without a network and without JavaScript."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreshock.harness.campaign.document import CAMPAIGN
from foreshock.harness.reporter import Reporter
from foreshock.harness.store import TEST
from foreshock.reports.page import page_of
from foreshock.reports.rendering import render, write_page
from foreshock.reports.stored_run import read_run

REPORT = "report.html"
_SCRIPTS = ("unpack.js", "painter.js", "explorer.js", "page.js")


class HtmlReporter(Reporter):
    """Writes ``report.html`` into the run's folder.

    It needs nothing but ``test.json``; what else the run left is shown, and what is missing is said. Raises
    :class:`HarnessError` when a file of the run cannot be understood or the page cannot be written.
    """

    name = "html"

    def report(self, run: Path) -> Path | None:
        """Render a stored run; returns the path of the page. The folder of a campaign is not its business."""
        if (run / CAMPAIGN).is_file() and not (run / TEST).is_file():
            return None
        with _collector_paused():
            return write_page(run / REPORT, render("report.html.j2", _SCRIPTS, page=page_of(read_run(run))))


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Nothing here makes cycles, but a million operations make millions of objects, over and over looked through."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
