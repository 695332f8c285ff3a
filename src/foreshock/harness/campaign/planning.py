"""A campaign's file, read, expanded and checked: everything that must be right before anything is deployed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.campaign.document import CampaignTest
from foreshock.harness.campaign.expansion import (
    Combination,
    Shard,
    combinations_of,
    count_of,
    parse_shard,
    planned_tests,
)
from foreshock.harness.campaign.journal import digest_of
from foreshock.harness.campaign.possible import check_all
from foreshock.harness.campaign.specification import Specification, read_specification
from foreshock.harness.request import Request

PLUG_INS = ("target", "workload", "nemesis", "backend", "bug", "checker")


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign that can be run. ``count`` is how many tests the shard has; ``None``: as many as there is time for."""

    specification: Specification
    combinations: tuple[Combination, ...]
    shard: Shard | None
    count: int | None

    def tests(self) -> Iterator[CampaignTest]:
        """The tests in the order in which they are to be started."""
        return planned_tests(self.combinations, self.shard)

    def digest(self) -> str:
        """Equal for a command that may go on with what this one leaves undone."""
        files = [path for one in self.combinations for path in files_of(one.request(0))]
        return digest_of(self.specification, self.combinations, self.shard, files)


def plan_campaign(file: Path, shard: str | None = None) -> Planned:
    """Read a campaign's file and check every test of it. Raises :class:`UsageError`."""
    part = None if shard is None else parse_shard(shard)
    specification = read_specification(file)
    combinations = combinations_of(specification)
    check_all(specification, combinations)
    count = count_of(combinations)
    if count is not None and part is not None:
        count = sum(1 for _ in planned_tests(combinations, part))
    return Planned(specification=specification, combinations=combinations, shard=part, count=count)


def files_of(request: Request) -> Sequence[Path]:
    """The files of the user's own that a test is made of: plug-ins and a schedule."""
    words: list[Any] = [getattr(request, name) for name in PLUG_INS]
    named = [word.strip() for text in words if text for word in text.split(",") if ".py:" in word]
    names = [word.rpartition(":")[0] for word in named]
    return [Path(name) for name in (*names, *([request.schedule] if request.schedule else ()))]
