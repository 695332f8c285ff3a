"""Replays: the same again, byte for byte; and what is said where it is not, or where something has changed since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]
QUICK = ("test", "--backend", "sim", "--time-limit", "0.5", "--seed", "5", "--rate", "60")


@pytest.fixture
def copied(hunted: Any, tmp_path: Path) -> Path:
    """The run that was found, in a store of its own, to be changed."""
    run: Path = tmp_path / "store" / hunted.run.parent.name / hunted.run.name
    shutil.copytree(hunted.run, run)
    return run


def edit(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_simulated_run_comes_out_the_same_byte_for_byte(
    command: Command, hunted: Any, tmp_path: Path
) -> None:
    said = command("replay", hunted.run, "--store", tmp_path / "store", "--json")
    document = said.document
    assert (said.code, document["exit"], document["same"], document["of"]) == (1, 1, True, str(hunted.run))
    events = (hunted.run / "history.jsonl").read_bytes()
    assert document["compared"]["events"] == events.count(b"\n")
    again = Path(document["run"])
    assert again.is_relative_to(tmp_path / "store")
    assert (again / "history.jsonl").read_bytes() == events
    assert (again / "faults.jsonl").read_bytes() == (hunted.run / "faults.jsonl").read_bytes()


def test_a_person_reads_that_it_is_the_same(command: Command, copied: Path) -> None:
    said = command("replay", copied.name, "--no-report")
    events = (copied / "history.jsonl").read_bytes().count(b"\n")
    assert said.code == 1
    assert f"  the same history, byte for byte: {events} events\n" in said.out
    assert f"  replay of  store/{copied.parent.name}/{copied.name}\n" in said.out


def test_a_history_that_parts_is_told_with_its_event_and_the_versions(command: Command, copied: Path) -> None:
    lines = (copied / "history.jsonl").read_text().splitlines(keepends=True)
    lines[30] = lines[30].replace('"process":', '"process":9')
    (copied / "history.jsonl").write_text("".join(lines))
    said = command("replay", copied, "--no-report")
    assert said.code == 3
    assert "✗ INVALID" in said.out
    assert "NOT the same: the history parts at event 30: at " in said.out
    assert "no version differs, so code has changed since" in said.out
    edit(copied / "test.json", lambda test: test["versions"].update(foreshock="0.0.1"))
    assert "versions that differ: foreshock: 0.0.1 -> " in command("replay", copied, "--no-report").out


def test_of_a_killed_run_the_beginning_is_the_same(command: Command, copied: Path) -> None:
    for name in ("results.json", "summary.json"):
        (copied / name).unlink()
    for name in ("history.jsonl", "faults.jsonl"):
        content = (copied / name).read_bytes()
        (copied / name).write_bytes(content[: len(content) // 2])
    said = command("replay", copied, "--no-report")
    assert said.code == 1
    assert "the same history as far as the stored run came, byte for byte" in said.out


def test_a_schedule_whose_file_is_gone_is_played_from_the_plan(command: Command, tmp_path: Path) -> None:
    schedule = tmp_path / "asked.toml"
    schedule.write_text('[[fault]]\nat = 0.1\ndo = "kill"\nvalue = "one"\nfor = 0.1\n')
    assert command(*QUICK, "--schedule", schedule, "--no-report").code == 0
    schedule.unlink()
    said = command("replay", "latest", "--no-report", "--json")
    assert said.document["same"] is True
    assert said.document["test"]["faults"] == {"kill": 1}
    (kept,) = (tmp_path / "store" / "schedules").iterdir()
    assert str(Path("store") / "schedules" / kept.name) in said.document["test"]["replay"]


def test_a_default_that_has_changed_since_is_taken_as_it_was(command: Command, tmp_path: Path) -> None:
    assert command(*QUICK, "--no-report").code == 0
    (path,) = tmp_path.glob("store/raft-register/*/test.json")
    edit(path, lambda test: test["request"].update(rate=100.0, concurrency="3n"))
    document = command("replay", path.parent, "--no-report", "--json").document
    assert document["same"] is True
    assert (
        document["says"][-1] == "defaults have changed since, and were taken as they were: concurrency, rate"
    )


def test_a_run_from_another_folder_finds_its_plug_ins_there(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text(
        "from foreshock.targets.naive.targets import NaiveRaft\nclass Mine(NaiveRaft):\n    pass\n"
    )
    command(*QUICK, "--target", "mine.py:Mine", "--no-report")
    run = (tmp_path / "store" / "latest").resolve()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert command("replay", run, "--no-report", "--json").document["same"] is True


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("latest",), "there is no run in the store 'store' yet"),
        (("nowhere",), "there is no run 'nowhere'"),
    ],
)
def test_a_run_that_is_not_there_is_said(command: Command, arguments: tuple[str, ...], sentence: str) -> None:
    for name in ("replay", "shrink"):
        said = command(name, *arguments)
        assert said.code == 4
        assert sentence in said.err


def test_a_plan_that_cannot_be_read_is_said_with_its_file(command: Command, copied: Path) -> None:
    edit(copied / "test.json", lambda test: test.pop("request"))
    said = command("replay", copied)
    assert said.code == 3
    assert "test.json does not hold a test that can be run again: 'request'" in said.err
