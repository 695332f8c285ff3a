"""Ctrl-C and ``kill -9``: nothing that is done is done again, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
from tests.commands import Started, faults_injected, foreshock, until

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import alive, processes_of_run
from foreshock.harness.campaign.document import CAMPAIGN, CAMPAIGNS, JOURNAL
from foreshock.harness.campaign.journal import Line

SIMULATED = """\
name = "many"
seeds = 8
[defaults]
backend = "sim"
time-limit = 2
[matrix]
target = ["raft", "zab"]
"""
REAL = """\
name = "real"
[defaults]
backend = "process"
workload = "register"
nemesis = "kill,pause"
interval = 0.5
nodes = 3
time-limit = 60
[matrix]
target = "raft"
[[include]]
target = "raft"
backend = "sim"
nemesis = "kill"
time-limit = 1
"""


def campaign_file(folder: Path, text: str) -> str:
    path = folder / "campaign.toml"
    path.write_text(text)
    return str(path)


def journal_of(store: Path) -> Iterator[Line]:
    for path in store.glob(f"{CAMPAIGNS}/*/*/{JOURNAL}"):
        for text in path.read_bytes().split(b"\n"):
            try:
                line = msgspec.json.decode(text, type=Line)
            except msgspec.DecodeError:
                continue  # half a line: it is just being written, or its writer was killed
            yield line


def done_in(store: Path) -> list[str]:
    """The keys of the tests whose end is in the journal, each as often as it is there."""
    return [line.test for line in journal_of(store) if line.attempt is not None]


def worker_processes(store: Path) -> list[int]:
    return [line.worker.pid for line in journal_of(store) if line.worker is not None and alive(line.worker)]


def stamps(store: Path) -> dict[str, int]:
    """When each finished run was written last."""
    return {str(path): path.stat().st_mtime_ns for path in store.glob("*/*/summary.json")}


def test_after_kill_9_half_way_nothing_that_is_done_is_done_again(tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ("campaign", campaign_file(tmp_path, SIMULATED), "--jobs", "2", "--store", str(store))
    with Started(*arguments) as first:
        until(lambda: len(done_in(store)) >= 4, "four tests")
        first.kill()
    until(lambda: not worker_processes(store), "the end of the workers")
    done, before = done_in(store), stamps(store)
    assert 4 <= len(done) < 16
    second = foreshock(*arguments, "--json")
    assert second.code == 0, second.err
    assert f"where {len(done)} tests were done" in second.err
    assert (second.document["done"], second.document["complete"]) == (16, True)
    again = done_in(store)
    assert again[: len(done)] == done
    assert len(again) == len(set(again)) == 16
    after = stamps(store)
    assert before.items() <= after.items()
    finished = {row["attempts"][0]["summary"]["run"] for row in second.document["rows"]}
    assert len(finished) == 16
    (folder,) = store.glob(f"{CAMPAIGNS}/many/*")
    assert json.loads((folder / CAMPAIGN).read_text())["complete"]


def test_ctrl_c_has_real_tests_heal_and_tear_down(tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ("campaign", campaign_file(tmp_path, REAL), "--jobs", "2", "--store", str(store))
    with Started(*arguments, before=os.setpgrp) as first:
        until(lambda: len(faults_injected(store)) >= 2, "faults")
        until(lambda: len(done_in(store)) == 1, "the end of the simulated test")
        os.killpg(first.process.pid, signal.SIGINT)
        stopped = first.finish()
    assert stopped.code == 130, stopped.err
    assert "1 of 2 tests: 1 passed (not complete: the same command goes on)" in stopped.out
    assert not worker_processes(store)
    (run,) = (path.parent for path in store.glob("*/*/test.json") if "kill-pause" in str(path))
    results = json.loads((run / "results.json").read_text())
    assert results["interrupted"]
    assert results["harness_errors"] == []
    assert live_runs.registered_runs() == []
    assert processes_of_run(run.name.lower()) == []
    document = json.loads(next(store.glob(f"{CAMPAIGNS}/*/*/{CAMPAIGN}")).read_text())
    assert sorted(row["outcome"] for row in document["rows"]) == ["passed", "waiting"]


def test_real_clusters_are_torn_down_when_the_campaign_alone_is_killed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    arguments = ("campaign", campaign_file(tmp_path, REAL), "--jobs", "2", "--store", str(store))
    with Started(*arguments) as first:
        until(lambda: len(faults_injected(store)) >= 2, "faults")
        first.kill()
    until(lambda: live_runs.registered_runs() == [], "the end of the cluster")
    until(lambda: not worker_processes(store), "the end of the workers")
    (run,) = (path.parent for path in store.glob("*/*/test.json") if "kill-pause" in str(path))
    assert processes_of_run(run.name.lower()) == []


def test_what_workers_left_that_were_killed_as_well_is_healed_and_removed_by_the_same_command(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    file = campaign_file(tmp_path, REAL)
    arguments = ("campaign", file, "--jobs", "2", "--store", str(store))
    with Started(*arguments) as first:
        until(lambda: len(faults_injected(store)) >= 2, "faults")
        first.signal(signal.SIGSTOP)  # so that it does not see its workers die
        for pid in worker_processes(store):
            os.kill(pid, signal.SIGKILL)
        first.kill()
    until(lambda: not worker_processes(store), "the end of the workers")
    (dead,) = live_runs.registered_runs()
    assert live_runs.is_dead(dead)
    with Started(*arguments, before=os.setpgrp) as second:
        second.wait_for_line(f"run {dead.run}")
        until(lambda: live_runs.find_run(dead.run) is None, "the cleaning")
        assert processes_of_run(dead.run) == []
        os.killpg(second.process.pid, signal.SIGINT)
        assert "goes on with" in second.finish().err


def test_two_campaigns_of_one_file_at_once_do_not_collide(tmp_path: Path) -> None:
    store = tmp_path / "store"
    text = REAL.replace("time-limit = 60", "time-limit = 3").replace('"kill,pause"', '"partition"')
    arguments = ("campaign", campaign_file(tmp_path, text), "--store", str(store), "--json")
    with Started(*arguments) as first, Started(*arguments) as second:
        results = [first.finish(), second.finish()]
    assert [result.code for result in results] == [0, 0], [result.err for result in results]
    assert len({result.document["directory"] for result in results}) == 2
    runs = [row["attempts"][0]["summary"]["run"] for result in results for row in result.document["rows"]]
    assert len(set(runs)) == 4
