"""An executor that runs nothing: each attempt comes to what the test has written down for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from foreshock.harness.campaign.document import Attempt, CampaignDocument, CampaignTest
from foreshock.harness.campaign.executor import Finished, Job, Running
from foreshock.harness.campaign.expansion import key_of
from foreshock.harness.campaign.journal import Journal, open_journal
from foreshock.harness.campaign.runner import Campaign, Watcher, Ways
from foreshock.harness.campaign.source import Source
from foreshock.harness.campaign.specification import Seeds, Specification
from foreshock.harness.request import Request
from foreshock.harness.summary import TestSummary

EXITS = {"valid": 0, "invalid": 1, "unknown": 2, "error": 3, "interrupted": 130}


def planned_test(seed: int, backend: str = "process") -> CampaignTest:
    request = Request(target="raft", backend=backend, seed=seed)
    return CampaignTest(key=key_of(request), cell={"target": "raft"}, request=request)


def summary(test: CampaignTest, word: str, reason: str = "", run: str = "") -> TestSummary:
    return TestSummary(
        run=run,
        target="raft",
        workload="register",
        backend=test.request.backend,
        seed=test.request.seed or 0,
        verdict=word if word in ("valid", "invalid") else "unknown",
        exit=EXITS[word],
        reason=reason or word,
        interrupted=word == "interrupted",
        harness_errors=(reason or "it broke",) if word == "error" else (),
        started="2001-01-01T00:00:00",
    )


class Pretended:
    """``script`` maps a seed to the words of its attempts: ``valid``, ``invalid``, ``lost`` and so on."""

    def __init__(
        self,
        script: Mapping[int, Sequence[str]],
        *,
        room: int = 1,
        on_start: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self.script = script
        self.room = room
        self.started: list[tuple[int, int]] = []
        self.interrupts = 0
        self.errors: list[str] = []
        self._on_start = on_start
        self._under_way: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def can_start(self, job: Job) -> bool:
        return len(self._under_way) < self.room

    def start(self, job: Job) -> None:
        self.started.append((job.test.request.seed or 0, job.number))
        self._under_way.append(job)
        self._on_start(job)

    def running(self) -> Sequence[Running]:
        return [Running(job, "nobody", 1.0) for job in self._under_way]

    def interrupt(self) -> None:
        self.interrupts += 1

    def finished(self, timeout_s: float) -> Sequence[Finished]:
        if not self._under_way:
            return []
        job = self._under_way.pop(0)
        words = self.script.get(job.test.request.seed or 0, ["valid"])
        word = "interrupted" if self.interrupts else words[min(job.number, len(words)) - 1]
        if word == "lost":
            return [Finished(job, Attempt(number=job.number, error="its worker went away"), lost=True)]
        word, _, more = word.partition(":")
        reason, _, run = more.partition("@")
        found = summary(job.test, word, reason, run)
        return [Finished(job, Attempt(number=job.number, worker="nobody", seconds=1.0, summary=found))]


def journal_in(store: Path, *, fresh: bool = False, retry_errors: bool = False, digest: str = "d") -> Journal:
    source = Source(path=Path("campaign.toml"), content={}, lines={})
    specification = Specification(source=source, name="c", seeds=Seeds())
    return open_journal(store, specification, digest, fresh=fresh, retry_errors=retry_errors)[0]


def run(
    store: Path,
    tests: Iterable[CampaignTest],
    executor: Pretended,
    *,
    watcher: Watcher | None = None,
    rerun: int = 2,
    fail_fast: bool = False,
    for_s: float | None = None,
    endless: bool = False,
    retry_errors: bool = False,
) -> CampaignDocument:
    """A campaign of these tests in the store, gone on with where an earlier one was left."""
    journal = journal_in(store, retry_errors=retry_errors)
    tests = tests if endless else list(tests)
    ways = Ways(
        name="c",
        planned=len(tests) if isinstance(tests, list) else None,
        axes={"target": ("raft",)},
        rerun=rerun,
        fail_fast=fail_fast,
        for_s=for_s,
    )
    try:
        campaign = Campaign(ways, iter(tests), journal, executor, watcher or Watcher())
        if isinstance(watcher, Interrupting):
            watcher.campaign = campaign
        return campaign.run()
    finally:
        journal.close()


class Interrupting(Watcher):
    """Interrupts the campaign when so many tests have ended."""

    campaign: Campaign

    def __init__(self, after: int) -> None:
        self._left = after

    def ended(self, row: object, test: object) -> None:
        self._left -= 1
        if not self._left:
            self.campaign.interrupt()
