"""Triage: failures that look alike are one group, so that a hundred failing tests are read as a handful.

Two failures look alike when they are of the same target (with the same bug planted, if any) and the same checker,
the same kinds of fault were in force, and the minimal core has the same shape: which operation is impossible, and
against which evidence. Evidence is told by how it ended (an ``info`` may never have happened) and by
whether it is of the kind of the impossible operation (a read against another read is not a read against a write).

What varies from seed to seed while the cause stays the same is left out: how often an operation is in the core and
in which order, whether it was a write or a compare-and-set that a stale read missed, and whether the violation was
seen while the fault lasted or just after it. Measured over 396 failures of 58 known causes
(planted bugs and naive targets of the zoo): 186 groups when all that counts, 117 when it does not. Nor do more causes
mix for it: were the planted bug not known, 21 of the first groups held several, and 16 of the second.

What the harness could not do, and what nobody could decide, are groups too, by the sentence that says why.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

import msgspec

from foreshock.harness.campaign.document import Attempt, CampaignRow, Group
from foreshock.harness.summary import AFTER, TestSummary

HARNESS = "harness"
"""What stands in the place of a checker where the harness could not do its work."""
_KINDS = ("invalid", "error", "unknown")
"""What an attempt can come to that is not good, worst first."""
_COUNT = re.compile(r" x\d+$")
_OWN = re.compile(r"'[^']*'|\S*/\S*|(?=\w*\d)\w+(?:[.:-]\w+)*")
"""What a sentence says of one test alone: quoted names, paths, and words that hold a figure."""


class _Failure(msgspec.Struct, frozen=True):
    """The attempt that speaks for a failed test."""

    key: str
    look: tuple[object, ...]
    kind: str
    attempt: Attempt
    faults: tuple[str, ...] = ()
    checker: str = ""

    @property
    def began(self) -> str:
        return self.attempt.summary.started if self.attempt.summary is not None else ""


def groups_of(rows: Sequence[CampaignRow]) -> tuple[Group, ...]:
    """The failures of a campaign, those that look alike together, newest first.

    A test is in one group: that of the newest of its worst attempts. A flaky test is in the group of its failure.
    """
    groups: dict[tuple[object, ...], list[_Failure]] = {}
    for failure in _failures(rows):
        groups.setdefault(failure.look, []).append(failure)
    for failures in groups.values():
        failures.sort(key=lambda failure: failure.began, reverse=True)
    return tuple(
        _group(failures)
        for failures in sorted(groups.values(), key=lambda failures: failures[0].began, reverse=True)
    )


def core_of(summaries: Collection[TestSummary]) -> tuple[str, ...]:
    """The operations in the minimal cores, without their counts, by name; what is impossible comes last."""
    words = {_COUNT.sub("", word) for summary in summaries for word in summary.core}
    impossible = {summary.impossible for summary in summaries}
    return tuple(sorted(words, key=lambda word: (word in impossible, word)))


def shape_of(summary: TestSummary) -> tuple[object, ...]:
    """What is compared of a minimal core."""
    kind = summary.impossible.rpartition(" ")[0]
    evidence = set()
    for word in summary.core:
        f, _, ended = _COUNT.sub("", word).rpartition(" ")
        if word != summary.impossible:  # it is not evidence against itself; a second one of its kind is
            evidence.add((f == kind, ended))
    return summary.impossible, frozenset(evidence)


def faults_of(summary: TestSummary) -> tuple[str, ...]:
    """The kinds of fault that a failure goes with: in force, or else the last one before."""
    return tuple(sorted({kind.removeprefix(AFTER) for kind in summary.faults_in_force}))


def _failures(rows: Sequence[CampaignRow]) -> Iterator[_Failure]:
    for row in rows:
        # One that was lost with its worker says nothing where another one came to an end.
        ends = [attempt for attempt in row.attempts if attempt.summary is not None] or row.attempts
        judged = [(kind, attempt) for attempt in ends if (kind := _kind(attempt)) is not None]
        if not judged:
            continue
        worst = min((kind for kind, _ in judged), key=_KINDS.index)
        newest = max((attempt for kind, attempt in judged if kind == worst), key=lambda each: each.number)
        yield _failure(row, worst, newest)


def _kind(attempt: Attempt) -> str | None:
    """What the attempt came to; ``None`` when it was good, or was only interrupted."""
    summary = attempt.summary
    if summary is None:
        return "error"
    if summary.verdict == "invalid":
        return "invalid"
    if summary.interrupted:
        return None
    if summary.harness_errors:
        return "error"
    return None if summary.verdict == "valid" else "unknown"


def _failure(row: CampaignRow, kind: str, attempt: Attempt) -> _Failure:
    summary = attempt.summary
    if kind == "error":
        sentence = _first_error(attempt)
        return _Failure(row.key, ("error", _OWN.sub("#", sentence)), kind, attempt, checker=HARNESS)
    assert summary is not None  # else it were an error
    faults, checker = faults_of(summary), summary.checker
    # Where there is no counterexample the sentence is all that tells failures apart.
    sentence = "" if summary.core else _OWN.sub("#", summary.reason)
    look = (kind, summary.target, summary.bug, checker, shape_of(summary), faults, sentence)
    return _Failure(row.key, look, kind, attempt, faults, checker)


def _group(failures: Sequence[_Failure]) -> Group:
    newest = failures[0]
    summary = newest.attempt.summary
    error = newest.kind == "error"
    return Group(
        checker=newest.checker,
        core=core_of([each.attempt.summary for each in failures if each.attempt.summary is not None]),
        faults=newest.faults,
        tests=tuple(failure.key for failure in failures),
        newest=newest.began,
        verdict="error" if error else newest.kind,
        reason=_first_error(newest.attempt) if error or summary is None else summary.reason,
        run=summary.run if summary is not None else "",
        replay=summary.replay if summary is not None else "",
    )


def _first_error(attempt: Attempt) -> str:
    if attempt.summary is not None and attempt.summary.harness_errors:
        return attempt.summary.harness_errors[0]
    return attempt.error or "it was lost, and nobody knows how"
