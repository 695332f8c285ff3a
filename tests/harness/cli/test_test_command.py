"""``foreshock test``: its JSON, its settings and where they come from, several tests in a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
QUICK = ("test", "--backend", "sim", "--time-limit", "1", "--seed", "5")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORESHOCK_SEED", "FORESHOCK_RATE", "FORESHOCK_JSON", "FORESHOCK_OPTIONS"):
        monkeypatch.delenv(name, raising=False)


def test_under_json_stdout_is_one_document_with_the_promised_keys(command: Command, tmp_path: Path) -> None:
    said = command(*QUICK, "--nemesis", "kill", "--interval", "0.2", "--json")
    document = said.document
    assert said.code == document["exit"] == 0
    assert document["verdict"] == "valid"
    assert (document["seed"], document["target"], document["workload"], document["backend"]) == (
        5, "raft", "register", "sim",
    )  # fmt: skip
    assert set(document["operations"]) == {"ok", "fail", "info"}
    assert document["faults"]["kill"] > 0
    assert document["harness_errors"] == []
    assert {name: result["verdict"] for name, result in document["checkers"].items()} == {
        "linearizable": "valid",
        "liveness": "valid",
        "statistics": "valid",
    }
    run = Path(document["run"])
    assert run.is_absolute()
    assert json.loads((run / "results.json").read_text()) == document
    for name in (
        "test.json",
        "history.jsonl",
        "history.parquet",
        "faults.jsonl",
        "harness.log",
        "report.html",
    ):
        assert (run / name).stat().st_size > 0
    assert (tmp_path / "store" / "latest").resolve() == run
    assert said.err.startswith("foreshock: deploying 5 nodes on sim\n")


def test_a_person_reads_the_verdict_the_reason_the_report_and_how_to_run_it_again(command: Command) -> None:
    said = command(*QUICK)
    first, *rest = said.out.splitlines()
    assert first.startswith("✓ VALID  every checker found the history of ")
    rest = [line for line in rest if line.split()[0] != "errors"]  # which there may be, or not
    assert [line.split()[0] for line in rest] == ["operations", "faults", "run", "report", "again"]
    assert rest[3].split()[1].startswith("store/raft-register/")
    assert rest[3].endswith("/report.html")
    again = rest[4].split()[1:]
    assert again[:2] == ["foreshock", "test"]
    once = command(*again[1:], "--json").document
    assert once["replay"] == " ".join(again)


def test_quiet_is_the_verdict_alone(command: Command) -> None:
    said = command(*QUICK, "--quiet", "--no-report")
    assert (len(said.out.splitlines()), said.err) == (1, "")


def test_the_same_seed_records_the_same_history(command: Command) -> None:
    runs = [Path(command(*QUICK, "--no-report", "--json").document["run"]) for _ in range(2)]
    assert runs[0] != runs[1]
    assert (runs[0] / "history.jsonl").read_bytes() == (runs[1] / "history.jsonl").read_bytes()


def test_several_tests_count_up_the_seed_and_the_worst_counts(command: Command) -> None:
    said = command(*QUICK, "--repeat", "3", "--no-report", "--json")
    document = said.document
    assert (said.code, document["verdict"], document["exit"]) == (0, "valid", 0)
    assert [test["seed"] for test in document["tests"]] == [5, 6, 7]
    assert [
        f"--seed {seed} " in test["replay"] for seed, test in zip((5, 6, 7), document["tests"], strict=True)
    ]
    plan = json.loads((Path(document["tests"][2]["run"]) / "test.json").read_text())
    assert plan["plan"]["seed"] == plan["request"]["seed"] == 7
    text = command(*QUICK, "--repeat", "2", "--no-report", "-q").out.splitlines()
    assert text[-1] == "2 tests: 2 valid"


CONFIG = """
backend = "sim"
workload = "lock"
nemesis = ["kill", "pause"]
nodes = 3
concurrency = 4
rate = 20
time-limit = 1
seed = 1
report = false
store = "elsewhere"

[options]
locks = 3
target.heartbeat_ms = 40
"""


@pytest.mark.parametrize(
    ("environment", "arguments", "seed", "rate", "locks"),
    [
        ({}, (), 1, 20, 3),
        ({"FORESHOCK_SEED": "2", "FORESHOCK_OPTIONS": "locks=4"}, (), 2, 20, 4),
        ({"FORESHOCK_SEED": "2", "FORESHOCK_RATE": "30"}, ("--seed", "3"), 3, 30, 3),
        ({"FORESHOCK_OPTIONS": "locks=4"}, ("-o", "locks=5", "--rate", "100"), 1, 100, 5),
    ],
)
def test_the_command_line_goes_before_the_environment_and_that_before_the_file(
    environment: dict[str, str],
    arguments: tuple[str, ...],
    seed: int,
    rate: float,
    locks: int,
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "test.toml").write_text(CONFIG)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    said = command("test", "--config", "test.toml", *arguments, "--json")
    assert said.code == 0
    run = Path(said.document["run"])
    plan = json.loads((run / "test.json").read_text())["plan"]
    assert (plan["seed"], plan["rate"], plan["options"]["workload"]["locks"]) == (seed, rate, locks)
    assert (plan["nodes"], plan["concurrency"]) == (["n1", "n2", "n3"], 4)
    assert plan["nemeses"] == ["kill", "pause"]
    assert plan["options"]["target"]["heartbeat_ms"] == 40
    assert plan["interval_s"] == 5.0  # the default, visible
    assert run.parent.parent == tmp_path / "elsewhere"
    assert not (run / "report.html").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("rat = 5", "there is no setting 'rat' (did you mean 'rate'"),
        ("rate = [", "is not TOML"),
        ("options = 5", "options must be a table"),
        ("[rate]\nx = 1", "rate must be a value and no table"),
        ("rate = 'fast'", "'fast' is not a valid float"),
        ("[options]\nlocsk = 1", "there is no option 'locsk' here (did you mean 'locks'"),
    ],
)
def test_a_wrong_file_is_one_sentence(content: str, sentence: str, command: Command, tmp_path: Path) -> None:
    (tmp_path / "test.toml").write_text(content)
    said = command("test", "--backend", "sim", "--workload", "lock", "--config", "test.toml")
    assert (said.code, said.out) == (4, "")
    assert sentence in said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--rate", "-1"), "--rate -1.0 is out of bounds: expected a number >= 0"),
        (("--seed", "-1"), "--seed -1 is out of bounds: expected a whole number >= 0"),
        (("--workload", "queue"), "there is no workload 'queue'"),
        (("--nemesis", "kill,kil"), "there is no nemesis 'kil' (did you mean 'kill'"),
        (("--bug", "raft/vote-not-presisted"), "did you mean 'raft/vote-not-persisted'"),
        (("--target", "mine.py"), "there is no target 'mine.py'"),
        (("--target", "mine:Mine"), "a target of your own is given as path/to/file.py:Class"),
        (("--target", "mine.py"), "a target of your own is given as path/to/file.py:Class"),
        (("--store", ""), "--store is empty: name the folder that keeps the runs"),
        (("-o", "locks=3"), "there is no option 'locks' here"),
        (("--nodes", "65"), "65 nodes cannot be deployed: give a count from 1 to 64"),
    ],
)
def test_what_cannot_be_planned_is_said_before_anything_is_made(
    arguments: tuple[str, ...], sentence: str, command: Command, tmp_path: Path
) -> None:
    said = command(*QUICK, *arguments)
    assert (said.code, said.out) == (4, "")
    assert said.err.count("\n") <= 2
    assert sentence in said.err
    assert not (tmp_path / "store").exists()


def test_json_may_be_asked_for_by_the_environment(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORESHOCK_JSON", "1")
    assert command(*QUICK, "--no-report").document["exit"] == 0
    refused = command(*QUICK, "--workload", "queue")
    assert (refused.code, refused.document["exit"]) == (4, 4)
    assert "queue" in refused.document["error"]
