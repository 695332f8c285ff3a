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

from foreshock.checkers.rows import PERMIT, READ, counts_of, lock_label, mode_of, permits_of, rows_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

START: Final = 0
"""What each counter holds before its first use."""


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
        uses, crashed = _uses(history)
        lost = {
            key: found
            for key, mine in uses.items()
            if (found := _lost_update(mine, crashed.get(key, []))) is not None
        }
        for key, intruder in _intruders(history).items():
            lost.setdefault(key, intruder)
        counterexamples = tuple(_counterexample(history, key, found) for key, found in lost.items())
        count = sum(map(len, uses.values()))
        reason = f"{count} uses of {len(uses)} resource{'s' * (len(uses) != 1)}: no update was lost"
        return CheckResult(
            verdict=Verdict.INVALID if lost else Verdict.VALID,
            reason=counterexamples[0].reason if lost else reason,
            method="one chain",
            details={
                "uses": count,
                "crashed_uses": sum(map(len, crashed.values())),
                "keys": len(uses),
                "broken_keys": list(lost),
            },
            counterexamples=counterexamples,
        )


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
        if mode_of(row) not in (READ, PERMIT) or not isinstance(row.result, Mapping):
            continue
        seen, again, inside = (row.result.get(name) for name in ("seen", "again", "inside"))
        reason = None
        if mode_of(row) == READ and seen != again:
            reason = f"a reader saw {seen}, and {again} a moment later"
        elif mode_of(row) == PERMIT and isinstance(inside, int) and inside > permits_of(row):
            reason = f"{inside} used it at once, and there are {permits_of(row)} permits"
        if reason is not None:
            use = Use(0, 0, row.invoke_index, row.complete_index, reads=True)
            found.setdefault(row.key, LostUpdate((use,), reason))
    return found


def _lost_update(uses: Sequence[Use], crashed: Sequence[int]) -> LostUpdate | None:
    return _seen_twice(uses) or _went_back(uses) or _from_nowhere(uses, crashed)


def _seen_twice(uses: Sequence[Use]) -> LostUpdate | None:
    first: dict[int, Use] = {}
    for use in uses:
        if use.reads:
            continue
        other = first.setdefault(use.seen, use)
        if other is not use:
            return LostUpdate((other, use), f"two uses saw {use.seen}, so the update of one was lost")
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
            reason = f"a use saw {use.seen} when {greatest.wrote} had been written before"
            return LostUpdate((greatest, use), reason)
    return None


def _from_nowhere(uses: Sequence[Use], crashed: Sequence[int]) -> LostUpdate | None:
    """A use that saw a count which too few uses were called to have written."""
    written = sorted({use.wrote for use in uses if not use.reads})
    for use in sorted(uses, key=lambda use: use.seen):
        # Every count up to this one was written by a use; those that no ok use wrote take a crashed one each.
        missing = use.seen - START - bisect_right(written, use.seen)
        if use.seen < START or missing > bisect_left(crashed, use.ret):
            return LostUpdate((use,), f"a use saw {use.seen}, which no use can have written")
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
