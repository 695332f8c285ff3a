"""Hunts: the first seed that fails, whatever the number of processes; every failure; none; and what is left behind."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.commands import Started

Command = Callable[..., Any]
FAILING = ("--target", "naive-raft", "--time-limit", "0.6", "--concurrency", "4")
QUICK = ("--time-limit", "0.5", "--seeds", "3", "--jobs", "1")


def test_a_planted_bug_is_found_kept_and_told_with_how_to_go_on(hunted: Any) -> None:
    document = hunted.said.document
    found = document["found"]
    assert (hunted.said.code, document["exit"], document["verdict"], document["ended"]) == (
        1,
        1,
        "invalid",
        "found",
    )
    assert found["checker"] == "linearizable"
    assert f"--seed {found['seed']} " in found["replay"]
    assert document["counts"]["invalid"] == 1
    assert document["tests"] == found["seed"] + 1 == document["next_seed"]
    assert (hunted.run / "report.html").is_file()
    assert list(hunted.store.glob("raft-register-partition/*")) == [hunted.run]
    assert (hunted.store / "latest").resolve() == hunted.run


def test_what_is_found_first_is_the_least_seed_and_all_are_grouped(command: Command) -> None:
    every = command("hunt", *FAILING, "--seeds", "5", "--all", "--json", "--jobs", "2").document
    failing = [one["seed"] for one in every["failing"]]
    assert every["tests"] == sum(every["counts"].values()) == 5
    assert every["counts"]["invalid"] == len(failing) > 1
    assert sorted(int(key) for group in every["groups"] for key in group["tests"]) == failing
    assert all(Path(one["run"]).is_dir() for one in every["failing"])
    first = command("hunt", *FAILING, "--seed", "1", "--jobs", "2", "--store", "other")
    least = min(seed for seed in failing if seed >= 1)
    assert first.code == 1
    assert f"found: seed {least} fails" in first.out
    assert "foreshock shrink other/naive-raft-register/" in first.out


def test_a_store_that_takes_nothing_is_not_told_as_a_test_that_differs(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    said = command("hunt", *FAILING, "--seeds", "5", "--jobs", "1", "--store", "file/store")
    assert said.code == 1
    assert "could not be run again to be kept: the run's folder" in said.err
    assert "not deterministic" not in said.err


def test_a_hunt_that_finds_nothing_is_valid_and_leaves_nothing(command: Command, tmp_path: Path) -> None:
    said = command("hunt", *QUICK, "--seed", "40")
    assert said.code == 0
    assert said.out.startswith("✓ VALID  no failure in 3 tests: 3 valid\n")
    assert "the next seed is 43\n" in said.out
    assert not list(tmp_path.glob("store/*"))


def test_the_file_of_a_test_can_be_hunted_and_says_the_first_seed(command: Command, tmp_path: Path) -> None:
    (tmp_path / "test.toml").write_text('backend = "docker"\nseed = 7\ntime-limit = 0.5\n')
    document = command("hunt", "--config", "test.toml", "--seeds", "1", "--jobs", "1", "--json").document
    assert (document["first_seed"], document["next_seed"], document["simulated_seconds"]) == (7, 8, 0.5)


def test_a_hunt_whose_tests_cannot_be_done_ends_soon_and_says_why(command: Command, tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "from foreshock.targets.naive.targets import NaiveRaft\n"
        "class Broken(NaiveRaft):\n"
        "    def simulate(self, node, machine):\n"
        "        raise RuntimeError('no disk today')\n"
    )
    said = command("hunt", "--target", "broken.py:Broken", "--time-limit", "0.5", "--jobs", "2")
    assert said.code == 3
    assert "none of the first 20 tests could be done: " in said.err
    assert "no disk today" in said.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--target", "rfat"), "did you mean"),
        (("--backend", "docker"), "a hunt runs in the simulator"),
        (("--seeds", "0"), "--seeds"),
        (("--stop-after", "nan"), "--stop-after nan is out of bounds"),
        (("--rate", "-1"), "--rate -1.0 is out of bounds"),
        (("--target", "etcd"), "cannot be simulated"),
    ],
)
def test_what_cannot_be_hunted_is_said_before_anything_runs(
    command: Command, arguments: tuple[str, ...], sentence: str
) -> None:
    said = command("hunt", *arguments)
    assert said.code == 4
    assert sentence in said.err
    assert said.out == ""


def test_ctrl_c_ends_a_hunt_and_it_says_how_far_it_was(tmp_path: Path) -> None:
    arguments = ("hunt", "--time-limit", "1", "--jobs", "1", "--store", str(tmp_path / "store"), "--json")
    with Started(*arguments, "--seeds", "100000") as hunt:
        hunt.wait_for_line(" of 100000 seeds")
        hunt.signal(signal.SIGINT)
        said = hunt.finish()
    assert said.code == 130
    assert said.document["ended"] == "interrupted"
    assert said.document["next_seed"] >= said.document["tests"]
    assert not list(tmp_path.glob("store/*"))
