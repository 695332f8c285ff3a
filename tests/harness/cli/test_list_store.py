"""``foreshock list runs`` and ``foreshock list campaigns``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.harness.server import stores

Command = Callable[..., Any]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    root = tmp_path / "store"
    for number in range(60):
        stores.quick_run(
            root,
            number,
            target=("raft", "zab")[number % 2],
            verdict=("valid", "invalid", "unknown")[number % 3],
        )
    stores.running_run(root)
    stores.running_run(root, alive=False, test="killed")
    return root


def test_runs_are_filtered_and_limited(command: Command, store: Path) -> None:
    assert len(command("list", "runs").out.splitlines()) == 50
    assert len(command("list", "runs", "--limit", 0).out.splitlines()) == 62
    assert len(command("list", "runs", "--limit", 3).out.splitlines()) == 3
    assert len(command("list", "runs", "--json").document["runs"]) == 62
    invalid = command("list", "runs", "--verdict", "invalid", "--target", "zab", "--json").document["runs"]
    assert len(invalid) == 10
    assert {(run["verdict"], run["target"]) for run in invalid} == {("invalid", "zab")}
    assert command("list", "runs", "--target", "none").out == "no runs in store that match\n"


def test_running_and_killed_runs_are_told_as_such(command: Command, store: Path) -> None:
    (running,) = command("list", "runs", "--verdict", "running").out.splitlines()
    assert running.endswith("running  raft/register seed 7  running register for 60 s")
    (killed,) = command("list", "runs", "--verdict", "killed").out.splitlines()
    assert "killed   raft/register seed 7  its harness is gone: foreshock analyze decides" in killed


def test_campaigns_are_listed(command: Command, store: Path) -> None:
    assert command("list", "campaigns").out == "no campaigns in store\n"
    folder = stores.campaign(store, complete=True)
    said = command("list", "campaigns").out
    assert said == f"{os.path.relpath(folder)}  invalid   3 of 10 tests  3 of 10 done, 1 failed\n"
    (document,) = command("list", "campaigns", "--json").document["campaigns"]
    assert (document["name"], document["state"], document["done"]) == ("nightly", "finished", 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("targets", "--verdict", "valid"), "--verdict filters runs, and not 'list targets'"),
        (("campaigns", "--target", "raft"), "--target filters runs, and not 'list campaigns'"),
        (("runs", "latest"), "'list runs' takes no name, but 'latest' was given"),
        (("runs", "--verdict", "good"), "'good' is not one of"),
        (("run",), "there is no kind 'run'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_one_sentence(
    command: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    said = command("list", *arguments)
    assert said.code == 4
    assert sentence in said.err


def test_names_of_a_strangers_store_cannot_speak_to_the_terminal(command: Command, tmp_path: Path) -> None:
    stores.quick_run(tmp_path / "store", 1, target="evil\x1b[31m")
    assert "\x1b" not in command("list", "runs").out
