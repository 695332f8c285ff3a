"""What a run of the zoo has done so far, kept line by line, so that a run that was ended goes on where it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from foreshock.harness.journal_folder import PLAN, JournalFolder, claim_newest, make_folder
from foreshock.harness.request import Request
from foreshock.harness.zoo.workers import SimulatedTest

__all__ = ["DOCUMENT", "JOURNAL", "PLAN", "Journal", "key_of", "open_journal"]

JOURNAL = "results.jsonl"
DOCUMENT = "zoo.json"


class _Line(msgspec.Struct, frozen=True):
    test: str
    result: SimulatedTest


def key_of(request: Request) -> str:
    """A test's name in the journal."""
    return hashlib.sha256(msgspec.json.encode(request, order="deterministic")).hexdigest()[:24]


class Journal:
    """The results of one run of the zoo by test, in a folder that is claimed for it."""

    def __init__(self, folder: JournalFolder) -> None:
        self._folder = folder
        self.directory: Path = folder.directory
        self.results: dict[str, SimulatedTest] = {line.test: line.result for line in folder.read(_Line)}

    def add(self, request: Request, result: SimulatedTest) -> None:
        """Keep a result; raises :class:`HarnessError` when the disk does not take it."""
        key = key_of(request)
        self.results[key] = result
        self._folder.add(_Line(key, result))

    def close(self) -> None:
        """Close the file; another run may go on with it from now on."""
        self._folder.close()


def open_journal(store: Path, digest: str, *, fresh: bool) -> tuple[Journal, bool]:
    """The journal of the newest run of the same zoo that did not end, or else of a new one; says whether it goes on."""
    root = store / "zoo"
    if not fresh:
        known = claim_newest(root, digest, JOURNAL, lambda directory: (directory / DOCUMENT).exists())
        if known is not None:
            return Journal(known), True
    return Journal(make_folder(root, digest, JOURNAL, "the zoo's folder")), False
