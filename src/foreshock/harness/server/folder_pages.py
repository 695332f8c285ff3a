"""What stands for a folder of the store: a report, a live page, the page of a campaign, or the list of its files."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.backends.process_identity import ProcessIdentity
from foreshock.harness.campaign.document import CAMPAIGN, CampaignDocument, CampaignRow
from foreshock.harness.errors import HarnessError
from foreshock.harness.server.bounds import bounded_summary, clamped, clipped
from foreshock.harness.server.index import line_of
from foreshock.harness.server.store_files import (
    RequestError,
    entries_of,
    open_in_store,
    path_text,
    shown,
)
from foreshock.harness.server.views import (
    CampaignTestLine,
    CampaignView,
    FileLine,
    FolderView,
    Link,
    LiveView,
    RunLine,
)
from foreshock.harness.store import TEST, read_plain
from foreshock.harness.store_campaigns import DOCUMENT_BYTES_MAX, campaign_state, workers_of
from foreshock.harness.store_list import StoreList, stored_test

REPORT: Final = "report.html"
CAMPAIGN_PAGE: Final = "campaign.html"
ZOO_PAGE: Final = "zoo.html"
BAD_ROWS_MAX: Final = 200
RUNNING_MAX: Final = 50
GOOD: Final = frozenset({"passed", "waiting", "running"})


def stands_for(folder: Path) -> str:
    """The name of the report that stands for a folder, ``live``, ``campaign``, or nothing: then it is its files."""
    if (folder / TEST).is_file():
        test = stored_test(folder)
        if test is not None and test.state != "finished":
            return "live"
        return REPORT if (folder / REPORT).is_file() else ""
    if (folder / CAMPAIGN).is_file():
        complete = (folder / CAMPAIGN_PAGE).is_file() and _document(folder).complete
        return CAMPAIGN_PAGE if complete else "campaign"
    return ZOO_PAGE if (folder / ZOO_PAGE).is_file() else ""


def folder_view(root: Path, parts: tuple[str, ...]) -> FolderView:
    """The files of a folder; raises :class:`RequestError` for what is none."""
    fd, _ = open_in_store(root, parts)
    try:
        entries, whole = entries_of(fd)
    except NotADirectoryError:
        raise RequestError(404, "That is not a folder.") from None
    finally:
        os.close(fd)
    folder = root.joinpath(*parts)
    here = path_text(parts, folder=True)
    links, note = [], ""
    if (folder / TEST).is_file():
        has_report = (folder / REPORT).is_file()
        if has_report:
            links.append(Link("Report", f"/store/{here}{REPORT}"))
        else:
            note = f"There is no report here. This command writes it: foreshock report {shlex.quote(str(folder))}"
        links.append(Link("Live page", f"/live/{here}"))
    return FolderView(
        name=shown("/".join(parts)),
        crumbs=tuple(
            Link(shown(part), f"/files/{path_text(parts[: i + 1], folder=True)}")
            for i, part in enumerate(parts[:-1])
        ),
        files=tuple(
            FileLine(
                shown(entry.name),
                f"/{'files' if entry.is_folder else 'store'}/{path_text((*parts, entry.name), folder=entry.is_folder)}",
                entry.is_folder,
                entry.size,
                entry.modified_s,
            )
            for entry in entries
        ),
        whole=whole,
        note=note,
        links=tuple(links),
    )


def live_view(root: Path, parts: tuple[str, ...], document: Mapping[str, Any]) -> LiveView:
    """The page of a test that runs, around what its stream of events says."""
    folder = root.joinpath(*parts)
    test = stored_test(folder)
    if test is None:
        raise RequestError(404, "That folder is no run.")
    known = bounded_summary(test.summary)
    here = path_text(parts, folder=True)
    said = (known.target, known.bug or "", known.workload, ", ".join(known.nemeses), known.backend)
    return LiveView(
        name=shown("/".join(parts)),
        headline=(*filter(None, said), f"seed {known.seed}"),
        document=document,
        events=f"/events/{here}",
        report=f"/store/{here}",
        links=(Link("Files", f"/files/{here}"),),
        replay=known.replay,
        analyze=f"foreshock analyze {shlex.quote(str(folder))}",
    )


def campaign_view(root: Path, parts: tuple[str, ...]) -> CampaignView:
    """A campaign that has not ended; raises :class:`RequestError` when its document cannot be read."""
    folder = root.joinpath(*parts)
    document = _document(folder)
    document = msgspec.structs.replace(
        document, seconds=clamped(document.seconds), name=clipped(document.name)
    )
    here = path_text(parts, folder=True)
    bad = [row for row in document.rows if row.outcome not in GOOD]
    state = campaign_state(folder, complete=document.complete)
    links = [Link("Files", f"/files/{here}")]
    if (folder / CAMPAIGN_PAGE).is_file():
        links.insert(0, Link("Page of the campaign", f"/store/{here}{CAMPAIGN_PAGE}"))
    return CampaignView(
        state=state,
        document=document,
        counts=dict(Counter(row.outcome for row in document.rows)),
        running=() if state != "running" else _running(root, workers_of(folder)),
        bad=tuple(CampaignTestLine(row, _address(root, row)) for row in bad[:BAD_ROWS_MAX]),
        bad_left_out=max(0, len(bad) - BAD_ROWS_MAX),
        links=tuple(links),
    )


def _running(root: Path, workers: Collection[ProcessIdentity]) -> tuple[RunLine, ...]:
    """The tests that these processes run now. A campaign's own are among the newest of the store."""
    found = []
    for number, test in enumerate(StoreList(root, follow_links=False).newest()):
        if test.state == "running":
            line = line_of(root, test, live=True)
            if line.live is not None and line.live.harness in workers:
                found.append(line)
        if len(found) >= RUNNING_MAX or number >= 10 * RUNNING_MAX:
            break
    return tuple(found)


def _address(root: Path, row: CampaignRow) -> str:
    """Where the newest run of a test is: in this store, whatever store it was written to."""
    for attempt in reversed(row.attempts):
        if attempt.summary is not None:
            parts = Path(attempt.summary.run).parts[-2:]
            if len(parts) == 2 and root.joinpath(*parts, TEST).is_file():
                return f"/store/{path_text(parts, folder=True)}"
    return ""


def _document(folder: Path) -> CampaignDocument:
    path = folder / CAMPAIGN
    try:
        if path.stat().st_size > DOCUMENT_BYTES_MAX:
            raise HarnessError(f"it is larger than {DOCUMENT_BYTES_MAX >> 20} MiB")
        return msgspec.json.decode(read_plain(path), type=CampaignDocument)
    except (OSError, HarnessError, msgspec.MsgspecError, RecursionError) as error:
        raise RequestError(404, f"The document of this campaign cannot be read: {error}") from None
