"""Where the operations of a counterexample are drawn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from foreshock.harness.checker import Counterexample
from foreshock.reports.counterexample import DRAWN_MAX, Layout, lay_out, moment_of, operations_of
from foreshock.reports.counterexample_drawing import draw
from foreshock.reports.lock_holds import holds_of, overlaps_of

MS = 1_000_000


def row(index: int, end: int, process: int, f: str = "write", **fields: Any) -> dict[str, Any]:
    shape = {"invoke_index": index, "complete_index": end, "process": process, "f": f, "type": "ok"}
    return shape | {"invoke_ns": index * MS, "complete_ns": end * MS if end >= 0 else -1} | fields


def layout(rows: Sequence[Mapping[str, Any]], **fields: Any) -> Layout:
    core = fields.pop("core", tuple(each["invoke_index"] for each in rows))
    example = Counterexample(key=None, reason="x", core=core, operations=tuple(rows), **fields)
    return lay_out(example, operations_of(example, lambda _: []))


def test_events_keep_their_order_and_bars_hold_their_words() -> None:
    rows = [
        row(0, 3, 0, value=1),
        row(1, 2, 1, value=2),
        row(4, 5, 0, "read", label="a read with many words"),
    ]
    made = layout(rows)
    places = [place for place, _ in made.columns]
    assert places == sorted(places)
    assert len(set(places)) == 6
    for bar in made.bars:
        assert bar.right - bar.left >= len(bar.operation.text) * 7
    assert made.lanes == (0, 1)


def test_an_operation_of_unknown_outcome_stays_open_to_the_right() -> None:
    made = layout([row(0, 1, 0), row(2, 3, 1, type="info"), row(4, -1, 2, type="info"), row(5, 6, 0)])
    ends = {bar.operation.invoke_index: bar.right for bar in made.bars}
    assert ends[2] == ends[4] == made.width
    assert ends[5] < made.width


def test_the_legal_order_moves_to_the_right_within_the_bars() -> None:
    rows = [row(0, 5, 0), row(1, 4, 1), row(2, 3, 2), row(6, 7, 0, "read")]
    made = layout(rows, prefix=(2, 0, 1), impossible=6)
    ordered = sorted((bar for bar in made.bars if bar.order), key=lambda bar: bar.order or 0)
    assert [bar.operation.invoke_index for bar in ordered] == [2, 0, 1]
    points = [bar.point or 0 for bar in ordered]
    assert points == sorted(points)
    assert all(bar.left < (bar.point or 0) < bar.right for bar in ordered)
    (dead,) = [bar for bar in made.bars if bar.impossible]
    assert dead.operation.invoke_index == 6
    assert made.dies_at == dead.right


def test_a_long_prefix_is_cut_and_counted() -> None:
    rows = [row(2 * i, 2 * i + 1, 0, value=i) for i in range(100)]
    made = layout(rows, core=(196, 198), prefix=tuple(range(0, 200, 2)), impossible=198)
    assert len(made.bars) <= DRAWN_MAX
    assert made.left_out == 100 - len(made.bars)


def test_what_an_operation_needed_is_beside_it() -> None:
    made = layout(
        [row(0, 1, 0), row(2, 3, 1, "read")], impossible=2, needed={"2": "the value to be 9", "x": "no"}
    )
    assert [bar.needed for bar in made.bars] == ["", "the value to be 9"]


def test_the_moment_is_the_return_of_the_impossible_operation_or_the_end_of_the_core() -> None:
    rows = (row(0, 7, 0), row(1, 4, 1))
    with_impossible = Counterexample(key=1, reason="x", core=(0,), impossible=1, operations=rows)
    without = Counterexample(key=1, reason="x", core=(0, 1), operations=rows)
    assert moment_of(with_impossible, operations_of(with_impossible, lambda _: [])) == 4 * MS
    assert moment_of(without, operations_of(without, lambda _: [])) == 7 * MS
    assert moment_of(without, {}) is None


def test_rows_that_are_missing_are_asked_for() -> None:
    asked: list[int] = []

    def find(wanted: Any) -> list[dict[str, Any]]:
        asked.extend(wanted)
        return [row(index, index + 1, 0) for index in wanted]

    example = Counterexample(key=1, reason="x", core=(4, 8), prefix=(0, 4), operations=(row(4, 5, 1),))
    assert sorted(operations_of(example, find)) == [0, 4, 8]
    assert asked == [0, 8]


def test_a_hold_ends_at_the_call_of_the_release() -> None:
    made = layout(
        [row(0, 1, 0, "acquire", result={"token": 1}), row(2, 5, 1, "acquire"), row(6, 7, 0, "release")]
    )
    first, second = holds_of(made)
    assert (first.start_ns, first.end_ns, first.token) == (1 * MS, 6 * MS, "1")
    assert (second.start_ns, second.end_ns) == (5 * MS, None)
    (overlap,) = overlaps_of([first, second])
    assert overlap.lasting_ns == 1 * MS


def test_what_a_grant_needed_is_not_behind_what_its_process_then_held() -> None:
    made = layout(
        [row(0, 1, 0, "acquire", result={"token": 1}), row(2, 5, 1, "acquire"), row(6, 7, 0, "release")],
        impossible=2,
        needed={"2": "the lock to be free"},
    )
    drawing = str(draw(made, "core", "two at once"))
    (note,) = re.findall(r'<text[^>]*y="([0-9.]+)"[^>]*>needed the lock', drawing)
    lowest = max(float(y) for y in re.findall(r'<rect[^>]*y="([0-9.]+)"[^>]*class="hold"', drawing))
    assert float(note) > lowest + 18 + 8  # the bar's height, and the letters'


def test_a_hold_ends_when_its_last_grant_runs_out() -> None:
    grant = {"token": 1, "ttl_ms": 10}
    rows = [
        row(0, 1, 0, "acquire", result=grant),
        row(4, 5, 0, "renew", result=grant),
        row(30, 31, 1, "acquire"),
    ]
    hold, other = holds_of(layout(rows))
    assert hold.end_ns == 14 * MS
    assert overlaps_of([hold, other]) == []


def test_places_in_the_legal_order_count_what_is_not_drawn() -> None:
    rows = [row(2 * i, 2 * i + 1, 0, value=i) for i in range(100)]
    made = layout(rows, core=(20, 198), prefix=tuple(range(0, 200, 2)), earlier=7, impossible=198)
    orders = {bar.operation.invoke_index: bar.order for bar in made.bars}
    assert orders[20] == 7 + 11
    assert orders[196] == 7 + 99


def test_the_thread_is_broken_where_operations_between_are_not_drawn() -> None:
    rows = [row(2 * i, 2 * i + 1, i, value=i) for i in range(4)]
    whole = str(draw(layout(rows, prefix=(0, 2, 4), impossible=6), "a", "b"))
    assert (whole.count('class="thread"'), whole.count('class="thread gap"')) == (2, 0)
    rows += [row(100, 101, 9, value=1)]
    gaps = str(draw(layout(rows, prefix=(0, 2, 50, 4), impossible=6), "a", "b"))
    assert (gaps.count('class="thread"'), gaps.count('class="thread gap"')) == (1, 1)


def test_of_a_short_proof_only_its_operations_are_drawn() -> None:
    rows = [row(2 * i, 2 * i + 1, 0, value=i) for i in range(9)]
    made = layout(
        rows, core=(0, 2, 4, 14, 16), drawn=(4, 14, 16), prefix=(6, 8), impossible=16, proof="overwritten"
    )
    assert [bar.operation.invoke_index for bar in made.bars] == [4, 14, 16]
    assert all(bar.in_core for bar in made.bars)


def test_of_acquires_that_are_only_counted_nobody_is_said_to_hold_the_lock() -> None:
    rows = [row(0, 1, 0, "acquire"), row(2, 3, 1, "acquire"), row(4, 5, 0, "release")]
    assert len(holds_of(layout(rows))) == 2
    assert holds_of(layout(rows, proof="counting", drawn=(0, 2, 4), impossible=2)) == []


def test_without_times_the_columns_are_events() -> None:
    rows = [row(0, 1, 0), row(2, 5, 1, "read")]
    rows = [each | {"invoke_ns": 0, "complete_ns": -1} for each in rows]
    made = layout(rows)
    assert not made.timed
    assert [number for _, number in made.columns] == [0, 1, 2, 5]
    assert layout([row(0, 1, 0)]).timed
