"""After ``kill -9`` of the harness: heal and clean leave nothing of ours and touch nothing else; analyze judges."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import pytest
from tests.commands import (
    BREAKING,
    PLUG_INS,
    Started,
    broken_run,
    faults_injected,
    foreshock,
    nothing_left,
    only_run,
    run_here,
    until,
)
from tests.harness import traces
from tests.harness.kill_soak import offered, soak
from tests.harness.strangers import untouched

from foreshock.harness import live_runs
from foreshock.harness.backends.docker.engine import connect
from foreshock.harness.backends.docker.images import ImageBuilder
from foreshock.harness.store import Store

KINDS_MIN = 5
"""So many kinds of fault (or all that are offered) have been injected when the harness is killed."""
SEED = 20


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def breaking_everything(backend: str) -> tuple[str, ...]:
    """A test with every nemesis that the backend and the target can carry."""
    every = offered(backend, "raft", "lock")
    assert {"partition", "kill", "pause"} <= set(every)
    words = list(BREAKING)
    words[words.index("--nemesis") + 1] = ",".join(every)
    return tuple(words)


def nothing_at_all_left(run: Path, state: Path, *, engine: bool) -> None:
    """By other means than those by which Foreshock cleans up."""
    left = traces.gone(lambda: traces.left_behind(run, state, "no-mark", engine=engine), within_s=10)
    assert left == []


@pytest.mark.slow
def test_after_every_fault_and_kill_9_all_of_ours_is_gone_and_all_else_is_as_it_was(
    store: Path, tmp_path: Path, own_state_directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with untouched(tmp_path):
        everything = breaking_everything("process")
        with Started("test", "--backend", "process", *everything, "--store", str(store)) as test:
            run = broken_run(test, store)
            for command in ("clean", "heal"):
                code, _, err = run_here(capsys, command, run)
                assert code == 4
                assert f"is still under way (process {test.process.pid}): stop it with Ctrl-C" in err
                assert run_here(capsys, command)[:2] == (0, f"nothing to {command}\n")
            until(lambda: len(faults_injected(store)) >= KINDS_MIN, f"{KINDS_MIN} kinds of fault")
            assert test.process.poll() is None
            test.kill()
        assert [dead.run for dead in live_runs.dead_runs()] == [run.name.lower()]
        for command in ("heal", "heal", "clean", "clean"):
            code, _, err = run_here(capsys, command)
            assert (err, code) == ("", 0)
        nothing_at_all_left(run, own_state_directory, engine=False)
    judged_after_its_death(run, capsys)


@pytest.mark.slow
def test_what_a_killed_harness_left_may_be_cleaned_first_and_healed_then(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Started("test", "--backend", "process", *BREAKING, "--store", str(store)) as test:
        run = broken_run(test, store)
        test.kill()
    assert [dead.run for dead in live_runs.dead_runs()] == [run.name.lower()]
    for command in ("clean", "clean", "heal", "heal"):
        code, _, err = run_here(capsys, command)
        assert (err, code) == ("", 0)
    assert run_here(capsys, "heal")[1] == "nothing to heal\n"
    assert run_here(capsys, "heal", run)[0] == 0
    assert run_here(capsys, "clean", run)[0] == 0
    nothing_left(run)
    judged_after_its_death(run, capsys)


def judged_after_its_death(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_here(capsys, "analyze", run, "--json")
    document = json.loads(out)
    assert (code, document["verdict"], document["interrupted"]) == (0, "valid", True)
    assert document["operations"]["ok"] > 0
    assert len(document["faults"]) >= 2
    assert (run / "report.html").is_file()
    assert (run / "results.json").is_file()


def test_what_a_harness_left_that_was_killed_while_deploying_is_removed(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--target", f"{PLUG_INS}:NeverReady", "--backend", "process", "--store", str(store))
    with Started("test", *arguments) as test:
        test.wait_for_line("deploying")
        run = only_run(store)
        until(lambda: has_node(run), "the process of a node")
        test.kill()
    code, out, _ = run_here(capsys, "clean", run)
    assert code == 0
    assert f"run {run.name.lower()}: ended " in out
    nothing_left(run)
    code, out, _ = run_here(capsys, "analyze", run)
    assert code == 2
    assert "UNKNOWN  nothing was recorded, so nothing is known: the test was interrupted" in out


def has_node(run: Path) -> bool:
    """Whether the process of a node is in the registry: what else belongs to a run may end with its harness."""
    entry = live_runs.find_run(run.name.lower())
    return entry is not None and "n1" in entry.processes


@pytest.mark.docker
def test_what_a_killed_harness_left_in_the_engine_is_healed_and_removed_and_all_else_is_as_it_was(
    store: Path, tmp_path: Path, own_state_directory: Path
) -> None:
    with untouched(tmp_path, image=an_image()):
        everything = breaking_everything("docker")
        with Started("test", "--backend", "docker", *everything, "--store", str(store)) as test:
            run = broken_run(test, store)
            until(lambda: len(faults_injected(store)) >= KINDS_MIN, f"{KINDS_MIN} kinds of fault")
            test.kill()
        healed = foreshock("heal", str(run))
        assert (healed.code, healed.err) == (0, "")
        assert traces.paused_in_engine(run.name.lower()) == []
        for _ in range(2):
            assert foreshock("clean").code == 0
        nothing_at_all_left(run, own_state_directory, engine=True)
    # What decides is in the folder alone: the engine may be gone.
    judged = foreshock("analyze", str(run), "--json", environment={"DOCKER_HOST": "tcp://127.0.0.1:1"})
    assert (judged.code, judged.document["verdict"], judged.document["backend"]) == (0, "valid", "docker")


def an_image() -> str:
    """Any image of ours."""
    with contextlib.closing(connect()) as client:
        return ImageBuilder(client, threading.Event()).ensure(())


@pytest.mark.slow
def test_harnesses_killed_at_random_moments_leave_nothing_after_heal_and_clean(tmp_path: Path) -> None:
    outcomes = soak(5, SEED, ["process"], jobs=2, time_limit_s=1.5, root=tmp_path)
    assert [outcome.problems for outcome in outcomes] == [[]] * 5
    assert sum(outcome.left > 0 for outcome in outcomes) >= 2, (
        "none was killed while there was something to leave"
    )


@pytest.mark.docker
def test_a_harness_killed_with_its_containers_leaves_nothing_after_heal_and_clean(tmp_path: Path) -> None:
    (outcome,) = soak(1, SEED, ["docker"], jobs=1, time_limit_s=1.5, root=tmp_path)
    assert outcome.problems == []


@pytest.mark.parametrize("how", ["folder", "latest"])
def test_a_run_killed_before_its_plan_was_written_is_said_to_be_one(
    how: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Store(store).create("raft-lock")
    code, out, err = run_here(capsys, "analyze", run if how == "folder" else how, "--store", store)
    assert (code, out) == (4, "")
    assert (
        "was killed before its plan was written: nothing had been deployed, and there is nothing to analyze"
        in err
    )


def test_a_run_killed_before_its_history_was_begun_is_unknown(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(capsys, "test", "--backend", "sim", "--time-limit", "1", "--store", store)[0] == 0
    run = only_run(store)
    for name in ("history.jsonl", "history.parquet", "results.json", "report.html", "faults.jsonl"):
        (run / name).unlink()
    code, out, _ = run_here(capsys, "analyze", run)
    assert code == 2
    assert "UNKNOWN  nothing was recorded, so nothing is known: the test was interrupted" in out
