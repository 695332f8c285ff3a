"""The page of a campaign: which tests failed and why, the matrix with every test behind it, and the trend over runs."""

from __future__ import annotations

from pathlib import Path

from foreshock.harness.campaign.document import CAMPAIGN, read_campaign
from foreshock.harness.reporter import Reporter
from foreshock.reports.campaign_page import PAGE, campaign_page
from foreshock.reports.rendering import render, write_page

_SCRIPTS = ("page.js", "tables.js", "campaign.js")
_STYLES = ("campaign.css",)


class CampaignReporter(Reporter):
    """Writes ``campaign.html`` beside a ``campaign.json``; any other folder is not its business."""

    name = "campaign"

    def report(self, run: Path) -> Path | None:
        """Render a campaign, also one that is not complete; returns the path of the page.

        Raises :class:`HarnessError` when the document cannot be understood or the page cannot be written.
        """
        if not (run / CAMPAIGN).is_file():
            return None
        page = campaign_page(read_campaign(run), run)
        return write_page(run / PAGE, render("campaign.html.j2", _SCRIPTS, _STYLES, page=page))
