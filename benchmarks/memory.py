"""What a million recorded operations cost: bytes an operation, and the peak of the whole process.

Each way of looking at the history is measured in a process of its own: recording alone; then the columns that
checkers take; then the pandas frame that people take (numpy, pandas and pyarrow imported and counted).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AIM_BYTES = 400 * 10**6
STAGES = ("recorded", "history", "checked", "frame", "parquet")


def record(count: int, folder: Path, stage: str) -> dict[str, float]:
    """Record ``count`` operations of a register workload, look at them as ``stage`` says, and give the figures."""
    from foreshock.harness.operation import NEMESIS, Operation, OperationType
    from foreshock.harness.recorder import HistoryRecorder

    ok, fail, info = OperationType.OK, OperationType.FAIL, OperationType.INFO
    recorder = HistoryRecorder(folder / "history.jsonl", time.monotonic_ns)
    before = peak_bytes(), resident_bytes()
    start = time.perf_counter()
    processes = list(range(10))
    for i in range(0, count, 10):
        batch = []
        for thread in range(10):
            number = i + thread
            key, process = number // 600, processes[thread]
            if number % 3 == 0:
                operation = Operation("write", key=key, value=number, process=process, node=f"n{thread % 5}")
            elif number % 3 == 1:
                operation = Operation("cas", key=key, value=[number, number + 1], process=process, node="n1")
            else:
                operation = Operation("read", key=key, process=process, node="n2")
            batch.append(recorder.stage_invocation(operation))
        recorder.flush()
        for thread, invocation in enumerate(batch):
            number = i + thread
            if number % 97 == 0:
                recorder.stage_completion(invocation, info, None, "timeout")
                processes[thread] += 10
            elif number % 7 == 0:
                recorder.stage_completion(invocation, fail, None, "the value was another")
            else:
                recorder.stage_completion(invocation, ok, number if invocation.f == "read" else None)
        if i % 10_000 == 0:
            nemesis = recorder.invoke(Operation("start-partition", value="majority", process=NEMESIS))
            recorder.complete(nemesis, ok, {"n1": ["n2", "n3"]})
    recorder.close()
    seconds = time.perf_counter() - start
    look(recorder, folder, stage)
    return {
        "import_bytes": before[1],
        "peak_bytes": peak_bytes(),
        "bytes_an_operation": (peak_bytes() - before[1]) / count,
        "seconds_to_record": seconds,
        "file_bytes": (folder / "history.jsonl").stat().st_size,
    }


def look(recorder: object, folder: Path, stage: str) -> None:
    """Do with the history what the stage says."""
    from foreshock.harness.recorder import HistoryRecorder

    assert isinstance(recorder, HistoryRecorder)
    if stage == "recorded":
        return
    history = recorder.history()
    if stage == "checked":
        parts = history.clients().by_key()
        assert sum(len(part) for part in parts.values()) == len(history.clients())
    elif stage == "frame":
        assert len(history.frame) == len(history)
    elif stage == "parquet":
        history.write_parquet(folder / "history.parquet")


def peak_bytes() -> int:
    """The most memory that this process ever had resident."""
    return status_bytes("VmHWM")


def resident_bytes() -> int:
    """The memory that this process has resident now."""
    return status_bytes("VmRSS")


def status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status has no {field}: this benchmark needs Linux")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stage", choices=STAGES, help="measure one stage in this very process")
    options = parser.parse_args()
    if options.stage:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(record(options.operations, Path(folder), options.stage)))
        return
    figures = {}
    for stage in STAGES:
        command = [sys.executable, __file__, "--stage", stage, "--operations", str(options.operations)]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
        figures[stage] = json.loads(done.stdout)
    if options.json:
        print(json.dumps({"operations": options.operations, "aim_bytes": AIM_BYTES, "stages": figures}))
        return
    print(
        f"{options.operations:,} operations recorded on disk and in memory; the aim is {AIM_BYTES / 1e6:.0f} MB in all"
    )
    for stage, figure in figures.items():
        print(
            f"  {stage:<9} peak {figure['peak_bytes'] / 1e6:6.0f} MB of the whole process, "
            f"{figure['bytes_an_operation']:4.0f} bytes an operation"
        )
    print(
        f"  recorded in {figures['recorded']['seconds_to_record']:.1f} s, "
        f"{figures['recorded']['file_bytes'] / 1e6:.0f} MB of history.jsonl"
    )


if __name__ == "__main__":
    main()
