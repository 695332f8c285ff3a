"""``foreshock zoo`` as a person and a script meet it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import WAIT_S
from tests.harness.zoo.small_zoo import FOUND, MISSED

from foreshock.harness.cli.main import main

COMMAND = (sys.executable, "-m", "tests.harness.zoo.small_zoo", "zoo")


def start(store: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--store", str(store), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def until_some_are_done(store: Path, process: subprocess.Popen[str]) -> Path:
    """Wait until a few tests are in the journal; returns it."""
    for _ in range(10_000):
        for journal in store.glob("zoo/*/results.jsonl"):
            if journal.read_bytes().count(b"\n") >= 2:
                return journal
        assert process.poll() is None, process.communicate()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.02)
    raise AssertionError("no test was done")


@pytest.mark.usefixtures("zoo_of_one")
def test_the_table_the_verdict_and_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["zoo", FOUND, "raft", "--tests", "2", "--time-limit", "2", "--store", str(tmp_path)])
    out, err = capsys.readouterr()
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["exhibit", "seed", "tests", "took", "what", "was", "seen"]
    assert lines[1].startswith(f"{FOUND}  found")
    assert "VALID  1 of 1 exhibits found; no false alarm in 2 tests of correct targets" in out
    assert f"found   {FOUND} with seed" in err
    (page,) = tmp_path.glob("zoo/*/zoo.html")
    assert FOUND in page.read_text()


@pytest.mark.usefixtures("zoo_of_one")
def test_json_is_one_document_of_the_agreed_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["zoo", "raft*", "--tests", "2", "--time-limit", "2", "--json", "--store", str(tmp_path)]
    assert main(arguments) == 1
    document = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in document["bugs"]}
    assert rows[FOUND]["found"] is True
    assert rows[FOUND]["verdict"] == "invalid"
    assert rows[FOUND]["seconds"] > 0
    assert isinstance(rows[FOUND]["seed"], int)
    assert rows[MISSED]["found"] is False
    assert [
        {key: row[key] for key in ("target", "workload", "tests", "invalid", "unknown")}
        for row in document["correct"]
    ] == [
        {"target": "raft", "workload": "register", "tests": 1, "invalid": 0, "unknown": 0},
        {"target": "raft", "workload": "lock", "tests": 1, "invalid": 0, "unknown": 0},
    ]


@pytest.mark.usefixtures("zoo_of_one")
def test_a_wrong_name_is_one_sentence_and_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "rraft", "--store", str(tmp_path)]) == 4
    assert "nothing in the zoo is called 'rraft' (did you mean 'raft'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_time_that_is_no_number_is_one_sentence_and_exit_code_4(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["zoo", "raft", "--tests", "1", "--time-limit", "nan", "--store", str(tmp_path)]) == 4
    assert capsys.readouterr().err.startswith("foreshock: --time-limit nan is out of bounds")
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_it_with_130_and_the_same_command_goes_on(tmp_path: Path) -> None:
    arguments = ("raft", "--tests", "40", "--time-limit", "2", "--jobs", "1")
    first = start(tmp_path, *arguments)
    until_some_are_done(tmp_path, first)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal sends it: to the workers, too
    out, err = first.communicate(timeout=WAIT_S)
    assert first.returncode == 130, (out, err)
    assert "(interrupted: the same command goes on)" in out
    assert "Traceback" not in err
    second = start(tmp_path, *arguments)
    out, err = second.communicate(timeout=WAIT_S)
    assert second.returncode == 0, (out, err)
    assert "goes on with" in err
    assert "no false alarm in 40 tests" in out
    assert len(list(tmp_path.glob("zoo/*/plan.json"))) == 1


def test_a_run_that_is_killed_leaves_no_process_and_nothing_is_run_again(tmp_path: Path) -> None:
    arguments = ("raft", "--tests", "40", "--time-limit", "2", "--jobs", "2")
    first = start(tmp_path, *arguments)
    journal = until_some_are_done(tmp_path, first)
    first.kill()
    first.communicate(timeout=WAIT_S)  # the workers hold the same pipes: they are gone when this returns
    done = journal.read_bytes().count(b"\n")
    second = start(tmp_path, *arguments, "--json")
    out, err = second.communicate(timeout=WAIT_S)
    assert second.returncode == 0, err
    assert sum(row["tests"] for row in json.loads(out)["correct"]) == 40
    lines = [line for line in journal.read_bytes().splitlines() if line.endswith(b"}}")]
    assert len({json.loads(line)["test"] for line in lines}) == len(lines) == 40
    assert done >= 2
