"""The checkers of locks, row by row and by columns: what they say of random histories is the same to the last word."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from tests.checkers.random_histories import context

from foreshock.checkers import fencing, guarded_resource, lock_columns, mutex
from foreshock.checkers.fencing import FencingChecker
from foreshock.checkers.guarded_resource import GuardedResourceChecker
from foreshock.checkers.mutex import MutexChecker
from foreshock.harness.checker import Checker, CheckResult
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO
MODES: Final = ("exclusive", "read", "permit", "reentrant", "write", None)
WORLDS: Final = (
    MODES,
    ("permit",),
    ("read", "write"),
    ("read", "read", None),
    ("reentrant",),
    (None,),
    (None,),
)
"""In which modes locks are asked for in one history."""
_MILLISECOND_NS: Final = 1_000_000
_HUGE: Final = (True, 1 << 61, -(1 << 70), 2.5, "1")
DRIFT_BOUNDS_MS: Final = (0, 0, 15, 2.5)


class Open(NamedTuple):
    """An operation that was called and has not returned."""

    f: str
    key: Any
    value: Any
    call: int
    call_ns: int


class LockWorld:
    """Locks, and counters behind them, that mostly do what they should: makes up what processes get to see."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.modes = rng.choice(
            (MODES, ("permit",), ("read", "write"), ("reentrant", None), (None,), (None,))
        )
        self.permits = rng.randint(1, 3)
        self.wrong = rng.choice((0.0, 0.0, 0.02, 0.15, 0.4))
        self.odd = rng.choice((0.0, 0.0, 0.0, 0.03))
        self.ttl_ms = rng.choice(((None,), (None, 10, 30, 99.5), (1000,)))
        self.keys = rng.choice(((1,), ("a", 1), (1, 2, "a")))
        self.processes = rng.randint(2, 5)
        self.is_careful = rng.random() < 0.5
        self.does = rng.choice(((5, 2, 5, 4, 1), (6, 1, 0, 4, 1), (2, 0, 9, 1, 0)))
        self.ends = rng.choice(((12, 1, 1), (5, 0, 2), (1, 0, 0), (4, 3, 0)))
        self.rows: list[Row] = []
        self.open: dict[int, Open] = {}
        self.tokens: Counter[Any] = Counter()
        self.counts: Counter[Any] = Counter()
        self.known: dict[tuple[int, Any], int] = {}
        self.index = 0
        self.now_ns = 0

    def run(self, operations: int) -> History:
        """Let processes act until so many operations were called."""
        while len(self.rows) + len(self.open) < operations:
            process = self.rng.randint(1, self.processes)
            if process in self.open:
                self.end(process, self.rng.choices((OK, FAIL, INFO), self.ends)[0])
            else:
                self.begin(process)
            self.index += 1
            self.now_ns += _MILLISECOND_NS * self.rng.choice((1, 1, 1, 10, 40, -3))
            self.now_ns = max(self.now_ns, 0)
        for process in tuple(self.open):
            self.close(process, INFO, None, -1)
        return History.of(self.rows)

    def begin(self, process: int) -> None:
        f = self.rng.choices(("acquire", "renew", "use", "release", "touch"), self.does)[0]
        key = self.rng.choice(self.keys)
        mode = self.rng.choice(self.modes)
        value: Any = None if mode is None else {"mode": mode, "permits": self.permits}
        if f == "acquire" and mode is None:
            value = 0
        if f == "use":
            # Who is careful writes under the newest grant only, and reads under any.
            newest = self.is_careful and mode != "read"
            token = self.tokens[key] if newest else self.known.get((process, key))
            value = {**(value or {}), "token": self._strange(token)}
        if f == "release":
            value = self.known.get((process, key))
        self.open[process] = Open(f, key, value, self.index, self.now_ns)

    def end(self, process: int, kind: OperationType) -> None:
        operation = self.open[process]
        result = self.result_of(process, operation) if kind is OK else None
        if kind is OK and operation.f == "release" and self.rng.random() < 0.8:
            self.known.pop((process, operation.key), None)
        if kind is INFO and operation.f == "use":
            # It may have written before it was lost.
            self.counts[operation.key] += self.rng.choice((0, 1))
        self.close(process, kind, result, self.index)

    def result_of(self, process: int, operation: Open) -> Any:
        if self.rng.random() < 0.03:
            return self.rng.choice((None, 5, [1]))
        key, rng = operation.key, self.rng
        if operation.f in ("acquire", "renew"):
            again = (process, key) in self.known and rng.random() < 0.4
            if operation.f == "acquire" and not again:
                self.tokens[key] += rng.choice((1, 1, 3))
                self.known[process, key] = self._nearly(self.tokens[key])
            told = {"token": self._strange(self.known.get((process, key))), "ttl_ms": rng.choice(self.ttl_ms)}
            return {**told, "depth": rng.randint(1, 3)} if rng.random() < 0.15 else told
        if operation.f != "use":
            return None
        seen, mode = self._strange(self._nearly(self.counts[key])), (operation.value or {}).get("mode")
        if mode == "read":
            return {"seen": seen, "again": self._nearly(seen) if type(seen) is int else seen}
        if mode == "permit":
            return {"inside": self._nearly(rng.randint(1, self.permits))}
        self.counts[key] += 1
        names = rng.choice((("seen", "wrote"), ("before", "after")))
        return {names[0]: seen, names[1]: self._strange(self.counts[key])}

    def close(self, process: int, kind: OperationType, result: Any, index: int) -> None:
        f, key, value, call, call_ns = self.open.pop(process)
        end_ns = self.now_ns if index >= 0 else -1
        self.rows.append(Row(process, f, key, value, result, kind, call, index, call_ns, end_ns))

    def _nearly(self, number: int) -> int:
        return number + self.rng.choice((-2, -1, 1)) if self.rng.random() < self.wrong else number

    def _strange(self, number: Any) -> Any:
        return self.rng.choice(_HUGE) if self.rng.random() < self.odd else number


def random_lock_history(rng: random.Random, operations: int) -> History:
    """A history of locks of one or all kinds, used and misused."""
    return LockWorld(rng).run(operations)


CHECKERS: Final[dict[str, Callable[[random.Random], Checker]]] = {
    "mutex": lambda rng: MutexChecker(drift_bound_ms=rng.choice(DRIFT_BOUNDS_MS)),
    "fencing": lambda _: FencingChecker(),
    "guarded-resource": lambda _: GuardedResourceChecker(),
}


@contextmanager
def looked_at_as_columns(wanted: bool) -> Iterator[None]:
    """While it lasts, histories of any length are looked at as columns, or row by row."""
    always = -1 if wanted else 1 << 60
    changed: list[tuple[Any, str, int]] = [
        (mutex, "COMPILED_FROM", always),
        (fencing, "COLUMNS_FROM", always),
        (guarded_resource, "COLUMNS_FROM", always),
        # So that values come in several parts.
        (lock_columns, "_AT_ONCE", 5),
    ]
    before = [getattr(module, name) for module, name, _ in changed]
    for module, name, value in changed:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(changed, before, strict=True):
            setattr(module, name, value)


def both(checker: Checker, history: History) -> tuple[CheckResult, CheckResult]:
    """What a checker says row by row, and by columns."""
    with looked_at_as_columns(False):
        rows = checker.check(history, context())
    with looked_at_as_columns(True):
        return rows, checker.check(history, context())


class Difference(NamedTuple):
    """A history of which a checker says one thing row by row and another by columns."""

    checker: str
    history: History
    rows: CheckResult
    columns: CheckResult


def compare_rows_with_columns(
    count: int, seed: int, checkers: Collection[str] = tuple(CHECKERS)
) -> tuple[Counter[tuple[str, Verdict]], list[Difference]]:
    """Compare on so many histories: how often each checker said what, and where it said two things."""
    rng = random.Random(f"rows and columns {seed}")
    said: Counter[tuple[str, Verdict]] = Counter()
    different = []
    for _ in range(count):
        history = random_lock_history(rng, rng.choice((4, 12, 30, 60)))
        for name in checkers:
            rows, columns = both(CHECKERS[name](rng), history)
            said[name, rows.verdict] += 1
            if rows != columns:
                different.append(Difference(name, history, rows, columns))
    return said, different
