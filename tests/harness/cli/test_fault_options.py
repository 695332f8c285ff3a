"""Schedules, mixes, quiet windows and dry runs from the command line, mostly in the simulator."""

from __future__ import annotations

import json
import subprocess
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.ledger import ENDS_WITH_HARNESS, FaultLedger
from foreshock.harness.registry import Kind, names
from foreshock.harness.safety import objections

Command = Callable[..., Any]
ALL = "partition,kill,pause,power,clock,stall,packet"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def simulate(command: Command, *more: object) -> Path:
    """A simulated test; the folder of its run."""
    said = command(
        "test", "--target", "raft", "--backend", "sim", "--no-report", "--json", "--rate", "20", *more
    )
    assert said.code == 0, said.err
    assert said.document["harness_errors"] == []
    return Path(said.document["run"])


def asked(run: Path) -> list[tuple[int, str, Any]]:
    """What the nemeses were asked for, and when, until the healing."""
    events = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    faults = [event for event in events if event.get("process") == -1]
    return [
        (event["time_ns"], event["f"], event.get("value")) for event in faults if event["type"] == "invoke"
    ]


def struck(run: Path) -> list[tuple[str, list[str]]]:
    events = [json.loads(line) for line in (run / "faults.jsonl").read_text().splitlines()]
    return [(event["kind"], event["nodes"]) for event in events if event["event"] == "planned"]


def written(run: Path) -> list[dict[str, Any]]:
    """The run's own schedule; clients that crashed by their threads, for which of their processes it was may differ."""
    entries: list[dict[str, Any]] = tomllib.loads((run / "schedule.toml").read_text())["fault"]
    for entry in entries:
        if entry["do"] == "stall":
            entry["value"]["processes"] = sorted(each % 10 for each in entry["value"]["processes"])
        if entry["do"] == "resume-clients":
            del entry["value"]
    return entries


def test_a_run_s_own_schedule_does_the_same_to_the_same_nodes_at_the_same_times(command: Command) -> None:
    first = simulate(command, "--nemesis", ALL, "--seed", 11, "--time-limit", 12, "--intensity", "extreme")
    again = simulate(
        command, "--schedule", first / "schedule.toml", "--seed", 11, "--time-limit", 12, "--nemesis", ALL
    )
    assert len(struck(first)) > 15
    assert struck(again) == struck(first)
    assert [(at, f) for at, f, _ in asked(again)] == [(at, f) for at, f, _ in asked(first)]
    assert written(again) == written(first)
    other_seed = simulate(
        command, "--schedule", first / "schedule.toml", "--seed", 99, "--time-limit", 12, "--nemesis", ALL
    )
    assert struck(other_seed) == struck(first)


def test_the_nemeses_are_implied_and_the_command_that_runs_it_again_is_whole(
    command: Command, tmp_path: Path
) -> None:
    schedule = tmp_path / "faults.toml"
    schedule.write_text(
        '[[fault]]\nat = 1\ndo = "kill"\nnodes = ["n2"]\nfor = 2.5\n'
        '[[fault]]\nat = 2\ndo = "start-partition"\nvalue = { grudge = { n1 = ["n3"] } }\n'
    )
    run = simulate(command, "--schedule", schedule, "--seed", 3, "--time-limit", 6)
    test = json.loads((run / "test.json").read_text())
    assert test["plan"]["nemeses"] == ["kill", "partition"]
    assert test["request"]["schedule"] == str(schedule)
    assert f"--schedule {schedule}" in test["replay"]
    assert "--nemesis" not in test["replay"]
    assert struck(run) == [("kill", ["n2"]), ("partition", ["n1", "n3"])]
    began_ns = asked(run)[0][0] - 1_000_000_000
    assert [(at - began_ns, f) for at, f, _ in asked(run)][:3] == [
        (1_000_000_000, "kill"),
        (2_000_000_000, "start-partition"),
        (3_500_000_000, "start"),
    ]


def test_one_fault_at_a_time_and_quiet_windows_from_a_file(command: Command, tmp_path: Path) -> None:
    config = tmp_path / "test.toml"
    config.write_text(
        'nemesis = "partition,kill=3"\nmix = "exclusive"\nintensity = 4\n"quiet-windows" = "6-10,18-20"\n'
    )
    run = simulate(command, "--config", config, "--seed", 5, "--time-limit", 24)
    plan = json.loads((run / "test.json").read_text())["plan"]
    assert (plan["mix"], plan["weights"], plan["intensity"]) == ("exclusive", {"kill": 3}, 4.0)
    assert plan["quiet_windows_s"] == [[6.0, 10.0], [18.0, 20.0]]
    events = [json.loads(line) for line in (run / "faults.jsonl").read_text().splitlines()]
    began: dict[int, int] = {
        event["id"]: event["planned_ns"] for event in events if event["event"] == "planned"
    }
    ended: dict[int, int] = {event["id"]: event["time_ns"] for event in events if event["event"] == "healed"}
    assert len(began) > 10
    for one, other in pairwise(sorted(began)):
        kinds = struck(run)[one][0], struck(run)[other][0]
        if kinds[0] != kinds[1]:
            assert ended[one] <= began[other]
    main_ns = min(json.loads(line)["time_ns"] for line in (run / "history.jsonl").read_text().splitlines())
    for begin_s, end_s in plan["quiet_windows_s"]:
        begin_ns, end_ns = main_ns + begin_s * 10**9, main_ns + end_s * 10**9
        slack_ns = (
            10**9
        )  # the first operation comes a little after the main phase began, and healing takes a while
        assert not [at for at in began.values() if begin_ns + slack_ns < at < end_ns - slack_ns]
        assert all(
            ended[each] < begin_ns + slack_ns for each, at in began.items() if at < begin_ns - slack_ns
        )
    counts = {kind: sum(each[0] == kind for each in struck(run)) for kind in ("kill", "partition")}
    assert counts["kill"] > counts["partition"] > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--nemesis", "kill*3"], "'kill*3' has no weight that can be used"),
        (["--nemesis", "kill=0"], "'kill=0' has no weight that can be used"),
        (["--mix", "exclusiv"], "there is no mix 'exclusiv' (did you mean 'exclusive'?)"),
        (["--intensity", "0"], "an intensity of 0 is out of bounds"),
        (["--quiet-windows", "5-9,8-12"], "the quiet window 8-12 overlaps 5-9"),
        (["--schedule", "none.toml"], "the schedule 'none.toml' cannot be read"),
        (["--nemesis", "kill", "--allow", "n1"], "kill may touch n2, n3, n4, n5 on sim, and the allow-list (n1)"),
        (["--nemesis", "kill", "--allow", ""], "the allow-list '' has an empty pattern"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_before_anything_is_made(
    arguments: list[str], sentence: str, command: Command, tmp_path: Path
) -> None:
    said = command("test", "--target", "raft", "--backend", "sim", *arguments)
    assert said.code == 4
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "store").exists()


# --- dry runs ---------------------------------------------------------------------------------------------------------


def state_of_this_machine(folder: Path) -> list[str]:
    """What a dry run could have touched: files below its folder, processes of ours, the engine's containers."""
    files = sorted(str(path) for path in folder.rglob("*") if "state" not in path.parts)
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return [*files, *(line for line in processes.splitlines() if "dry-run" in line and "ps -eo" not in line)]


def scripts_of(document: dict[str, Any]) -> list[str]:
    parts = [document["deployment"], document["teardown"]]
    parts += [fault["commands"] for fault in (*document["faults"], *document["healing"])]
    return [command["text"] for part in parts for command in part]


@pytest.mark.parametrize("backend", ["docker", "process"])
@pytest.mark.parametrize("name", [name for name in names(Kind.NEMESES) if name != "upgrade"])
def test_a_dry_run_of_every_nemesis_shows_scripts_that_are_none_to_object_to(
    backend: str, name: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rule outside chains of ours, no flush, no route, no policy; and nothing is touched, not even the engine."""
    from foreshock.harness.backends.docker import DockerBackend

    monkeypatch.setattr(DockerBackend, "available", lambda _self: None)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    before = state_of_this_machine(tmp_path)
    said = command(
        "test", "--target", "raft", "--backend", backend, "--nemesis", name, "--seed", 2, "--nodes", 5,
        "--time-limit", 8, "--interval", 1, "--dry-run", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    document = said.document
    assert document["faults"]
    assert {fault["error"] for fault in document["faults"]} == {None}
    assert document["deployment"]
    for script in sorted(set(scripts_of(document))):
        assert objections(script) == [], script
    assert state_of_this_machine(tmp_path) == before


def test_a_dry_run_says_in_which_method_of_a_target_something_went_wrong(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "mydb.py").write_text(
        "from foreshock.targets.external.etcd import Etcd\n"
        "class MyDB(Etcd):\n"
        "    binaries = ()\n"
        "    def files(self): return {'program': open('nowhere', 'rb').read()}\n"
    )
    said = command("test", "--target", "mydb.py:MyDB", "--backend", "process", "--dry-run")
    assert said.code == 3
    assert "'nowhere' (mydb.py, line 4, in files)" in said.err


def test_a_dry_run_says_what_is_assumed_and_shows_no_secret(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plug_in = tmp_path / "mine.py"
    plug_in.write_text(
        "from foreshock.targets.reference.raft_target import Raft\n\n\nclass Mine(Raft):\n"
        "    def environment(self, node):\n"
        "        return {**super().environment(node), 'DATABASE_PASSWORD': 'hunter2'}\n"
    )
    for backend in ("docker", "process"):
        from foreshock.harness.backends.docker import DockerBackend

        monkeypatch.setattr(DockerBackend, "available", lambda _self: None)
        said = command(
            "test", "--target", f"{plug_in}:Mine", "--backend", backend, "--nemesis", "kill", "--nodes", 3,
            "--seed", 1, "--time-limit", 10, "--dry-run",
        )  # fmt: skip
        assert said.code == 0
        assert "nothing is deployed, nothing is touched" in said.out
        assert "every fault is assumed to take" in said.out
        assert "DATABASE_PASSWORD" in said.out
        assert "hunter2" not in said.out
        assert "for real  foreshock test --target" in said.out


def test_a_dry_run_in_the_simulator_lists_the_operations_of_a_schedule(
    command: Command, tmp_path: Path
) -> None:
    schedule = tmp_path / "faults.toml"
    schedule.write_text('[[fault]]\nat = 1\ndo = "kill"\nnodes = ["n2"]\nfor = 2\n')
    document = command(
        "test", "--target", "raft", "--backend", "sim", "--schedule", schedule, "--dry-run", "--json"
    ).document
    assert [(fault["at_s"], fault["do"], fault["result"]["nodes"]) for fault in document["faults"]] == [
        (1.0, "kill", ["n2"]),
        (3.0, "start", ["n2"]),
    ]
    assert any("is simulated, and runs no command" in sentence for sentence in document["assumed"])


def test_heal_shows_what_it_would_undo_and_leaves_the_ledger_as_it_is(
    command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "a-run"
    run.mkdir()
    ledger = FaultLedger(run / "faults.jsonl", lambda: 5)
    inverse = {"backend": "process", "run": "a-run", "processes": {}}
    ledger.planned("stall", frozenset(), inverse=ENDS_WITH_HARNESS)
    ledger.planned("kill", frozenset({"n1"}), inverse={**inverse, "fault": "kill", "scripts": {}})
    mark = tmp_path / "undone"
    for node in ("n1", "n2"):
        undo = {**inverse, "fault": "starve", "scripts": {node: f"touch {mark}"}}
        number = ledger.planned("starve", frozenset({node}), inverse=undo)
    ledger.healed(number)
    ledger.close()
    before = (run / "faults.jsonl").read_bytes()
    would = command("heal", run, "--dry-run", "--json").document["would"]
    assert [(each["what"], [c["text"] for c in each["commands"]]) for each in would] == [
        ("starve n1", [f"touch {mark}"]),
        ("kill n1", []),
        ("stall", []),
    ]
    assert f"this machine, for n1: touch {mark}" in command("heal", run, "--dry-run").out
    assert (run / "faults.jsonl").read_bytes() == before
    assert not mark.exists()
    assert command("heal", run).code == 0
    assert mark.exists()
    assert command("heal", run, "--dry-run").out == "nothing to heal\n"


def test_heal_and_clean_have_nothing_to_show_where_there_is_no_dead_run(command: Command) -> None:
    assert command("heal", "--dry-run").out == "nothing to heal\n"
    assert command("heal", "--dry-run", "--json").document == {"dry_run": True, "would": [], "errors": []}
    said = command("heal", "no-such-run", "--dry-run")
    assert said.code == 4
    assert "no run 'no-such-run' is known here" in said.err
