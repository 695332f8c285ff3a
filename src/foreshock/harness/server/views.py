"""What the pages of the server are given, and who makes them: the reports room, found through the registry.

Everything in a view is plain text: names of folders and what files say may hold anything, and whoever writes a page
escapes it. Addresses are ready to be used as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from foreshock.harness.campaign.document import CampaignDocument, CampaignRow
from foreshock.harness.live_file import LiveState
from foreshock.harness.store_campaigns import StoredCampaign
from foreshock.harness.store_list import StoredTest

PAGES = "store-page"
"""The name in the registry of the reporter that makes the server's pages."""


class Link(NamedTuple):
    """Where something is, and what it is called."""

    text: str
    address: str


class RunLine(NamedTuple):
    """A run in a list. ``live`` is where it stands while it runs."""

    address: str
    files: str
    folder: str
    test: StoredTest
    live: LiveState | None = None


class CampaignLine(NamedTuple):
    """A campaign in a list."""

    address: str
    campaign: StoredCampaign


class Choice(NamedTuple):
    """One of several filters: how many runs it leaves, and the address that chooses it."""

    name: str
    runs: int
    address: str
    chosen: bool


class IndexView(NamedTuple):
    """The first page: what there is, newest first."""

    store: str
    total: int
    matching: int
    verdicts: tuple[Choice, ...]
    targets: tuple[Choice, ...]
    text: str
    verdict: str
    target: str
    running: tuple[RunLine, ...]
    running_total: int
    tests: tuple[RunLine, ...]
    first: int
    newer: str
    older: str
    campaigns: tuple[CampaignLine, ...]
    campaigns_total: int
    zoo: tuple[Link, ...]
    pages: int
    page: int


class CampaignsView(NamedTuple):
    """All campaigns."""

    store: str
    campaigns: tuple[CampaignLine, ...]
    left_out: int


class LiveView(NamedTuple):
    """A test that runs, or whose harness was killed. ``document`` is what the event stream says, as it is now."""

    name: str
    headline: tuple[str, ...]
    document: Mapping[str, Any]
    events: str
    report: str
    links: tuple[Link, ...]
    replay: str
    analyze: str


class CampaignTestLine(NamedTuple):
    """A test of a campaign, with the address of its newest run where there is one."""

    row: CampaignRow
    address: str


class CampaignView(NamedTuple):
    """A campaign that has not ended. ``counts`` is how many tests came to each outcome."""

    state: str
    document: CampaignDocument
    counts: Mapping[str, int]
    running: tuple[RunLine, ...]
    bad: tuple[CampaignTestLine, ...]
    bad_left_out: int
    links: tuple[Link, ...]


class FileLine(NamedTuple):
    """A file or a folder of a run."""

    name: str
    address: str
    is_folder: bool
    size: int
    modified_s: float


class FolderView(NamedTuple):
    """The files of a folder of the store. ``crumbs`` are the folders above it."""

    name: str
    crumbs: tuple[Link, ...]
    files: tuple[FileLine, ...]
    whole: bool
    note: str
    links: tuple[Link, ...]


class ProblemView(NamedTuple):
    """A request that could not be answered."""

    status: int
    title: str
    sentence: str


class Pages(Protocol):
    """Makes the pages: a view in, a whole HTML document out. They are called in threads, several at a time."""

    def index(self, view: IndexView) -> str:
        """The first page."""

    def campaigns(self, view: CampaignsView) -> str:
        """The list of all campaigns."""

    def live(self, view: LiveView) -> str:
        """A test that runs."""

    def campaign(self, view: CampaignView) -> str:
        """A campaign that runs, or was stopped."""

    def folder(self, view: FolderView) -> str:
        """The files of a folder."""

    def problem(self, view: ProblemView) -> str:
        """A request that could not be answered."""
