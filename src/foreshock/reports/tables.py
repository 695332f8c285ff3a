"""The tables of a report: plan, checkers, faults, notable operations, availability around each fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from foreshock.harness.verdict import Verdict
from foreshock.reports.columns import FAIL, INFO, OK, OUTCOMES, Columns
from foreshock.reports.explorer_data import Violation
from foreshock.reports.operation_text import clip, operation_text, value_text
from foreshock.reports.scales import duration, moment, percent
from foreshock.reports.stored_run import StoredRun

NOTABLE_MAX = 60
DETAILS_CHARACTERS_MAX = 20_000
VALUE_CHARACTERS_MAX = 400
_SHOWN_ELSEWHERE = {"rate", "quantile_series"}


class Setting(NamedTuple):
    """One setting of the plan."""

    name: str
    value: str


class CheckerRow(NamedTuple):
    """One checker: its verdict as a word, why, how and in what time, with its details as indented JSON."""

    name: str
    verdict: str
    reason: str
    method: str
    seconds: str
    details: str


class OperationRow(NamedTuple):
    """One operation, as the table beside the view of all operations shows it."""

    why: str
    operation: str
    key: str
    outcome: str
    process: int
    node: str
    invoked: str
    took: str
    error: str


class AroundFaultRow(NamedTuple):
    """How available the cluster was before, during and after one fault."""

    kind: str
    nodes: str
    before: str
    during: str
    after: str
    recovery: str


class ErrorRow(NamedTuple):
    """Operations that ended alike, whatever the numbers in their errors."""

    outcome: str
    error: str
    times: str


ERROR_ROWS_MAX = 16


def plan_groups(plan: Mapping[str, Any]) -> list[tuple[str, list[Setting]]]:
    """Every setting of a plan: the test's own first, then the options by the one they belong to."""
    options = plan.get("options")
    if not isinstance(options, Mapping):
        options = {}
    own = [Setting(str(name), _text(value)) for name, value in plan.items() if name != "options"]
    groups = [("test", own)]
    for owner, typed in options.items():
        settings = typed.items() if isinstance(typed, Mapping) else [(owner, typed)]
        groups.append((str(owner), [Setting(str(name), _text(value)) for name, value in settings]))
    return [(owner, settings) for owner, settings in groups if settings]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(part) for part in value) or "none"
    if value is None:
        return "none"
    return (
        clip(value, VALUE_CHARACTERS_MAX)
        if isinstance(value, str)
        else value_text(value, VALUE_CHARACTERS_MAX)
    )


def checker_rows(run: StoredRun) -> list[CheckerRow]:
    """The checkers, the worst verdict first."""
    checkers = run.results.checkers if run.results else {}
    rows = []
    for name, check in checkers.items():
        details = {key: value for key, value in check.details.items() if key not in _SHOWN_ELSEWHERE}
        text = msgspec.json.format(msgspec.json.encode(details), indent=2).decode() if details else ""
        seconds = duration(check.seconds * 1e9) if check.seconds else ""
        row = CheckerRow(
            name,
            Verdict.of_word(check.verdict).word,
            check.reason,
            check.method,
            seconds,
            clip(text, DETAILS_CHARACTERS_MAX),
        )
        rows.append(row)
    return sorted(rows, key=lambda row: -Verdict.of_word(row.verdict))


def around_faults(run: StoredRun) -> list[AroundFaultRow]:
    """What the statistics checker measured around each fault; nothing where it did not run."""
    checkers = run.results.checkers if run.results else {}
    rows = []
    for check in checkers.values():
        availability = check.details.get("availability")
        around = availability.get("around_faults") if isinstance(availability, Mapping) else None
        entries = around if isinstance(around, list | tuple) else ()
        rows += [_around_fault(entry) for entry in entries if isinstance(entry, Mapping)]
    return rows


def _around_fault(entry: Mapping[str, Any]) -> AroundFaultRow:
    nodes = entry.get("nodes")
    recovery = entry.get("recovery_ms")
    return AroundFaultRow(
        kind=str(entry.get("kind", "")),
        nodes=", ".join(map(str, nodes)) if isinstance(nodes, list | tuple) else "",
        before=_share(entry.get("before")),
        during=_share(entry.get("during")),
        after=_share(entry.get("after")),
        recovery=duration(recovery * 1e6) if isinstance(recovery, int | float) else "not seen",
    )


def _share(value: Any) -> str:
    return percent(value) if isinstance(value, int | float) else "no operations"


def error_rows(run: StoredRun) -> Iterator[ErrorRow]:
    """Why operations were not ok, as the statistics checker counted it; nothing where it did not run."""
    checkers = run.results.checkers if run.results else {}
    for check in checkers.values():
        entries = check.details.get("errors")
        for entry in list(entries)[:ERROR_ROWS_MAX] if isinstance(entries, list | tuple) else ():
            if isinstance(entry, Mapping) and entry.get("type") in (OUTCOMES[FAIL], OUTCOMES[INFO]):
                yield ErrorRow(
                    entry["type"], clip(str(entry.get("error", "")), 300), _text(entry.get("count", ""))
                )


def notable_operations(columns: Columns, violations: Sequence[Violation]) -> list[OperationRow]:
    """The operations worth a look, at most ``NOTABLE_MAX``: convicted, unknown, failed, slowest."""
    reasons: dict[int, str] = {}
    for position, why in _notable(columns, violations):
        if len(reasons) == NOTABLE_MAX:
            break
        reasons.setdefault(position, why)
    return [_operation_row(columns, position, reasons[position]) for position in sorted(reasons)]


def _notable(columns: Columns, violations: Sequence[Violation]) -> Iterator[tuple[int, str]]:
    convicted = [violation.invoke_index for violation in violations if violation.invoke_index is not None]
    for position in np.flatnonzero(np.isin(columns.invoke_index, convicted)).tolist():
        yield position, "violation"
    slowest = _slowest(columns)
    for position in slowest[:10]:
        yield position, "slowest"
    for outcome, limit in ((INFO, 25), (FAIL, 25)):
        places = np.flatnonzero(columns.outcome == outcome)
        spread = places[np.unique(np.linspace(0, len(places) - 1, min(limit, len(places))).astype(np.int64))]
        yield from ((position, OUTCOMES[outcome]) for position in spread.tolist())
    yield from ((position, "slowest") for position in slowest[10:])


def _slowest(columns: Columns) -> Sequence[int]:
    places = np.flatnonzero((columns.outcome == OK) & columns.completed)
    order = np.argsort(-columns.latency_ns[places], kind="stable")[:NOTABLE_MAX]
    chosen: list[int] = places[order].tolist()
    return chosen


def _operation_row(columns: Columns, position: int, why: str) -> OperationRow:
    row = columns.rows[position]
    outcome = OUTCOMES[int(columns.outcome[position])]
    return OperationRow(
        why=why,
        operation=operation_text(row.f, row.value, row.result, outcome),
        key="" if row.key is None else value_text(row.key),
        outcome=outcome,
        process=row.process,
        node=row.node or "",
        invoked=moment(row.invoke_ns),
        took=duration(row.complete_ns - row.invoke_ns) if row.complete_ns >= 0 else "never completed",
        error=clip(row.error or "", VALUE_CHARACTERS_MAX),
    )
