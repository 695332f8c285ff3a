"""A counterexample as text for the terminal, for a reader who has not seen the history."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
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


INDEXED_MAX: Final = 100
INDEX_CHARACTERS_MAX: Final = 160
"""The length of the line that names an illegal key in the list of them."""
_LONG_TEXT: Final = re.compile(r"'[^'\n]*'…'[^'\n]*' \([\d,]+ characters\)")


class Drawn(NamedTuple):
    """One operation of the drawing, in columns."""

    process: str
    events: str
    time: str
    bar: str
    words: str


def explain(counterexample: Mapping[str, Any], *, is_first: bool = True) -> str:
    """What happened, why no order of it is legal, and where in the history; ends with a line break.

    ``counterexample`` is :class:`foreshock.harness.checker.Counterexample` as plain data. Whatever it leaves out
    is left out of the text. How events are counted is said of the first one only.
    """
    names = _long_values(counterexample)
    counterexample = _renamed(counterexample, names) if names else counterexample
    rows = {row["invoke_index"]: row for row in counterexample.get("operations", ())}
    drawing = _drawing(counterexample, rows)
    paragraphs = [
        "\n".join([headline(counterexample), *(f"  {name} = {long}" for long, name in names.items())]),
        _headed(
            _what_happened(counterexample),
            [*drawing, *_below(counterexample, rows, is_first=is_first)] if drawing else [],
        ),
        _headed("Why no order works:", _indented(counterexample.get("argument", ()))),
        _headed("Just before it returned:", _indented(_before(counterexample, rows))),
    ]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def headline(counterexample: Mapping[str, Any], characters_max: int | None = None) -> str:
    """The key and the reason, in one line; cut where it must not be longer."""
    key, reason = counterexample.get("key"), counterexample["reason"]
    subject = "the history" if key is None else f"key {key!r}"
    if _is_argued(counterexample) and characters_max is None:
        reason = f"no legal order exists: {reason}"
    line = f"{subject}: {reason}"
    return line if characters_max is None or len(line) <= characters_max else f"{line[: characters_max - 1]}…"


def index_of(counterexamples: Sequence[Mapping[str, Any]]) -> str:
    """One short line for each illegal key."""
    found = counterexamples[:INDEXED_MAX]
    lines = [f"  {headline(each, INDEX_CHARACTERS_MAX)}" for each in found]
    if more := len(counterexamples) - len(found):
        lines.append(f"  and {more} more")
    return "\n".join([f"{len(counterexamples)} keys are illegal:", *lines])


def _is_argued(counterexample: Mapping[str, Any]) -> bool:
    return bool(counterexample.get("argument")) and counterexample.get("impossible") is not None


def _what_happened(counterexample: Mapping[str, Any]) -> str:
    if not counterexample.get("argument") or counterexample.get("drawn"):
        return "What happened:"
    count = len(counterexample["core"])
    if count == 1:
        return "What happened (this operation alone shows it):"
    return f"What happened ({count} operations together show it; without any one of them they do not):"


def _below(counterexample: Mapping[str, Any], rows: Mapping[int, Row], *, is_first: bool) -> Iterator[str]:
    """What has to be said of the operations that are drawn, and of those that are not."""
    if is_first and _is_argued(counterexample):
        yield "  (Events are counted from 0.)"
    impossible = rows.get(counterexample.get("impossible", -1))
    source = None if impossible is None else _source(counterexample, impossible, rows)
    if source is not None:
        end = _end(source)
        events = f"events {source['invoke_index']}-{'?' if end is None else end}"
        words = f"Source of the value: {source['label']} by process {source['process']} ({events})."
        yield _wrapped(words, "  ")
    if _is_argued(counterexample) and not counterexample.get("proof") and not counterexample.get("undecided"):
        yield "  Operations not listed may come at any time or not at all; even so no order works."


def _drawing(counterexample: Mapping[str, Any], rows: Mapping[int, Row]) -> list[str]:
    chosen = counterexample.get("drawn") or counterexample["core"]
    core = sorted((rows[index] for index in chosen if index in rows), key=lambda row: row["invoke_index"])
    left_out = len(core[:-DRAWN_MAX])
    core = core[-DRAWN_MAX:]
    marks = {counterexample.get("impossible"): "  <- impossible"}
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
    argued = _is_argued(counterexample)
    states = list(counterexample.get("states", ()))
    # Else the headline has named the first of them.
    if states and (not argued or counterexample.get("proof") == "grows"):
        more = f", or one of {len(states) - _STATES_MAX} more" if len(states) > _STATES_MAX else ""
        yield f"the state could be {', or '.join(states[:_STATES_MAX])}{more}"
    prefix = [rows[index] for index in counterexample.get("prefix", ()) if index in rows]
    if prefix:
        shown = ", ".join(row["label"] for row in prefix[-_PREFIX_MAX:])
        earlier = counterexample.get("earlier", 0) + max(len(prefix) - _PREFIX_MAX, 0)
        order = f"{earlier} operations, then {shown}" if earlier else shown
        yield f"the longest legal order of all that had happened: {order}"
    if counterexample.get("proof"):
        return
    impossible = str(counterexample.get("impossible"))
    needed = [
        item for item in counterexample.get("needed", {}).items() if item[0] != impossible or not argued
    ]
    for what, why in needed[:_PENDING_MAX]:
        helps = what != impossible and argued
        yield (
            f"{_who(what, rows)} could not help: it needs {why} itself"
            if helps
            else f"{_who(what, rows)} needs {why}"
        )
    if len(needed) > _PENDING_MAX:
        yield f"and {len(needed) - _PENDING_MAX} more were pending"


def _who(what: str, rows: Mapping[int, Row]) -> str:
    """An operation that is named by its index, as a person would name it."""
    row = rows.get(int(what)) if what.isdigit() else None
    if row is None:
        return what
    pending = "" if _end(row) is not None else ", never returned"
    return f"{row['label']} (process {row['process']}, event {row['invoke_index']}{pending})"


def _source(counterexample: Mapping[str, Any], impossible: Row, rows: Mapping[int, Row]) -> Row | None:
    """The update that made what the impossible read saw, where nothing that is drawn speaks of that value."""
    chosen = counterexample.get("drawn") or counterexample["core"]
    seen = impossible.get("result")
    drawn = [rows[index] for index in chosen if index in rows]
    if seen is None or any(_speaks_of(row, seen) for row in drawn if row is not impossible):
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


def _long_values(counterexample: Mapping[str, Any]) -> dict[str, str]:
    """A letter for each long value that comes up more than once."""
    rows = {row["invoke_index"]: row for row in counterexample.get("operations", ())}
    shown = [*(counterexample.get("drawn") or counterexample["core"]), *counterexample.get("prefix", ())]
    texts = [str(rows[index]["label"]) for index in shown if index in rows]
    texts += [counterexample["reason"], *counterexample.get("argument", ())]
    counts = Counter(value for text in texts for value in _LONG_TEXT.findall(text))
    repeated = [value for value, count in counts.items() if count > 1][:26]
    return {value: chr(ord("A") + place) for place, value in enumerate(repeated)}


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """The same data with letters for long values, wherever there are words."""
    if isinstance(value, str):
        for long, name in names.items():
            value = value.replace(long, name)
        return value
    if isinstance(value, Mapping):
        return {key: _renamed(part, names) for key, part in value.items()}
    return [_renamed(part, names) for part in value] if isinstance(value, list | tuple) else value


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
