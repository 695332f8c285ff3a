"""The campaigns of a store in small: how far each is, how it stands, and whether anybody still works on it."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from foreshock.harness.backends.process_identity import ProcessIdentity
from foreshock.harness.campaign.document import CAMPAIGN, CAMPAIGNS, JOURNAL, PLAN
from foreshock.harness.store import read_plain, run_folders

CampaignState = Literal["finished", "running", "stopped"]
"""``stopped``: it was interrupted or killed; the same command goes on with it."""
DOCUMENT_BYTES_MAX: Final = 256 << 20
FRESH_S: Final = 10.0
"""A document so lately written is one that somebody writes."""
_LOCKS: Final = Path("/proc/locks")


class StoredCampaign(msgspec.Struct, frozen=True, kw_only=True):
    """One campaign. ``directory`` is its folder as it lies there."""

    directory: str
    state: CampaignState
    name: str = "?"
    verdict: str = "unknown"
    exit: int = 2
    planned: int = 0
    done: int = 0
    started: str = ""
    seconds: float = 0.0
    summary: str = ""
    problem: str = ""
    """Why its document could not be understood, where it could not."""

    @property
    def word(self) -> str:
        """The verdict of a campaign that has ended, and the state of one that has not."""
        return self.verdict if self.state == "finished" else self.state


class _Head(msgspec.Struct):
    """What a list needs of ``campaign.json``; the rest is skipped over unread."""

    name: str
    verdict: str
    exit: int
    complete: bool
    planned: int
    done: int
    started: str
    seconds: float
    summary: str


class _Worker(msgspec.Struct):
    """A line of the journal that names a process."""

    worker: ProcessIdentity


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_worker = msgspec.json.Decoder(_Worker).decode
_WORKER_LINE: Final = b'{"worker":{'


def stored_campaigns(store: Path, *, follow_links: bool = True) -> Iterator[StoredCampaign]:
    """The campaigns of a store, newest first."""
    for folder in run_folders(store.absolute() / CAMPAIGNS, follow_links=follow_links):
        found = stored_campaign(Path(folder))
        if found is not None:
            yield found


def stored_campaign(folder: Path) -> StoredCampaign | None:
    """A campaign as it is now; ``None`` for what is no campaign's folder."""
    path = folder / CAMPAIGN
    try:
        if path.stat().st_size > DOCUMENT_BYTES_MAX:
            problem = f"{CAMPAIGN} is larger than {DOCUMENT_BYTES_MAX >> 20} MiB"
            return StoredCampaign(directory=str(folder), state="stopped", problem=problem)
        head = _decode_head(read_plain(path))
    except OSError:
        return None
    except (msgspec.MsgspecError, RecursionError) as error:
        problem = f"{CAMPAIGN} is not what a campaign writes: {error}"
        return StoredCampaign(directory=str(folder), state="stopped", problem=problem)
    known = {name: getattr(head, name) for name in _Head.__struct_fields__ if name != "complete"}
    return StoredCampaign(
        directory=str(folder), state=campaign_state(folder, complete=head.complete), **known
    )


def workers_of(folder: Path) -> frozenset[ProcessIdentity]:
    """The processes of this machine that a campaign has had for its tests, as its journal says."""
    path = folder / JOURNAL
    found = set()
    try:
        if path.stat().st_size <= DOCUMENT_BYTES_MAX:
            for line in read_plain(path).splitlines():
                if line.startswith(_WORKER_LINE):  # the others, which are far more, are not decoded
                    with contextlib.suppress(msgspec.MsgspecError):
                        found.add(_decode_worker(line).worker)
    except OSError:
        pass  # there is no journal yet
    return frozenset(found)


def campaign_state(folder: Path, *, complete: bool) -> CampaignState:
    """Whether anybody works on a campaign: who does holds its lock, or has just written its document."""
    if complete:
        return "finished"
    if is_locked(folder / PLAN):
        return "running"
    with contextlib.suppress(OSError):
        if time.time() - (folder / CAMPAIGN).stat().st_mtime < FRESH_S:
            return "running"
    return "stopped"


def is_locked(path: Path) -> bool:
    """Whether a process of this machine holds an flock on a file or folder; asked without touching the lock.

    Where the system does not tell (``/proc/locks``, proc(5)), nobody is said to.
    """
    try:
        found = path.stat()
        table = _LOCKS.read_text()
    except OSError:
        return False
    device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    return any(device in line.split() for line in table.splitlines() if "FLOCK" in line)
