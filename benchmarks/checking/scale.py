"""Seconds and memory by size: 50 processes, many keys and one, from ten thousand operations up."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from benchmarks.checking.child import PeakMemory, measure_alone
from benchmarks.checking.figures import Findings, title
from benchmarks.checking.generated import lock_history, register_history, use_history
from benchmarks.checking.ours import check
from foreshock.checkers.fencing import FencingChecker
from foreshock.checkers.guarded_resource import GuardedResourceChecker
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.mutex import MutexChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.checker import Checker
from foreshock.harness.history import History

MANY_KEYS: Final = 1000
DEADLINE_S: Final = 120.0
MEMORY_BYTES: Final = 4 << 30
MILLION: Final = 1_000_000
SECONDS_AIM: Final = 3.0
BYTES_AIM: Final = 200
GROWTH_AIM: Final = 2.0
"""Seconds an operation may at most so often be those of the next smaller size: n log n, and caches that end."""
_WARM_OPERATIONS: Final = 30_000
_SMALL_S: Final = 0.05


class Case(NamedTuple):
    """A kind of history, who decides it, and up to how many operations that is tried."""

    checker: Callable[[], Checker]
    make: Callable[[int, int], History]
    keys: int
    operations_max: int = 10 * MILLION
    has_aims: bool = True


def _registers(**more: Any) -> Callable[[int, int], History]:
    return lambda count, keys: register_history(count, keys=keys, **more)


def _locks(count: int, keys: int) -> History:
    return lock_history(count, keys=keys)


def _named(count: int, keys: int) -> History:
    return lock_history(count, keys=keys, named=True)


def _uses(count: int, keys: int) -> History:
    return use_history(count, keys=keys, crashed=0.001)


def _cases() -> dict[str, Case]:
    """By name; each kind with many keys and with one."""
    kinds: dict[str, tuple[Callable[[], Checker], Callable[[int, int], History]]] = {
        "register": (lambda: LinearizableChecker("register"), _registers()),
        "cas-register": (lambda: LinearizableChecker("cas-register"), _registers(cas=0.3)),
        "cas-register, 0.1% crashed": (
            lambda: LinearizableChecker("cas-register"),
            _registers(cas=0.3, crashed=0.001),
        ),
        "mutex": (lambda: LinearizableChecker("mutex"), _locks),
        "owner-mutex": (lambda: LinearizableChecker("owner-mutex"), _locks),
        "fenced-mutex": (lambda: LinearizableChecker("fenced-mutex"), _locks),
        "fenced-mutex, named": (lambda: LinearizableChecker("fenced-mutex"), _named),
        "locks by belief": (MutexChecker, _locks),
        "locks by token": (FencingChecker, _locks),
        "uses by token": (FencingChecker, _uses),
        "uses by count": (GuardedResourceChecker, _uses),
    }
    cases = {}
    for name, (checker, make) in kinds.items():
        cases[f"{name}, many keys"] = Case(checker, make, MANY_KEYS)
        cases[f"{name}, one key"] = Case(checker, make, 1)
    equal = _registers(values=5)
    cases["register of 5 values, many keys"] = Case(
        lambda: LinearizableChecker("register"), equal, MANY_KEYS, MILLION, has_aims=False
    )
    cases["statistics"] = Case(StatisticsChecker, _registers(), MANY_KEYS, MILLION, has_aims=False)
    return cases


CASES: Final = _cases()


def measure(sizes: Sequence[int], only: str, findings: Findings) -> None:
    """Every case whose name has ``only`` in it, at every size."""
    title("by size: 50 processes, legal; memory beyond the history's columns")
    print(
        f"{'history':38} {'operations':>10} {'seconds':>9} {'µs/op':>7} {'growth':>7} {'bytes/op':>8} "
        f"{'first s':>8}  method"
    )
    for name, case in CASES.items():
        before_us = 0.0
        for count in (size for size in sizes if only in name and size <= case.operations_max):
            found = measure_alone("scale", name, count, patience_s=4 * DEADLINE_S)
            what = f"{name}, {count} operations"
            if "died" in found:
                findings.wrong.append(f"{what}: died, {found['died']}")
                print(f"{name:38} {count:>10} died: {found['died']}")
                break
            seconds, bytes_each = found["seconds"], found["bytes"] / count
            each_us = seconds / count * 1e6
            growth = each_us / before_us if before_us else 0.0
            before_us = each_us
            print(
                f"{name:38} {count:>10} {seconds:>9.3f} {each_us:>7.3f} {f'{growth:.2f}' if growth else '':>7} "
                f"{bytes_each:>8.0f} {found['first_s']:>8.3f}  {found['method']}",
                flush=True,
            )
            findings.verdict(what, found["verdict"], "valid", *([] if case.has_aims else ["unknown"]))
            if found["verdict"] != "valid":
                print(f"{'':38} {found['reason']}")
                break
            if case.has_aims and count == MILLION:
                findings.aim(f"{what} in {SECONDS_AIM:.0f} s ({seconds:.2f})", seconds < SECONDS_AIM)
                findings.aim(f"{what}: {BYTES_AIM} bytes each ({bytes_each:.0f})", bytes_each < BYTES_AIM)
            if case.has_aims and growth and seconds > _SMALL_S:
                findings.aim(f"{what}: growth by {growth:.2f} an operation", growth <= GROWTH_AIM)


def measure_one(name: str, operations: str) -> dict[str, Any]:
    """Decide one history, after a small one of its kind that pays for imports and compiled kernels."""
    case, count = CASES[name], int(operations)
    small = case.make(_WARM_OPERATIONS, case.keys)
    began = time.perf_counter()
    check(case.checker(), small, deadline_s=DEADLINE_S, memory_bytes=MEMORY_BYTES)
    first_s = time.perf_counter() - began
    del small
    history = case.make(count, case.keys)
    with PeakMemory() as memory:
        result, seconds = check(case.checker(), history, deadline_s=DEADLINE_S, memory_bytes=MEMORY_BYTES)
    return {
        "seconds": seconds,
        "first_s": first_s,
        "bytes": memory.rise_bytes,
        "verdict": result.verdict.word,
        "method": result.method,
        "reason": result.reason,
    }
