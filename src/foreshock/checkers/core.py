"""Minimal cores: the least part of an illegal history that is illegal by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from foreshock.checkers.engines import decide, deepest_of
from foreshock.checkers.entries import Entry, relax
from foreshock.checkers.problem import useful_horizons
from foreshock.checkers.search import Deepest, Limits, Search, SearchResult
from foreshock.harness.model import Model
from foreshock.harness.verdict import Verdict

TEST_CONFIGURATIONS_MAX: Final = 50_000
"""How far one question on the way to a core is searched."""
_WORTH_COMPILED: Final = 200
"""From so many operations on a question goes to whichever search is loaded."""


@dataclass
class CoreFinder:
    """Finds a core of one illegal history by delta debugging (Zeller & Hildebrandt 2002).

    The operations that are left out are relaxed, not deleted (:func:`foreshock.checkers.entries.relax`): so illegality
    is monotone (a part of a legal part is legal), and once round with single operations proves that the core is
    minimal, as long as each question was decided within the limits; ``undecided`` counts those that were not.
    """

    entries: Sequence[Entry]
    model: Model
    limits: Limits
    undecided: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        reads = {f: self.model.is_read(f) for f in {entry.f for entry in self.entries}}
        self._reads = [reads[entry.f] for entry in self.entries]
        self._answers: dict[frozenset[int], bool] = {}

    def relaxed(self, keep: Sequence[int]) -> list[Entry]:
        """The history with all but ``keep`` (offsets) left out."""
        return relax(self.entries, keep, self._reads)

    def judge(self, keep: Sequence[int]) -> SearchResult | None:
        """Decide the history with all but ``keep`` (offsets) left out; ``None`` when that took too long."""
        entries = self.relaxed(keep)
        if len(entries) < _WORTH_COMPILED:
            return self.search(entries)
        return decide(entries, self.model, self.limits, TEST_CONFIGURATIONS_MAX)

    def deepest(self, keep: Sequence[int]) -> Deepest | None:
        """Where every order of that illegal history ends; ``None`` when that took too long to find out."""
        return deepest_of(self.relaxed(keep), self.model, self.limits, TEST_CONFIGURATIONS_MAX)

    def search(self, entries: Sequence[Entry]) -> SearchResult | None:
        """Search some entries, few of them, and keep the order that is found; ``None`` when that took too long."""
        return Search(entries, self.model).run(self.limits, TEST_CONFIGURATIONS_MAX)

    def is_illegal(self, keep: Sequence[int]) -> bool:
        """Whether these operations are illegal by themselves; a question that stays open counts as no."""
        kept = frozenset(keep)
        answer = self._answers.get(kept)
        if answer is None:
            result = self.judge(keep)
            if result is None or result.verdict is Verdict.UNKNOWN:
                self.undecided += 1
                return False
            answer = self._answers[kept] = result.verdict is Verdict.INVALID
        return answer

    def find(self, suspects: Sequence[int], latest: Sequence[int]) -> list[int]:
        """A core, as offsets in ascending order.

        ``suspects`` are tried first; then more and more of ``latest`` (offsets, the latest first), since what went
        wrong mostly went wrong just before it was seen. Where nothing is found within the limits, it is all of
        them. There may be many minimal cores, of different sizes: this finds one.
        """
        keep = sorted({*suspects, *latest})
        for part in self._growing(suspects, latest):
            if self.is_illegal(part):
                keep = part
                break
        if self.limits.exceeded():
            self.undecided += 1
            return keep
        return self._shrink(keep)

    def _growing(self, suspects: Sequence[int], latest: Sequence[int]) -> list[list[int]]:
        parts = [sorted(suspects)] if suspects else []
        size = 4
        while size < len(latest):
            parts.append(sorted({*suspects, *latest[:size]}))
            size *= 2
        return parts

    def _shrink(self, keep: list[int]) -> list[int]:
        chunk = max(len(keep) // 2, 1)
        while True:
            start = 0
            while start < len(keep):
                if self.limits.exceeded():
                    self.undecided += 1
                    return keep
                candidate = keep[:start] + keep[start + chunk :]
                if self.is_illegal(candidate):
                    keep = candidate
                else:
                    start += chunk
            if chunk == 1:
                return keep
            chunk = max(chunk // 2, 1)


def noticed(entries: Sequence[Entry], keep: Sequence[int], model: Model) -> list[int]:
    """The offsets that can matter when all but ``keep`` are left out, or still fewer are kept.

    What nothing notices now, nothing will notice when less is kept; so a core of few operations need not carry
    a million others along.
    """
    reads = {f: model.is_read(f) for f in {entry.f for entry in entries}}
    kept = set(keep)
    rest = [o for o, entry in enumerate(entries) if o in kept or not reads[entry.f]]
    relaxed = relax(
        [entries[o] for o in rest], [p for p, o in enumerate(rest) if o in kept], [False] * len(rest)
    )
    horizons = useful_horizons(model, relaxed)
    return [
        o
        for o, entry, horizon in zip(rest, relaxed, horizons, strict=True)
        if o in kept or horizon >= entry.call
    ]
