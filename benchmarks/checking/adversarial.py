"""Histories that no search can be sure to finish: an answer or ``unknown`` by the deadline, within the memory cap."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from benchmarks.checking.child import PeakMemory, measure_alone
from benchmarks.checking.figures import Findings, title
from benchmarks.checking.ours import check
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType

DEADLINE_S: Final = 5.0
LATE_S_MAX: Final = 1.0
PATIENCE_S: Final = 60.0
"""After so long a process that neither answers nor gives up is ended, and counts as dead."""
MEMORY_BYTES: Final = 512 << 20
PROCESS_MEMORY_BYTES: Final = 4 << 30
_BEYOND_THE_CAP: Final = 1.25
"""So much of the cap may be used: it is of the search, and the explanation has a little of its own."""


class Call(NamedTuple):
    """An operation to be: what is asked, what comes back, and whether it crashes."""

    f: str
    value: Any = None
    result: Any = None
    crashed: bool = False


class Case(NamedTuple):
    """A history by its making, what it is a history of, and which verdict beside ``unknown`` is right."""

    model: str
    make: Callable[[], History]
    right: str


def _history(*groups: Sequence[Call]) -> History:
    """The calls of a group are all under way at once; groups follow each other. Crashed ones stay under way."""
    rows, index, process = [], 0, 0
    for group in groups:
        begun = []
        for call in group:
            begun.append((call, process, index))
            index, process = index + 1, process + 1
        for call, who, invoked in begun:
            completed = -1 if call.crashed else index
            index += not call.crashed
            rows.append(
                Row(
                    process=who,
                    f=call.f,
                    key="k",
                    value=call.value,
                    result=call.result,
                    type=OperationType.INFO if call.crashed else OperationType.OK,
                    invoke_index=invoked,
                    complete_index=completed,
                    invoke_ns=invoked,
                    complete_ns=completed,
                )
            )
    return History.of(rows)


_WRITTEN: Final = [number % 6 for number in range(30)]


def _shuffled(values: Sequence[int]) -> list[int]:
    return random.Random(1).sample(values, len(values))


def _read(value: Any) -> list[Call]:
    return [Call("read", None, value)]


def crashed_writes(*reads_of: Sequence[int]) -> History:
    """30 writes of 6 values that nobody heard of again, then reads of these values, one after the other."""
    crashed = [Call("write", value, crashed=True) for value in _WRITTEN]
    return _history(crashed, *[_read(value) for values in reads_of for value in values])


def crashed_cas(seed: int) -> History:
    """30 compare-and-sets among 8 values that nobody heard of again, a walk of reads over them, one step too far."""
    rng = random.Random(seed)
    edges = [(rng.randrange(8), rng.randrange(8)) for _ in range(30)]
    crashed = [Call("cas", list(edge), crashed=True) for edge in edges]
    walk = [_read(rng.randrange(8)) for _ in range(12)]
    return _history([Call("write", 0)], crashed, *walk, [Call("write", 9)], _read(8))


def concurrent(count: int, values: int, *, legal: bool) -> History:
    """So many writes, compare-and-sets and reads at once, of few values; where illegal, one read of another value."""
    rng = random.Random(2)
    draws = [
        (rng.choice(("write", "cas", "read")), rng.randrange(values), rng.randrange(values))
        for _ in range(count)
    ]
    calls = [Call(f, None, a) if f == "read" else Call(f, a if f == "write" else [a, b]) for f, a, b in draws]
    # Enough blind writes of every value make it legal, in whatever order the others come.
    enough = [Call("write", value) for value in range(values) for _ in range(count // values)]
    return _history(calls + enough, [] if legal else _read(values))


def concurrent_distinct(count: int) -> History:
    """So many writes of values of their own at once, with a read of each: what the zones take."""
    return _history([Call(f, v if f == "write" else None, v if f == "read" else None)
                     for v in range(count // 2) for f in ("write", "read")])  # fmt: skip


def equal_values(count: int) -> History:
    """One value, written and read over and over, 50 at a time."""
    group = [Call("write", 1) if i % 2 else Call("read", None, 1) for i in range(50)]
    return _history([Call("write", 1)], *[group] * (count // 50))


def appends(count: int, *, legal: bool) -> History:
    """So many appends of two tokens at once, and reads of texts that need them in one order of very many."""
    rng = random.Random(3)
    tokens = [rng.choice("ab") for _ in range(count)]
    shuffled = rng.sample(tokens, count)
    text = "".join(shuffled)
    if not legal:
        text = text[:-1] + ("a" if text[-1] == "b" else "b")
    reads = [[Call("get", None, text)]]
    return _history([Call("append", token) for token in tokens], *reads)


def crashed_locks(count: int) -> History:
    """So many acquires and releases of a mutex that nobody heard of again, among some that returned."""
    crashed = [Call(f, crashed=True) for f in ("acquire", "release") for _ in range(count // 2)]
    steps = [[Call("acquire")], [Call("release")]] * 20
    return _history(crashed, *steps, [Call("acquire"), Call("acquire"), Call("acquire")])


CASES: Final[dict[str, Case]] = {
    "30 crashed writes, each read once": Case(
        "register", lambda: crashed_writes(_shuffled(_WRITTEN)), "valid"
    ),
    "30 crashed writes, one read once too often": Case(
        "register", lambda: crashed_writes(_shuffled(_WRITTEN), [0, 1, 0, 1]), "invalid"
    ),
    "30 crashed writes, read from nowhere": Case(
        "register", lambda: crashed_writes(_shuffled(_WRITTEN), [7]), "invalid"
    ),
    "30 crashed cas, one step too far": Case("cas-register", lambda: crashed_cas(4), "invalid"),
    "500 at once, 5 values, legal": Case("cas-register", lambda: concurrent(250, 5, legal=True), "valid"),
    "500 at once, 5 values, illegal": Case(
        "cas-register", lambda: concurrent(250, 5, legal=False), "invalid"
    ),
    "500 at once, one value": Case("cas-register", lambda: concurrent(250, 1, legal=True), "valid"),
    "500 at once, all distinct": Case("register", lambda: concurrent_distinct(500), "valid"),
    "100,000 of equal values, 50 at once": Case("register", lambda: equal_values(100_000), "valid"),
    "40 appends of 2 tokens at once": Case("kv", lambda: appends(40, legal=True), "valid"),
    "40 appends of 2 tokens, illegal": Case("kv", lambda: appends(40, legal=False), "invalid"),
    "200 crashed acquires and releases": Case("mutex", lambda: crashed_locks(200), "valid"),
}


def measure(only: str, findings: Findings) -> None:
    """Every case whose name has ``only`` in it."""
    title(
        f"adversarial: deadline {DEADLINE_S:.0f} s, memory cap {MEMORY_BYTES >> 20} MiB, "
        f"{PROCESS_MEMORY_BYTES >> 30} GiB of addresses in all"
    )
    print(
        f"{'history':42} {'operations':>10} {'verdict':>8} {'seconds':>8} {'peak MiB':>8}  how far, or by what"
    )
    for name in (name for name in CASES if only in name):
        found = measure_alone(
            "adversarial", name, patience_s=PATIENCE_S, memory_max_bytes=PROCESS_MEMORY_BYTES
        )
        if "died" in found:
            findings.wrong.append(f"{name}: died, {found['died']}")
            print(f"{name:42} died: {found['died']}")
            continue
        peak_bytes = found["bytes"]
        how = found["reason"] if found["verdict"] == "unknown" else found["method"]
        print(
            f"{name:42} {found['operations']:>10} {found['verdict']:>8} {found['seconds']:>8.3f} "
            f"{peak_bytes / 2**20:>8.0f}  {how}",
            flush=True,
        )
        findings.verdict(name, found["verdict"], CASES[name].right, "unknown")
        findings.aim(f"{name}: by the deadline", found["seconds"] < DEADLINE_S + LATE_S_MAX)
        findings.aim(f"{name}: within the memory cap", peak_bytes < MEMORY_BYTES * _BEYOND_THE_CAP)


def measure_one(name: str) -> dict[str, Any]:
    """Decide one of them."""
    case = CASES[name]
    history = case.make()
    checker = LinearizableChecker(case.model)
    with PeakMemory() as memory:
        result, seconds = check(checker, history, deadline_s=DEADLINE_S, memory_bytes=MEMORY_BYTES)
    return {
        "operations": len(history),
        "seconds": seconds,
        "bytes": memory.rise_bytes,
        "verdict": result.verdict.word,
        "method": result.method,
        "reason": result.reason,
    }
