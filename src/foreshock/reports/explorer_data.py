"""What the zoomable view of operations is given: deflated columns, bounded in size whatever the history's.

Up to ``WHOLE_MAX`` operations are embedded whole. Above that the view gets a density grid of the ok operations over
time and latency, every fail and info operation, those around the violations, and an even selection of the others;
the page says what it left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from foreshock.reports.aggregates import Buckets
from foreshock.reports.columns import FAIL, INFO, OK, Columns, Integers, Mask
from foreshock.reports.explorer_holds import holds_document
from foreshock.reports.explorer_packing import deflated, described, planes_of
from foreshock.reports.fault_windows import FaultWindow
from foreshock.reports.lock_beliefs import Beliefs
from foreshock.reports.operation_text import clip, value_text
from foreshock.reports.scales import NS_PER_US

WHOLE_MAX = 200_000
AROUND_VIOLATION = 2_000
"""How many operations on each side of a violation are always kept."""
ANOMALIES_MAX = 400
LANES_MAX = 96
GRID_COLUMNS = 480
GRID_ROWS = 72
GRID_FLOOR_US = 1
"""The grid's rows run from this latency to the greatest one, logarithmically."""
_TEXT_BYTES_PER_OPERATION = 40
_LABEL_CHARACTERS_MAX = 300
_NAME_CHARACTERS_MAX = 160
_NEVER = 0xFFFFFFFF


class ExplorerData(NamedTuple):
    """The embedded document, and in words what it leaves out (empty: nothing)."""

    document: bytes
    embedded: int
    left_out: str


class Moment(NamedTuple):
    """A moment worth a look, and what it is."""

    at_ns: int
    label: str


class Violation(NamedTuple):
    """A moment at which a checker found the history illegal, and the operation it happened at."""

    at_ns: int
    invoke_index: int | None
    label: str


def explorer_data(
    columns: Columns,
    windows: Sequence[FaultWindow],
    violations: Sequence[Violation],
    concurrency: int,
    moments: Sequence[Moment] = (),
    beliefs: Beliefs | None = None,
) -> ExplorerData:
    """Pack a history for the view. ``concurrency`` folds the processes into that many lanes (0: one lane each).

    ``moments`` are what else is worth a look, and ``beliefs`` who held which lock, which is shown in lanes too.
    """
    chosen, left_out = _choose(columns, violations)
    arrays, data = _arrays(columns, chosen)
    marked = {violation.invoke_index for violation in violations}
    document = {
        "count": len(chosen),
        "total": columns.total,
        "end_us": columns.end_ns // NS_PER_US,
        "lanes": _lane_count(columns, concurrency),
        "f": [clip(name, _NAME_CHARACTERS_MAX) for name in columns.f_names],
        "nodes": [clip(name, _NAME_CHARACTERS_MAX) for name in columns.node_names],
        "arrays": arrays,
        "data": data,
        "text": _texts(columns, chosen),
        "grid": _grid(columns) if left_out else None,
        "marked": np.flatnonzero(
            np.isin(columns.invoke_index[chosen], [i for i in marked if i is not None])
        ).tolist(),
        "faults": [_fault(window) for window in windows[:ANOMALIES_MAX]],
        "anomalies": _anomalies(columns, windows, violations, moments),
        "holds": holds_document(beliefs, columns.end_ns) if beliefs else None,
    }
    return ExplorerData(msgspec.json.encode(document), len(chosen), left_out)


def _fault(window: FaultWindow) -> list[Any]:
    label = clip(window.label, _LABEL_CHARACTERS_MAX)
    return [window.start_ns // NS_PER_US, window.end_ns // NS_PER_US, window.color, label]


def _choose(columns: Columns, violations: Sequence[Violation]) -> tuple[Integers, str]:
    """The positions to embed, in order of invocation, and what that leaves out."""
    everything = np.argsort(columns.invoke_ns, kind="stable")
    if columns.total <= WHOLE_MAX:
        return everything, ""
    kept: Mask = columns.outcome != OK
    lost_notable = int(kept.sum()) - WHOLE_MAX // 2
    if lost_notable > 0:
        kept = _thin(kept, WHOLE_MAX // 2)
    for violation in violations[:8]:
        place = int(np.searchsorted(columns.invoke_ns[everything], violation.at_ns))
        kept[everything[max(place - AROUND_VIOLATION, 0) : place + AROUND_VIOLATION]] = True
    kept |= _thin(~kept, WHOLE_MAX - int(kept.sum()))
    chosen = everything[kept[everything]]
    said = (
        f"{columns.total - len(chosen):,} of {columns.total:,} operations are drawn only as density".replace(
            ",", " "
        )
    )
    if lost_notable > 0:
        return chosen, f"{said}, and of the fail and info operations only an even selection is kept"
    return chosen, f"{said}; every fail and info operation is here, and all those around a violation"


def _thin(mask: Mask, count: int) -> Mask:
    """At most ``count`` of the set positions, evenly chosen."""
    places = np.flatnonzero(mask)
    thinned = np.zeros(len(mask), dtype=np.bool_)
    if count > 0 and len(places):
        thinned[
            places[np.unique(np.linspace(0, len(places) - 1, min(count, len(places))).astype(np.int64))]
        ] = True
    return thinned


def _arrays(columns: Columns, chosen: Integers) -> tuple[list[dict[str, Any]], str]:
    start_us = columns.invoke_ns[chosen] // NS_PER_US
    latency_us = np.minimum(columns.latency_ns[chosen] // NS_PER_US, _NEVER - 1)
    latency_us = np.where(columns.completed[chosen], latency_us, _NEVER)
    index = columns.invoke_index[chosen]
    parts: list[tuple[str, npt.NDArray[Any]]] = [
        # Differences of sorted columns are small numbers, which deflate well.
        ("start", np.diff(start_us, prepend=0).clip(0, _NEVER).astype("<u4")),
        ("index", np.diff(index, prepend=0).astype("<i4")),
        ("latency", latency_us.astype("<u4")),
        ("process", columns.process[chosen].astype("<u4")),
        ("outcome", columns.outcome[chosen].astype("<u1")),
        ("f", np.minimum(columns.f[chosen], 255).astype("<u1")),
        ("node", (columns.node[chosen] + 1).clip(0, 255).astype("<u1")),
    ]
    return described(parts), deflated(planes_of(parts))


def _texts(columns: Columns, chosen: Integers) -> str:
    """Keys, values, results and errors as deflated JSON, inflated only when an operation is pointed at."""
    raw: list[list[Any]] = [columns.values(column, chosen) for column in ("key", "value", "result")]
    raw.append(columns.errors(chosen))
    encoded = msgspec.json.encode(raw, enc_hook=str)
    if len(encoded) > max(len(chosen), 1_000) * _TEXT_BYTES_PER_OPERATION * 2:
        encoded = msgspec.json.encode([[_short(value) for value in column] for column in raw], enc_hook=str)
    return deflated(encoded)


def _short(value: Any) -> Any:
    if value is None or isinstance(value, int):
        return value
    return clip(value if isinstance(value, str) else value_text(value), _TEXT_BYTES_PER_OPERATION)


def _lane_count(columns: Columns, concurrency: int) -> int:
    if not columns.total:
        return 1
    # Process p and its successors p + concurrency, ... are one thread after the other; more threads share lanes.
    return max(1, min(concurrency or LANES_MAX, LANES_MAX, int(columns.process.max()) + 1))


def _grid(columns: Columns) -> dict[str, Any]:
    """How many ok operations fall into each cell of time by latency, as deflated 16-bit counts, row by row."""
    chosen = (columns.outcome == OK) & columns.completed
    latency_us = np.maximum(columns.latency_ns[chosen] / NS_PER_US, GRID_FLOOR_US)
    top_us = max(float(latency_us.max(initial=10.0)), 10.0)
    width = max(-(-columns.end_ns // GRID_COLUMNS), 1)
    column = Buckets(width, GRID_COLUMNS).of(columns.invoke_ns[chosen])
    share = np.log(latency_us / GRID_FLOOR_US) / np.log(top_us / GRID_FLOOR_US)
    row = np.clip((share * GRID_ROWS).astype(np.int64), 0, GRID_ROWS - 1)
    counts = np.bincount(row * GRID_COLUMNS + column, minlength=GRID_ROWS * GRID_COLUMNS)
    return {
        "columns": GRID_COLUMNS,
        "rows": GRID_ROWS,
        "column_us": width / NS_PER_US,
        "top_us": top_us,
        "counts": deflated(np.minimum(counts, 0xFFFF).astype("<u2").tobytes()),
    }


def _anomalies(
    columns: Columns,
    windows: Sequence[FaultWindow],
    violations: Sequence[Violation],
    moments: Sequence[Moment],
) -> list[list[Any]]:
    """The moments that the key ``n`` steps through: [time in us, what it is], in order of time."""
    found = [(violation.at_ns, violation.label) for violation in violations]
    found += moments[: ANOMALIES_MAX // 4]
    found += [(window.start_ns, f"fault: {window.label}") for window in windows]
    for outcome, name in ((INFO, "unknown outcome"), (FAIL, "failed")):
        found += _bursts(columns, columns.outcome == outcome, name)
    found += _slowest(columns)
    if len(found) > ANOMALIES_MAX:
        # Violations come first in the list, so that a thinned list keeps them.
        found = [*found[: len(violations)], *found[len(violations) :: len(found) // ANOMALIES_MAX + 1]]
    return [[at // NS_PER_US, clip(label, _LABEL_CHARACTERS_MAX)] for at, label in sorted(found)]


def _bursts(columns: Columns, mask: Mask, name: str) -> list[tuple[int, str]]:
    """Operations of one outcome that follow each other closely count as one anomaly."""
    times = np.sort(columns.settled_ns[mask])
    if not len(times):
        return []
    apart = max(columns.end_ns // 100, 1)
    firsts = np.flatnonzero(np.diff(times, prepend=times[0] - 2 * apart) > apart)
    sizes = np.diff(np.append(firsts, len(times)))
    return [
        (int(times[first]), f"{name}: {size} operation{'s' if size > 1 else ''}")
        for first, size in zip(firsts.tolist(), sizes.tolist(), strict=True)
    ]


def _slowest(columns: Columns) -> list[tuple[int, str]]:
    """The slowest ok operations, where they are far slower than the rest."""
    places = np.flatnonzero((columns.outcome == OK) & columns.completed)
    if len(places) < 100:
        return []
    latency = columns.latency_ns[places]
    worst = places[np.argsort(latency, kind="stable")[-5:]]
    limit = 5 * float(np.quantile(latency, 0.99))
    return [
        (int(columns.invoke_ns[place]), f"slow {columns.name_of(int(place))}")
        for place in worst.tolist()
        if columns.latency_ns[place] > limit
    ]
