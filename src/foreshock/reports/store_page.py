"""The pages of ``foreshock serve``: the list of runs, a running test, a running campaign, the files of a run."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from foreshock.harness.progress import elapsed
from foreshock.harness.reporter import Reporter
from foreshock.harness.server.views import (
    CampaignsView,
    CampaignView,
    FolderView,
    IndexView,
    LiveView,
    ProblemView,
)
from foreshock.reports.rendering import render

STYLES = ("store.css",)
SPARE_COLORS = ("#8E7CC3", "#C9A66B", "#6FA8A0", "#B97A95", "#7F9F5F", "#7A93B8")
"""Of kinds of fault for which no nemesis chose a colour."""


class StorePages(Reporter):
    """Makes pages while the server runs. Into the folder of a run it writes nothing: that is done by the others."""

    name = "store-page"
    on_request: ClassVar[bool] = True

    def report(self, run: Path) -> Path | None:  # noqa: ARG002 - what every reporter is given
        """Nothing: no folder is this one's business."""
        return None

    def index(self, view: IndexView) -> str:
        """The list of runs, with what runs now and the newest campaigns."""
        return _page("store_index.html.j2", ("store.js",), view=view)

    def campaigns(self, view: CampaignsView) -> str:
        """The list of all campaigns."""
        return _page("store_campaigns.html.j2", ("store.js",), view=view)

    def live(self, view: LiveView) -> str:
        """A test that runs: its figures as they are now, and the script that keeps them so."""
        data = {"document": view.document, "report": view.report, "colors": SPARE_COLORS}
        return _page(
            "store_live.html.j2",
            ("live_chart.js", "live.js"),
            view=view,
            now=view.document,
            data=msgspec.json.encode(data, enc_hook=str),
        )

    def campaign(self, view: CampaignView) -> str:
        """A campaign that runs or was stopped."""
        return _page("store_campaign.html.j2", ("store.js",), view=view)

    def folder(self, view: FolderView) -> str:
        """The files of a folder."""
        return _page("store_folder.html.j2", ("store.js",), view=view)

    def problem(self, view: ProblemView) -> str:
        """A request that could not be answered."""
        return _page("store_problem.html.j2", ("store.js",), view=view)


def _page(template: str, scripts: tuple[str, ...], **values: Any) -> str:
    return render(template, scripts, STYLES, when=when, modified=modified, elapsed=elapsed, **values)


def when(started: str) -> str:
    """A moment as it stands in a file, to the second; text that is no moment as it is, for it was a stranger's."""
    try:
        moment = datetime.datetime.fromisoformat(started)
    except ValueError:
        return started[:40]
    return moment.strftime("%Y-%m-%d %H:%M:%S")


def modified(seconds: float) -> str:
    """When a file was written, in UTC, to the second."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "?"
