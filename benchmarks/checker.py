"""Seconds to decide legal histories of 50 processes: by growing size, with many keys and with one.

Run as ``python benchmarks/checker.py [--operations 10000 100000 1000000]``. Prints a table; every verdict is checked.
Peers are measured beside ours in a later version.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable
from typing import NamedTuple

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.mutex import MutexChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.checker import CheckContext, Checker
from foreshock.harness.history import History
from foreshock.harness.history_columns import OK_CODE, ColumnBuilder
from foreshock.harness.verdict import Verdict

PROCESSES = 50
MANY_KEYS = 1000
DEADLINE_S = 120
MEMORY_BYTES = 2 << 30
NS_PER_EVENT = 10_000


class Case(NamedTuple):
    """A kind of history, who decides it, and up to how many operations that is tried."""

    name: str
    checker: Callable[[], Checker]
    make: Callable[[int], History]
    operations_max: int


def register_history(count: int, keys: int, *, cas: float = 0.0, values: int | None = None) -> History:
    """A register a key; each operation takes effect as it returns. ``values``: how many different ones are written."""
    rng = random.Random(count)
    builder = ColumnBuilder()
    payload = builder.values.payload
    state: list[int | None] = [None] * keys
    pending: list[tuple[int, int, str, object] | None] = [None] * PROCESSES
    event = called = 0
    while called < count or any(pending):
        process = rng.randrange(PROCESSES)
        under_way = pending[process]
        if under_way is None:
            if called == count:
                continue
            key, draw = rng.randrange(keys), rng.random()
            value = called + 1 if values is None else rng.randrange(values)
            f, asked = (
                ("read", None)
                if draw < 0.5
                else ("cas", [state[key], value])
                if draw < 0.5 + cas
                else ("write", value)
            )
            row = builder.open(event, event * NS_PER_EVENT, key, payload(asked), process, f, "n1")
            pending[process] = (row, key, f, asked)
            called += 1
        else:
            row, key, f, asked = under_way
            result, error = None, None
            if f == "read":
                result = state[key]
            elif f == "write":
                state[key] = asked  # type: ignore[assignment]
            elif asked[0] == state[key]:  # type: ignore[index]
                state[key] = asked[1]  # type: ignore[index]
            else:
                error = "it was not"
            builder.close(row, event, event * NS_PER_EVENT, payload(result), error, 1 if error else OK_CODE)
            pending[process] = None
        event += 1
    return History(builder.columns())


def lock_history(count: int, keys: int) -> History:
    """Locks that are acquired and released in turn, each hold by the next process."""
    builder = ColumnBuilder()
    payload = builder.values.payload
    for number in range(count):
        event, key, process = 2 * number, number // 2 % keys, number // 2 % PROCESSES
        acquires = number % 2 == 0
        row = builder.open(
            event, event * NS_PER_EVENT, key, payload(0), process, "acquire" if acquires else "release", "n1"
        )
        result = payload({"token": number, "ttl_ms": None} if acquires else None)
        builder.close(row, event + 1, (event + 1) * NS_PER_EVENT, result, None, OK_CODE)
    return History(builder.columns())


CASES = (
    Case("register, many keys", LinearizableChecker, lambda n: register_history(n, MANY_KEYS), 10_000_000),
    Case("register, one key", LinearizableChecker, lambda n: register_history(n, 1), 10_000_000),
    Case(
        "cas-register, many keys",
        LinearizableChecker,
        lambda n: register_history(n, MANY_KEYS, cas=0.3),
        1_000_000,
    ),
    Case("cas-register, one key", LinearizableChecker, lambda n: register_history(n, 1, cas=0.3), 1_000_000),
    Case(
        "equal values, many keys",
        LinearizableChecker,
        lambda n: register_history(n, MANY_KEYS, values=5),
        100_000,
    ),
    Case("mutex, many keys", MutexChecker, lambda n: lock_history(n, MANY_KEYS), 1_000_000),
    Case("statistics", StatisticsChecker, lambda n: register_history(n, MANY_KEYS), 1_000_000),
)


def main() -> None:
    """Measure every case at every size that it is tried at."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    arguments = parser.parse_args()
    print(
        f"{'history':26} {'operations':>10} {'method':>14} {'seconds':>9} {'µs/op':>8} {'growth':>7} {'peak MB':>8}"
    )
    for case in CASES:
        before = 0.0
        for count in arguments.operations:
            if arguments.only not in case.name or count > case.operations_max:
                continue
            history = case.make(count)
            started = time.perf_counter()
            deadline_ns = time.monotonic_ns() + DEADLINE_S * 10**9
            result = case.checker().check(
                history, CheckContext(deadline_ns=deadline_ns, memory_limit_bytes=MEMORY_BYTES)
            )
            took = time.perf_counter() - started
            each = took / count * 1e6
            growth = f"{each / before:.2f}" if before else ""
            before = each
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            figures = f"{took:>9.3f} {each:>8.2f} {growth:>7} {peak:>8.0f}"
            print(f"{case.name:26} {count:>10} {result.method or '-':>14} {figures}")
            if result.verdict is not Verdict.VALID:
                raise SystemExit(
                    f"{case.name}: a legal history was called {result.verdict.word}: {result.reason}"
                )


if __name__ == "__main__":
    main()
