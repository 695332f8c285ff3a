"""The examples of plug-ins in one file: a service of one's own, a fault, a checker; and what becomes of their runs."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

import pytest
from tests.commands import hunt, only_run, run_here

from foreshock.harness.ledger import read_ledger

ROOT = Path(__file__).resolve().parents[2]
COUNTERS = (
    *(
        "--target",
        "examples/counter_target.py:CounterServer",
        "--workload",
        "examples/counter_workload.py:Counters",
    ),
    *("--backend", "process", "--nemesis", "kill", "--time-limit", "2", "--interval", "0.5"),
)
STUTTER = (
    *(
        "--target",
        "raft",
        "--nemesis",
        "examples/stutter_nemesis.py:Stutter",
        "--backend",
        "sim",
        "--nodes",
        "3",
    ),
    *("--time-limit", "8", "--interval", "1", "--seed", "1"),
)
STRICT = ("-o", "Latency.limit_ms=0.5", "-o", "Latency.quantile=0.999")
LATENCY = (
    *("--target", "raft", "--nemesis", "kill", "--backend", "sim", "--nodes", "3", "--time-limit", "5"),
    *("--interval", "1", "--seed", "1", "--checker", "examples/latency_checker.py:Latency"),
)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def judged(
    capsys: pytest.CaptureFixture[str], store: Path, *words: str, report: bool = False
) -> tuple[int, Any]:
    more = () if report else ("--no-report",)
    code, out, err = run_here(capsys, "test", *words, "--store", str(store), "--json", *more)
    assert out, err
    return code, json.loads(out)


def test_in_a_service_of_ones_own_what_is_lost_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def counted(seed: int) -> dict[str, Any]:
        words = (*COUNTERS, "--seed", str(seed), "-o", "durable=false")
        found: dict[str, Any] = judged(capsys, tmp_path / str(seed), *words)[1]
        return found

    # A kill must come between an answer and the writing.
    found = hunt(counted, "linearizable")
    assert (found["verdict"], found["exit"]) == ("invalid", 1)


def test_a_fault_of_ones_own_goes_through_the_ledger_and_is_played_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = judged(capsys, tmp_path / "a", *STUTTER, "-o", "Stutter.beats=4")
    assert (code, found["harness_errors"]) == (0, [])
    run = only_run(tmp_path / "a")
    faults = read_ledger(run / "faults.jsonl")
    assert found["faults"] == {"stutter": len(faults)}
    assert len(faults) > 2
    assert all(fault.inverse["fault"] == "pause" and fault.healed_ns is not None for fault in faults)
    again = shlex.split(found["replay"])[2:]
    assert "examples/stutter_nemesis.py:Stutter" in again
    assert judged(capsys, tmp_path / "b", *again)[0] == 0
    assert (only_run(tmp_path / "b") / "history.jsonl").read_bytes() == (run / "history.jsonl").read_bytes()
    code, played = judged(capsys, tmp_path / "c", *again, "--schedule", str(run / "schedule.toml"))
    assert (code, played["faults"]) == (0, found["faults"])


def test_a_checker_of_ones_own_judges_beside_the_others_also_later_and_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = judged(capsys, tmp_path, *LATENCY, "-o", "limit_ms=60000")
    assert (code, found["checkers"]["Latency"]["verdict"]) == (0, "valid")
    assert set(found["checkers"]) > {"Latency", "linearizable"}
    code, found = judged(capsys, tmp_path / "b", *LATENCY, *STRICT, report=True)
    assert (code, found["checkers"]["Latency"]["verdict"]) == (1, "invalid")
    assert found["reason"].startswith("Latency: 99.9% of")
    assert "--checker examples/latency_checker.py:Latency" in found["replay"]
    run = only_run(tmp_path / "b")
    assert "Latency" in (run / "report.html").read_text()
    monkeypatch.chdir(tmp_path)
    assert not Path("examples").exists()
    code, out, _ = run_here(capsys, "analyze", run, "--json")
    assert (code, json.loads(out)["reason"]) == (1, found["reason"])
    assert run_here(capsys, "report", run)[0] == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--checker", "latencee"), "there is no checker 'latencee'"),
        (
            ("--checker", "examples/latency_checker.py:Latensy"),
            "has no class 'Latensy' (did you mean 'Latency'",
        ),
        (
            ("--checker", "liveness,,mutex"),
            "does not name checkers: give different names, separated by single commas",
        ),
        ((*LATENCY[-2:], "-o", "limit=3"), "there is no option 'limit' here (did you mean 'limit_ms'"),
        ((*LATENCY[-2:], "-o", "limit_ms=soon"), "the option 'limit_ms' cannot be 'soon': expected a number"),
        ((*LATENCY[-2:], "-o", "quantile=2"), "quantile=2.0 is no share: give a number from 0 to 1"),
        (
            ("--checker", "examples/stutter_nemesis.py:Stutter"),
            "is not a subclass of foreshock.harness.Checker",
        ),
    ],
)
def test_a_wrong_checker_is_said_before_anything_is_deployed(
    words: tuple[str, ...], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_here(capsys, "test", "--backend", "sim", *words, "--store", str(tmp_path / "store"))
    assert code in (3, 4)
    assert sentence in err
    assert not os.path.lexists(tmp_path / "store")
