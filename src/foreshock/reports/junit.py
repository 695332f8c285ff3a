"""JUnit's XML as a reporter: ``junit.xml`` in the folder of a run or of a campaign, for those who ask for it."""

from __future__ import annotations

from pathlib import Path

from foreshock.harness.campaign.document import CAMPAIGN, read_campaign
from foreshock.harness.junit import case_of, cases_of, write_junit
from foreshock.harness.reporter import Reporter
from foreshock.harness.store import TEST
from foreshock.harness.summary import read_summary

JUNIT = "junit.xml"


class JunitReporter(Reporter):
    """Writes ``junit.xml``: one test case for a run, and one for each test of a campaign."""

    name = "junit"
    on_request = True

    def report(self, run: Path) -> Path | None:
        """Render a finished run or a campaign as far as it has come; raises :class:`HarnessError` when it cannot."""
        if (run / CAMPAIGN).is_file():
            document = read_campaign(run)
            return write_junit(run / JUNIT, document.name, cases_of(document), seconds=document.seconds)
        if not (run / TEST).is_file():
            return None
        summary = read_summary(run)
        return write_junit(run / JUNIT, summary.name, [case_of(summary)])
