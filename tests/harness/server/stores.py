"""Stores built by code: runs as tests leave them, and what else may lie in a folder that came from a stranger."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
from tests.reports import runs

from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.campaign.document import CampaignDocument
from foreshock.harness.judge import Judgement
from foreshock.harness.live_file import LiveState
from foreshock.harness.progress import Snapshot
from foreshock.harness.store import RESULTS, TEST, read_json
from foreshock.harness.summary import summarize

DEAD = ProcessIdentity(pid=2**22 - 7, started="long ago", place="")


def summarized(run: Path) -> Path:
    """Write the summary that belongs to a run's results."""
    judgement = msgspec.convert({"complete": True, **read_json(run / RESULTS)}, Judgement)
    summary = summarize(judgement, str(read_json(run / TEST)["started"]))
    (run / "summary.json").write_bytes(msgspec.json.encode(summary))
    return run


def quick_run(store: Path, number: int, *, target: str = "raft", verdict: str = "valid", **plan: Any) -> Path:
    """A finished run without a history: what a list needs of one."""
    run = (
        store
        / f"{target}-register"
        / f"20260101T{number // 3600:02}{number // 60 % 60:02}{number % 60:02}-{number:06x}"
    )
    document = runs.results(verdict, f"the reason of number {number}", target=target, seed=number)
    runs.store(
        run, test=runs.test_document(plan=runs.plan(target=target, seed=number, **plan)), result=document
    )
    return summarized(run)


def snapshot(**changes: Any) -> Snapshot:
    known = Snapshot(
        phase="main",
        elapsed_s=4.0,
        time_limit_s=60.0,
        ok=90,
        fail=5,
        info=1,
        rate=24.0,
        p50_ms=1.5,
        p99_ms=30.0,
        faults=("kill n3 (2 s)",),
        nodes={"n1": "running", "n2": "paused", "n3": "killed"},
    )
    return msgspec.structs.replace(known, **changes)


def write_live(run: Path, *, alive: bool = True, phase: str = "running register for 60 s") -> None:
    """The file of a test that runs, in this process, or in one that is gone."""
    me = identify(os.getpid())
    assert me is not None
    state = LiveState(
        phase=phase,
        written=0.0,
        pid=me.pid if alive else DEAD.pid,
        snapshot=snapshot(),
        harness=me if alive else msgspec.structs.replace(DEAD, place=me.place),
    )
    (run / "live.json").write_bytes(msgspec.json.encode(state))


def events(count: int, *, first: int = 0, every_ns: int = 10_000_000, took_ns: int = 2_000_000) -> str:
    """The lines of operations that were ok, one after the other, by ten processes."""
    lines = []
    for number in range(first, first + count):
        process, at = number % 10, number * every_ns
        key = {"f": "write", "process": process}
        lines.append(
            {
                "index": 2 * number,
                "type": "invoke",
                **key,
                "key": 1,
                "value": number,
                "time_ns": at,
                "node": "n1",
            }
        )
        lines.append(
            {
                "index": 2 * number + 1,
                "invoke": 2 * number,
                "type": "ok",
                **key,
                "result": None,
                "time_ns": at + took_ns,
            }
        )
    return "".join(json.dumps(line) + "\n" for line in lines)


def running_run(store: Path, *, alive: bool = True, test: str = "raft-register-kill") -> Path:
    """A test in the middle: a history that grows, a fault in force, no results."""
    run = runs.store(
        store / test / "20260102T000000-aaaaaa",
        test=runs.test_document(plan=runs.plan(nemeses=["kill"])),
        faults=runs.faults_lines((("kill", ("n3",), 0.5, None), ("partition", ("n1",), 0.1, 0.3))),
    )
    (run / "history.jsonl").write_text(events(100))
    write_live(run, alive=alive)
    return run


def campaign(store: Path, *, complete: bool = False, name: str = "nightly", **changes: Any) -> Path:
    """A campaign's folder with its document."""
    folder = store / "campaigns" / name / "20260103T000000-bbbbbb"
    folder.mkdir(parents=True)
    document = CampaignDocument(
        **{
            "name": name,
            "directory": str(folder),
            "exit": 1,
            "verdict": "invalid",
            "complete": complete,
            "summary": "3 of 10 done, 1 failed",
            "started": "2026-01-03T00:00:00+00:00",
            "seconds": 12.5,
            "planned": 10,
            "done": 3,
            "jobs": 2,
            "command": "foreshock campaign nightly.toml",
            **changes,
        }
    )
    (folder / "campaign.json").write_bytes(msgspec.json.encode(document))
    return folder
