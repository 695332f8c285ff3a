"""Long simulated campaigns: the correct node must survive all of them, and every planted bug must be found.

``python -m benchmarks.soak`` runs 1,000 tests of the correct node over every workload, under all nemeses at once and
one by one, and then hunts each planted bug. Exit code 0 only when nothing was invalid, nothing unknown, no harness
error happened, and every bug was found.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

from foreshock.harness.plan import Request, resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.registry import Kind, names
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store

SETTINGS: dict[str, dict[str, Any]] = {
    "raft/commits-old-term-by-counting": {
        "workload": "register",
        "nemesis": "partition",
        "nodes": "3",
        "interval": 1.0,
        "rate": 50.0,
        "concurrency": "30",
        "options": {"partition.kinds": "isolate-primary", "target.attempt_timeout_ms": 4000},
        "time_limit": 60.0,
    },
    "raft/stale-leader-reads": {"nemesis": "partition", "interval": 2.0, "rate": 20.0},
}
"""Bugs that the defaults find too seldom: both need leaders cut off one after the other, and clients that stay."""
WORKLOADS = ("register", "lock", "cache")
NEMESES = (
    "partition,kill,pause",
    "partition",
    "kill",
    "pause",
    "partition,kill",
    "partition,pause",
    "kill,pause",
)


class Result(NamedTuple):
    request: Request
    verdict: str
    reason: str
    harness_errors: tuple[str, ...]
    seconds: float
    replay: str
    operations: int


def run_one(request: Request, store: str) -> Result:
    """One simulated test; its folder is kept only when something is wrong."""
    start = time.monotonic()
    outcome = run_test(resolve(request), Store(Path(store)), SilentProgress(), report=False)
    judgement = outcome.judgement
    if judgement.exit == 0:
        for path in sorted(outcome.run.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        outcome.run.rmdir()
    return Result(
        request,
        judgement.verdict,
        judgement.reason,
        judgement.harness_errors,
        time.monotonic() - start,
        judgement.replay,
        sum(judgement.operations.values()),
    )


def correct_requests(tests: int, first_seed: int, time_limit: float) -> Iterator[Request]:
    """The matrix over workloads and nemeses, with seeds counting up."""
    matrix = itertools.cycle(itertools.product(NEMESES, WORKLOADS))
    for number, (nemesis, workload) in zip(range(tests), matrix, strict=False):
        yield Request(
            target="raft",
            workload=workload,
            nemesis=nemesis,
            backend="sim",
            seed=first_seed + number,
            time_limit=time_limit,
        )


def run_all(pool: ProcessPoolExecutor, requests: Iterable[Request], store: str) -> Iterator[Result]:
    """Results as they finish."""
    futures = [pool.submit(run_one, request, store) for request in requests]
    for future in as_completed(futures):
        yield future.result()


def survive(pool: ProcessPoolExecutor, tests: int, first_seed: int, time_limit: float, store: str) -> bool:
    """Whether the correct node came through every test."""
    start, verdicts, wrong, operations = time.monotonic(), Counter[str](), 0, 0
    for number, result in enumerate(
        run_all(pool, correct_requests(tests, first_seed, time_limit), store), start=1
    ):
        verdicts[result.verdict] += 1
        operations += result.operations
        if result.verdict != "valid" or result.harness_errors:
            wrong += 1
            print(
                f"{result.verdict}: {result.reason} {list(result.harness_errors)}\n  {result.replay}",
                flush=True,
            )
        if number % 100 == 0:
            print(f"{number} tests, {dict(verdicts)}, {time.monotonic() - start:.0f} s", flush=True)
    print(
        f"correct raft: {tests} simulated tests of {time_limit:g} s, {operations} operations, {dict(verdicts)}, "
        f"{wrong} wrong, {time.monotonic() - start:.0f} s"
    )
    return wrong == 0


def hunting(bug: str, seed: int, time_limit: float) -> Request:
    """One test that may find the bug."""
    settings: dict[str, Any] = {
        "workload": WORKLOADS[seed % len(WORKLOADS)],
        "nemesis": "partition,kill,pause",
        "time_limit": time_limit,
        **SETTINGS.get(bug, {}),
    }
    return Request(target=bug.partition("/")[0], backend="sim", seed=seed, bug=bug, **settings)


def hunt(pool: ProcessPoolExecutor, bug: str, budget: int, time_limit: float, store: str) -> bool:
    """Whether the ordinary workloads and nemeses find the bug within the budget of tests."""
    start = time.monotonic()
    tried = 0
    for first in range(0, budget, 6):
        requests = [hunting(bug, seed, time_limit) for seed in range(first, first + 6)]
        results = list(run_all(pool, requests, store))
        tried += len(results)
        found = [result for result in results if result.verdict == "invalid"]
        if found:
            best = min(found, key=lambda result: result.request.seed or 0)
            print(
                f"found  {bug:34} within {tried:4} tests, {time.monotonic() - start:5.1f} s  {best.replay}",
                flush=True,
            )
            return True
    print(f"MISSED {bug:34} in {tried} tests, {time.monotonic() - start:.1f} s", flush=True)
    return False


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tests", type=int, default=1000, help="tests of the correct node (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default 0)")
    parser.add_argument(
        "--time-limit", type=float, default=30.0, help="simulated seconds a test (default 30)"
    )
    parser.add_argument("--budget", type=int, default=60, help="tests to find each bug in (default 60)")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: every core)"
    )
    parser.add_argument(
        "--store", default=None, help="where failing runs are kept (default: a temporary folder)"
    )
    arguments = parser.parse_args()
    store = arguments.store or tempfile.mkdtemp(prefix="foreshock-soak-")
    with ProcessPoolExecutor(arguments.jobs) as pool:
        good = arguments.tests == 0 or survive(
            pool, arguments.tests, arguments.seed, arguments.time_limit, store
        )
        found = [hunt(pool, bug, arguments.budget, arguments.time_limit, store) for bug in names(Kind.BUGS)]
    print(f"runs that went wrong are kept in {store}")
    return 0 if good and all(found) else 1


if __name__ == "__main__":
    sys.exit(main())
