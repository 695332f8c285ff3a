"""The matrix of a campaign: target and workload down, nemesis, backend, bug and whatever else varies across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from foreshock.harness.campaign.document import CampaignRow
from foreshock.reports.campaign_tests import NO_BUG, Tally, named, value_of

ROW_AXES: Final = ("target", "workload")
COLUMN_AXES: Final = ("backend", "nemesis", "bug")
"""The outermost first; the other axes of a campaign come after them."""
COLUMNS_NICE = 14
"""With more columns than this the axis with the most values goes down instead of across."""
COLUMNS_MAX = 40
ROWS_MAX = 400


class Header(NamedTuple):
    """One cell of the columns' head."""

    label: str
    span: int


class Cell(NamedTuple):
    """One place with its tests. ``title`` names it in full."""

    number: int
    title: str
    tally: Tally


class MatrixRow(NamedTuple):
    """A row: its names (``same`` says which repeat the row above), and its cells, ``None`` where nothing is tested."""

    names: tuple[str, ...]
    same: tuple[bool, ...]
    cells: tuple[Cell | None, ...]


class Matrix(NamedTuple):
    """The whole. ``fixed`` are the axes that do not vary, with their one value."""

    row_axes: tuple[str, ...]
    column_axes: tuple[str, ...]
    heads: tuple[tuple[Header, ...], ...]
    rows: tuple[MatrixRow, ...]
    fixed: tuple[tuple[str, str], ...]
    rows_left_out: int
    columns_left_out: int


Place = tuple[str, ...]


class Placed(NamedTuple):
    """A matrix, and the tests of each of its cells by the cell's number and title."""

    matrix: Matrix
    cells: tuple[tuple[int, str, Sequence[CampaignRow]], ...]


def matrix_of(rows: Sequence[CampaignRow], axes: Mapping[str, tuple[str, ...]]) -> Placed:
    """Put tests into a matrix; ``axes`` gives the order of the axes and of their values."""
    values = _values(rows, axes)
    down, across, fixed = _split(rows, values)
    by_place: dict[tuple[Place, Place], list[CampaignRow]] = {}
    for row in rows:
        by_place.setdefault((_place(row, down), _place(row, across)), []).append(row)
    ranks = {axis: {value: rank for rank, value in enumerate(known)} for axis, known in values.items()}
    row_places = _ordered({place for place, _ in by_place}, down, ranks)
    column_places = _ordered({place for _, place in by_place}, across, ranks)
    lines: list[MatrixRow] = []
    cells: list[tuple[int, str, Sequence[CampaignRow]]] = []
    for at, row_place in enumerate(row_places[:ROWS_MAX]):
        found: list[Cell | None] = []
        for column_place in column_places[:COLUMNS_MAX]:
            tests = by_place.get((row_place, column_place))
            if tests is None:
                found.append(None)
                continue
            title = (
                " · ".join(value for value in (*row_place, *column_place) if value != NO_BUG) or "every test"
            )
            cell = Cell(len(cells) + 1, title, Tally.of(test.outcome for test in tests))
            cells.append((cell.number, title, tests))
            found.append(cell)
        before = row_places[at - 1] if at else ()
        same = tuple(before[: i + 1] == row_place[: i + 1] for i in range(len(row_place)))
        lines.append(MatrixRow(row_place, same, tuple(found)))
    matrix = Matrix(
        row_axes=down,
        column_axes=across,
        heads=_heads(column_places[:COLUMNS_MAX]),
        rows=tuple(lines),
        fixed=tuple((axis, values[axis][0]) for axis in fixed),
        rows_left_out=max(0, len(row_places) - ROWS_MAX),
        columns_left_out=max(0, len(column_places) - COLUMNS_MAX),
    )
    return Placed(matrix, tuple(cells))


def _values(rows: Sequence[CampaignRow], axes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The values of every axis that tests have, in the order of the file, then of the tests."""
    seen: dict[str, dict[str, None]] = {axis: {} for axis in (*ROW_AXES, *COLUMN_AXES, *axes)}
    for row in rows:
        for axis in row.cell:
            seen.setdefault(axis, {})
    for axis in seen:
        seen[axis] = dict.fromkeys(value_of(row, axis) for row in rows)
    order = {axis: [named(axis, value) for value in given] for axis, given in axes.items()}
    for axis, given in order.items():
        known = seen[axis]
        seen[axis] = dict.fromkeys([value for value in given if value in known]) | known
    return {axis: list(found) for axis, found in seen.items() if found and axis != "seed"}


def _split(
    rows: Sequence[CampaignRow], values: Mapping[str, Sequence[str]]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Which axes go down, which across, and which have one value alone."""
    down = [axis for axis in ROW_AXES if axis in values]
    others = [axis for axis in (*COLUMN_AXES, *values) if axis in values and axis not in ROW_AXES]
    others = list(dict.fromkeys(others))
    across = [axis for axis in others if len(values[axis]) > 1]
    fixed = [axis for axis in others if len(values[axis]) == 1]
    while across and len({_place(row, across) for row in rows}) > COLUMNS_NICE:
        most = max(across, key=lambda axis: len(values[axis]))
        across.remove(most)
        down.append(most)
    if not across and fixed:
        # One column needs a name, too.
        across, fixed = [fixed[0]], fixed[1:]
    return tuple(down), tuple(across), tuple(fixed)


def _place(row: CampaignRow, axes: Sequence[str]) -> Place:
    return tuple(value_of(row, axis) for axis in axes)


def _ordered(places: set[Place], axes: Sequence[str], ranks: Mapping[str, Mapping[str, int]]) -> list[Place]:
    return sorted(
        places, key=lambda place: tuple(ranks[axis][value] for axis, value in zip(axes, place, strict=True))
    )


def _heads(places: Sequence[Place]) -> tuple[tuple[Header, ...], ...]:
    """The rows of the head: equal neighbours of a level share a cell."""
    levels = []
    for level in range(len(places[0]) if places else 0):
        head: list[Header] = []
        for at, place in enumerate(places):
            if at and places[at - 1][: level + 1] == place[: level + 1]:
                head[-1] = Header(head[-1].label, head[-1].span + 1)
            else:
                head.append(Header(place[level], 1))
        levels.append(tuple(head))
    return tuple(levels)
