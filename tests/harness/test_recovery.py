"""What a dead run left: found by the registry and the ledger, and never taken from a living one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from foreshock.harness import live_runs
from foreshock.harness.errors import UsageError
from foreshock.harness.ledger import ENDS_WITH_HARNESS, FaultLedger, read_ledger
from foreshock.harness.recovery import Recovered, clean_dead_runs, heal_dead_runs
from foreshock.harness.store import FAULTS

INVERSE = {"backend": "process", "fault": "partition", "run": "r1", "processes": {}}


def registered(run: str, directory: Path, *, backend: str = "process", dead: bool = True) -> None:
    live_runs.register(run, backend=backend, directory=directory)
    record = live_runs.find_run(run)
    assert record is not None
    if dead:
        harness = msgspec.structs.replace(record.harness, started="before this machine was born")
        path = live_runs.state_directory() / "runs" / f"{run}.json"
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(record, harness=harness)))


def with_faults(directory: Path, *inverses: dict[str, object]) -> None:
    ledger = FaultLedger(directory / FAULTS, iter(range(100)).__next__)
    for inverse in inverses:
        ledger.planned("partition", frozenset({"n1"}), inverse=inverse)
    ledger.close()


def test_a_fault_that_ended_with_its_harness_needs_no_backend_to_be_healed(tmp_path: Path) -> None:
    with_faults(tmp_path, dict(ENDS_WITH_HARNESS))
    registered("r1", tmp_path)
    done, errors = heal_dead_runs(None)
    assert (done, errors) == (["run r1: partition n1: nothing to do: it ended with its harness"], [])
    assert not any(fault.is_open for fault in read_ledger(tmp_path / FAULTS))


def test_open_faults_of_dead_runs_are_undone_once_and_in_reverse(tmp_path: Path) -> None:
    with_faults(tmp_path, INVERSE, {**INVERSE, "fault": "kill"})
    registered("r1", tmp_path)
    done, errors = heal_dead_runs(None)
    assert errors == []
    assert [line.split(":")[2].strip() for line in done] == ["nothing to do"] * 2
    assert "a node is not started again" in done[0]
    assert all(not fault.is_open and fault.healed_ns is None for fault in read_ledger(tmp_path / FAULTS))
    assert heal_dead_runs(None) == Recovered([], [])


def test_a_fault_that_cannot_be_undone_is_said_and_stays_open(tmp_path: Path) -> None:
    with_faults(tmp_path, {**INVERSE, "fault": "smoke"}, INVERSE)
    registered("r1", tmp_path)
    done, errors = heal_dead_runs("r1")
    assert len(done) == 1
    assert errors == ["run r1: partition n1: the process backend knows no fault 'smoke'"]
    assert [fault.is_open for fault in read_ledger(tmp_path / FAULTS)] == [True, False]


def test_a_living_run_is_neither_healed_nor_cleaned(tmp_path: Path) -> None:
    with_faults(tmp_path, INVERSE)
    registered("r1", tmp_path, dead=False)
    assert heal_dead_runs(None) == clean_dead_runs(None) == Recovered([], [])
    for recover in (heal_dead_runs, clean_dead_runs):
        for name in ("r1", str(tmp_path)):
            with pytest.raises(UsageError, match=r"run r1 is still under way \(process \d+\)"):
                recover(name)
    assert read_ledger(tmp_path / FAULTS)[0].is_open


def test_a_run_that_was_cleaned_is_healed_by_its_folder(tmp_path: Path) -> None:
    with_faults(tmp_path, INVERSE)
    registered("r1", tmp_path)
    assert clean_dead_runs("r1") == Recovered([], [])
    assert live_runs.registered_runs() == []
    assert heal_dead_runs(None) == Recovered([], [])
    assert len(heal_dead_runs(str(tmp_path)).done) == 1
    with pytest.raises(UsageError, match="no run 'r1' is known here"):
        heal_dead_runs("r1")


def test_a_ledger_that_was_torn_is_healed_all_the_same(tmp_path: Path) -> None:
    with_faults(tmp_path, INVERSE)
    with (tmp_path / FAULTS).open("ab") as file:
        file.write(b'{"event":"planned","id":1,')
    registered("r1", tmp_path)
    assert len(heal_dead_runs(None).done) == 1
    (fault,) = read_ledger(tmp_path / FAULTS)
    assert fault.healed_later


def test_a_broken_ledger_is_said_and_hides_no_other_run(tmp_path: Path) -> None:
    for run in ("r1", "r2"):
        (tmp_path / run).mkdir()
        with_faults(tmp_path / run, {**INVERSE, "run": run})
        registered(run, tmp_path / run)
    (tmp_path / "r1" / FAULTS).write_text("nonsense\n")
    done, errors = heal_dead_runs(None)
    assert "line 1 is not a ledger entry" in errors[0]
    assert done[0].startswith("run r2: ")


@pytest.mark.parametrize(
    ("backend", "sentence"),
    [("docker", "no Docker engine answers"), ("moon", "there is no backend 'moon'")],
)
def test_what_was_left_on_a_backend_that_is_gone_is_said(
    backend: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert clean_dead_runs(None) == Recovered([], [])
    registered("r1", tmp_path, backend=backend)
    done, errors = clean_dead_runs(None)
    assert done == []
    assert len(errors) == 1
    assert errors[0].startswith("run r1 is not cleaned: ")
    assert sentence in errors[0]
    assert [run.run for run in live_runs.dead_runs()] == ["r1"]


def test_a_run_is_found_by_the_name_of_its_folder_too(tmp_path: Path) -> None:
    folder = tmp_path / "20261123T074110-075dde"
    folder.mkdir()
    with_faults(folder, INVERSE)
    registered(folder.name.lower(), folder)
    assert len(heal_dead_runs(folder.name).done) == 1
    assert clean_dead_runs(folder.name) == Recovered([], [])
    assert live_runs.registered_runs() == []
