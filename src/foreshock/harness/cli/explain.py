"""A counterexample as text for the terminal, for a reader who has not seen the history."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

GRID_WIDTH_MAX: Final = 56
DRAWN_MAX: Final = 20
"""Of a larger core the last operations are drawn."""
_TEXT_WIDTH: Final = 100
_PENDING_MAX: Final = 8
_PREFIX_MAX: Final = 6
_STATES_MAX: Final = 8
_UNITS: Final = ((1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "µs"))

Row = Mapping[str, Any]


class Drawn(NamedTuple):
    """One operation of the drawing, in columns."""

    process: str
    events: str
    time: str
    bar: str
    words: str


def explain(counterexample: Mapping[str, Any]) -> str:
    """What happened, why no order of it is legal, and where in the history; ends with a line break.

    ``counterexample`` is :class:`foreshock.harness.checker.Counterexample` as plain data. Whatever it leaves out
    is left out of the text.
    """
    rows = {row["invoke_index"]: row for row in counterexample.get("operations", ())}
    key = counterexample.get("key")
    subject = "the history" if key is None else f"key {key!r}"
    paragraphs = [
        f"{subject}: {counterexample['reason']}",
        _headed(_what_happened(counterexample), _drawing(counterexample, rows)),
        _headed("Why no order works:", _indented(counterexample.get("argument", ()))),
        _headed("Just before it returned:", _indented(_before(counterexample, rows))),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _what_happened(counterexample: Mapping[str, Any]) -> str:
    count = len(counterexample["core"])
    operations = "1 operation shows" if count == 1 else f"{count} operations show"
    if not counterexample.get("argument"):
        return "What happened:"
    rest = "it cannot be left out" if count == 1 else "none of them can be left out"
    return f"What happened ({operations} it; {rest}):"


def _drawing(counterexample: Mapping[str, Any], rows: Mapping[int, Row]) -> list[str]:
    core = [rows[index] for index in counterexample["core"] if index in rows]
    impossible = rows.get(counterexample.get("impossible", -1))
    source = None if impossible is None else _source(counterexample, impossible, core, rows)
    core += [] if source is None else [source]
    core.sort(key=lambda row: row["invoke_index"])
    left_out = len(core[:-DRAWN_MAX])
    core = core[-DRAWN_MAX:]
    marks = {}
    if impossible is not None:
        marks[impossible["invoke_index"]] = "  <- impossible"
    if source is not None and impossible is not None:
        marks[source["invoke_index"]] = "  (where it came from; this one may be anywhere)"
    timed = any(row.get("invoke_ns", 0) > 0 for row in core)
    unit = _unit(core)
    bars = _bars(core)
    drawn = [
        Drawn(
            process=str(row.get("process", "?")),
            events=_events(row),
            time=_times(row, *unit) if timed else "",
            bar=bar,
            words=f"{row['label']}{marks.get(row['invoke_index'], '')}",
        )
        for row, bar in zip(core, bars, strict=True)
    ]
    if not drawn:
        return []
    titles = Drawn("process", "events", "time" if timed else "", "", "")
    widths = [max(len(line[column]) for line in [titles, *drawn]) for column in range(4)]
    lines = [_line(line, widths) for line in [titles, *drawn]]
    return (
        [lines[0], f"  ({left_out} earlier operations of these are not drawn)", *lines[1:]]
        if left_out
        else lines
    )


def _line(drawn: Drawn, widths: Sequence[int]) -> str:
    cells = [drawn.process.rjust(widths[0]), drawn.events.ljust(widths[1])]
    cells += [drawn.time.ljust(widths[2])] if widths[2] else []
    cells += [drawn.bar.ljust(widths[3]), drawn.words]
    return ("  " + "  ".join(cells)).rstrip()


def _bars(core: Sequence[Row]) -> list[str]:
    """One bar an operation on a grid of event order; an end that nobody saw stays open."""
    events = sorted(
        {row["invoke_index"] for row in core} | {end for row in core if (end := _end(row)) is not None}
    )
    step = max(2, min(7, GRID_WIDTH_MAX // max(1, len(events))))
    column = {event: position * step for position, event in enumerate(events)}
    width = max(column.values(), default=0) + 2
    bars = []
    for row in core:
        start, end = column[row["invoke_index"]], _end(row)
        stop = width if end is None else column[end]
        closing = "]" if end is not None else "..."
        bars.append(" " * start + "[" + "-" * max(0, stop - start - 1) + closing)
    return bars


def _before(counterexample: Mapping[str, Any], rows: Mapping[int, Row]) -> Iterator[str]:
    states = list(counterexample.get("states", ()))
    if states:
        more = f", or one of {len(states) - _STATES_MAX} more" if len(states) > _STATES_MAX else ""
        yield f"the state could be {', or '.join(states[:_STATES_MAX])}{more}"
    prefix = [rows[index] for index in counterexample.get("prefix", ()) if index in rows]
    if prefix:
        shown = ", ".join(row["label"] for row in prefix[-_PREFIX_MAX:])
        earlier = counterexample.get("earlier", 0) + max(len(prefix) - _PREFIX_MAX, 0)
        order = f"{earlier} operations, then {shown}" if earlier else shown
        yield f"the longest legal order of all that had happened: {order}"
    impossible = str(counterexample.get("impossible"))
    argued = bool(counterexample.get("argument"))
    needed = [
        item for item in counterexample.get("needed", {}).items() if item[0] != impossible or not argued
    ]
    yield from (f"{_who(what, rows)} needs {why}" for what, why in needed[:_PENDING_MAX])
    if len(needed) > _PENDING_MAX:
        yield f"and {len(needed) - _PENDING_MAX} more were pending"


def _who(what: str, rows: Mapping[int, Row]) -> str:
    """An operation that is named by its index, as a person would name it."""
    row = rows.get(int(what)) if what.isdigit() else None
    if row is None:
        return what
    pending = "" if _end(row) is not None else ", which never returned,"
    return f"{row['label']} by process {row['process']} (event {row['invoke_index']}){pending}"


def _source(
    counterexample: Mapping[str, Any], impossible: Row, core: Sequence[Row], rows: Mapping[int, Row]
) -> Row | None:
    """The update that made what the impossible read saw, where nothing in the core speaks of that value."""
    seen = impossible.get("result")
    if seen is None or any(_speaks_of(row, seen) for row in core if row is not impossible):
        return None
    return rows.get(counterexample.get("source", -1))


def _speaks_of(row: Row, seen: Any) -> bool:
    value = row.get("value")
    return seen in (row.get("result"), value) or (isinstance(value, list | tuple) and seen in value)


def _end(row: Row) -> int | None:
    """The event at which the operation is known to have taken effect; none for one that crashed."""
    return row["complete_index"] if row.get("type") == "ok" and row["complete_index"] >= 0 else None


def _events(row: Row) -> str:
    end = _end(row)
    return f"{row['invoke_index']}-{'?' if end is None else end}"


def _unit(core: Sequence[Row]) -> tuple[int, str]:
    """The unit in which the latest time of all is best read, in ns."""
    latest = max((max(row.get("invoke_ns", 0), row.get("complete_ns", -1)) for row in core), default=0)
    return next(((size, unit) for size, unit in _UNITS if latest >= size), (1, "ns"))


def _times(row: Row, size: int, unit: str) -> str:
    start, end = row.get("invoke_ns", 0), row.get("complete_ns", -1)
    digits = 3 if size > 1 else 0
    shown = f"{start / size:.{digits}f}"
    known = _end(row) is not None and end >= 0
    return f"{shown}-{end / size:.{digits}f} {unit}" if known else f"{shown}-? {unit}"


def _headed(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"  {title}", *lines]) if lines else ""


def _indented(sentences: Iterator[str] | Sequence[str]) -> list[str]:
    return [_wrapped(sentence, "    ") for sentence in sentences]


def _wrapped(text: str, indent: str) -> str:
    lines = textwrap.wrap(
        text,
        _TEXT_WIDTH,
        initial_indent=indent,
        subsequent_indent=indent + "  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(lines)
