"""``list``, ``doctor``, ``report``, ``analyze``, ``heal`` and ``clean`` where nothing is wrong; colours; completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
QUICK = ("test", "--backend", "sim", "--time-limit", "1", "--seed", "5")
HEAVY = ("pandas", "numpy", "pyarrow", "numba", "docker", "paramiko", "rich", "asyncio", "jinja2")


def test_runs_are_listed_newest_first_also_those_without_results(command: Command) -> None:
    assert command("list", "runs").out == "no runs in store\n"
    first = Path(command(*QUICK, "--no-report", "--json").document["run"])
    (first / "results.json").unlink()
    second = Path(command(*QUICK, "--no-report", "--json").document["run"])
    runs = command("list", "runs", "--json").document["runs"]
    assert sorted(run["run"] for run in runs) == sorted(map(str, (first, second)))
    text = command("list", "runs").out
    assert "valid    raft/register seed 5 ok " in text
    assert "no results: foreshock analyze decides  raft/register seed 5" in text
    assert {run["run"]: run["state"] for run in runs} == {str(first): "unfinished", str(second): "finished"}


def test_a_report_is_rendered_again_and_an_analysis_rewrites_the_results(command: Command) -> None:
    run = Path(command(*QUICK, "--no-report", "--json").document["run"])
    assert command("report", "--json").document["reports"] == [str(run / "report.html")]
    (run / "report.html").unlink()
    before = json.loads((run / "results.json").read_text())
    (run / "results.json").unlink()
    said = command("analyze", "latest", "--json")
    assert (said.code, said.document["verdict"], said.document["interrupted"]) == (0, "valid", True)
    assert said.document["operations"] == before["operations"]
    assert (run / "report.html").is_file()
    assert command("analyze", run.name, "-q").out.startswith("✓ VALID")


def test_an_analysis_of_a_finished_test_says_what_the_test_said(command: Command) -> None:
    before = command(*QUICK, "--nemesis", "kill", "--interval", "0.3", "--no-report", "--json").document
    after = command("analyze", "--no-report", "--json").document
    for document in (before, after):
        for result in document["checkers"].values():
            del result["seconds"]
            result["details"].pop("decided_s", None)
    assert after == before


def test_the_doctor_finds_what_works_here_and_what_does_not(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    said = command("doctor", "--json")
    assert said.code == said.document["exit"] == 0
    found = {finding["about"]: finding for finding in said.document["findings"]}
    assert found["backend process"]["ok"]
    assert found["backend sim"]["text"] == "ready"
    assert found["backend ssh"]["ok"]
    faults = said.document["faults"]
    assert faults["sim"]["mechanisms"]["partition"] == "simulated exactly"
    assert faults["process"]["mechanisms"]["kill"] == "SIGKILL to the process group"
    assert faults["process"]["missing"]["packet/corrupt"].startswith("not by this backend: use --backend ")
    assert not found["backend docker"]["ok"]
    assert "start one (sudo systemctl start docker)" in found["backend docker"]["text"]
    assert found["leftovers"]["ok"]
    out = command("doctor").out
    assert "✗ backend docker" in out
    assert "    kill  SIGKILL to the process group\n" in out
    assert "packet (corrupt, duplicate, reorder)  not by this backend: use --backend " in out


def test_the_doctor_says_where_nothing_can_be_written(command: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = command("doctor", "--store", tmp_path / "file" / "store", "--json")
    assert said.code == 3
    store = next(found for found in said.document["findings"] if found["about"] == "store")
    assert "cannot be written: choose another store with --store" in store["text"]


@pytest.mark.parametrize(("name", "key"), [("heal", "healed"), ("clean", "removed")])
def test_where_nothing_was_left_there_is_nothing_to_do(name: str, key: str, command: Command) -> None:
    assert command(name) == (0, f"nothing to {name}\n", "")
    assert command(name, "--json").document == {key: [], "errors": []}


def test_heal_of_a_run_that_nobody_knows_is_said(command: Command) -> None:
    said = command("heal", "20260101t000000-abcdef")
    assert said.code == 4
    assert "no run '20260101t000000-abcdef' is known here" in said.err
    assert command("clean", "20260101t000000-abcdef").code == 0


@pytest.mark.parametrize(
    ("environment", "coloured"), [({"FORCE_COLOR": "1"}, True), ({"NO_COLOR": "1"}, False)]
)
def test_colours_are_for_those_who_want_them(
    environment: dict[str, str], coloured: bool, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TERM", "xterm-256color")
    out = command("list", "targets").out
    assert ("\x1b[" in out) == coloured
    assert "raft" in out


def completions(line: str) -> list[str]:
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "foreshock"],
        env={
            **os.environ,
            "_FORESHOCK_COMPLETE": "bash_complete",
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return [found.partition(",")[2] for found in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("foreshock an", ["analyze"]),
        (
            "foreshock test --nemesis partition,p",
            ["partition,packet", "partition,pause", "partition,power", "partition,primary"],
        ),
        ("foreshock test --workload l", ["lock"]),
        ("foreshock test --backend a", ["auto"]),
        ("foreshock test --bug raft/vote-", ["raft/vote-not-persisted"]),
        ("foreshock test --interv", ["--interval"]),
        ("foreshock check --model cas", ["cas-register"]),
    ],
)
def test_the_shell_completes_commands_options_and_names(line: str, expected: list[str]) -> None:
    assert completions(line) == expected


def test_the_shell_is_told_how_to_complete() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "foreshock"],
        env={**os.environ, "_FORESHOCK_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "complete" in done.stdout
    assert "foreshock" in done.stdout


def test_completing_a_word_imports_nothing_heavy_and_is_quick() -> None:
    code = (
        "import atexit, os, sys\n"
        "from foreshock.harness.cli.main import main\n"
        f"atexit.register(lambda: print([n for n in {HEAVY!r} if n in sys.modules], file=sys.stderr))\n"
        "main([])\n"
    )
    environment = {
        **os.environ,
        "_FORESHOCK_COMPLETE": "bash_complete",
        "COMP_WORDS": "foreshock test --nemesis k",
        "COMP_CWORD": "3",
    }
    took_s = []
    for _ in range(3):
        start = time.process_time_ns(), os.times().children_user
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
        )
        took_s.append(os.times().children_user - start[1])
    assert done.stdout == "plain,kill\n"
    assert done.stderr == "[]\n"
    assert min(took_s) < 0.25  # of processor time: what else runs here is not its fault
