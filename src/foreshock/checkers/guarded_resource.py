"""What the guarded resource felt: no update of it was lost.

The resource is a counter a key that starts at 0. An ok ``use`` saw ``seen`` and wrote ``wrote = seen + 1`` (or
``before`` and ``after``, which mean the same). If users exclude each other, the uses of a key form one chain: no two
saw the same count, none saw less than what another had written when it was called, and every count that was seen
was written by some use. A use that crashed may have written or not, so it may fill one gap in the chain.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.rows import counts_of, lock_label, rows_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

START: Final = 0
"""What each counter holds before its first use."""


class Use(NamedTuple):
    """An ok use: what it saw and wrote, and the indexes of its events."""

    seen: int
    wrote: int
    call: int
    ret: int


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
        counts = counts_of(row.result)
        if row.type is OperationType.INFO:
            crashed.setdefault(row.key, []).append(row.invoke_index)
        elif counts is not None:
            uses.setdefault(row.key, []).append(Use(*counts, row.invoke_index, row.complete_index))
    return uses, crashed


def _lost_update(uses: Sequence[Use], crashed: Sequence[int]) -> LostUpdate | None:
    return _seen_twice(uses) or _went_back(uses) or _from_nowhere(uses, crashed)


def _seen_twice(uses: Sequence[Use]) -> LostUpdate | None:
    first: dict[int, Use] = {}
    for use in uses:
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
    written = sorted({use.wrote for use in uses})
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
