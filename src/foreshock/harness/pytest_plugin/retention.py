"""How many runs of pytest stay in the store. Each says whose it is; those of sessions that have ended may go."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import msgspec

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import ProcessIdentity, alive
from foreshock.harness.live_file import read_live
from foreshock.harness.store import RESULTS, Store, run_folders, write_json
from foreshock.harness.store_list import read_small, state_of

OWNER: Final = "pytest.json"
"""The file in a run's folder that says which test made it. A run without is none of ours, and stays."""
ELSEWHERE_S: Final = 24 * 3600.0
"""A session of another machine or container, which nobody here can look for, has ended when its run is so old."""


class Owner(msgspec.Struct, frozen=True):
    """The test that made a run, and the process of its session of pytest (that of the controller under xdist)."""

    test: str
    session: ProcessIdentity | None


class OwnedStore(Store):
    """A store whose new runs say whose they are."""

    option = "--foreshock-store"

    def __init__(self, root: Path, owner: Owner) -> None:
        super().__init__(root)
        self._owner = owner

    def create(self, test: str) -> Path:
        """Make the folder of a new run, with its owner in it."""
        run = super().create(test)
        write_json(run / OWNER, self._owner)
        return run


def remove_oldest(root: Path, count: int) -> None:
    """Remove what is older than the newest ``count`` runs of pytest in the store, and of a session that has ended.

    A run that is under way stays, and one whose cluster nobody has torn down: whoever heals it needs its ledger.
    Several processes may do this at once.
    """
    owned = [
        (run, owner)
        for run in map(Path, run_folders(root.absolute(), follow_links=False))
        if (owner := _owner(run)) is not None
    ]
    for run, owner in owned[count:]:
        if _session_has_ended(run, owner) and not _is_needed(run):
            Store(root).forget(run)


def _owner(run: Path) -> Owner | None:
    data = read_small(f"{run}/{OWNER}")
    try:
        return None if data is None else msgspec.json.decode(data, type=Owner)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _session_has_ended(run: Path, owner: Owner) -> bool:
    lives = None if owner.session is None else alive(owner.session)
    if lives is not None:
        return not lives
    try:
        return time.time() - (run / OWNER).stat().st_mtime > ELSEWHERE_S
    except OSError:
        return False  # another process removes it at this moment


def _is_needed(run: Path) -> bool:
    if live_runs.find_run(run.name.lower()) is not None:
        return True
    return not (run / RESULTS).exists() and state_of(run, read_live(run)) == "running"
