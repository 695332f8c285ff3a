"""What a campaign has done so far, in its folder: it goes on from there after Ctrl-C, and after ``kill -9``."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock import __version__
from foreshock.harness.backends.process_identity import ProcessIdentity
from foreshock.harness.campaign.document import CAMPAIGN, CAMPAIGNS, JOURNAL, Attempt, CampaignDocument
from foreshock.harness.campaign.expansion import Combination, Shard
from foreshock.harness.campaign.rows import came_to_nothing
from foreshock.harness.campaign.specification import Specification
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.journal_folder import JournalFolder, claim_newest, make_folder
from foreshock.harness.store import read_json, write_json

WRITE_SHARE: Final = 50
"""The document is written again when this many times the time that it took last has passed ..."""
WRITE_EVERY_S: Final = 3.0
"""... and at least so many seconds."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the journal: an attempt at a test that ended, or a process that runs tests from now on."""

    test: str = ""
    attempt: Attempt | None = None
    worker: ProcessIdentity | None = None


class Journal:
    """The attempts by the test's key, in a folder that is claimed for one campaign.

    Tests that an earlier command could not do are ``tried_again``, for what was in the way may be gone. Their next
    attempt has the number 1 again: the lines of those before it stay, and count no more.
    ``workers`` are the processes that an earlier command had for it, and ``spent_s`` is how long those took.
    ``beside`` are the folders of the same campaign at which other processes work at this moment.
    """

    def __init__(self, folder: JournalFolder, beside: Sequence[Path] = ()) -> None:
        self.beside = tuple(beside)
        self._folder = folder
        self.directory: Path = folder.directory
        self.attempts: dict[str, list[Attempt]] = {}
        self.workers: list[ProcessIdentity] = []
        for line in folder.read(Line):
            if line.attempt is not None:
                earlier = self.attempts.get(line.test, []) if line.attempt.number > 1 else []
                self.attempts[line.test] = [*earlier, line.attempt]
            if line.worker is not None:
                self.workers.append(line.worker)
        self.tried_again = [key for key, attempts in self.attempts.items() if came_to_nothing(attempts)]
        self.attempts.update((key, []) for key in self.tried_again)
        self.started, self.spent_s = _earlier(self.directory)
        self._written_s = 0.0
        self._took_s = 0.0

    def add(self, test: str, attempt: Attempt) -> None:
        """Keep an attempt that ended; raises :class:`HarnessError` when the disk does not take it."""
        self._folder.add(Line(test=test, attempt=attempt))
        self.attempts.setdefault(test, []).append(attempt)

    def add_worker(self, worker: ProcessIdentity) -> None:
        """Write down a process that runs tests: what it may leave behind is this campaign's."""
        self._folder.add(Line(worker=worker))

    @property
    def is_due(self) -> bool:
        """Whether it is time to write the document again: not so often that the writing would take its time."""
        return time.monotonic() - self._written_s >= max(WRITE_EVERY_S, WRITE_SHARE * self._took_s)

    def write(self, document: CampaignDocument, *, made_in_s: float = 0.0) -> None:
        """Write the campaign's document whole or not at all; raises :class:`HarnessError`."""
        began = time.monotonic()
        write_json(self.directory / CAMPAIGN, document, as_it_stands=True)  # axes in the order of the file
        self._written_s = time.monotonic()
        self._took_s = self._written_s - began + made_in_s

    def close(self) -> None:
        """Let another command go on with the campaign."""
        self._folder.close()


def open_journal(
    store: Path, specification: Specification, digest: str, *, fresh: bool, retry_errors: bool = False
) -> tuple[Journal, bool]:
    """The journal of the newest such campaign that did not end, or else of a new one; says whether it goes on.

    With ``retry_errors`` that of the newest, whether it ended or not; raises :class:`UsageError` where there is none.
    """
    root, beside = store / CAMPAIGNS / specification.name, list[Path]()
    if not fresh:
        ended = (lambda _: False) if retry_errors else _is_complete
        known = claim_newest(root, digest, JOURNAL, ended, beside.append)
        if known is not None:
            return Journal(known, beside), True
    if retry_errors:
        raise UsageError(
            f"--retry-errors: {root} has no campaign of these tests that could be gone on with: leave it out to "
            "begin one"
        )
    more = {"file": str(specification.source.path.absolute()), "plan": specification.source.content}
    return Journal(make_folder(root, digest, JOURNAL, "the campaign's folder", more), beside), False


def digest_of(
    specification: Specification,
    combinations: Sequence[Combination],
    shard: Shard | None,
    plug_ins: Sequence[Path],
) -> str:
    """Equal for campaigns of equal tests, with equal files of the user's own: only then may one go on with another's.

    How the tests are run (``jobs``, ``rerun``, ``report``) may change from one command to the next, and so may
    comments and the order of keys.
    """
    digest = hashlib.sha256()
    plan = [(one.settings, one.cell, one.seeds) for one in combinations]
    whole = (__version__, plan, specification.for_s, str(shard or ""))
    digest.update(msgspec.json.encode(whole, order="deterministic"))
    for path in sorted(set(plug_ins)):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:16]


def _is_complete(directory: Path) -> bool:
    document = _document_in(directory)
    return bool(document.get("complete"))


def _earlier(directory: Path) -> tuple[str, float]:
    """When the campaign began and how many seconds it has had, as its document says; nothing where there is none."""
    document = _document_in(directory)
    try:
        return str(document.get("started", "")), float(document.get("seconds", 0.0))
    except (TypeError, ValueError):
        return "", 0.0


def _document_in(directory: Path) -> dict[str, Any]:
    try:
        return read_json(directory / CAMPAIGN)
    except HarnessError:
        return {}
