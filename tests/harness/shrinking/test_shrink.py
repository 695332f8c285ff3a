"""Shrinking: fewer faults and the same failure, found alike by any number of processes, within its bounds."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Started
from tests.harness.shrinking.hunted import say

Command = Callable[..., Any]
BUDGET = 24


@pytest.fixture(scope="module")
def shrunk(hunted: Any) -> Any:
    """What ``foreshock shrink --json`` says of the run that was found, with a small budget and one process."""
    store = hunted.store
    return say(
        "shrink", hunted.run, "--budget", BUDGET, "--jobs", "1", "--seeds", "2", "--json", "--store", store
    )


def test_fewer_faults_and_operations_fail_in_the_same_way(shrunk: Any, hunted: Any) -> None:
    document = shrunk.document
    before, after = document["before"], document["after"]
    assert (shrunk.code, document["exit"], document["verdict"], document["scheduled"]) == (
        1,
        1,
        "invalid",
        True,
    )
    assert document["failure"].startswith("linearizable (")
    assert 0 < after["faults"] < before["faults"] / 3
    assert after["operations"] < before["operations"] / 3
    assert after["time_limit_s"] < before["time_limit_s"]
    summary = json.loads((Path(document["run"]) / "summary.json").read_text())
    assert f"{summary['checker']} ({summary['impossible']})" == document["failure"]
    assert sum(summary["faults"].values()) == after["faults"]
    assert document["of"] == str(hunted.run)


def test_what_is_tested_stays_what_it_was(shrunk: Any, hunted: Any) -> None:
    then, now = (
        json.loads((Path(run) / "test.json").read_text())["plan"]
        for run in (hunted.run, shrunk.document["run"])
    )
    for setting in ("target", "workload", "bug", "checkers", "operation_timeout_ms", "recovery_time_s"):
        assert then[setting] == now[setting]
    assert then["options"]["target"] == now["options"]["target"]


def test_the_command_that_it_names_does_the_same_byte_for_byte(
    command: Command, shrunk: Any, tmp_path: Path
) -> None:
    program, *arguments = shlex.split(shrunk.document["command"])
    again = command(*arguments, "--no-report", "--json", "--store", tmp_path / "store")
    assert (program, again.code) == ("foreshock", 1)
    for name in ("history.jsonl", "faults.jsonl"):
        runs = (Path(run) / name for run in (shrunk.document["run"], again.document["run"]))
        assert next(runs).read_bytes() == next(runs).read_bytes()
    assert shrunk.document["same"] is True


def test_it_is_an_ordinary_run_with_its_report_and_its_schedule(shrunk: Any, hunted: Any) -> None:
    run = Path(shrunk.document["run"])
    assert (hunted.store / "latest").resolve() == run
    assert (run / "report.html").is_file()
    assert json.loads((run / "shrink.json").read_text())["tests"] == shrunk.document["tests"]
    schedule = Path(shrunk.document["schedule"])
    assert schedule.parent == hunted.store / "schedules"
    assert schedule.read_text().count("[[fault]]") == shrunk.document["after"]["faults"]
    assert f"--schedule {schedule} " in shrunk.document["command"]


def test_the_budget_is_kept_and_it_is_said_that_there_may_be_less(shrunk: Any) -> None:
    assert shrunk.document["tests"] == BUDGET
    assert shrunk.document["ended"] == f"the budget of {BUDGET} tests is spent"


def test_two_processes_find_what_one_does(command: Command, shrunk: Any, hunted: Any) -> None:
    options = ("--budget", BUDGET, "--jobs", "2", "--seeds", "2")
    said = command("shrink", hunted.run, *options, "--store", "store")
    (path,) = Path("store").glob("*/*/shrink.json")
    document = json.loads(path.read_text())
    assert said.code == 1
    for key in ("before", "after", "tests", "failure"):
        assert document[key] == shrunk.document[key]
    faults = document["before"]["faults"], document["after"]["faults"]
    assert "before  after" in " ".join(said.out.split(" "))
    assert [str(count) for count in faults] in [
        line.split()[1:] for line in said.out.splitlines() if "faults" in line
    ]
    assert f"the budget of {BUDGET} tests is spent: it may not be the least yet" in said.out


def test_ctrl_c_keeps_the_least_until_then(hunted: Any, tmp_path: Path) -> None:
    store = tmp_path / "store"
    with Started("shrink", str(hunted.run), "--jobs", "1", "--json", "--store", str(store)) as shrink:
        shrink.wait_for_line("foreshock: time ")
        shrink.signal(signal.SIGINT)
        said = shrink.finish()
    document = said.document
    assert (said.code, document["verdict"], document["ended"]) == (1, "invalid", "interrupted")
    assert document["after"]["time_limit_s"] < document["before"]["time_limit_s"]
    assert (store / "latest").resolve() == Path(document["run"])


def test_what_the_zoo_keeps_can_be_shrunk(command: Command, tmp_path: Path) -> None:
    command("zoo", "naive-lock", "--tests", "0", "--jobs", "1", "--json")
    (run,) = (path.parent for path in tmp_path.glob("store/zoo/**/test.json"))
    document = command("shrink", run, "--budget", "4", "--jobs", "1", "--json").document
    assert document["verdict"] == "invalid"
    assert document["after"]["operations"] < document["before"]["operations"]
    assert Path(document["run"]).is_relative_to(tmp_path / "store")


def copy_of(hunted: Any, folder: Path) -> Path:
    run: Path = folder / hunted.run.name
    shutil.copytree(hunted.run, run)
    return run


def test_a_run_that_does_not_fail_any_more_is_no_verdict(
    command: Command, hunted: Any, tmp_path: Path
) -> None:
    run = copy_of(hunted, tmp_path)
    test = json.loads((run / "test.json").read_text())
    for part in ("plan", "request"):
        test[part]["bug"] = None  # somebody has mended it
    (run / "test.json").write_text(json.dumps(test))
    said = command("shrink", run, "--jobs", "1")
    assert said.code == 3
    assert "the run does not fail any more as it did (linearizable (" in said.err
    assert "it is now valid: " in said.err


def test_only_what_was_invalid_is_shrunk(command: Command, hunted: Any, tmp_path: Path) -> None:
    command("test", "--backend", "sim", "--time-limit", "0.5", "--seed", "5", "--no-report")
    said = command("shrink", "latest")
    assert said.code == 4
    assert "was valid, and only one that was invalid can be shrunk" in said.err
    run = copy_of(hunted, tmp_path)
    (run / "results.json").unlink()
    said = command("shrink", run)
    assert said.code == 4
    assert "has no verdict, for its harness was killed: foreshock analyze gives it one" in said.err


@pytest.mark.parametrize(
    ("option", "value"),
    [("--budget", "0"), ("--deadline", "nan"), ("--seeds", "0"), ("--same", "faults"), ("--jobs", "x")],
)
def test_options_out_of_bounds_are_named(command: Command, hunted: Any, option: str, value: str) -> None:
    said = command("shrink", hunted.run, option, value)
    assert said.code == 4
    assert option in said.err
