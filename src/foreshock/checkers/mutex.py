"""Mutual exclusion as the clients saw it: no two processes believe at once that they hold the same lock.

A process believes from the return of an ok ``acquire`` until the earliest of

* the call of its ``release``, however that ends;
* where the grant has a time to live: the call of its last acknowledged ``acquire`` or ``renew`` plus ``ttl_ms``, less
  the drift bound, by the client's own clock;
* the return of a ``renew`` that failed;
* the moment at which an operation of its came to nothing (info), for then nobody goes on under its name;
* the call of another ``acquire`` of the same lock by the same process.

One that does none of these believes for ever. Beliefs are compared by the index of events; only where a time to live
ends a belief, its end is compared by time, since it is no event. An acquire that crashed gives no belief. One
sweep in the order of events: O(n log n) for the sort of the returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from foreshock.checkers.entries import NEVER
from foreshock.checkers.rows import lock_label, rows_of, token_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_MILLISECOND_NS: Final = 1_000_000
_OPERATIONS: Final = frozenset({"acquire", "renew", "release"})


@dataclass(slots=True)
class Belief:
    """One stretch in which a process believes that it holds a lock; it ends at ``end_index`` or ``end_ns``."""

    key: Any
    process: int
    token: int | None
    start_index: int
    start_ns: int
    end_index: int
    end_ns: int
    operations: list[int]
    """The invocations that show it: the acquire, the last renew, the release."""

    @property
    def is_empty(self) -> bool:
        """Whether it ended before it began: the grant took longer to arrive than it lasts."""
        return self.end_ns <= self.start_ns or self.end_index <= self.start_index

    def lasts_until(self, other: Belief) -> bool:
        """Whether it still lasts when another one begins."""
        return other.start_index < self.end_index and other.start_ns < self.end_ns


class MutexChecker(Checker):
    """Judges ``acquire``, ``renew`` and ``release``, with the lock's name as the key, by the beliefs of the processes.

    ``drift_bound_ms`` is how much sooner than its time to live a client gives a grant up, for fear of clocks that
    run at different speeds.
    """

    name = "mutex"

    def __init__(self, *, drift_bound_ms: float = 0.0) -> None:
        self._drift_bound_ns = round(drift_bound_ms * _MILLISECOND_NS)

    def check(self, history: History, context: CheckContext) -> CheckResult:  # noqa: ARG002
        """Invalid when two beliefs in one lock overlap; one counterexample a lock, the first of it."""
        beliefs = sorted(
            beliefs_of(history, self._drift_bound_ns), key=lambda belief: (belief.start_index, belief.process)
        )
        lasting: dict[Any, Belief] = {}
        broken: dict[Any, tuple[Belief, Belief]] = {}
        for belief in beliefs:
            holder = lasting.get(belief.key)
            # Of two beliefs that both ended before, the later one is of no more use: at most one lasts.
            if holder is not None and belief.key not in broken and holder.lasts_until(belief):
                broken[belief.key] = (holder, belief)
            lasting[belief.key] = belief
        counterexamples = tuple(_counterexample(history, *pair) for pair in broken.values())
        locks = len(lasting)
        if broken:
            verdict, reason = Verdict.INVALID, counterexamples[0].reason
        else:
            verdict = Verdict.VALID
            reason = f"no two of {len(beliefs)} beliefs in {locks} lock{'s' * (locks != 1)} overlap"
        return CheckResult(
            verdict=verdict,
            reason=reason,
            method="hold cores",
            details={"locks": locks, "beliefs": len(beliefs), "broken_locks": list(broken)},
            counterexamples=counterexamples,
        )


def beliefs_of(history: History, drift_bound_ns: int = 0) -> Iterator[Belief]:
    """Every belief in the history that did not end before it began, by the rules above."""
    held: dict[int, dict[Any, Belief]] = {}
    for row in history.clients():
        mine = held.get(row.process, {})
        if row.f in _OPERATIONS:
            yield from _step(mine, row, drift_bound_ns)
        if row.type is OperationType.INFO and row.complete_index >= 0:
            for belief in mine.values():
                belief.end_index = min(belief.end_index, row.complete_index)
        if mine:
            held[row.process] = mine
        else:
            held.pop(row.process, None)
    for mine in held.values():
        yield from (belief for belief in mine.values() if not belief.is_empty)


def _step(mine: dict[Any, Belief], row: Row, drift_bound_ns: int) -> Iterator[Belief]:
    """One operation on a lock: what its process believes then, and what it believed until now."""
    belief = mine.get(row.key)
    granted = row.type is OperationType.OK and row.f != "release"
    expires_ns = _expiry_ns(row, drift_bound_ns) if granted else NEVER
    if belief is not None and granted and row.f == "renew" and row.complete_ns < belief.end_ns:
        belief.end_ns = expires_ns
        belief.operations[1:] = [row.invoke_index]
        return
    if belief is not None and (ended := _end_index(row, granted)) < NEVER:
        belief.end_index = min(belief.end_index, ended)
        if row.f == "release":
            belief.operations.append(row.invoke_index)
        if not belief.is_empty:
            yield belief
        del mine[row.key]
    if granted:
        mine[row.key] = Belief(
            key=row.key,
            process=row.process,
            token=token_of(row.result),
            start_index=row.complete_index,
            start_ns=row.complete_ns,
            end_index=NEVER,
            end_ns=expires_ns,
            operations=[row.invoke_index],
        )


def _end_index(row: Row, granted: bool) -> int:
    """Where an operation ends the belief that its process had; ``NEVER`` where it does not."""
    if row.f == "release" or (row.f == "acquire" and granted):
        return row.invoke_index
    if row.f == "renew" and (granted or row.type is OperationType.FAIL):
        return row.complete_index
    return NEVER


def _expiry_ns(row: Row, drift_bound_ns: int) -> int:
    ttl_ms = row.result.get("ttl_ms") if isinstance(row.result, dict) else None
    return NEVER if ttl_ms is None else row.invoke_ns + round(ttl_ms * _MILLISECOND_NS) - drift_bound_ns


def _counterexample(history: History, holder: Belief, other: Belief) -> Counterexample:
    numbers = sorted({*holder.operations, *other.operations})
    until = "for ever"
    if holder.end_ns != NEVER:
        until = f"until its grant ran out at {holder.end_ns / 1e9:.3f} s"
    if holder.end_index != NEVER and holder.operations[-1] < holder.end_index:
        until = f"until event {holder.end_index}" + ("" if holder.end_ns == NEVER else f" or {until[6:]}")
    reason = (
        f"processes {holder.process} and {other.process} both believed that they held lock {holder.key!r}: "
        f"{holder.process} from event {holder.start_index} {until}, {other.process} from event {other.start_index} "
        f"(at {other.start_ns / 1e9:.3f} s)"
    )
    shown = [number for number in (*holder.operations[:2], other.operations[0]) if number < other.start_index]
    token = "" if holder.token is None else f" with token {holder.token}"
    return Counterexample(
        key=holder.key,
        reason=reason,
        core=tuple(sorted(set(shown))),
        impossible=other.operations[0],
        states=(f"held by process {holder.process}{token}",),
        needed={str(other.operations[0]): "the lock to be free"},
        operations=rows_of(history, numbers, lock_label),
    )
