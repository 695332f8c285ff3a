"""What a dead run left: found by the registry and the ledger, and never taken from a living one."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from tests.commands import WAIT_S, Started, until

from foreshock.harness import live_runs, recovery
from foreshock.harness.backends.mounts import mounts_below
from foreshock.harness.backends.process_identity import alive, machine
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


# --- mishaps ------------------------------------------------------------------------------------------------


def undone_by(script: str, kind: str = "starve") -> dict[str, object]:
    return {"backend": "process", "fault": kind, "run": "r1", "processes": {}, "scripts": {"n1": script}}


def test_what_scripts_undo_is_undone_the_newest_first_and_what_fails_hides_nothing(tmp_path: Path) -> None:
    note = tmp_path / "order"
    with_faults(
        tmp_path,
        undone_by(f"echo first >> {note}"),
        undone_by("echo stuck >&2; exit 4"),
        {"no": "backend"},
        {"backend": "ssh", "fault": "partition"},
        undone_by(f"echo last >> {note}"),
    )
    registered("r1", tmp_path)
    done, errors = heal_dead_runs(None)
    assert note.read_text() == "last\nfirst\n"
    assert len(done) == 2
    assert len(errors) == 3
    assert "KeyError: 'run'" in errors[0]
    assert "KeyError: 'backend'" in errors[1]
    assert errors[2].endswith("the script that undoes starve of node n1 failed: stuck")
    assert [fault.is_open for fault in read_ledger(tmp_path / FAULTS)] == [False, True, True, True, False]


def test_each_node_of_a_fault_is_tried(tmp_path: Path) -> None:
    note = tmp_path / "order"
    inverse = undone_by("exit 1")
    inverse["scripts"] = {"n1": "exit 1", "n2": f"echo n2 >> {note}", "n3": "exit 3"}
    with_faults(tmp_path, inverse)
    registered("r1", tmp_path)
    _, (error,) = heal_dead_runs(None)
    assert "of node n1 failed" in error
    assert "of node n3 failed" in error
    assert note.read_text() == "n2\n"


def test_what_scripts_undo_is_undone_beside_what_signals_undo(tmp_path: Path) -> None:
    note = tmp_path / "thawed"
    with_faults(tmp_path, undone_by(f"echo n1 >> {note}", "pause"))
    registered("r1", tmp_path)
    assert heal_dead_runs(None).done == ["run r1: partition n1: pause undone on n1"]
    assert note.exists()


def test_what_ended_with_an_earlier_boot_is_said_to_have_ended_and_no_script_is_run(tmp_path: Path) -> None:
    note = tmp_path / "ran"
    with_faults(tmp_path, {**undone_by(f"touch {note}"), "machine": machine(), "boot": "another boot"})
    registered("r1", tmp_path)
    (done,) = heal_dead_runs(None).done
    assert done.endswith("nothing to do: it ended when this machine was started again")
    assert not note.exists()
    assert not read_ledger(tmp_path / FAULTS)[0].is_open


def test_a_fault_on_this_machine_is_not_healed_on_another(tmp_path: Path) -> None:
    note = tmp_path / "ran"
    with_faults(tmp_path, {**undone_by(f"touch {note}"), "machine": "elsewhere", "boot": "another boot"})
    registered("r1", tmp_path)
    (error,) = heal_dead_runs(None).errors
    assert error.endswith("it was made on the machine 'elsewhere': run foreshock heal there")
    assert not note.exists()
    assert read_ledger(tmp_path / FAULTS)[0].is_open


def test_a_ledger_that_is_in_use_elsewhere_is_not_healed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as that of a run which lives, but is registered in the state directory of another user."""
    monkeypatch.setattr(recovery, "OTHER_HEALING_S", 0.1)
    with_faults(tmp_path, INVERSE)
    living = FaultLedger(tmp_path / FAULTS, now=lambda: 0)
    done, (error,) = heal_dead_runs(str(tmp_path))
    assert done == []
    assert error.endswith("faults.jsonl is in use by another process: its run is under way, or being healed")
    living.close()
    assert len(heal_dead_runs(str(tmp_path)).done) == 1


def test_of_two_heals_at_once_the_second_waits_and_finds_nothing_to_do(tmp_path: Path) -> None:
    note, go = tmp_path / "ran", tmp_path / "go"
    with_faults(tmp_path, undone_by(f"echo once >> {note}; until [ -e {go} ]; do sleep 0.01; done"))
    registered("r1", tmp_path)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(heal_dead_runs, None)
        until(note.exists, "the first heal")
        second = pool.submit(heal_dead_runs, str(tmp_path))
        assert not second.done()
        go.touch()
        assert len(first.result(WAIT_S).done) == 1
        assert second.result(WAIT_S) == Recovered([], [])
    assert note.read_text() == "once\n"


def test_what_cannot_be_written_down_is_undone_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = tmp_path / "ran"
    with_faults(tmp_path, undone_by(f"echo one >> {note}"), undone_by(f"echo two >> {note}"))
    registered("r1", tmp_path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr("foreshock.harness.ledger.os.write", full)
        done, errors = heal_dead_runs(None)
    assert note.read_text() == "two\none\n"
    assert len(done) == 2
    assert all("cannot be written: No space left on device" in error for error in errors)
    assert len(errors) == 2
    assert all(fault.is_open for fault in read_ledger(tmp_path / FAULTS))
    assert heal_dead_runs(None).errors == []


def test_a_heal_that_is_killed_in_the_middle_is_run_again(tmp_path: Path) -> None:
    note, go = tmp_path / "ran", tmp_path / "go"
    with_faults(
        tmp_path,
        undone_by(f"echo older >> {note}; until [ -e {go} ]; do sleep 0.01; done"),
        undone_by(f"echo newer >> {note}"),
    )
    registered("r1", tmp_path)
    with Started("heal") as heal:
        until(lambda: note.exists() and "older" in note.read_text(), "the second of two faults")
        heal.kill()
    assert [fault.is_open for fault in read_ledger(tmp_path / FAULTS)] == [True, False]
    go.touch()
    assert len(heal_dead_runs(None).done) == 1
    assert not any(fault.is_open for fault in read_ledger(tmp_path / FAULTS))


def test_a_run_of_an_earlier_boot_is_dead_though_its_process_namespace_has_another_name(
    tmp_path: Path,
) -> None:
    registered("r1", tmp_path, dead=False)
    record = live_runs.find_run("r1")
    assert record is not None
    elsewhere = msgspec.structs.replace(record.harness, place=f"{machine()} pid:[1]")
    assert alive(elsewhere) is None
    earlier = msgspec.structs.replace(elsewhere, started="11111111-2222-3333-4444-555555555555 77")
    assert alive(earlier) is False
    assert alive(msgspec.structs.replace(earlier, place="elsewhere pid:[1]")) is None


def test_clean_removes_data_and_mounts_of_a_dead_run_and_nothing_beside_them(tmp_path: Path) -> None:
    inside, beside = tmp_path / "r1" / "data" / "n1", tmp_path / "r10" / "data"
    for folder in (inside, beside):
        folder.mkdir(parents=True)
        (folder / "file").write_text("kept?")
    (tmp_path / "r1" / "history.jsonl").write_text("")
    mounted = os.geteuid() == 0
    if mounted:
        mount = ["mount", "-t", "tmpfs", "tmpfs"]
        for folder in (inside, beside):
            subprocess.run([*mount, str(folder)], check=True)
    try:
        registered("r1", tmp_path / "r1")
        done, errors = clean_dead_runs(None)
        assert errors == []
        assert done == [
            *([f"run r1: unmounted {inside}"] if mounted else []),
            "run r1: removed the data of its nodes",
        ]
        assert mounts_below(tmp_path) == ([beside] if mounted else [])
    finally:
        if mounted:
            subprocess.run(["umount", str(beside)], check=True)
    assert [path.name for path in (tmp_path / "r1").iterdir()] == ["history.jsonl"]
    assert (beside / "file").exists()


def test_a_run_that_cannot_be_cleaned_stays_registered_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in ("r1", "r2"):
        (tmp_path / run / "data").mkdir(parents=True)
        registered(run, tmp_path / run)
    real = shutil.rmtree

    def stuck(folder: Path) -> None:
        if "r1" in folder.parts:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        real(folder)

    monkeypatch.setattr("foreshock.harness.backends.process.leftovers.shutil.rmtree", stuck)
    done, errors = clean_dead_runs(None)
    assert done == ["run r2: removed the data of its nodes"]
    assert len(errors) == 1
    assert errors[0].startswith("run r1 is not cleaned: the data of its nodes in ")
    assert [run.run for run in live_runs.registered_runs()] == ["r1"]


def test_clean_removes_what_is_left_of_an_entry_whose_writer_was_killed(tmp_path: Path) -> None:
    registered("r1", tmp_path, dead=False)
    runs = live_runs.state_directory() / "runs"
    (runs / "r2.999999999.tmp").write_text("{")
    (runs / f"r3.{os.getpid()}.tmp").write_text("{")
    clean_dead_runs(None)
    assert sorted(path.name for path in runs.iterdir()) == ["r1.json", f"r3.{os.getpid()}.tmp"]
