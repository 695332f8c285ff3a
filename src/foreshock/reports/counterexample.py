"""Which operations of a counterexample are drawn, and where: a grid of processes by the order of events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from foreshock.harness.checker import Counterexample
from foreshock.reports.operation_text import clip, operation_text

DRAWN_MAX = 26
PREFIX_CONTEXT = 4
"""How many of the last legal operations, and how many of the last legal updates, are drawn beside the core."""
LABEL_CHARACTERS_MAX = 34

COLUMN_MIN = 44.0
CHARACTER_WIDTH = 7.3
LABEL_MARGIN = 14.0
LEFT = 118.0
OPEN_END = 64.0
FILLED_WIDTH = 1000.0
"""A narrow drawing is stretched towards this width, at most ``STRETCH_MAX`` times."""
STRETCH_MAX = 2.0


class DrawnOperation(msgspec.Struct, frozen=True, kw_only=True):
    """One operation of a counterexample, from ``results.json`` or from the history."""

    invoke_index: int
    complete_index: int = -1
    invoke_ns: int = 0
    complete_ns: int = -1
    process: int = 0
    node: str | None = None
    f: str = ""
    key: Any = None
    value: Any = None
    result: Any = None
    type: str = "info"
    error: str | None = None
    label: str = ""

    @property
    def open(self) -> bool:
        """Whether it may still take effect at any later time: nobody knows how it ended."""
        return self.type == "info" or self.complete_index < 0

    @property
    def events(self) -> str:
        """The events at which it began and returned, such as ``64-68``."""
        return f"{self.invoke_index}-{'?' if self.open else self.complete_index}"

    @property
    def text(self) -> str:
        """The operation in words."""
        label = self.label or operation_text(self.f, self.value, self.result, self.type)
        return clip(label, LABEL_CHARACTERS_MAX)

    @property
    def outcome(self) -> str:
        """The outcome as one of the three words; anything else is info."""
        return self.type if self.type in ("ok", "fail") else "info"


class Bar(NamedTuple):
    """Where one operation is drawn: from ``left`` to ``right`` in a lane."""

    operation: DrawnOperation
    lane: int
    left: float
    right: float
    in_core: bool
    order: int | None
    """Its place in the legal order, from 1, among all that are in it, drawn or not; ``None`` where it has none."""
    point: float | None
    """Where on the bar it takes effect in that order."""
    needed: str
    impossible: bool
    """Whether it is the operation at whose return the last possible order dies."""


class Layout(NamedTuple):
    """A counterexample laid out. ``dies_at`` is where the last linearization dies; ``left_out`` counts what is
    not drawn."""

    bars: tuple[Bar, ...]
    lanes: tuple[int, ...]
    lane_nodes: tuple[str, ...]
    columns: tuple[tuple[float, int], ...]
    """The place of each event, with its time in ns; with its number where the history has no times."""
    width: float
    dies_at: float | None
    impossible: DrawnOperation | None
    left_out: int
    timed: bool = True
    proof: str = ""
    """The kind of the short proof that is drawn; empty where it is a minimal core."""

    @property
    def is_belief(self) -> bool:
        """Whether a granted lock is one that its client believes to hold: not so where grants are only counted."""
        return self.proof != "counting"


def operations_of(
    example: Counterexample, find: Callable[[Iterable[int]], Sequence[Mapping[str, Any]]]
) -> dict[int, DrawnOperation]:
    """The operations that a counterexample names; ``find`` looks up in the history those that carry no row."""
    rows: list[Mapping[str, Any]] = list(example.operations)
    present = {row.get("invoke_index") for row in rows}
    named = {*example.core, *example.drawn, *example.prefix, *_indexes(example.needed)}
    if example.impossible is not None:
        named.add(example.impossible)
    rows += find(sorted(named - present))
    found = {}
    for row in rows:
        known = {name: value for name, value in row.items() if value is not None}
        operation = msgspec.convert(known, DrawnOperation, strict=False)
        found[operation.invoke_index] = operation
    return found


def moment_of(example: Counterexample, operations: Mapping[int, DrawnOperation]) -> int | None:
    """The time in ns at which the history became illegal: when the impossible operation returned."""
    if example.impossible is not None and example.impossible in operations:
        operation = operations[example.impossible]
        return operation.complete_ns if operation.complete_ns >= 0 else operation.invoke_ns
    core = [operations[index] for index in example.core if index in operations]
    return max((max(operation.invoke_ns, operation.complete_ns) for operation in core), default=None)


def lay_out(example: Counterexample, operations: Mapping[int, DrawnOperation]) -> Layout:
    """Place the core, the end of the legal prefix and the pending operations on the grid."""
    chosen, left_out = _choose(example, operations)
    lanes, nodes = _lanes(chosen)
    timed = any(op.invoke_ns > 0 or op.complete_ns > 0 for op in chosen)
    places, columns, width = _columns(chosen, timed=timed)
    dying = operations.get(example.impossible) if example.impossible is not None else None
    dies_at = places.get(dying.complete_index, width) if dying is not None else None
    drawn = {op.invoke_index for op in chosen}
    positions = enumerate(example.prefix, start=example.earlier + 1)
    order = {index: place for place, index in positions if index in drawn}
    lefts = {op.invoke_index: places[op.invoke_index] for op in chosen}
    rights = {op.invoke_index: width if op.open else places[op.complete_index] for op in chosen}
    limit = width if dies_at is None else dies_at
    points = _points(order, lefts, {index: min(right, limit) for index, right in rights.items()})
    needed = {index: what for key, what in example.needed.items() if (index := _index(key)) is not None}
    bars = tuple(
        Bar(
            operation=op,
            lane=lanes.index(op.process),
            left=lefts[op.invoke_index],
            right=rights[op.invoke_index],
            in_core=op.invoke_index in example.core or op.invoke_index in example.drawn or op is dying,
            order=order.get(op.invoke_index),
            point=points.get(op.invoke_index),
            needed=needed.get(op.invoke_index, ""),
            impossible=op is dying,
        )
        for op in chosen
    )
    return Layout(bars, lanes, nodes, columns, width, dies_at, dying, left_out, timed, example.proof)


def _choose(
    example: Counterexample, operations: Mapping[int, DrawnOperation]
) -> tuple[list[DrawnOperation], int]:
    """What is worth drawing, the most important first, cut at ``DRAWN_MAX``; returned in order of invocation."""
    impossible = [] if example.impossible is None else [example.impossible]
    if example.drawn:
        shown = [index for index in dict.fromkeys([*impossible, *example.drawn]) if index in operations]
        return sorted((operations[index] for index in shown), key=lambda op: op.invoke_index), 0
    wished = [
        *impossible,
        *example.core,
        *_indexes(example.needed),
        *reversed(_context(example, operations)),
    ]
    # What else came with the counterexample belongs to it too, such as the releases of two lock holders.
    wished += [index for index in operations if index not in example.prefix]
    wanted = [index for index in dict.fromkeys(wished) if index in operations]
    named = {*wished, *example.prefix}
    chosen = sorted((operations[index] for index in wanted[:DRAWN_MAX]), key=lambda op: op.invoke_index)
    return chosen, len(named) - len(chosen)


def _context(example: Counterexample, operations: Mapping[int, DrawnOperation]) -> list[int]:
    """The end of the legal order: its last operations, and its last updates, which say where the state came from."""
    legal = [index for index in example.prefix if index in operations]
    updates = [index for index in legal if operations[index].value is not None]
    context = {*legal[-PREFIX_CONTEXT:], *updates[-PREFIX_CONTEXT:]}
    return [index for index in legal if index in context]


def _lanes(chosen: Sequence[DrawnOperation]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    lanes = tuple(sorted({op.process for op in chosen}))
    nodes = {op.process: op.node or "" for op in chosen}
    return lanes, tuple(nodes[lane] for lane in lanes)


def _columns(
    chosen: Sequence[DrawnOperation], *, timed: bool
) -> tuple[dict[int, float], tuple[tuple[float, int], ...], float]:
    """A column for each event, as narrow as the labels allow: one pass from left to right."""
    times = {op.invoke_index: op.invoke_ns for op in chosen}
    times |= {op.complete_index: op.complete_ns for op in chosen if not op.open}
    widths = {op.invoke_index: len(op.text) * CHARACTER_WIDTH + LABEL_MARGIN for op in chosen}
    calls = {op.complete_index: op.invoke_index for op in chosen if not op.open}
    places: dict[int, float] = {}
    at = LEFT
    for event in sorted(times):
        call = calls.get(event)
        if call is not None:
            at = max(at, places[call] + widths[call])
        places[event] = at
        at += COLUMN_MIN
    open_rights = [places[op.invoke_index] + widths[op.invoke_index] + 20 for op in chosen if op.open]
    width = max([at - COLUMN_MIN + OPEN_END, *open_rights])
    stretch = min(max(FILLED_WIDTH / width, 1.0), STRETCH_MAX)
    places = {event: LEFT + (place - LEFT) * stretch for event, place in places.items()}
    width = LEFT + (width - LEFT) * stretch
    columns = tuple((place, times[event] if timed else event) for event, place in sorted(places.items()))
    return places, columns, width


def _points(
    order: Mapping[int, int], lefts: Mapping[int, float], rights: Mapping[int, float]
) -> dict[int, float]:
    """A moment inside each bar at which it takes effect, moving right along the legal order."""
    at, points = 0.0, {}
    for index in sorted(order, key=lambda index: order[index]):
        at = min(max(at + 8, lefts[index] + 14), max(rights[index] - 8, lefts[index] + 14))
        points[index] = at
    return points


def _indexes(needed: Mapping[str, str]) -> list[int]:
    return [index for key in needed if (index := _index(key)) is not None]


def _index(key: str) -> int | None:
    return int(key) if key.lstrip("-").isdigit() else None
