"""One seed gives one course of events."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from tests.harness.simulation.gossip import trace_of

SCRIPT = Path(__file__).with_name("gossip.py")


def test_ten_processes_with_different_hash_seeds_see_the_same_events_byte_for_byte() -> None:
    def start(hash_seed: int) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
        return subprocess.Popen([sys.executable, str(SCRIPT), "11"], stdout=subprocess.PIPE, env=environment)

    outputs = []
    for batch in range(0, 10, 2):
        running = [start(hash_seed) for hash_seed in (batch, batch + 1)]
        outputs += [process.communicate(timeout=600)[0] for process in running]
        assert all(process.returncode == 0 for process in running)
    assert outputs[0].count(b"\n") > 500
    assert len({hashlib.sha256(output).hexdigest() for output in outputs}) == 1


def test_different_seeds_see_different_events_and_every_kind_of_them() -> None:
    traces = ["\n".join(trace_of(seed)) for seed in range(6)]
    assert len(set(traces)) == 6
    together = "\n".join(traces)
    for sign in (
        " kill ",
        " pause ",
        " cut ",
        " cut_power ",
        " jump ",
        "'hears",
        "'keeps",
        "'is told",
        "went down",
        "not done within",
        "'starts",
    ):
        assert sign in together, sign


def test_a_seed_repeated_in_one_process_gives_the_same_events() -> None:
    assert trace_of(3) == trace_of(3)
