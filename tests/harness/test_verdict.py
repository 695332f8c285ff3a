from __future__ import annotations

import pytest

from foreshock.harness.verdict import ExitCode, Verdict


def test_a_composed_verdict_is_the_worst_one() -> None:
    assert Verdict.worst([]) is Verdict.VALID
    assert Verdict.worst([Verdict.VALID, Verdict.UNKNOWN]) is Verdict.UNKNOWN
    assert Verdict.worst([Verdict.INVALID, Verdict.UNKNOWN, Verdict.VALID]) is Verdict.INVALID


def test_words_read_back() -> None:
    for verdict in Verdict:
        assert Verdict.of_word(verdict.word) is verdict


@pytest.mark.parametrize(
    ("verdict", "harness_errors", "interrupted", "code"),
    [
        (Verdict.VALID, False, False, 0),
        (Verdict.INVALID, True, True, 1),
        (Verdict.UNKNOWN, False, False, 2),
        (Verdict.UNKNOWN, True, False, 3),
        (Verdict.VALID, True, False, 3),
        (Verdict.VALID, True, True, 130),
    ],
)
def test_a_harness_error_never_hides_an_invalid(
    verdict: Verdict, harness_errors: bool, interrupted: bool, code: int
) -> None:
    assert ExitCode.of(verdict, harness_errors=harness_errors, interrupted=interrupted) == code


def test_over_several_tests_the_worst_counts() -> None:
    order = [ExitCode.VALID, ExitCode.UNKNOWN, ExitCode.HARNESS_ERROR, ExitCode.INTERRUPTED, ExitCode.INVALID]
    for i, code in enumerate(order):
        assert ExitCode.worst(order[: i + 1]) is code
