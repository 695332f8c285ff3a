"""What a campaign comes to: ``campaign.json`` in its folder, the source of its page, its tables and its exit code.

``store/campaigns/<name>/<time>-<id>/`` holds ``plan.json`` (what is to be run, and its digest), ``tests.jsonl`` (the
journal: one line a finished attempt, written as it ends), ``campaign.json`` (this document, also while it runs) and
what the reporters make of it. The runs of the tests are in the store as those of any test.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.request import Request
from foreshock.harness.summary import TestSummary

CAMPAIGNS = "campaigns"
"""The folder of the store that holds them."""
CAMPAIGN = "campaign.json"
PLAN = "plan.json"
JOURNAL = "tests.jsonl"

Outcome = Literal["waiting", "running", "passed", "failed", "flaky", "error", "unknown"]
"""``passed``: valid. ``failed``: invalid, and so again whenever it was run again. ``flaky``: its attempts differ.
``error``: the harness could not do it, every time. ``unknown``: undecided."""


class CampaignTest(msgspec.Struct, frozen=True, kw_only=True):
    """One test that is to be run: a place in the matrix, and a seed.

    ``key`` names it for good: it is made of all that the test is asked by, and finds it again in the journal.
    ``cell`` is its place: ``target``, ``workload``, ``nemesis``, ``backend``, ``bug`` and what else the matrix varies.
    """

    key: str
    cell: Mapping[str, str]
    request: Request


class Attempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One time that a test was run. ``summary`` is missing where it was lost, and ``error`` says how."""

    number: int
    worker: str = ""
    seconds: float = 0.0
    summary: TestSummary | None = None
    error: str = ""


class CampaignRow(msgspec.Struct, frozen=True, kw_only=True):
    """A test and what became of it; ``verdict`` is the worst of its attempts' (``""`` while there is none)."""

    key: str
    cell: Mapping[str, str]
    seed: int
    outcome: Outcome
    verdict: str = ""
    attempts: tuple[Attempt, ...] = ()


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Failures that look alike: the same checker, the same shape of the minimal core, the same faults in force.

    ``tests`` are keys, newest first, and ``core`` names the operations in the cores of them all, what is impossible
    last; the other fields are of the newest. Groups come newest first too. ``checker`` is ``harness`` and ``verdict``
    ``error`` where the harness could not do its work.
    """

    checker: str
    core: tuple[str, ...]
    faults: tuple[str, ...]
    tests: tuple[str, ...]
    newest: str
    """When the newest began: UTC, ISO 8601."""
    verdict: str
    reason: str
    run: str
    replay: str


class CampaignDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A campaign as it stands, or as it ended. ``exit`` is that of the worst; ``seconds`` of the clock on the wall.

    ``axes`` are the names of the matrix' dimensions with their values, in the order of the file.
    """

    name: str
    directory: str
    exit: int
    verdict: str
    complete: bool
    summary: str
    started: str
    seconds: float
    planned: int
    done: int
    jobs: int
    shard: str = ""
    command: str = ""
    axes: Mapping[str, tuple[str, ...]] = {}
    rows: tuple[CampaignRow, ...] = ()
    groups: tuple[Group, ...] = ()
    harness_errors: tuple[str, ...] = ()


def read_campaign(folder: Path) -> CampaignDocument:
    """The document of a campaign's folder. Raises :class:`HarnessError` naming the file that cannot be understood."""
    path = folder / CAMPAIGN
    try:
        return msgspec.json.decode(path.read_bytes(), type=CampaignDocument)
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise HarnessError(f"{path} is not what a campaign writes: {error}") from None
