"""What is recovered after killed workers: the runs of those that are named and dead, and no other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.campaign.leftovers import recover
from foreshock.harness.live_runs import LiveRun


def dead_process() -> ProcessIdentity:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    found = identify(process.pid)
    process.kill()
    process.communicate()
    assert found is not None
    return found


def registered(name: str, harness: ProcessIdentity, folder: Path) -> str:
    live_runs._write(LiveRun(run=name, backend="process", directory=str(folder / name), harness=harness))
    return name


def test_only_the_dead_runs_of_these_workers_are_cleaned(tmp_path: Path) -> None:
    ours, others = dead_process(), dead_process()
    here = identify(os.getpid())
    assert here is not None
    registered("20010101t000000-aaaaaa", ours, tmp_path)
    theirs = registered("20010101t000000-bbbbbb", others, tmp_path)
    living = registered("20010101t000000-cccccc", here, tmp_path)
    assert recover([]).done == []
    assert len(live_runs.registered_runs()) == 3
    recovered = recover([ours, here])
    assert recovered.errors == []
    assert [run.run for run in live_runs.registered_runs()] == [theirs, living]
