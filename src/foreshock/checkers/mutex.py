"""Mutual exclusion as the clients saw it: processes never believe at once that they hold what they may not share.

A process believes from the return of an ok ``acquire`` until the earliest of

* the call of its ``release``, however that ends;
* where the grant has a time to live: the call of its last acknowledged ``acquire`` or ``renew`` plus ``ttl_ms``, less
  the drift bound, by the client's own clock;
* the return of a ``renew`` that failed;
* the moment at which an operation of its came to nothing (info), for then nobody goes on under its name;
* the call of another ``acquire`` of the same lock by the same process.

A mutex is acquired by the value ``wait_ms``; every other lock by an object that names its ``mode``:

* ``read``: shared with other readers. ``write``, as a mutex: with nobody;
* ``permit``: shared by at most ``permits`` processes;
* ``reentrant``: with nobody, and held until it was released as often as it was acquired. An ok acquire of the holder
  with a ``depth`` above 1 (or, without any, with the same token) goes deeper, and counts as a renewal too; the call of
  a release takes one level back, but one that failed ends the belief whole: its process has been told to know better.

One that does none of these believes for ever. Beliefs are compared by the index of events; only where a time to live
ends a belief, its end is compared by time, since it is no event. An acquire that crashed gives no belief. One
sweep in the order of events, with those who believe at the moment: O(n log n) for the sort of the returns, times as
many as hold one lock at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from foreshock.checkers.beliefs import BeliefColumns, belief_columns
from foreshock.checkers.entries import NEVER
from foreshock.checkers.nothing_to_judge import nothing_to_judge
from foreshock.checkers.rows import (
    EXCLUSIVE,
    PERMIT,
    READ,
    REENTRANT,
    lock_label,
    mode_of,
    permits_of,
    rows_of,
    token_of,
)
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_MILLISECOND_NS: Final = 1_000_000
_OPERATIONS: Final = frozenset({"acquire", "renew", "release"})
_METHOD: Final = "hold cores"
COMPILED_FROM: Final = 20_000
"""A history of more operations is worth the import of the compiler."""


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
    mode: str = EXCLUSIVE
    permits: int = 1
    depth: int = 1
    """How often its process holds the lock: more than once only where that is re-entrant."""

    @property
    def is_empty(self) -> bool:
        """Whether it ended before it began: the grant took longer to arrive than it lasts."""
        return self.end_ns <= self.start_ns or self.end_index <= self.start_index

    def lasts_until(self, other: Belief) -> bool:
        """Whether it still lasts when another one begins."""
        return other.start_index < self.end_index and other.start_ns < self.end_ns

    def shares(self, other: Belief) -> bool:
        """Whether two processes may hold the lock so at once; for semaphores, if there are permits enough."""
        return self.mode == other.mode and self.mode in (READ, PERMIT)


class MutexChecker(Checker):
    """Judges ``acquire``, ``renew`` and ``release``, with the lock's name as the key, by the beliefs of the processes.

    ``drift_bound_ms`` is how much sooner than its time to live a client gives a grant up, for fear of clocks that
    run at different speeds.
    """

    name = "mutex"

    def __init__(self, *, drift_bound_ms: float = 0.0) -> None:
        self._drift_bound_ns = round(drift_bound_ms * _MILLISECOND_NS)

    def check(self, history: History, context: CheckContext) -> CheckResult:  # noqa: ARG002
        """Invalid when beliefs in one lock overlap that must not; one counterexample a lock, the first of it."""
        if nothing := nothing_to_judge(history, sorted(_OPERATIONS), _METHOD):
            return nothing
        found = (
            _find_in_columns(history, self._drift_bound_ns)
            if len(history) > COMPILED_FROM
            else _find_in_rows(history, self._drift_bound_ns)
        )
        counterexamples = tuple(
            _counterexample(history, broken[:-1], broken[-1]) for broken in found.broken.values()
        )
        if found.broken:
            verdict, reason = Verdict.INVALID, counterexamples[0].reason
        else:
            verdict = Verdict.VALID
            which = f"of {found.beliefs} beliefs in {found.locks} lock{'s' * (found.locks != 1)}"
            reason = f"none {which} overlap that must not" if found.shared else f"no two {which} overlap"
        return CheckResult(
            verdict=verdict,
            reason=reason,
            method=_METHOD,
            details={"locks": found.locks, "beliefs": found.beliefs, "broken_locks": list(found.broken)},
            counterexamples=counterexamples,
        )


@dataclass(frozen=True)
class _Found:
    """How many beliefs and locks there are, whether any belief may be shared, and for broken locks who broke them."""

    beliefs: int
    locks: int
    shared: bool
    broken: dict[Any, tuple[Belief, ...]]


def _find_in_rows(history: History, drift_bound_ns: int) -> _Found:
    """Find broken locks row by row: for histories that are not worth the import of the compiler."""
    beliefs = sorted(
        beliefs_of(history, drift_bound_ns), key=lambda belief: (belief.start_index, belief.process)
    )
    lasting: dict[Any, list[Belief]] = {}
    broken: dict[Any, tuple[Belief, ...]] = {}
    for belief in beliefs:
        # One that has ended when a later one begins has ended for all that follow.
        holders = [holder for holder in lasting.get(belief.key, ()) if holder.lasts_until(belief)]
        if holders and belief.key not in broken and (rivals := _rivals(holders, belief)):
            broken[belief.key] = (*rivals, belief)
        lasting[belief.key] = [*holders, belief]
    shared = any(belief.mode in (READ, PERMIT) for belief in beliefs)
    return _Found(len(beliefs), len(lasting), shared, broken)


def _find_in_columns(history: History, drift_bound_ns: int) -> _Found:
    """Find the same by columns; only who broke a lock becomes an object."""
    columns = belief_columns(history, drift_bound_ns)
    wrong = np.flatnonzero(columns.is_wrong)
    broken = {}
    for number in wrong[np.argsort(columns.start_index[wrong])].tolist():
        other = _belief(history, columns, number)
        holders = [_belief(history, columns, holder) for holder in columns.holders(number)]
        broken[other.key] = (*_rivals(holders, other), other)
    shared = any(columns.modes[mode] in (READ, PERMIT) for mode in np.unique(columns.mode).tolist())
    return _Found(len(columns), len(np.unique(columns.key)), shared, broken)


def _belief(history: History, columns: BeliefColumns, number: int) -> Belief:
    operations = [int(column[number]) for column in (columns.call, columns.renewed, columns.released)]
    row = history[int(np.searchsorted(history.column("invoke_index"), operations[0]))]
    return Belief(
        key=row.key,
        process=row.process,
        token=token_of(row.result),
        start_index=row.complete_index,
        start_ns=row.complete_ns,
        end_index=int(columns.end_index[number]),
        end_ns=int(columns.end_ns[number]),
        operations=[operation for operation in operations if operation >= 0],
        mode=columns.modes[columns.mode[number]],
        permits=int(columns.permits[number]),
        depth=int(columns.depth[number]),
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
    depth = _depth(row, belief)
    if belief is not None and granted and row.complete_ns < belief.end_ns and (row.f == "renew" or depth > 1):
        belief.end_ns, belief.depth = expires_ns, depth
        belief.operations[1:] = [row.invoke_index]
        return
    if belief is not None and row.f == "release" and row.type is not OperationType.FAIL and belief.depth > 1:
        belief.depth -= 1
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
            mode=mode_of(row) if row.f == "acquire" or belief is None else belief.mode,
            permits=permits_of(row) if row.f == "acquire" or belief is None else belief.permits,
            depth=depth,
        )


def _end_index(row: Row, granted: bool) -> int:
    """Where an operation ends the belief that its process had; ``NEVER`` where it does not."""
    if row.f == "release" or (row.f == "acquire" and granted):
        return row.invoke_index
    if row.f == "renew" and (granted or row.type is OperationType.FAIL):
        return row.complete_index
    return NEVER


def _depth(row: Row, belief: Belief | None) -> int:
    """How often the process holds the lock after an ok operation that is no release."""
    if row.f != "acquire":
        return 1 if belief is None else belief.depth
    depth = row.result.get("depth") if isinstance(row.result, Mapping) else None
    if isinstance(depth, int):
        return depth
    if belief is None or mode_of(row) != REENTRANT or belief.token != token_of(row.result):
        return 1
    return belief.depth + 1


def _expiry_ns(row: Row, drift_bound_ns: int) -> int:
    ttl_ms = row.result.get("ttl_ms") if isinstance(row.result, dict) else None
    return NEVER if ttl_ms is None else row.invoke_ns + round(ttl_ms * _MILLISECOND_NS) - drift_bound_ns


def _rivals(holders: Sequence[Belief], other: Belief) -> Sequence[Belief]:
    """Those of the holders who make it wrong that one more holds the lock; none where it is right."""
    strangers = [holder for holder in holders if not holder.shares(other)]
    if strangers or other.mode != PERMIT:
        return strangers[:1]
    permits = min(belief.permits for belief in (*holders, other))
    return holders[:permits] if len(holders) >= permits else ()


def _counterexample(history: History, holders: Sequence[Belief], other: Belief) -> Counterexample:
    shown = [number for holder in holders for number in holder.operations[:2] if number < other.start_index]
    everybody = sorted({number for belief in (*holders, other) for number in belief.operations})
    what = f"lock {other.key!r}"
    if len(holders) > 1:
        what = f"one of the {len(holders)} permits of semaphore {other.key!r}"
    names = [str(belief.process) for belief in (*holders, other)]
    lasting = "".join(
        f"{holder.process} from event {holder.start_index} {_until(history, holder)}, " for holder in holders
    )
    reason = (
        f"processes {', '.join(names[:-1])} and {names[-1]} {'both' if len(names) == 2 else 'all'} believed that they "
        f"held {what}: {lasting}{other.process} from event {other.start_index} (at {other.start_ns / 1e9:.3f} s)"
    )
    return Counterexample(
        key=other.key,
        reason=reason,
        core=tuple(sorted({*shown, other.operations[0]})),
        impossible=other.operations[0],
        states=tuple(_held(holder) for holder in holders),
        needed={str(other.operations[0]): "the lock to be free" if len(holders) == 1 else "a free permit"},
        operations=rows_of(history, everybody, lock_label),
    )


def _until(history: History, holder: Belief) -> str:
    """Until when it believed, whichever came first: an event, or the end of its grant."""
    ended = f"until event {holder.end_index}"
    if holder.end_ns == NEVER:
        return ended if holder.end_index != NEVER else "for ever"
    ran_out = f"until its grant ran out at {holder.end_ns / 1e9:.3f} s"
    return (
        ended
        if holder.end_index != NEVER and _time_ns(history, holder.end_index) < holder.end_ns
        else ran_out
    )


def _time_ns(history: History, index: int) -> int:
    """When an event happened."""
    for column, times in (("invoke_index", "invoke_ns"), ("complete_index", "complete_ns")):
        found = np.flatnonzero(history.column(column) == index)
        if len(found):
            return int(history.column(times)[found[0]])
    return NEVER


def _held(holder: Belief) -> str:
    mode = "" if holder.mode in (EXCLUSIVE, PERMIT) else f" ({holder.mode})"
    token = "" if holder.token is None else f" with token {holder.token}"
    return f"held by process {holder.process}{mode}{token}"
