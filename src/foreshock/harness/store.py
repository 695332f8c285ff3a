"""The store: one folder a run, holding all that is known of it, readable at any time.

``store/<test>/<time>-<id>/`` with ``test.json``, ``history.jsonl`` (appended while running), ``history.parquet``,
``faults.jsonl``, ``results.json``, ``report.html``, ``nodes/<n>/*.log`` and ``harness.log``. ``store/latest`` points
at the newest run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from foreshock.harness.errors import HarnessError, UsageError

HISTORY = "history.jsonl"
HISTORY_PARQUET = "history.parquet"
FAULTS = "faults.jsonl"
TEST = "test.json"
RESULTS = "results.json"
HARNESS_LOG = "harness.log"
NODES = "nodes"
_RUN = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
"""The name of a run's folder."""
_TRIES = 10


def write_json(path: Path, value: Any, *, as_it_stands: bool = False) -> None:
    """Write a JSON document whole or not at all; raises :class:`HarnessError` when the disk does not take it.

    Keys and sets are sorted; ``as_it_stands``: keys come in the order of the value, which must hold no sets then.
    """
    order: Literal["deterministic"] | None = None if as_it_stands else "deterministic"
    data = msgspec.json.format(msgspec.json.encode(value, enc_hook=str, order=order), indent=2)
    write_whole(path, data + b"\n")


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; raises :class:`HarnessError` when the disk does not take it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise HarnessError(f"{path} cannot be written: {error.strerror}") from error


def read_plain(path: Path) -> bytes:
    """The content of an ordinary file. Raises :class:`OSError` for a pipe, whose reader would wait for its writer, and
    for a device, which may have no end: somebody else's store may hold either."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
    return path.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON document of the store; raises :class:`HarnessError` naming the file."""
    try:
        value = msgspec.json.decode(read_plain(path))
    except FileNotFoundError:
        raise HarnessError(f"{path} is missing") from None
    except OSError as error:
        raise HarnessError(f"{path} cannot be read: {error.strerror}") from None
    except msgspec.DecodeError as error:
        raise HarnessError(f"{path} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise HarnessError(f"{path} does not hold a JSON object")
    return value


class Store:
    """A folder of runs."""

    option: ClassVar[str] = "--store"
    """By which a person chooses another one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self, test: str) -> Path:
        """Make the folder of a new run and point ``latest`` at it."""
        safe = re.sub(r"[^A-Za-z0-9.,+_-]+", "_", test)[:100]
        run = self.root / safe / f"{time.strftime('%Y%m%dT%H%M%S')}-{secrets.token_hex(3)}"
        try:
            _make_below(run)
        except OSError as error:
            raise HarnessError(
                f"the run's folder {run} cannot be made: {error.strerror} (choose another store with {self.option})"
            ) from error
        self._point_latest_at(run)
        return run.absolute()

    def find(self, run: str) -> Path:
        """The folder of a run given as a path, as ``latest``, or as the end of its name."""
        if run == "latest":
            latest = self.root / "latest"
            newest = latest.resolve() if latest.exists() else next(self.runs(), None)
            if newest is None:
                raise UsageError(f"there is no run in the store {str(self.root)!r} yet")
            run = str(newest)
        path = Path(run)
        if (path / TEST).is_file():
            return path.absolute()
        if path.is_dir() and _RUN.fullmatch(path.absolute().name) and not (path / RESULTS).exists():
            raise UsageError(
                f"the run {run!r} was killed before its plan was written: nothing had been deployed, and there is "
                "nothing to analyze"
            )
        matches = [known for known in self.runs() if str(known).endswith(run)]
        if len(matches) == 1:
            return matches[0]
        problem = "no run" if not matches else f"{len(matches)} runs"
        raise UsageError(f"there is {problem} {run!r}: give a run's folder, or 'latest'")

    def runs(self) -> Iterator[Path]:
        """The folders of all runs, newest first."""
        for folder in run_folders(self.root):
            if os.path.lexists(f"{folder}/{TEST}"):
                yield Path(folder)

    def forget(self, run: Path) -> None:
        """Remove a run of this store, and what would point at nothing then; :meth:`find` knows which is newest now."""
        shutil.rmtree(run, ignore_errors=True)
        latest = self.root / "latest"
        with contextlib.suppress(OSError):
            if latest.is_symlink() and not latest.exists():
                latest.unlink()
        with contextlib.suppress(OSError):
            run.parent.rmdir()  # where no other run is in it

    def _point_latest_at(self, run: Path) -> None:
        temporary = self.root / f".latest-{run.name}"
        # A store on a file system without links works too; only the word ``latest`` is lost.
        with contextlib.suppress(OSError):
            temporary.symlink_to(run.relative_to(self.root))
            temporary.replace(self.root / "latest")


def _make_below(run: Path) -> None:
    """Make a run's folder; another process may remove the one above it, when that is empty, at this very moment."""
    for _ in range(_TRIES):
        try:
            run.mkdir(parents=True)
        except FileNotFoundError:
            continue
        return
    run.mkdir(parents=True)


def run_folders(root: Path, *, follow_links: bool = True) -> list[str]:
    """What may be the folders of runs, newest first; nobody has looked into them yet.

    They are strings, and found without a ``Path`` for each: a store holds ten thousand of them.
    """
    found = [
        (run.name, run.path)
        for test in _folders_in(str(root), follow_links=follow_links)
        if test.name != "latest"
        for run in _folders_in(test.path, follow_links=follow_links)
    ]
    return [path for _, path in sorted(found, reverse=True)]


def _folders_in(path: str, *, follow_links: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return [
                entry
                for entry in entries
                if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=follow_links)
            ]
    except OSError:
        return []  # removed at this moment, or not ours to read: then there is nothing in it to list


def summary_line(results: Mapping[str, Any]) -> str:
    """One line about a finished run, for lists."""
    counts = results.get("operations", {})
    return (
        f"{results.get('verdict', '?'):8} {results.get('target', '?')}/{results.get('workload', '?')} "
        f"seed {results.get('seed', '?')} ok {counts.get('ok', 0)} fail {counts.get('fail', 0)} "
        f"info {counts.get('info', 0)}"
    )
