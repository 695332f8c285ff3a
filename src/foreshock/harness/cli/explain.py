"""A counterexample as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH_MAX = 64


def explain(counterexample: Mapping[str, Any]) -> str:
    """The minimal core as one bar an operation on a grid of event order, with what makes it impossible.

    ``counterexample`` is :class:`foreshock.harness.checker.Counterexample` as plain data.
    """
    rows = {row["invoke_index"]: row for row in counterexample.get("operations", ())}
    core = [rows[index] for index in counterexample["core"] if index in rows]
    lines = [f"key {counterexample.get('key')!r}: {counterexample['reason']}", ""]
    events = sorted(
        {row["invoke_index"] for row in core} | {end for row in core if (end := _end(row)) is not None}
    )
    column = {event: position * _step(len(events)) for position, event in enumerate(events)}
    width = max(column.values(), default=0) + 2
    for row in sorted(core, key=lambda row: row["invoke_index"]):
        start = column[row["invoke_index"]]
        end = _end(row)
        stop = width if end is None else column[end]
        bar = " " * start + "[" + "-" * max(0, stop - start - 1) + ("]" if end is not None else "...")
        mark = "  <- impossible" if row["invoke_index"] == counterexample.get("impossible") else ""
        lines.append(f"  process {row['process']!s:>4}  {bar:<{width + 4}}  {row['label']}{mark}")
    if counterexample.get("states"):
        lines += ["", "  possible just before: " + ", ".join(counterexample["states"])]
    lines += [f"  {_who(what, rows)} needs {why}" for what, why in counterexample.get("needed", {}).items()]
    return "\n".join(lines) + "\n"


def _who(what: str, rows: Mapping[int, Mapping[str, Any]]) -> str:
    """An operation that is named by its index, as a person would name it."""
    row = rows.get(int(what)) if what.isdigit() else None
    return what if row is None else f"{row['label']} by process {row['process']}"


def _end(row: Mapping[str, Any]) -> int | None:
    """The event at which the operation is known to have taken effect; none for one that crashed."""
    return row["complete_index"] if row.get("type") == "ok" and row["complete_index"] >= 0 else None


def _step(events: int) -> int:
    return max(2, min(8, WIDTH_MAX // max(1, events)))
