"""The reporter behind ``foreshock compare``: two runs or two campaigns side by side, as figures and as one page."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from foreshock.harness.campaign.document import CAMPAIGN, read_campaign
from foreshock.harness.comparison import CampaignComparison, Figure, RunComparison
from foreshock.harness.reporter import Reporter
from foreshock.reports.campaign_page import PAGE as CAMPAIGN_PAGE
from foreshock.reports.campaign_tests import SIGNS
from foreshock.reports.compare_campaigns import compare_campaigns, counts_by_outcome
from foreshock.reports.compare_plots import plots_of
from foreshock.reports.compare_runs import compare_runs, read_side
from foreshock.reports.html import REPORT
from foreshock.reports.operation_text import clip
from foreshock.reports.rendering import render, write_page
from foreshock.reports.scales import NS_PER_MS, duration, number, percent
from foreshock.reports.spans import long_duration

_SCRIPTS = ("page.js", "tables.js")
_STYLES = ("campaign.css", "compare.css")
Comparison = RunComparison | CampaignComparison


class CompareReporter(Reporter):
    """Compares two runs, or two campaigns. It has nothing to say of one folder alone."""

    name = "compare"

    def report(self, run: Path) -> None:
        """Nothing: one folder is no comparison."""

    def compare(self, first: Path, second: Path, output: Path | None) -> Comparison:
        """Compare two folders of the same kind, and write the page to ``output`` where that is given.

        Raises :class:`HarnessError` when a file of them cannot be understood or the page cannot be written.
        """
        if (first / CAMPAIGN).is_file():
            return self._campaigns(first, second, output)
        sides = read_side(first), read_side(second)
        comparison = compare_runs(*sides)
        if output is None:
            return comparison
        comparison = msgspec.structs.replace(comparison, page=str(output))
        links = [_link(side.run.path / REPORT, output) for side in sides]
        page = render(
            "compare.html.j2",
            _SCRIPTS,
            _STYLES,
            **_shared(comparison, links, first, second),
            plots=plots_of(*sides),
            figures=_grouped(comparison.figures),
            value=_value,
            change=_change,
            milliseconds=_milliseconds,
            share=_share,
        )
        write_page(output, page)
        return comparison

    def _campaigns(self, first: Path, second: Path, output: Path | None) -> CampaignComparison:
        documents = read_campaign(first), read_campaign(second)
        comparison = compare_campaigns(*documents, (first, second))
        if output is None:
            return comparison
        comparison = msgspec.structs.replace(comparison, page=str(output))
        links = [_link(folder / CAMPAIGN_PAGE, output) for folder in (first, second)]
        page = render(
            "compare_campaigns.html.j2",
            _SCRIPTS,
            _STYLES,
            **_shared(comparison, links, first, second),
            counts=counts_by_outcome(comparison),
            signs=SIGNS,
            report=lambda run: _link(Path(run) / REPORT, output) if run else None,
            seconds=lambda value: "" if value is None else long_duration(value),
            value=_value,
            change=_change,
        )
        write_page(output, page)
        return comparison


def _shared(comparison: Comparison, links: list[str | None], first: Path, second: Path) -> dict[str, Any]:
    """What both templates are given. Every string is plain text and is escaped when it is written."""
    sides = (("A", comparison.first, links[0]), ("B", comparison.second, links[1]))
    command = shlex.join(["foreshock", "compare", str(first), str(second)])
    return {"comparison": comparison, "sides": sides, "command": command, "clip": clip, "took": long_duration}


def _link(target: Path, output: Path) -> str | None:
    """The way from the page to a file, or ``None`` where that is not there."""
    if not target.is_file():
        return None
    return quote(Path(os.path.relpath(target, output.absolute().parent)).as_posix())


def _grouped(figures: tuple[Figure, ...]) -> list[tuple[str, list[Figure]]]:
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.group, []).append(figure)
    return list(groups.items())


def _value(figure: Figure, value: float | None) -> str:
    """A figure's value in its unit."""
    if value is None:
        return "none"
    match figure.unit:
        case "ns":
            return duration(value)
        case "share":
            return percent(value)
        case "s":
            return long_duration(value)
    return f"{number(float(f'{value:.3g}'))}{figure.unit}"


def _change(figure: Figure) -> str:
    """How the second differs from the first, as a percentage while that can be read, else as a factor."""
    if figure.ratio is None:
        return ""
    if 0.5 < figure.ratio < 2:
        percentage = (figure.ratio - 1) * 100
        return "0 %" if abs(percentage) < 0.05 else f"{'+' if percentage > 0 else '−'}{abs(percentage):.3g} %"
    return f"× {figure.ratio:.3g}"


def _milliseconds(value: float | None) -> str:
    return "not seen" if value is None else duration(value * NS_PER_MS)


def _share(value: float | None) -> str:
    return "none" if value is None else percent(value)
