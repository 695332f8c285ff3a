"""From a red verdict to its cause: minimal core, the fault in force, what the nodes' logs said, how to run it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
from markupsafe import Markup

from foreshock.harness.checker import Counterexample
from foreshock.harness.errors import HarnessError
from foreshock.harness.verdict import Verdict
from foreshock.reports import svg
from foreshock.reports.columns import Columns
from foreshock.reports.counterexample import Bar, DrawnOperation, Layout, lay_out, moment_of, operations_of
from foreshock.reports.counterexample_drawing import draw
from foreshock.reports.explorer_data import Violation
from foreshock.reports.fault_windows import FaultWindow
from foreshock.reports.lock_holds import holds_of
from foreshock.reports.log_excerpts import Excerpt, clock_of, excerpt
from foreshock.reports.operation_text import clip, value_text
from foreshock.reports.scales import NS_PER_US, Linear, duration, moment
from foreshock.reports.stored_run import StoredRun

PATHS_MAX = 3
"""Violations told in full; the others are listed."""
LISTED_MAX = 100
REASON_CHARACTERS_MAX = 2_000
EXCERPTS_MAX = 9
FAULTS_IN_FORCE_MAX = 8
STRIP_WIDTH = 1080.0
STRIP_ROW = 32.0


class FaultInForce(NamedTuple):
    """A fault whose window meets the violation, with where the violation lies in it."""

    window: FaultWindow
    relation: str


class ViolationPath(NamedTuple):
    """One violation told to its end. ``zoom`` is the stretch in µs that the view of operations shows for it."""

    number: int
    checker: str
    key: str | None
    reason: str
    drawing: Markup
    layout: Layout
    holds: bool
    """Whether the drawing shows who held a lock."""
    states: tuple[str, ...]
    argument: tuple[str, ...]
    undecided: int
    earlier: int
    at: str
    faults: tuple[FaultInForce, ...]
    more_faults: int
    no_fault: str
    strip: Markup | None
    excerpts: tuple[Excerpt, ...]
    zoom: tuple[int, int]

    @property
    def bars(self) -> tuple[Bar, ...]:
        """The operations drawn, in order of invocation."""
        return self.layout.bars

    @property
    def core_size(self) -> int:
        """How many operations the core has."""
        return sum(bar.in_core for bar in self.layout.bars)

    @property
    def fault_words(self) -> str:
        """The fault that tells the most, in a few words."""
        if not self.faults:
            return "no fault in force"
        last = max(self.faults, key=lambda fault: fault.window.end_ns)
        nodes = ", ".join(last.window.nodes)
        return clip(f"{last.window.kind} on {nodes}" if nodes else last.window.kind, 48)

    @property
    def log_words(self) -> str:
        """Whose logs are quoted, in a few words."""
        nodes = list(dict.fromkeys(part.log.node for part in self.excerpts))
        return clip(", ".join(nodes), 48) if nodes else "no logs"


class Found(NamedTuple):
    """A counterexample with the operations that it names and the time it happened at (``None``: not known)."""

    checker: str
    example: Counterexample
    operations: Mapping[int, DrawnOperation]
    at_ns: int | None

    @property
    def key(self) -> str | None:
        """The key as text, or ``None`` where the history has none."""
        return None if self.example.key is None else value_text(self.example.key)


def find_violations(run: StoredRun, columns: Columns) -> list[Found]:
    """Every counterexample of the results: first of the checker that the verdict's reason names, then of the others."""
    found = []
    checkers = run.results.checkers if run.results else {}
    headline = run.results.reason.partition(":")[0] if run.results else ""
    for name, check in sorted(checkers.items(), key=lambda item: item[0] != headline):
        for example in check.counterexamples[:LISTED_MAX]:
            try:
                operations = operations_of(example, lambda wanted: _rows(columns, wanted))
            except msgspec.ValidationError as error:
                raise HarnessError(
                    f"{run.path}: a counterexample of {name} is not drawable: {error}"
                ) from None
            found.append(Found(name, example, operations, moment_of(example, operations)))
    return found


def invalid_without_example(run: StoredRun) -> list[tuple[str, str]]:
    """The checkers that convicted the history without a counterexample to draw, with their reasons."""
    checkers = run.results.checkers if run.results else {}
    return [
        (name, check.reason)
        for name, check in checkers.items()
        if Verdict.of_word(check.verdict) is Verdict.INVALID and not check.counterexamples
    ]


def moments(found: Iterable[Found]) -> list[Violation]:
    """When each violation happened, and at which operation."""
    return [
        Violation(one.at_ns, one.example.impossible, f"violation: {one.example.reason}")
        for one in found
        if one.at_ns is not None
    ]


def paths_of(
    run: StoredRun, columns: Columns, windows: Sequence[FaultWindow], found: Sequence[Found]
) -> list[ViolationPath]:
    """The first violations, told in full."""
    return [
        _path(number, run, columns, windows, one) for number, one in enumerate(found[:PATHS_MAX], start=1)
    ]


def _path(
    number: int, run: StoredRun, columns: Columns, windows: Sequence[FaultWindow], found: Found
) -> ViolationPath:
    example, at_ns = found.example, found.at_ns
    layout = lay_out(example, found.operations)
    began = min((bar.operation.invoke_ns for bar in layout.bars if bar.in_core), default=at_ns or 0)
    ended = began if at_ns is None else at_ns
    meeting = _in_force(windows, began, ended)
    faults = _most_telling(meeting, ended)
    margin = max((ended - began) * 2, columns.end_ns // 100)
    clock = clock_of(run.started)
    logs = [log for log in run.logs if log.node and log.size_bytes]
    shown = {bar.operation.invoke_index for bar in layout.bars}
    return ViolationPath(
        number=number,
        checker=found.checker,
        key=found.key,
        reason=clip(example.reason, REASON_CHARACTERS_MAX),
        drawing=draw(layout, f"counterexample-{number}", f"Counterexample: {example.reason}"),
        layout=layout,
        holds=bool(holds_of(layout)),
        states=example.states[:20],
        argument=example.argument,
        undecided=example.undecided,
        earlier=example.earlier + sum(index not in shown for index in example.prefix),
        at=moment(ended),
        faults=faults,
        more_faults=len(meeting) - len(faults),
        no_fault="" if faults else _no_fault(windows, began),
        strip=_strip(number, faults, layout, began, ended) if faults else None,
        excerpts=tuple(excerpt(log, ended, clock) for log in logs[:EXCERPTS_MAX]),
        zoom=(max(began - margin, 0) // NS_PER_US, (ended + margin) // NS_PER_US),
    )


def _rows(columns: Columns, wanted: Iterable[int]) -> list[dict[str, Any]]:
    """The rows of a history whose invocations have these indexes."""
    indexes = np.array(sorted(wanted), dtype=np.int64)
    places = np.searchsorted(columns.invoke_index, indexes)
    found = [
        int(place)
        for place, index in zip(places, indexes, strict=True)
        if place < columns.total and columns.invoke_index[place] == index
    ]
    return [columns.rows[place]._asdict() for place in found]


def _in_force(windows: Sequence[FaultWindow], began: int, ended: int) -> list[FaultInForce]:
    """The faults that meet the core, in order of their start; those in force at the violation tell the most."""
    overlapping = [window for window in windows if window.start_ns <= ended and window.end_ns >= began]
    return [FaultInForce(window, _relation(window, ended)) for window in overlapping]


def _most_telling(faults: Sequence[FaultInForce], ended: int) -> tuple[FaultInForce, ...]:
    """At most ``FAULTS_IN_FORCE_MAX`` of them: those whose end is furthest, counted up to the violation."""
    latest = sorted(faults, key=lambda fault: -min(fault.window.end_ns, ended))[:FAULTS_IN_FORCE_MAX]
    return tuple(sorted(latest, key=lambda fault: (fault.window.start_ns, fault.window.id)))


def _relation(window: FaultWindow, ended: int) -> str:
    if window.holds(ended):
        return f"in force for {duration(ended - window.start_ns)} at that moment"
    return f"ended {duration(ended - window.end_ns)} before, while the core was under way"


def _no_fault(windows: Sequence[FaultWindow], began: int) -> str:
    before = [window for window in windows if window.end_ns < began]
    if not windows:
        return "No fault was injected in this run."
    if not before:
        return "No fault was in force, nor had there been one before."
    last = max(before, key=lambda window: window.end_ns)
    ago = duration(began - last.end_ns)
    return f"No fault was in force. The last one before, {last.label}, had ended {ago} earlier."


def _strip(number: int, faults: Sequence[FaultInForce], layout: Layout, began: int, ended: int) -> Markup:
    """The faults in force as bars, with the core's operations over them and the moment as a needle."""
    low = min([fault.window.start_ns for fault in faults] + [began])
    high = max([fault.window.end_ns for fault in faults] + [ended])
    margin = max((high - low) // 20, 1)
    x = Linear(max(low - margin, 0), high + margin, 0, STRIP_WIDTH)
    body, y, at = [], 34.0, x(ended)
    # Under the faults' names, which may lie where the moment is.
    body.append(svg.line(at, 14, at, 34.0 + len(faults) * STRIP_ROW + 16, "needle"))
    for fault in faults:
        left, right = x(fault.window.start_ns), x(fault.window.end_ns)
        size = {"x": left, "y": y + 6, "width": max(right - left, 2.0), "height": 10, "rx": 3}
        body.append(svg.element("rect", class_="fault-bar", fill=fault.window.color, **size))
        name = clip(f"{fault.window.kind} {', '.join(fault.window.nodes)}", 60)
        body.append(svg.text(name, min(left, STRIP_WIDTH * 0.7), y, "fault-label"))
        y += STRIP_ROW
    for bar in layout.bars:
        if bar.in_core:
            operation = bar.operation
            left = x(operation.invoke_ns)
            right = x(operation.complete_ns if operation.complete_ns >= 0 else high + margin)
            mark = {"x": left, "y": y + 4, "width": max(right - left, 3.0), "height": 6, "rx": 2}
            body.append(svg.element("rect", class_=f"core-mark {operation.outcome}", **mark))
    anchor = "end" if at > STRIP_WIDTH * 0.7 else "start"
    body.append(
        svg.text(
            f"violation, {moment(ended)}",
            at + (-6 if anchor == "end" else 6),
            14,
            "death-label",
            anchor=anchor,
        )
    )
    for place, time_ns in ((low, low), (high, high)):
        anchor = "start" if place == low else "end"
        body.append(svg.text(moment(time_ns), x(place), y + 30, "tick", anchor=anchor))
    words = "; ".join(f"{fault.window.label}: {fault.relation}" for fault in faults)
    return svg.figure(
        f"fault-strip-{number}",
        STRIP_WIDTH,
        y + 38,
        title="The faults in force at the violation",
        description=words,
        body=body,
    )
