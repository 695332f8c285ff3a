"""What the guarded resource felt: no update of it was lost.

The resource is a counter a key that starts at 0. An ok ``use`` saw ``seen`` and wrote ``wrote = seen + 1`` (or
``before`` and ``after``, which mean the same). If users exclude each other, the uses of a key form one chain: no two
saw the same count, none saw less than what another had written when it was called, and every count that was seen
was written by some use. A use that crashed may have written or not, so it may fill one gap in the chain.

A reader's use (its value's ``mode`` is ``read``) writes nothing and reads twice, ``seen`` and ``again``: both are the
same, and a link of the chain. A use under a semaphore (``permit``) counts the users of the resource with itself, in
``inside``: there are at most ``permits``.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.lock_columns import COLUMNS_FROM
from foreshock.checkers.nothing_to_judge import nothing_to_judge
from foreshock.checkers.rows import PERMIT, READ, counts_of, lock_label, mode_of, permits_of, rows_of
from foreshock.checkers.uses import (
    UseColumns,
    from_nowhere,
    greatest_written,
    same_seen,
    seen_twice,
    uses_of,
    went_back,
)
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

START: Final = 0
"""What each counter holds before its first use."""
_METHOD: Final = "one chain"


class Use(NamedTuple):
    """An ok use: what it saw and wrote, and the indexes of its events. What a reader saw was written, but not by it."""

    seen: int
    wrote: int
    call: int
    ret: int
    reads: bool = False


class LostUpdate(NamedTuple):
    """Uses that cannot all be links of one chain."""

    uses: tuple[Use, ...]
    reason: str


class GuardedResourceChecker(Checker):
    """Judges the ok ``use`` operations of each key."""

    name = "guarded-resource"

    def check(self, history: History, context: CheckContext) -> CheckResult:  # noqa: ARG002
        """Invalid when an update was lost; one counterexample a key."""
        if nothing := nothing_to_judge(history, ("use",), _METHOD):
            return nothing
        columns = uses_of(history) if len(history) > COLUMNS_FROM else None
        found = _find_in_rows(history) if columns is None else _find_in_columns(columns)
        counterexamples = tuple(_counterexample(history, key, lost) for key, lost in found.lost.items())
        reason = f"{found.uses} uses of {found.keys} resource{'s' * (found.keys != 1)}: no update was lost"
        return CheckResult(
            verdict=Verdict.INVALID if found.lost else Verdict.VALID,
            reason=counterexamples[0].reason if found.lost else reason,
            method=_METHOD,
            details={
                "uses": found.uses,
                "crashed_uses": found.crashed_uses,
                "keys": found.keys,
                "broken_keys": list(found.lost),
            },
            counterexamples=counterexamples,
        )


class _Found(NamedTuple):
    """How many uses there are, of how many resources, and of broken ones how they are."""

    uses: int
    crashed_uses: int
    keys: int
    lost: dict[Any, LostUpdate]


def _find_in_rows(history: History) -> _Found:
    """Find lost updates row by row: for small histories, and for counts that columns cannot hold."""
    uses, crashed = _uses(history)
    lost = {
        key: found
        for key, mine in uses.items()
        if (found := _lost_update(mine, crashed.get(key, []))) is not None
    }
    for key, intruder in _intruders(history).items():
        lost.setdefault(key, intruder)
    return _Found(sum(map(len, uses.values())), sum(map(len, crashed.values())), len(uses), lost)


def _find_in_columns(uses: UseColumns) -> _Found:
    """Find the same by columns; only uses that show a lost update become objects."""
    twice, back, nowhere = seen_twice(uses), went_back(uses), from_nowhere(uses, START)
    resources = uses.resources()
    broken = [number for number in resources if number in twice or number in back or number in nowhere]
    known = set(broken)
    broken += [number for number in uses.met if number not in known]
    lost = []
    for number in broken:
        if number in twice:
            later = twice[number]
            found = _lost_by_two(_use_at(uses, same_seen(uses, later)), _use_at(uses, later))
        elif number in back:
            later = back[number]
            found = _lost_before(_use_at(uses, greatest_written(uses, later)), _use_at(uses, later))
        elif number in nowhere:
            found = _lost_from_nowhere(_use_at(uses, nowhere[number]))
        else:
            row = uses.row(number)
            reason = _met(row)
            assert reason is not None, "columns and rows agree on who met somebody"
            found = _lost_to_whom_it_met(row, reason)
        lost.append(found)
    names = uses.names_of(broken)
    return _Found(len(uses), len(uses.crashed_key), len(resources), dict(zip(names, lost, strict=True)))


def _use_at(uses: UseColumns, place: int) -> Use:
    seen, wrote, call, ret = (int(column[place]) for column in (uses.seen, uses.wrote, uses.call, uses.ret))
    return Use(seen, wrote, call, ret, bool(uses.reads[place]))


def _lost_by_two(one: Use, other: Use) -> LostUpdate:
    return LostUpdate((one, other), f"two uses saw {other.seen}, so the update of one was lost")


def _lost_before(greatest: Use, use: Use) -> LostUpdate:
    return LostUpdate((greatest, use), f"a use saw {use.seen} when {greatest.wrote} had been written before")


def _lost_from_nowhere(use: Use) -> LostUpdate:
    return LostUpdate((use,), f"a use saw {use.seen}, which no use can have written")


def _uses(history: History) -> tuple[dict[Any, list[Use]], dict[Any, list[int]]]:
    """The ok uses of each key, and the calls of those that crashed, in the order of their calls."""
    uses: dict[Any, list[Use]] = {}
    crashed: dict[Any, list[int]] = {}
    for row in history.clients().where(f="use", type=(OperationType.OK, OperationType.INFO)):
        if row.type is OperationType.INFO:
            if mode_of(row) not in (READ, PERMIT):
                crashed.setdefault(row.key, []).append(row.invoke_index)
        elif (use := _use(row)) is not None:
            uses.setdefault(row.key, []).append(use)
    return uses, crashed


def _use(row: Row) -> Use | None:
    if mode_of(row) == READ:
        seen = row.result.get("seen") if isinstance(row.result, Mapping) else None
        return (
            Use(seen, seen, row.invoke_index, row.complete_index, reads=True)
            if isinstance(seen, int)
            else None
        )
    counts = counts_of(row.result)
    return None if counts is None else Use(*counts, row.invoke_index, row.complete_index)


def _intruders(history: History) -> dict[Any, LostUpdate]:
    """Uses that met somebody who should not have been there: a writer among readers, one too many for a semaphore."""
    found: dict[Any, LostUpdate] = {}
    for row in history.clients().where(f="use", type=OperationType.OK):
        if (reason := _met(row)) is not None:
            found.setdefault(row.key, _lost_to_whom_it_met(row, reason))
    return found


def _met(row: Row) -> str | None:
    """Whom an ok use met that should not have been there; ``None`` for nobody."""
    if mode_of(row) not in (READ, PERMIT) or not isinstance(row.result, Mapping):
        return None
    seen, again, inside = (row.result.get(name) for name in ("seen", "again", "inside"))
    if mode_of(row) == READ and seen != again:
        return f"a reader saw {seen}, and {again} a moment later"
    if mode_of(row) == PERMIT and isinstance(inside, int) and inside > permits_of(row):
        return f"{inside} used it at once, and there are {permits_of(row)} permits"
    return None


def _lost_to_whom_it_met(row: Row, reason: str) -> LostUpdate:
    return LostUpdate((Use(0, 0, row.invoke_index, row.complete_index, reads=True),), reason)


def _lost_update(uses: Sequence[Use], crashed: Sequence[int]) -> LostUpdate | None:
    return _seen_twice(uses) or _went_back(uses) or _from_nowhere(uses, crashed)


def _seen_twice(uses: Sequence[Use]) -> LostUpdate | None:
    first: dict[int, Use] = {}
    for use in uses:
        if use.reads:
            continue
        other = first.setdefault(use.seen, use)
        if other is not use:
            return _lost_by_two(other, use)
    return None


def _went_back(uses: Sequence[Use]) -> LostUpdate | None:
    """A use that saw less than what had been written when it was called."""
    by_return = sorted(uses, key=lambda use: use.ret)
    returned = 0
    greatest: Use | None = None
    for use in uses:
        while returned < len(by_return) and by_return[returned].ret < use.call:
            if greatest is None or by_return[returned].wrote > greatest.wrote:
                greatest = by_return[returned]
            returned += 1
        if greatest is not None and use.seen < greatest.wrote:
            return _lost_before(greatest, use)
    return None


def _from_nowhere(uses: Sequence[Use], crashed: Sequence[int]) -> LostUpdate | None:
    """A use that saw a count which too few uses were called to have written."""
    written = sorted({use.wrote for use in uses if not use.reads})
    for use in sorted(uses, key=lambda use: use.seen):
        # Every count up to this one was written by a use; those that no ok use wrote take a crashed one each.
        missing = use.seen - START - bisect_right(written, use.seen)
        if use.seen < START or missing > bisect_left(crashed, use.ret):
            return _lost_from_nowhere(use)
    return None


def _counterexample(history: History, key: Any, lost: LostUpdate) -> Counterexample:
    numbers = tuple(sorted(use.call for use in lost.uses))
    last = lost.uses[-1]
    return Counterexample(
        key=key,
        reason=f"the resource guarded by lock {key!r}: {lost.reason}",
        core=numbers,
        impossible=last.call,
        states=tuple(f"count {use.wrote}" for use in lost.uses[:-1]),
        operations=rows_of(history, numbers, lock_label),
    )
