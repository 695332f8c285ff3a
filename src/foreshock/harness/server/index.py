"""The first page of a store: filtered, counted, cut into pages."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, urlencode

import msgspec

from foreshock.harness.live_file import read_live
from foreshock.harness.server.bounds import NAME_MAX, bounded_campaign, bounded_live, bounded_summary, clipped
from foreshock.harness.server.store_files import RequestError, path_text, shown
from foreshock.harness.server.views import (
    CampaignLine,
    CampaignsView,
    Choice,
    IndexView,
    Link,
    RunLine,
)
from foreshock.harness.store_campaigns import StoredCampaign, stored_campaigns
from foreshock.harness.store_list import StoredTest, StoreList

PAGE_ROWS: Final = 50
RUNNING_ROWS_MAX: Final = 20
CAMPAIGN_ROWS: Final = 5
CAMPAIGNS_MAX: Final = 500
TARGETS_MAX: Final = 60
TEXT_MAX: Final = 200
FIELDS_MAX: Final = 10
KEPT_S: Final = 1.0
"""How old the list may be that a page is made of: many viewers cost no more than one."""
STATES: Final = ("valid", "invalid", "unknown", "running", "killed", "unfinished")
ZOO: Final = "zoo"


class Query(NamedTuple):
    """What of the store is wanted."""

    verdict: str = ""
    target: str = ""
    text: str = ""
    page: int = 1

    def address(self, **changes: str | int) -> str:
        """The address of the first page with some of it changed."""
        wanted = self._replace(**{"page": 1, **changes})  # type: ignore[arg-type]
        given = {name: value for name, value in wanted._asdict().items() if value not in ("", 1)}
        return "/" + (f"?{urlencode(given, errors='surrogateescape')}" if given else "")


def query_of(text: str) -> Query:
    """What the address asks for; raises :class:`RequestError` for what cannot be meant."""
    try:
        fields = parse_qs(text, max_num_fields=FIELDS_MAX, errors="replace")
    except ValueError:
        raise RequestError(400, "the address asks for more than this page knows") from None
    last = {name: values[-1][:TEXT_MAX] for name, values in fields.items()}
    page = last.get("page", "1")
    if not (page.isascii() and page.isdigit() and 1 <= len(page) <= 7 and int(page) >= 1):
        raise RequestError(400, f"{page!r} is no number of a page")
    verdict = last.get("verdict", "")
    if verdict and verdict not in STATES:
        raise RequestError(400, f"{verdict!r} is no verdict: known are {', '.join(STATES)}")
    return Query(verdict, last.get("target", ""), last.get("text", "").strip(), int(page))


class StoreIndex:
    """The lists of a store. It may be asked in several threads; the store is looked through by one at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._list = StoreList(root, follow_links=False)
        self._lock = threading.Lock()
        self._tests: list[StoredTest] = []
        self._campaigns: list[StoredCampaign] = []
        self._looked_s = -KEPT_S

    def index(self, query: Query) -> IndexView:
        """The first page."""
        tests, campaigns = self._look()
        matching = _matching(tests, query)
        by_word = Counter(word_of(test) for test in matching)
        chosen = [test for test in matching if query.verdict in ("", word_of(test))]
        targets = Counter(test.summary.target for test in tests)
        running = [test for test in tests if test.state == "running"]
        pages = max(1, -(-len(chosen) // PAGE_ROWS))
        page = min(query.page, pages)
        first = (page - 1) * PAGE_ROWS
        return IndexView(
            store=shown(self.root.name or str(self.root)),
            total=len(tests),
            matching=len(chosen),
            verdicts=(
                Choice("all", len(matching), query.address(verdict=""), not query.verdict),
                *(
                    Choice(word, by_word[word], query.address(verdict=word), query.verdict == word)
                    for word in STATES
                    if by_word[word] or query.verdict == word
                ),
            ),
            targets=tuple(
                Choice(name, count, query.address(target=name), query.target == name)
                for name, count in sorted(targets.most_common(TARGETS_MAX))
                if len(name) <= NAME_MAX
            ),
            text=query.text,
            verdict=query.verdict,
            target=query.target,
            running=tuple(line_of(self.root, test, live=True) for test in running[:RUNNING_ROWS_MAX]),
            running_total=len(running),
            tests=tuple(line_of(self.root, test) for test in chosen[first : first + PAGE_ROWS]),
            first=first + 1,
            newer=query.address(page=page - 1) if page > 1 else "",
            older=query.address(page=page + 1) if page < pages else "",
            campaigns=tuple(self._campaign_line(campaign) for campaign in campaigns[:CAMPAIGN_ROWS]),
            campaigns_total=len(campaigns),
            zoo=tuple(_zoo_runs(self.root)),
            pages=pages,
            page=page,
        )

    def campaigns(self) -> CampaignsView:
        """The page of all campaigns."""
        _, campaigns = self._look()
        return CampaignsView(
            store=shown(self.root.name or str(self.root)),
            campaigns=tuple(self._campaign_line(campaign) for campaign in campaigns[:CAMPAIGNS_MAX]),
            left_out=max(0, len(campaigns) - CAMPAIGNS_MAX),
        )

    def _look(self) -> tuple[list[StoredTest], list[StoredCampaign]]:
        with self._lock:
            if time.monotonic() - self._looked_s >= KEPT_S:
                self._tests = self._list.tests()
                self._campaigns = list(stored_campaigns(self.root, follow_links=False))
                self._looked_s = time.monotonic()
            return self._tests, self._campaigns

    def _campaign_line(self, campaign: StoredCampaign) -> CampaignLine:
        return CampaignLine(f"/store/{_within(self.root, campaign.directory)}", bounded_campaign(campaign))


def word_of(test: StoredTest) -> str:
    """The verdict of a run that has ended, and the state of one that has not."""
    if test.state != "finished":
        return test.state
    return test.summary.verdict if test.summary.verdict in STATES else "unknown"


def line_of(root: Path, test: StoredTest, *, live: bool = False) -> RunLine:
    """A run in a list, with where it stands if that is wanted."""
    within = _within(root, test.run)
    test = msgspec.structs.replace(test, summary=bounded_summary(test.summary), phase=clipped(test.phase))
    state = read_live(Path(test.run)) if live else None
    state = None if state is None else bounded_live(state)
    return RunLine(f"/store/{within}", f"/files/{within}", shown(os.path.basename(test.run)), test, state)  # noqa: PTH119


def _within(root: Path, folder: str) -> str:
    """A folder of the store as a path of an address."""
    return path_text(os.path.relpath(folder, root.absolute()).split("/"), folder=True)


def _matching(tests: list[StoredTest], query: Query) -> list[StoredTest]:
    words = query.text.casefold().split()
    if query.target:
        tests = [test for test in tests if test.summary.target == query.target]
    return [test for test in tests if _has(test, words)] if words else tests


def _has(test: StoredTest, words: Iterable[str]) -> bool:
    known = test.summary
    told = (test.run.rpartition("/")[2], known.target, known.workload, *known.nemeses, known.backend)
    more = (known.bug or "", str(known.seed), known.reason, known.checker, *known.faults_in_force)
    text = " ".join((*told, *more)).casefold()
    return all(word in text for word in words)


def _zoo_runs(root: Path) -> Iterable[Link]:
    """The newest runs of the zoo that have a page."""
    try:
        with os.scandir(root / ZOO) as entries:
            names = sorted((e.name for e in entries if e.is_dir(follow_symlinks=False)), reverse=True)
    except OSError:
        return
    for name in names[:CAMPAIGN_ROWS]:
        if (root / ZOO / name / "zoo.html").is_file():
            yield Link(shown(name), f"/store/{path_text((ZOO, name), folder=True)}")


def counts_of(words: Iterable[str]) -> Mapping[str, int]:
    """How often each word is there, the most frequent first."""
    return dict(Counter(words).most_common())
