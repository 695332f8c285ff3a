"""Two campaigns compared: which tests ended otherwise, which kinds of failure are new or gone, what got slower."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Final

import numpy as np

from foreshock.harness.campaign.document import CampaignDocument, CampaignRow, Group
from foreshock.harness.comparison import (
    CampaignComparison,
    ChangedTest,
    Difference,
    DurationRow,
    Figure,
    KindOfFailure,
    Side,
)
from foreshock.reports.campaign_tests import BAD, DONE, Tally, deciding, place_text, reason_of, reported_run
from foreshock.reports.compare_runs import differences, setting_text
from foreshock.reports.compare_statistics import in_words, paired_ratio
from foreshock.reports.scales import counted

CHANGED_MAX = 400
KINDS_MAX = 120
DURATIONS_MAX = 60
_CHANGES: Final = ("broken", "mended", "other")
_STATES: Final = ("new", "still", "gone", "alone")
_Pairs = Sequence[tuple[CampaignRow, CampaignRow]]


def compare_campaigns(
    first: CampaignDocument, second: CampaignDocument, folders: tuple[Path, Path]
) -> CampaignComparison:
    """All that can be said of two campaigns; ``page`` is not set. ``folders`` are where their documents were found."""
    one, other = _by_name(first.rows), _by_name(second.rows)
    pairs = [(one[name], other[name]) for name in one if name in other]
    both = [pair for pair in pairs if all(row.outcome in DONE for row in pair)]
    changed = sorted(
        (_changed(a, b) for a, b in both if a.outcome != b.outcome),
        key=lambda test: (_CHANGES.index(test.change), test.place, test.seed),
    )
    kinds = _kinds(first, second, {row.key for pair in both for row in pair})
    return CampaignComparison(
        first=_side(first, folders[0]),
        second=_side(second, folders[1]),
        summary=_summary(first, second, changed, kinds, len(both)),
        settings=tuple(_settings(first, second)),
        both=len(both),
        only_first=len(one) - len(pairs),
        only_second=len(other) - len(pairs),
        first_counts=_counts(first),
        second_counts=_counts(second),
        changed=tuple(changed[:CHANGED_MAX]),
        changed_left_out=max(0, len(changed) - CHANGED_MAX),
        kinds=tuple(kinds[:KINDS_MAX]),
        duration=_duration(both),
        durations=tuple(_durations(both)),
    )


def _by_name(rows: Sequence[CampaignRow]) -> dict[tuple[str, int], CampaignRow]:
    """Tests by place and seed: a key may be made of more, such as the version of what is tested."""
    return {(place_text(row), row.seed): row for row in rows}


def _side(document: CampaignDocument, folder: Path) -> Side:
    return Side(
        path=str(folder),
        name=folder.name,
        what=f"campaign {document.name}" + (f", shard {document.shard}" if document.shard else ""),
        verdict=document.verdict,
        reason=document.summary,
        started=document.started,
        seconds=document.seconds,
        complete=document.complete,
    )


def _counts(document: CampaignDocument) -> dict[str, int]:
    return {name: count for name, _, count in Tally.of(row.outcome for row in document.rows).counts}


def _settings(first: CampaignDocument, second: CampaignDocument) -> list[Difference]:
    """What differs in what was asked for: the axes of the matrix, jobs, shard, command."""
    sides = []
    for document in (first, second):
        found = {f"axis {axis}": setting_text(values) for axis, values in sorted(document.axes.items())}
        found |= {"tests": str(document.planned), "jobs": str(document.jobs)}
        found |= {"shard": document.shard or "none", "command": setting_text(document.command)}
        sides.append(found)
    return differences(sides[0], sides[1])


def _changed(first: CampaignRow, second: CampaignRow) -> ChangedTest:
    change = "other"
    if second.outcome in BAD and first.outcome == "passed":
        change = "broken"
    elif first.outcome in BAD and second.outcome == "passed":
        change = "mended"
    replay = ""
    for row in (first, second):
        attempt = deciding(row)
        if attempt is not None and attempt.summary is not None:
            replay = attempt.summary.replay or replay
    told = first if change == "mended" else second
    return ChangedTest(
        change=change,
        place=place_text(second),
        seed=second.seed,
        first=first.outcome,
        second=second.outcome,
        reason=reason_of(told),
        first_run=reported_run(first),
        second_run=reported_run(second),
        replay=replay,
    )


def _kinds(
    first: CampaignDocument, second: CampaignDocument, shared: AbstractSet[str]
) -> list[KindOfFailure]:
    """The kinds of failure of both; ``shared`` are the keys of the tests that both have done."""
    one, other = ({_look(group): group for group in document.groups} for document in (first, second))
    found = []
    for look in dict.fromkeys((*other, *one)):
        a, b = one.get(look), other.get(look)
        newest = b or a
        assert newest is not None
        state = "new" if a is None else "gone" if b is None else "still"
        if state != "still" and shared.isdisjoint(newest.tests):
            state = "alone"  # that it was not seen elsewhere says nothing: its tests were not run there
        found.append(
            KindOfFailure(
                state=state,
                checker=newest.checker,
                core=newest.core,
                faults=newest.faults,
                first=len(a.tests) if a else 0,
                second=len(b.tests) if b else 0,
                reason=newest.reason,
                run=newest.run,
                replay=newest.replay,
            )
        )
    return sorted(found, key=lambda kind: (_STATES.index(kind.state), -max(kind.first, kind.second)))


def _look(group: Group) -> tuple[str, tuple[str, ...], tuple[str, ...], str]:
    """What makes failures alike. Where there is no core, the sentence says what it was."""
    return group.checker, group.core, group.faults, "" if group.core else group.reason


def _summary(
    first: CampaignDocument,
    second: CampaignDocument,
    changed: Sequence[ChangedTest],
    kinds: Sequence[KindOfFailure],
    both: int,
) -> str:
    if not both:
        return "The two have no test in common that both have done"
    counts = {change: sum(test.change == change for test in changed) for change in _CHANGES}
    said = [
        f"Of {counted(both, 'test')} that both have done {number_or_none(counts['broken'])} newly went wrong"
    ]
    said.append(f"{number_or_none(counts['mended'])} {'was' if counts['mended'] == 1 else 'were'} mended")
    if counts["other"]:
        said.append(f"{counts['other']} changed otherwise")
    fresh = sum(kind.state == "new" for kind in kinds)
    said.append(
        f"{counted(fresh, 'kind')} of failure {'is' if fresh == 1 else 'are'} new"
        if fresh
        else "no kind of failure is new"
    )
    unfinished = [letter for letter, document in (("A", first), ("B", second)) if not document.complete]
    tail = f" ({' and '.join(unfinished)} not complete)" if unfinished else ""
    return ", ".join(said) + tail


def number_or_none(count: int) -> str:
    """A count that begins a sentence's part."""
    return str(count) if count else "none"


def _seconds(row: CampaignRow) -> float:
    """How long the test's first attempt took: attempts beyond the first are there because it failed."""
    return row.attempts[0].seconds if row.attempts else 0.0


def _passed(pairs: _Pairs) -> list[tuple[CampaignRow, CampaignRow]]:
    """Pairs that passed on both sides and took time: what failed early says nothing about speed."""
    return [
        (a, b) for a, b in pairs if a.outcome == b.outcome == "passed" and _seconds(a) > 0 and _seconds(b) > 0
    ]


def _duration(pairs: _Pairs) -> Figure:
    passed = _passed(pairs)
    one, other = (np.array([_seconds(pair[at]) for pair in passed]) for at in (0, 1))
    interval = paired_ratio(one, other) if len(passed) else None
    # Of tests that were run at different hours nobody knows what else the machine did: that is no noise of theirs.
    says = "too few tests passed on both sides to tell"
    if interval:
        says = in_words(interval, found="the tests, or only the load of the machine, changed")
    return Figure(
        group="tests that passed on both sides",
        name="median duration",
        unit="s",
        first=float(np.median(one)) if len(passed) else None,
        second=float(np.median(other)) if len(passed) else None,
        ratio=interval.estimate if interval else None,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        told=interval.told_from(1.0) if interval else None,
        says=says,
    )


def _durations(pairs: _Pairs) -> list[DurationRow]:
    """The places by how much slower or faster they got, the most first."""
    places: dict[str, list[tuple[float, float]]] = {}
    for a, b in _passed(pairs):
        places.setdefault(place_text(b), []).append((_seconds(a), _seconds(b)))
    rows = []
    for place, seconds in places.items():
        one, other = np.array(seconds).T
        rows.append(
            DurationRow(
                place=place,
                tests=len(seconds),
                first_s=float(np.median(one)),
                second_s=float(np.median(other)),
                ratio=float(np.median(other / one)),
            )
        )
    return sorted(rows, key=lambda row: -abs(np.log(row.ratio)))[:DURATIONS_MAX]


def counts_by_outcome(comparison: CampaignComparison) -> list[tuple[str, int, int]]:
    """Every outcome that either side has, with both counts."""
    names: Mapping[str, int] = {**comparison.first_counts, **comparison.second_counts}
    order = [*(name for name in ("passed", *BAD, "running", "waiting") if name in names)]
    return [(n, comparison.first_counts.get(n, 0), comparison.second_counts.get(n, 0)) for n in order]
