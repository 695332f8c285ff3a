"""Numbers, times, faults and operations as the page writes them."""

from __future__ import annotations

from typing import Any

import pytest
from markupsafe import escape
from tests.reports.tapes import SECOND, register_tape

from foreshock.harness.ledger import Fault
from foreshock.harness.nemesis import Shade
from foreshock.reports import scales, svg
from foreshock.reports.columns import columns_of
from foreshock.reports.fault_windows import fault_windows
from foreshock.reports.operation_text import operation_text, value_text
from foreshock.reports.plots import axis_of, plots_of


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1500, "1.5 µs"),
        (12_345_678, "12.3 ms"),
        (61_000_000_000, "61 s"),
        (-2e6, "−2 ms"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(ns: float, text: str) -> None:
    assert scales.duration(ns) == text


def test_a_share_is_never_rounded_to_all_or_nothing() -> None:
    assert [scales.percent(share) for share in (0, 1, 0.5, 0.9999999, 0.0000001)] == [
        "0 %",
        "100 %",
        "50.0 %",
        "99.99 %",
        "0.01 %",
    ]


def test_scales_keep_to_their_edges() -> None:
    linear, logarithmic = scales.Linear(0, 10, 100, 200), scales.Logarithmic(1, 100, 0, 2)
    assert [linear(value) for value in (-5, 0, 5, 10, 15)] == [100, 100, 150, 200, 200]
    assert [logarithmic(value) for value in (0, 1, 10, 1000)] == pytest.approx([0, 0, 1, 2])
    assert scales.decade_ticks(0.5, 200) == [1, 10, 100]


@pytest.mark.parametrize(
    ("f", "value", "result", "outcome", "text"),
    [
        ("read", None, 2, "ok", "read → 2"),
        ("read", None, None, "ok", "read → nothing"),
        ("read", None, None, "info", "read"),
        ("write", 3, None, "ok", "write 3"),
        ("cas", [1, 2], True, "ok", "cas 1, 2"),
        ("put", "a" * 100, None, "fail", 'put "' + "a" * 42 + "…"),
    ],
)
def test_an_operation_in_words(f: str, value: Any, result: Any, outcome: str, text: str) -> None:
    assert operation_text(f, value, result, outcome) == text


def test_values_of_any_kind_are_short_text() -> None:
    assert value_text({"a": [1, None]}) == '{"a":[1,null]}'
    assert value_text(1 << 70) == str(1 << 70)
    assert len(value_text(["x"] * 1000)) == 80


def fault(**fields: Any) -> Fault:
    return Fault(**({"id": 0, "kind": "partition", "nodes": ("n1",), "planned_ns": 10} | fields))


def test_a_window_runs_from_verified_to_healed_or_to_the_end() -> None:
    healed, left, failed, planned = fault_windows(
        [
            fault(verified_ns=20, healed_ns=50),
            fault(id=1, planned_ns=30, verified_ns=31),
            fault(id=2, planned_ns=40, failed_ns=45, failure="it did not cut"),
            fault(id=3, planned_ns=60),
        ],
        (),
        100,
    )
    assert (healed.start_ns, healed.end_ns, healed.state) == (20, 50, "healed")
    assert (left.start_ns, left.end_ns, left.state) == (31, 100, "never healed")
    assert (failed.start_ns, failed.end_ns, failed.state, failed.note) == (40, 45, "failed", "it did not cut")
    assert (planned.end_ns, planned.state) == (100, "planned only")


def test_a_window_has_the_nemesis_colour_unless_that_is_no_colour() -> None:
    shades = [Shade("partition", (), (), "#123abc"), Shade("kill", (), (), "red;}")]
    one, other, third = fault_windows(
        [fault(), fault(id=1, kind="kill"), fault(id=2, kind="kill")], shades, 100
    )
    assert one.color == "#123abc"
    assert other.color == third.color
    assert other.color.startswith("#")


@pytest.mark.parametrize(
    ("value", "effect"),
    [
        (None, ""),
        ("minority", "minority"),
        ({"n1": ["n2", "n3"], "n2": ["n1"], "n3": ["n1"]}, "n1 | n2, n3"),
        ({"kind": "one-way", "grudge": {"n1": ["n2"]}}, "one-way: n1 does not hear n2"),
        ({"kind": "halves", "grudge": {"n1": ["n2"], "n2": ["n1"]}}, "halves: n1 | n2"),
        ({"skew_ms": 30}, "skew 30 ms"),
        ({"kind": "jump", "jump_ms": {"n1": 81, "n3": -60}}, "jump: n1 81 ms, n3 -60 ms"),
        ({"kind": "strobe", "jump_ms": {"n1": 9}, "every_ms": 69}, "strobe: jump n1 9 ms, every 69 ms"),
        ({"processes": [8, 9], "duration_ms": 5039}, "processes 8, 9, duration 5039 ms"),
        ({"links": {"n1": {"n2": {"loss_ppm": 7}}}}, '{"links":{"n1":{"n2":{"loss_ppm":7}}}}'),
        ({"spec": "all", "nodes": ["n1", "n2"], "kind": "full"}, "full: spec all, nodes n1, n2"),
    ],
)
def test_what_a_fault_did_is_said_in_one_line(value: Any, effect: str) -> None:
    (window,) = fault_windows([fault(value=value)], (), 100)
    assert window.effect == effect


def test_nothing_becomes_markup_in_a_drawing() -> None:
    drawn = svg.figure("x", 10, 10, title="<a>", description='"', body=[svg.text("</text><b>", 1, 2)])
    assert "<b>" not in drawn
    assert "&lt;/text&gt;&lt;b&gt;" in drawn
    assert svg.element("rect", x=1.0, y=None, class_='"<') == '<rect x="1" class="&#34;&lt;"/>'


def test_a_broken_line_lifts_the_pen() -> None:
    assert svg.path([(0, 1), (2, 3), None, (4, 5)]) == "M0 1L2 3M4 5"


def test_every_fault_is_on_every_plot_with_the_times_of_the_ledger() -> None:
    """Whatever its kind: a nemesis of a stranger, and one whose shade has another name than its faults."""
    kinds = (
        "partition", "kill", "pause", "power", "clock", "packet", "disk", "starve", "membership", "of another"
    )  # fmt: skip
    faults = [
        fault(id=i, kind=kind, planned_ns=(i + 1) * SECOND, verified_ns=(i + 2) * SECOND, healed_ns=(i + 4) * SECOND)
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    columns = columns_of(register_tape(count=600, seconds=20.0).history())
    windows = fault_windows(faults, [Shade("kill", (), (), "#123456")], columns.end_ns)
    plots = plots_of(columns, axis_of(columns, windows, ()))
    assert [plot.name for plot in plots] == ["faults", "rate", "latency", "availability"]
    for plot in plots:
        for window in windows:
            assert str(escape(window.label)) in str(plot.drawing)
    assert windows[0].label.endswith("(planned 1.000 s, verified 2.000 s, healed 4.000 s)")
    never = fault_windows([fault(planned_ns=SECOND, failed_ns=2 * SECOND, failure="no")], (), 10 * SECOND)
    assert never[0].times == "planned 1.000 s, verified never, healed never"
