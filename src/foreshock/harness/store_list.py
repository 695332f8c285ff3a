"""What a store holds, in lists: each run with how it ended or where it stands, each campaign with how far it is.

A list is made of small files alone: ``summary.json`` of what has ended, ``test.json`` and ``live.json`` of what has
not. A :class:`StoreList` that is kept reads a file again only when it has changed, and what it says is always what the
folders say at that moment: there is no index on disk that could be wrong.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import alive
from foreshock.harness.errors import HarnessError
from foreshock.harness.live_file import LiveState, read_live
from foreshock.harness.store import RESULTS, TEST, run_folders
from foreshock.harness.summary import SUMMARY, TestSummary, summary_of_results

State = Literal["finished", "running", "killed", "unfinished"]
"""``killed``: its harness is gone and left no results. ``unfinished``: there are none, and nobody can tell why."""
SMALL_BYTES_MAX: Final = 1 << 20
"""A summary, a plan or a state that is larger is not one of ours."""
USUAL_BYTES: Final = 16 << 10
RESULTS_BYTES_MAX: Final = 64 << 20
"""Results that are larger are not read for a list."""
FRESH_S: Final = 10.0
"""What a harness elsewhere, whose process cannot be looked for, wrote so lately tells that it runs."""

_Stamp = tuple[int, int, int]
_decode_summary = msgspec.json.Decoder(TestSummary).decode


class StoredTest(msgspec.Struct, frozen=True):
    """One run of the store. ``run`` is its folder as it lies there, whatever its files say of where they were."""

    run: str
    state: State
    summary: TestSummary
    """What is known of it: before it has ended, what its plan says, with the verdict ``unknown``."""
    phase: str = ""
    """What a running test is doing."""
    problem: str = ""
    """Why its files could not be understood, where they could not."""


class _Planned(msgspec.Struct):
    """What a list needs of a plan."""

    target: str = "?"
    workload: str = "?"
    nemeses: tuple[str, ...] = ()
    backend: str = "?"
    bug: str | None = None
    seed: int = 0


class _Test(msgspec.Struct):
    """What a list needs of ``test.json``."""

    plan: _Planned = msgspec.field(default_factory=_Planned)
    started: str = ""
    replay: str = ""


class StoreList:
    """The runs of a store, newest first. Without ``follow_links`` what is a link in the store is not in the list."""

    def __init__(self, root: Path, *, follow_links: bool = True) -> None:
        self.root = root
        self._follow_links = follow_links
        self._known: dict[str, tuple[tuple[_Stamp | None, _Stamp | None], StoredTest]] = {}

    def tests(self) -> list[StoredTest]:
        """Every run as it is now."""
        known = self._known
        self._known = {}
        found = []
        for folder in self.folders():
            test = self._look(folder, known)
            if test is not None:
                found.append(test)
        return found

    def newest(self) -> Iterator[StoredTest]:
        """The runs one by one: whoever needs a few of them has only those read."""
        for folder in self.folders():
            test = self._look(folder, self._known)
            if test is not None:
                yield test

    def folders(self) -> list[str]:
        """What may be the folders of runs, as absolute paths, newest first; nobody has looked into them yet."""
        return run_folders(self.root.absolute(), follow_links=self._follow_links)

    def _look(
        self, folder: str, known: dict[str, tuple[tuple[_Stamp | None, _Stamp | None], StoredTest]]
    ) -> StoredTest | None:
        results = _stamp(f"{folder}/{RESULTS}")
        if results is None:
            return _unfinished(Path(folder)) if _stamp(f"{folder}/{TEST}") is not None else None
        stamps = (results, _stamp(f"{folder}/{SUMMARY}"))
        before = known.get(folder)
        if before is None or before[0] != stamps:
            before = (stamps, _finished(folder, results[1]))
        self._known[folder] = before
        return before[1]


def stored_test(run: Path) -> StoredTest | None:
    """One run as it is now; ``None`` for what is no run's folder."""
    results = _stamp(f"{run}/{RESULTS}")
    if results is not None:
        return _finished(str(run), results[1])
    return _unfinished(run) if _stamp(f"{run}/{TEST}") is not None else None


def state_of(run: Path, live: LiveState | None) -> State:
    """What has become of a run without results: by its process where that can be looked for, else by its last sign."""
    if live is not None and live.harness is not None:
        lives = alive(live.harness)
        if lives is None:
            return "running" if time.time() - live.written < FRESH_S else "unfinished"
        return "running" if lives else "killed"
    entry = live_runs.find_run(run.name.lower())
    if entry is None or Path(entry.directory).name != run.name:
        return "unfinished"
    return "killed" if live_runs.is_dead(entry) else "running"


def _stamp(path: str) -> _Stamp | None:
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - as above
    except (OSError, ValueError):
        return None
    ordinary = stat.S_ISREG(found.st_mode)  # a link, a pipe or a device is none of our files
    return (found.st_ino, found.st_size, found.st_mtime_ns) if ordinary else None


def _finished(folder: str, results_bytes: int) -> StoredTest:
    data = read_small(f"{folder}/{SUMMARY}")
    if data is not None:
        try:
            return StoredTest(folder, "finished", _decode_summary(data))
        except (msgspec.MsgspecError, RecursionError):
            pass  # its results say the same, and are larger
    if results_bytes > RESULTS_BYTES_MAX:
        problem = f"{RESULTS} of {results_bytes >> 20} MiB is too large to be read for a list"
    else:
        try:
            return StoredTest(folder, "finished", summary_of_results(Path(folder)))
        except HarnessError as error:
            problem = str(error)
        except RecursionError:
            problem = f"{RESULTS} is nested too deeply to be what a test leaves"
    return StoredTest(folder, "finished", _planned(folder), problem=problem)


def _unfinished(run: Path) -> StoredTest:
    live = read_live(run)
    state = state_of(run, live)
    phase = live.phase if live is not None and state == "running" else ""
    return StoredTest(str(run), state, _planned(str(run)), phase=phase)


def _planned(folder: str) -> TestSummary:
    test = _Test()
    data = read_small(f"{folder}/{TEST}")
    if data is not None:
        try:
            test = msgspec.json.decode(data, type=_Test)
        except (msgspec.MsgspecError, RecursionError):
            test = _Test()  # it is listed all the same, with what is not known shown as such
    plan = test.plan
    return TestSummary(
        run=folder,
        target=plan.target,
        workload=plan.workload,
        nemeses=plan.nemeses,
        backend=plan.backend,
        bug=plan.bug,
        seed=plan.seed,
        verdict="unknown",
        exit=2,
        reason="",
        complete=False,
        started=test.started,
        replay=test.replay,
    )


def read_small(path: str) -> bytes | None:
    """The content of a small ordinary file; ``None`` where there is none, or it is larger than ours ever are."""
    try:
        # A pipe that lies in a store must not keep its reader waiting.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    except (OSError, ValueError):
        return None
    try:
        data = os.read(fd, USUAL_BYTES)  # a buffer for the largest one would take longer to get than to fill
        if len(data) == USUAL_BYTES:
            data += os.read(fd, SMALL_BYTES_MAX + 1 - USUAL_BYTES)
    except OSError:
        return None
    finally:
        os.close(fd)
    return data if len(data) <= SMALL_BYTES_MAX else None
