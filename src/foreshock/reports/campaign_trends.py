"""The campaigns of one name in one store, oldest first: outcomes, how long each took, how fast it was."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from foreshock.harness.campaign.document import CAMPAIGN
from foreshock.reports.campaign_tests import OUTCOMES, Tally
from foreshock.reports.spans import long_duration

CAMPAIGNS_MAX = 50
BYTES_MAX = 64 << 20
"""A larger document is not read for the sake of one bar."""


class _Row(msgspec.Struct, frozen=True):
    outcome: str


class _Document(msgspec.Struct, frozen=True):
    """What a trend needs of a campaign: decoding no more than that is what makes fifty of them quick to read."""

    verdict: str
    complete: bool
    started: str
    seconds: float
    planned: int
    done: int
    rows: tuple[_Row, ...] = ()


class PastCampaign(NamedTuple):
    """One campaign of the name. ``link`` leads to its page, where it has one; ``current`` marks the page's own."""

    name: str
    started: str
    verdict: str
    complete: bool
    tally: Tally
    seconds: float
    link: str | None
    current: bool

    @property
    def per_minute(self) -> float:
        """Tests done a minute."""
        return self.tally.done / self.seconds * 60 if self.seconds > 0 else 0.0

    @property
    def took(self) -> str:
        """How long it took, in words."""
        return long_duration(self.seconds)

    @property
    def words(self) -> str:
        """The campaign in one line."""
        state = "" if self.complete else ", not complete"
        return f"{self.day}: {self.tally.words}{state}"

    @property
    def day(self) -> str:
        """When it began, to the minute."""
        return self.started[:16].replace("T", " ")


def past_campaigns(folder: Path, page: str) -> tuple[PastCampaign, ...]:
    """The newest ``CAMPAIGNS_MAX`` campaigns beside ``folder`` up to itself; one that is broken is left out."""
    siblings = sorted(path.parent for path in folder.parent.glob(f"*/{CAMPAIGN}"))
    until = [path for path in siblings if path.name <= folder.name and not path.is_symlink()]
    found = [_read(path, folder, page) for path in until[-CAMPAIGNS_MAX:]]
    return tuple(campaign for campaign in found if campaign is not None)


def _read(path: Path, folder: Path, page: str) -> PastCampaign | None:
    try:
        with (path / CAMPAIGN).open("rb") as file:
            if os.fstat(file.fileno()).st_size > BYTES_MAX:
                return None
            document = msgspec.json.decode(file.read(BYTES_MAX + 1), type=_Document)
    except (OSError, msgspec.MsgspecError):
        return None  # a campaign that was cut short says nothing about this one
    current = path.name == folder.name
    tally = Tally.of(row.outcome for row in document.rows if row.outcome in OUTCOMES)
    # What has no row yet is still to be run.
    tally = tally._replace(waiting=tally.waiting + max(0, document.planned - tally.total))
    return PastCampaign(
        name=path.name,
        started=document.started,
        verdict=document.verdict,
        complete=document.complete,
        tally=tally,
        seconds=document.seconds,
        link=f"../{quote(path.name)}/{page}" if not current and (path / page).is_file() else None,
        current=current,
    )
