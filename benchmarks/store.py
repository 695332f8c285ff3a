"""A store of 10,000 runs: its lists and its first page, beside a program that only reads the same small files."""

from __future__ import annotations

import http.client
import json
import os
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

RUNS = 10_000
TIMES = 5
SECONDS_MAX = 1.0
VERDICTS = ("valid", "valid", "valid", "invalid", "unknown")
FORESHOCK = str(Path(sys.executable).with_name("foreshock"))
PEER = """
import json, pathlib, sys
for path in pathlib.Path(sys.argv[1]).glob("*/*/summary.json"):
    json.loads(path.read_bytes())
"""
RESULT_KEYS = ("target", "workload", "nemeses", "backend", "seed", "verdict", "exit", "reason", "operations")


def make_store(store: Path) -> None:
    """One real run, and then its files again and again with other seeds and verdicts."""
    command = [
        FORESHOCK,
        "test",
        "--target",
        "raft",
        "--workload",
        "register",
        "--nemesis",
        "kill",
        "--backend",
    ]
    more = ["sim", "--time-limit", "5", "--seed", "7", "--json", "--no-report", "--store", str(store)]
    done = subprocess.run([*command, *more], capture_output=True, text=True, check=True)
    first = Path(json.loads(done.stdout)["run"])
    summary = json.loads((first / "summary.json").read_text())
    results = {
        key: value
        for key, value in json.loads((first / "results.json").read_text()).items()
        if key in RESULT_KEYS
    }
    test = (first / "test.json").read_bytes()
    for number in range(RUNS - 1):
        stamp = f"202601{1 + number % 28:02}T{number // 3600:02}{number // 60 % 60:02}{number % 60:02}"
        run = store / f"raft-register-{number % 20}" / f"{stamp}-{number:06x}"
        run.mkdir(parents=True)
        changed = {"seed": number, "verdict": VERDICTS[number % len(VERDICTS)]}
        (run / "summary.json").write_text(json.dumps({**summary, **changed}, indent=2))
        (run / "results.json").write_text(json.dumps({**results, **changed}))
        (run / "test.json").write_bytes(test)


class Times(NamedTuple):
    """Seconds on the wall, and of the processor, which other programs on the machine do not make longer."""

    wall: list[float]
    processor: list[float]


def seconds(act: Callable[[], object]) -> Times:
    """How long it takes, several times over; once before, so that all are with a warm cache."""
    act()
    taken = Times([], [])
    for _ in range(TIMES):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        act()
        taken.wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return taken


def processor_seconds(pid: int) -> float:
    """What a process has used of the processor so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def command(*arguments: str) -> Callable[[], object]:
    return lambda: subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True)


def page(address: str, path: str, expected: bytes) -> Callable[[], None]:
    parts = urlsplit(address)

    def get() -> None:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert answer.status == 200, answer.status
        assert expected in body

    return get


def index_pages(store: Path) -> dict[str, Times]:
    """The first page: when nothing has been read yet, and later, when all of it is looked through again."""
    arguments = [FORESHOCK, "serve", "--port", "0", "--json", "--store", str(store)]
    server = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    assert server.stdout is not None
    try:
        assert select.select([server.stdout], [], [], 60)[0], "the server did not start"
        address = json.loads(server.stdout.readline())["address"]

        def timed(path: str, taken: Times) -> Times:
            used, began = processor_seconds(server.pid), time.perf_counter()
            page(address, path, b"Runs")()
            taken.wall.append(time.perf_counter() - began)
            taken.processor.append(processor_seconds(server.pid) - used)
            return taken

        first, again = timed("/", Times([], [])), Times([], [])
        for _ in range(TIMES):
            time.sleep(1.1)  # what it has looked through is kept for a second
            timed("/?verdict=invalid&text=kill", again)
        return {"first page, first time": first, "first page, looked through again": again}
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def main() -> int:
    """Make the store, take the times, print them; 1 when a list takes more of the processor than it may."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        make_store(store)
        runs = (FORESHOCK, "list", "runs", "--store", str(store))
        rows = {
            "python: glob, read, json.loads (peer)": seconds(command(sys.executable, "-c", PEER, str(store))),
            "foreshock list runs": seconds(command(*runs)),
            "foreshock list runs --limit 0": seconds(command(*runs, "--limit", "0")),
            "foreshock list runs --verdict killed": seconds(command(*runs, "--verdict", "killed")),
            "foreshock list runs --json": seconds(command(*runs, "--json")),
            **index_pages(store),
        }
    peer = statistics.median(next(iter(rows.values())).processor)
    print(f"{RUNS:,} runs; load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'':40} {'median s':>9} {'least s':>9} {'processor s':>12} {'of peer':>8}")
    for name, taken in rows.items():
        used = statistics.median(taken.processor)
        print(
            f"{name:40} {statistics.median(taken.wall):9.3f} {min(taken.wall):9.3f} {used:12.3f} {used / peer:8.2f}"
        )
    print(f"Each is to be under {SECONDS_MAX:g} s on a machine that does nothing else.")
    return int(any(statistics.median(taken.processor) > SECONDS_MAX for taken in rows.values()))


if __name__ == "__main__":
    sys.exit(main())
