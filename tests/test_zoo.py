"""The zoo, whole: every exhibit is found within its budget, and nothing correct is accused."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.commands import foreshock

from foreshock.harness.registry import Kind, load, names

TESTS = 6
"""Tests of each correct target here; ``foreshock zoo`` runs 50, ``make soak`` 2,000."""

BUGS = names(Kind.BUGS)
FAMILIES = sorted({name.partition("/")[0] for name in BUGS})

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What ``foreshock zoo --json`` prints."""
    store = tmp_path_factory.mktemp("zoo")
    done = foreshock("zoo", "--tests", str(TESTS), "--json", "--store", str(store), timeout_s=900)
    document: Mapping[str, Any] = done.document
    assert document["exit"] == done.code
    return document


def test_there_are_33_planted_bugs_and_each_says_where_it_happened() -> None:
    assert len(BUGS) >= 33
    for name in BUGS:
        text = inspect.getdoc(load(Kind.BUGS, name)) or ""
        assert len(text.split()) > 30, f"{name} has no text that says where it happened and what breaks"


def test_every_exhibit_is_found_within_its_budget(zoo: Mapping[str, Any]) -> None:
    assert {row["name"] for row in zoo["bugs"]} >= set(BUGS)
    missed = {row["name"]: row["reason"] for row in zoo["bugs"] if not row["found"]}
    assert missed == {}
    for row in zoo["bugs"]:
        assert row["verdict"] == "invalid"
        assert row["seed"] == row["tests"] - 1 < row["budget"]
        assert row["harness_errors"] == []
        assert row["shows"], f"{row['name']} does not say what a reader will see"


def test_nothing_correct_is_accused(zoo: Mapping[str, Any]) -> None:
    failures = [failure for row in zoo["correct"] for failure in row["failures"]]
    assert failures == []
    simulated = [row for row in zoo["correct"] if row["planned"]]
    assert all(row["valid"] == row["tests"] == row["planned"] for row in simulated)
    assert {row["target"] for row in simulated} >= {
        "raft",
        "paxos",
        "zab",
        "tcp-lock",
        "redis-lock",
        "redlock",
    }
    assert zoo["complete"]


@pytest.mark.parametrize("bug", BUGS)
def test_each_planted_bug_is_convicted_with_a_counterexample(bug: str, zoo: Mapping[str, Any]) -> None:
    row = next(row for row in zoo["bugs"] if row["name"] == bug)
    run = Path(row["run"])
    results = json.loads((run / "results.json").read_text())
    assert (results["verdict"], results["exit"], results["bug"]) == ("invalid", 1, bug)
    page = (run / "report.html").read_text()
    assert bug in page
    found = [
        counterexample
        for result in results["checkers"].values()
        for counterexample in result.get("counterexamples", ())
    ]
    if not found:  # a system that stopped serving has no operations to point at
        assert results["checkers"]["liveness"]["verdict"] == "invalid"
        return
    core = found[0]["core"]
    assert core
    assert set(core) <= {operation["invoke_index"] for operation in found[0]["operations"]}
    assert 'role="img"' in page


@pytest.mark.parametrize("family", FAMILIES)
def test_what_was_found_is_found_again_byte_for_byte(
    family: str, zoo: Mapping[str, Any], tmp_path: Path
) -> None:
    row = next(row for row in zoo["bugs"] if row["name"].startswith(f"{family}/") and row["kind"] == "bug")
    again = foreshock(*shlex.split(row["replay"])[1:], "--no-report", "--store", str(tmp_path), "--json")
    assert again.code == 1
    history = (Path(row["run"]) / "history.jsonl").read_bytes()
    assert (Path(again.document["run"]) / "history.jsonl").read_bytes() == history
