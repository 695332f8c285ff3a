"""A comparison on the terminal: what differs first, then the figures, then what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from foreshock.harness.cli.common import relative, verdict_text
from foreshock.harness.comparison import CampaignComparison, Figure, RunComparison, Side

if TYPE_CHECKING:
    from rich.console import Console

ROWS_MAX: Final = 20
TEXT_MAX: Final = 100
GROUPS_MAX: Final = 3
"""All operations, and those with and without a fault in force; the page and ``--json`` have every kind."""
_CHANGES: Final = {"broken": "went wrong", "mended": "mended", "other": "changed"}
_UNITS: Final = (("s", 1e9), ("ms", 1e6), ("us", 1e3), ("ns", 1.0))


def show(comparison: RunComparison | CampaignComparison, out: Console, *, quiet: bool) -> None:
    """Print a comparison; ``quiet``: its one sentence."""
    if quiet:
        out.print(_plain(comparison.summary, 400), markup=False)
        return
    for letter, side in (("A", comparison.first), ("B", comparison.second)):
        _show_side(letter, side, out)
    out.print(_plain(comparison.summary, 400), style="bold", markup=False)
    out.print()
    if isinstance(comparison, RunComparison):
        _show_runs(comparison, out)
    else:
        _show_campaigns(comparison, out)
    for note in comparison.notes:
        out.print(_plain(note, 400), style="dim", markup=False)


def _show_side(letter: str, side: Side, out: Console) -> None:
    seed = "" if side.seed is None else f" seed {side.seed}"
    out.print(f"{letter}  ", verdict_text(side.verdict), f"  {_plain(side.what)}{seed}", sep="", markup=False)
    out.print(f"   {_plain(side.reason, 200)}", markup=False)
    out.print(f"   {relative(side.path)}", style="dim", markup=False)


def _show_runs(comparison: RunComparison, out: Console) -> None:
    settings = [(each.setting, each.first, each.second) for each in comparison.settings]
    settings += [(f"version of {each.setting}", each.first, each.second) for each in comparison.versions]
    if settings:
        _table(out, ("setting", "A", "B"), settings)
    if comparison.divergence is not None:
        _show_divergence(comparison, out)
    if comparison.outcomes:
        head = ("outcomes", "ok A", "B", "fail A", "B", "info A", "B")
        rows = [
            (row.f, *(str(count) for pair in zip(row.first, row.second, strict=True) for count in pair))
            for row in comparison.outcomes
        ]
        _table(out, head, rows)
    group = None
    figures: list[tuple[str, ...]] = []
    shown = list(dict.fromkeys(figure.group for figure in comparison.figures))[:GROUPS_MAX]
    for figure in [figure for figure in comparison.figures if figure.group in shown]:
        name = figure.name if figure.group == group else f"{figure.group}: {figure.name}"
        group = figure.group
        figures.append((name, _value(figure, figure.first), _value(figure, figure.second), figure.says))
    _table(out, ("figure", "A", "B", "is it noise?"), figures, rows_max=2 * ROWS_MAX)
    if comparison.recoveries:
        _table(
            out,
            ("recovery after", "faults A", "B", "median A", "B", "is it noise?"),
            [
                (
                    row.kind,
                    str(row.first_count),
                    str(row.second_count),
                    _milliseconds(row.first_median_ms),
                    _milliseconds(row.second_median_ms),
                    row.says,
                )
                for row in comparison.recoveries
            ],
        )
    parted = [row for row in comparison.checkers if row.first != row.second]
    if parted:
        rows = [(row.checker, row.first or "not asked", row.second or "not asked") for row in parted]
        _table(out, ("checker", "A", "B"), rows)


def _show_divergence(comparison: RunComparison, out: Console) -> None:
    parting = comparison.divergence
    assert parting is not None
    if parting.event is None:
        out.print(f"the histories are the same: {parting.events} events, byte for byte", markup=False)
    else:
        out.print(f"the histories part at event {parting.event}:", markup=False)
        for letter, event in (("both", parting.before), ("A", parting.first), ("B", parting.second)):
            out.print(f"  {letter:<5}{_plain(event, 200) or 'the history ends'}", markup=False)
    out.print()


def _show_campaigns(comparison: CampaignComparison, out: Console) -> None:
    names = dict.fromkeys((*comparison.first_counts, *comparison.second_counts))
    counts = [
        (name, str(comparison.first_counts.get(name, 0)), str(comparison.second_counts.get(name, 0)))
        for name in names
    ]
    _table(out, ("tests", "A", "B"), counts)
    if comparison.changed:
        _table(
            out,
            ("change", "test", "seed", "A", "B", "why"),
            [
                (_CHANGES[test.change], test.place, str(test.seed), test.first, test.second, test.reason)
                for test in comparison.changed
            ],
        )
    if comparison.kinds:
        _table(
            out,
            ("kind of failure", "tests A", "B", "checker", "core", "faults"),
            [
                (k.state, str(k.first), str(k.second), k.checker, ", ".join(k.core), ", ".join(k.faults))
                for k in comparison.kinds
            ],
        )
    duration = comparison.duration
    if duration.first is not None and duration.second is not None:
        out.print(
            f"duration of {duration.group}: {duration.first:.3g} s in A, {duration.second:.3g} s in B "
            f"in the median; {duration.says}",
            markup=False,
        )
        out.print()


def _table(
    out: Console, head: tuple[str, ...], rows: Sequence[tuple[str, ...]], *, rows_max: int = ROWS_MAX
) -> None:
    """Columns as wide as they need; figures to the right. What is left out is counted."""
    shown = [head, *(tuple(_plain(cell) for cell in row) for row in rows[:rows_max])]
    widths = [max(len(row[at]) for row in shown) for at in range(len(head))]
    for row in shown:
        last = len(row) - 1
        line = "  ".join(
            cell if at == last else f"{cell:<{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        out.print(f"  {line.rstrip()}", style="dim" if row is head else None, markup=False)
    if len(rows) > rows_max:
        out.print(f"  and {len(rows) - rows_max} more", style="dim", markup=False)
    out.print()


def _plain(text: str, characters_max: int = TEXT_MAX) -> str:
    """A text that cannot steer the terminal, and keeps to its line."""
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
    return shown if len(shown) <= characters_max else shown[: characters_max - 3] + "..."


def _value(figure: Figure, value: float | None) -> str:
    if value is None:
        return "none"
    if figure.unit == "ns":
        unit, size = next((unit for unit in _UNITS if value >= unit[1]), _UNITS[-1])
        return f"{value / size:.3g} {unit}"
    if figure.unit == "share":
        return f"{value * 100:.2f} %"
    return f"{value:.3g}{figure.unit}"


def _milliseconds(value: float | None) -> str:
    if value is None:
        return "not seen"
    return f"{value / 1000:.3g} s" if value >= 1000 else f"{value:.3g} ms"
