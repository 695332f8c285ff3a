"""The registry of live runs and the identity of processes."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import alive, identify, signal_group, stopped
from foreshock.harness.errors import HarnessError


def test_a_run_is_registered_until_it_is_closed(tmp_path: Path, own_state_directory: Path) -> None:
    entry = live_runs.register("r1", backend="process", directory=tmp_path)
    me = identify(os.getpid())
    assert me is not None
    entry.started({"n1": me})
    [found] = live_runs.registered_runs()
    assert (found.run, found.backend, found.directory) == ("r1", "process", str(tmp_path))
    assert found.harness == me
    assert found.processes == {"n1": me}
    assert live_runs.state_directory() == own_state_directory / "foreshock"
    assert live_runs.dead_runs() == []
    assert live_runs.named_runs("r1") == live_runs.named_runs(str(tmp_path)) == [found]
    entry.close()
    entry.close()
    assert live_runs.registered_runs() == []


def test_a_run_is_dead_when_its_harness_is_gone_or_its_pid_belongs_to_another(tmp_path: Path) -> None:
    live_runs.register("alive", backend="process", directory=tmp_path)
    record = live_runs.find_run("alive")
    assert record is not None
    runs = live_runs.state_directory() / "runs"
    for name, change in (("reused", {"started": "long ago"}), ("far", {"place": "another machine"})):
        harness = msgspec.structs.replace(record.harness, **change)
        other = msgspec.structs.replace(record, run=name, harness=harness)
        (runs / f"{name}.json").write_bytes(msgspec.json.encode(other))
    assert [run.run for run in live_runs.dead_runs()] == ["reused"]


def test_a_broken_entry_does_not_hide_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    live_runs.register("r1", backend="process", directory=tmp_path)
    (live_runs.state_directory() / "runs" / "broken.json").write_text("{")
    assert [run.run for run in live_runs.registered_runs()] == ["r1"]
    assert "broken.json cannot be read" in caplog.text


def test_a_state_directory_that_cannot_be_made_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(HarnessError, match=r"state directory .* cannot be made .* set XDG_STATE_HOME"):
        live_runs.register("r1", backend="process", directory=tmp_path)


def test_no_signal_reaches_a_process_that_only_has_the_pid() -> None:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        identity = identify(child.pid)
        assert identity is not None
        assert alive(identity) is True
        stranger = msgspec.structs.replace(identity, started="another time")
        assert alive(stranger) is False
        assert signal_group(stranger, signal.SIGKILL) is False
        assert signal_group(identity, signal.SIGSTOP) is True
        while not stopped(identity):
            os.sched_yield()
        assert not stopped(stranger)
    finally:
        child.kill()
        child.wait()
    assert alive(identity) is False
    assert signal_group(identity, signal.SIGKILL) is False
    assert identify(child.pid) is None
