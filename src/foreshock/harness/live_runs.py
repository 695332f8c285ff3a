"""The registry of live runs: how ``heal`` and ``clean`` find what a dead harness left, without a path.

One file a run in the per-user state directory (``$XDG_STATE_HOME/foreshock/runs``), written whole or not at all:
when a cluster is deployed, whenever one of its processes starts, and removed after teardown. A run is *dead* when
its file is still there and its harness is not.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.backends.process_identity import ProcessIdentity, alive, identify
from foreshock.harness.errors import HarnessError

_log = logging.getLogger(__name__)


class LiveRun(msgspec.Struct, frozen=True):
    """What is known of a run: its harness, its folder in the store, and the processes that it started.

    ``processes`` maps a node's name (or the name of a helper process) to the process that ran last.
    """

    run: str
    backend: str
    directory: str
    harness: ProcessIdentity
    processes: Mapping[str, ProcessIdentity] = {}
    places: Mapping[str, Any] = {}
    """How another process reaches what the run put elsewhere, as its backend understands it; never a secret."""


def state_directory() -> Path:
    """The per-user folder for what outlives a harness: ``$XDG_STATE_HOME/foreshock``."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "foreshock"


def ensure_directory(directory: Path) -> Path:
    """Make a folder below the state directory; raises ``HarnessError`` when it cannot be made."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(
            f"the state directory {directory} cannot be made ({error.strerror}): set XDG_STATE_HOME to one that can"
        ) from error
    return directory


def _path(run: str) -> Path:
    return state_directory() / "runs" / f"{run}.json"


def _write(record: LiveRun) -> None:
    path = _path(record.run)
    ensure_directory(path.parent)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        scratch.write_bytes(msgspec.json.encode(record))
        scratch.replace(path)
    except OSError as error:
        raise HarnessError(f"the registry of live runs {path} cannot be written: {error.strerror}") from error


class LiveRunEntry:
    """The entry of this harness's own run; made by :func:`register`."""

    def __init__(self, record: LiveRun) -> None:
        self._record = record
        _write(record)

    def started(self, processes: Mapping[str, ProcessIdentity]) -> None:
        """Write down processes that have just been started, by the name of their node."""
        self._record = msgspec.structs.replace(
            self._record, processes={**self._record.processes, **processes}
        )
        _write(self._record)

    def close(self) -> None:
        """The run is torn down: forget it; idempotent."""
        forget(self._record.run)


def register(
    run: str, *, backend: str, directory: Path, places: Mapping[str, Any] | None = None
) -> LiveRunEntry:
    """Write down that this process is the harness of a run that lives from now on.

    Raises ``HarnessError`` when the state directory cannot be written.
    """
    harness = identify(os.getpid())
    if harness is None:
        raise HarnessError(f"the harness cannot find its own process {os.getpid()}: is /proc hidden?")
    return LiveRunEntry(
        LiveRun(
            run=run,
            backend=backend,
            directory=str(directory.resolve()),
            harness=harness,
            places=places or {},
        )
    )


def find_run(run: str) -> LiveRun | None:
    """The entry of one run, alive or dead; ``None`` when it is not registered (or already torn down)."""
    path = _path(run)
    try:
        return msgspec.json.decode(path.read_bytes(), type=LiveRun)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        _log.warning("the entry of a live run %s cannot be read: %s", path, error)
        return None


def registered_runs() -> list[LiveRun]:
    """Every registered run, alive or dead, by name."""
    runs = (find_run(path.stem) for path in sorted((state_directory() / "runs").glob("*.json")))
    return [run for run in runs if run is not None]


def named_runs(name: str) -> list[LiveRun]:
    """The registered runs, alive or dead, that the user means by a run's name or by its folder."""
    directory = str(Path(name).resolve())
    return [run for run in registered_runs() if name == run.run or directory == run.directory]


def is_dead(run: LiveRun) -> bool:
    """Whether the harness of the run is certainly gone (one on another machine never is)."""
    return alive(run.harness) is False


def dead_runs() -> list[LiveRun]:
    """The runs whose harness is gone but which were never torn down."""
    return [run for run in registered_runs() if is_dead(run)]


def forget_torn() -> None:
    """Remove what harnesses that were killed while they wrote an entry left of it; idempotent."""
    for path in (state_directory() / "runs").glob("*.tmp"):
        writer = path.suffixes[-2][1:] if len(path.suffixes) > 1 else ""
        if not writer.isdigit() or identify(int(writer)) is None:
            path.unlink(missing_ok=True)


def forget(run: str) -> None:
    """Remove the entry of a run; idempotent."""
    _path(run).unlink(missing_ok=True)
