"""Lists of the store: each run as it is at that moment, whatever lies in its folder."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest
from tests.harness.server import stores
from tests.reports import runs

from foreshock.harness import store_list
from foreshock.harness.campaign.document import PLAN
from foreshock.harness.store_campaigns import stored_campaigns
from foreshock.harness.store_list import StoreList


def verdicts(listed: StoreList) -> list[tuple[str, str]]:
    return [(test.state, test.summary.verdict) for test in listed.tests()]


def test_a_kept_list_reads_what_has_not_changed_only_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        stores.quick_run(tmp_path, number)
    listed = StoreList(tmp_path)
    assert len(listed.tests()) == 5
    read: list[str] = []
    monkeypatch.setattr(store_list, "read_small", lambda path: read.append(path))
    assert len(listed.tests()) == 5
    assert read == []


def test_a_run_that_was_removed_changed_or_has_ended_is_told_as_it_is(tmp_path: Path) -> None:
    first, second = stores.quick_run(tmp_path, 1), stores.quick_run(tmp_path, 2)
    growing = stores.running_run(tmp_path)
    listed = StoreList(tmp_path)
    assert verdicts(listed) == [("running", "unknown"), ("finished", "valid"), ("finished", "valid")]
    stores.quick_run(tmp_path, 1, verdict="invalid")  # as an analysis would have it
    (second / "results.json").unlink()
    (growing / "results.json").write_text(json.dumps(runs.results("valid", "fine", complete=True)))
    assert verdicts(listed) == [("finished", "valid"), ("unfinished", "unknown"), ("finished", "invalid")]
    for file in first.iterdir():
        file.unlink()
    first.rmdir()
    assert len(listed.tests()) == 2


def test_runs_without_a_summary_are_told_by_their_results(tmp_path: Path) -> None:
    run = stores.quick_run(tmp_path, 1, verdict="invalid")
    document = json.loads((run / "results.json").read_text())
    (run / "results.json").write_text(json.dumps({**document, "complete": True}))
    (run / "summary.json").write_text("{")
    (found,) = StoreList(tmp_path).tests()
    assert (found.summary.verdict, found.problem) == ("invalid", "")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 100_000, b'{"verdict": 1}', b"\xff"])
def test_files_that_cannot_be_understood_are_a_line_that_says_so(tmp_path: Path, content: bytes) -> None:
    run = stores.quick_run(tmp_path, 1)
    for name in ("summary.json", "results.json", "test.json"):
        (run / name).write_bytes(content)
    (found,) = StoreList(tmp_path).tests()
    assert found.state == "finished"
    assert "results.json" in found.problem


def test_what_is_no_run_is_not_listed(tmp_path: Path) -> None:
    stores.quick_run(tmp_path, 1)
    (tmp_path / "empty" / "20260101T000000-000000").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    (tmp_path / "latest").symlink_to("raft-register/20260101T000001-000001")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    stores.quick_run(outside, 7)
    (tmp_path / "linked").symlink_to(outside / "raft-register")
    assert len(StoreList(tmp_path, follow_links=False).tests()) == 1
    assert len(StoreList(tmp_path).tests()) == 2
    assert StoreList(tmp_path / "nowhere").tests() == []


def test_campaigns_are_told_with_whether_anybody_works_on_them(tmp_path: Path) -> None:
    stores.campaign(tmp_path, complete=True, name="done")
    stopped = stores.campaign(tmp_path, name="stopped")
    os.utime(stopped / "campaign.json", (0, 0))
    worked_on = stores.campaign(tmp_path, name="worked-on")
    os.utime(worked_on / "campaign.json", (0, 0))
    (stores.campaign(tmp_path, name="broken") / "campaign.json").write_text("{}")
    with (worked_on / PLAN).open("wb") as plan:
        fcntl.flock(plan, fcntl.LOCK_EX)
        found = {Path(campaign.directory).parent.name: campaign for campaign in stored_campaigns(tmp_path)}
    assert {name: campaign.word for name, campaign in found.items()} == {
        "done": "invalid",
        "stopped": "stopped",
        "worked-on": "running",
        "broken": "stopped",
    }
    assert "campaign.json is not what a campaign writes" in found["broken"].problem
    assert (found["done"].done, found["done"].planned) == (3, 10)
