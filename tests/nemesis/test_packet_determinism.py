"""The packet nemesis in simulation: one seed gives one history and one ledger, and every fault is verified."""

from __future__ import annotations

from pathlib import Path

from foreshock.harness.conductor import Conductor
from foreshock.harness.ledger import read_ledger
from foreshock.harness.plan import Request, resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.simulation.runtime import SimRuntime


def course(directory: Path, seed: int) -> dict[str, bytes]:
    request = Request(
        target="raft", nemesis="packet,partition", backend="sim", time_limit=6, rate=40, interval=1, seed=seed
    )
    runtime = SimRuntime(seed)
    conductor = Conductor(resolve(request), directory, runtime, SilentProgress())
    runtime.run(conductor.conduct())
    assert conductor.harness_errors == []
    return {name: (directory / name).read_bytes() for name in ("history.jsonl", "faults.jsonl")}


def test_a_seed_gives_one_history_and_one_ledger_in_which_all_is_verified_and_healed(tmp_path: Path) -> None:
    directories = [tmp_path / each / "run" for each in ("first", "again")]  # a run is called like its folder
    for directory in directories:
        directory.mkdir(parents=True)
    first, again = (course(directory, seed=4) for directory in directories)
    assert first == again
    faults = [fault for fault in read_ledger(directories[0] / "faults.jsonl") if fault.kind == "packet"]
    assert len(faults) > 1
    assert all(fault.verified_ns is not None and fault.healed_ns is not None for fault in faults)
    assert not any(fault.failure for fault in faults)
