"""The checker of session guarantees: what a process reads never goes back behind what it has read or written.

Terry et al. ("Session Guarantees for Weakly Consistent Replicated Data", 1994) call them monotonic reads and read
your writes. A read breaks one of them when every update that it may have seen certainly comes before one that
its process had seen, or made, earlier. "Certainly" is told in ``versions.py``: this convicts nobody who is innocent,
and lets go who can talk himself out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from foreshock.checkers.models.register import READS, Register
from foreshock.checkers.rows import rows_of
from foreshock.checkers.versions import KeyVersions
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_SHOWN_MAX: Final = 20
_METHOD: Final = "certain order of updates"


class SessionChecker(Checker):
    """Judges monotonic reads and read-your-writes, of each process on each key."""

    name = "session"

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide; invalid with the first violation of each key, unknown when time was up before the last key."""
        found: list[Counterexample] = []
        clients = history.clients()
        keys = clients.by_key()
        for number, (key, of_key) in enumerate(keys.items()):
            if context.should_stop():
                reason = f"stopped after {number} of {len(keys)} keys"
                return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, method=_METHOD)
            violation = _first_violation(list(of_key))
            if violation is not None:
                found.append(_counterexample(history, key, *violation))
        details = {"keys": len(keys), "illegal_keys": [violation.key for violation in found]}
        if not found:
            reason = f"on {len(keys)} keys no process read what was older than what it had read or written"
            return CheckResult(verdict=Verdict.VALID, reason=reason, method=_METHOD, details=details)
        found.sort(key=lambda violation: violation.core[-1])
        return CheckResult(
            verdict=Verdict.INVALID,
            reason=found[0].reason,
            method=_METHOD,
            details=details,
            counterexamples=tuple(found[:_SHOWN_MAX]),
        )


def _first_violation(rows: list[Row]) -> tuple[Row, Row] | None:
    """A read, and what its process had seen or done before that the read goes back behind."""
    known = KeyVersions(rows)
    seen: dict[int, tuple[int, Row]] = {}
    ended = [row for row in rows if row.type is OperationType.OK]
    for row in sorted(ended, key=lambda row: row.complete_index):
        floor, before = seen.get(row.process, (-1, None))
        if row.f not in READS:
            floor_now = row.invoke_index
        else:
            candidates = known.seen_by(row)
            if not candidates:
                continue  # a value from nowhere is for the other checkers
            possible = [span for span in candidates if span.ends >= floor]
            if not possible and before is not None:
                return row, before
            floor_now = min(span.begins for span in possible)
        if floor_now > floor:
            seen[row.process] = (floor_now, row)
    return None


def _counterexample(history: History, key: int | str | None, read: Row, before: Row) -> Counterexample:
    guarantee = "monotonic reads" if before.f in READS else "read your writes"
    label = _label(before)
    reason = (
        f"{_label(read)} of key {key!r} by process {read.process} goes back behind its own {label}: what it read had "
        f"certainly been overwritten by then (no {guarantee})"
    )
    core = (before.invoke_index, read.invoke_index)
    shown = _writes_of(history, key, (before, read))
    return Counterexample(
        key=key,
        reason=reason,
        core=tuple(sorted({*core, *shown})),
        impossible=read.invoke_index,
        operations=rows_of(history, {*core, *shown}, _label),
    )


def _writes_of(history: History, key: int | str | None, reads: Iterable[Row]) -> list[int]:
    """The writes of the values that were read."""
    values = [row.result for row in reads if row.f in READS and row.result is not None]
    return [
        row.invoke_index
        for row in history.clients().by_key()[key]
        if row.f not in READS and row.value is not None and row.value in values
    ]


def _label(row: Row) -> str:
    return Register().describe(row.f, row.value, row.result)
