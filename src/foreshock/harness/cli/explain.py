"""A counterexample as text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

WIDTH_MAX = 64


def explain(counterexample: Mapping[str, Any]) -> str:
    """The minimal core as one bar an operation on a grid of event order, with what makes it impossible.

    ``counterexample`` is :class:`foreshock.harness.checker.Counterexample` as plain data.
    """
    rows = {row["invoke_index"]: row for row in counterexample.get("operations", ())}
    core = [rows[index] for index in counterexample["core"] if index in rows]
    impossible = rows.get(counterexample.get("impossible", -1))
    source = None if impossible is None else _source(impossible, core, rows)
    core += [] if source is None else [source]
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
        mark = "  <- impossible" if row is impossible else ""
        if row is source and impossible is not None:
            mark = f"  (where {impossible['result']} came from)"
        lines.append(f"  process {row['process']!s:>4}  {bar:<{width + 4}}  {row['label']}{mark}")
    if counterexample.get("states"):
        lines += ["", "  possible just before: " + ", ".join(counterexample["states"])]
    lines += [f"  {_who(what, rows)} needs {why}" for what, why in counterexample.get("needed", {}).items()]
    return "\n".join(lines) + "\n"


def _who(what: str, rows: Mapping[int, Mapping[str, Any]]) -> str:
    """An operation that is named by its index, as a person would name it."""
    row = rows.get(int(what)) if what.isdigit() else None
    return what if row is None else f"{row['label']} by process {row['process']}"


def _source(
    impossible: Mapping[str, Any], core: Sequence[Mapping[str, Any]], rows: Mapping[int, Mapping[str, Any]]
) -> Mapping[str, Any] | None:
    """The update that wrote what the impossible read saw, where nothing in the core speaks of that value."""
    seen = impossible.get("result")
    if seen is None or any(_speaks_of(row, seen) for row in core if row is not impossible):
        return None
    found = [row for row in rows.values() if row.get("f") != impossible.get("f") and _wrote(row) == seen]
    return found[0] if len(found) == 1 else None


def _wrote(row: Mapping[str, Any]) -> Any:
    """The value that an update sets: its own, or the last one of a compare-and-set."""
    value = row.get("value")
    return value[-1] if isinstance(value, list | tuple) and value else value


def _speaks_of(row: Mapping[str, Any], seen: Any) -> bool:
    value = row.get("value")
    return seen in (row.get("result"), value) or (isinstance(value, list | tuple) and seen in value)


def _end(row: Mapping[str, Any]) -> int | None:
    """The event at which the operation is known to have taken effect; none for one that crashed."""
    return row["complete_index"] if row.get("type") == "ok" and row["complete_index"] >= 0 else None


def _step(events: int) -> int:
    return max(2, min(8, WIDTH_MAX // max(1, events)))
