"""What a core is where questions stay open, and which parts are asked about."""

from __future__ import annotations

from tests.checkers.random_histories import limits

from foreshock.checkers.core import CoreFinder
from foreshock.checkers.entries import Entry
from foreshock.checkers.models.register import Register
from foreshock.checkers.search import Limits, SearchResult
from foreshock.harness.verdict import Verdict

ILLEGAL = [
    *(Entry(n, 10 * n, 10 * n + 5, "write", n) for n in range(8)),
    Entry(8, 100, 105, "read", None, 3),
]
EVERYTHING = list(range(9))


class Unsure(CoreFinder):
    """Decides nothing but the whole: each question takes too long, or ends as unknown."""

    unknown = False

    def judge(self, keep: object) -> SearchResult | None:
        return SearchResult(Verdict.UNKNOWN, 0, 0, 0) if self.unknown else None


def test_a_question_that_stays_open_is_counted_and_answered_with_no() -> None:
    finder = Unsure(ILLEGAL, Register(), limits())
    assert not finder.is_illegal([1])
    assert not finder.is_illegal([2])
    finder.unknown = True
    assert not finder.is_illegal([3])
    assert finder.undecided == 3
    assert finder.find([3, 8], EVERYTHING) == EVERYTHING


def test_without_time_a_core_is_all_of_it_and_counted_as_undecided() -> None:
    for begun in (0, 3):
        finder = CoreFinder(ILLEGAL, Register(), Limits(0, 1 << 30))
        finder.undecided = begun
        finder._answers[frozenset((3, 8))] = True
        assert finder.find([3, 8], EVERYTHING) == [3, 8]
        assert finder.undecided == begun + 1
        finder.undecided = begun
        assert finder._shrink([2, 3, 8]) == [2, 3, 8]
        assert finder.undecided == begun + 1


def test_suspects_are_asked_about_first_and_then_more_and_more_of_the_latest() -> None:
    finder = CoreFinder(ILLEGAL, Register(), limits())
    assert finder._growing([], [8, 7, 6, 5]) == []
    assert finder._growing([], [8, 7, 6, 5, 4]) == [[5, 6, 7, 8]]
    assert finder._growing([8, 3], [8, 7, 6, 5, 4, 3, 2, 1, 0]) == [
        [3, 8],
        [3, 5, 6, 7, 8],
        [1, 2, 3, 4, 5, 6, 7, 8],
    ]
