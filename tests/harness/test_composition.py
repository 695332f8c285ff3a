from __future__ import annotations

import pytest

from foreshock.harness.composition import (
    QuietWindow,
    check_mix,
    nemeses_of,
    parse_intensity,
    parse_quiet_windows,
    weighted_nemeses,
)
from foreshock.harness.errors import UsageError
from foreshock.harness.request import Request


def test_nemeses_are_named_with_weights_or_without() -> None:
    assert weighted_nemeses("partition, kill=3") == {"partition": 1, "kill": 3}
    assert weighted_nemeses("a=b/mine.py:Mine=2") == {"a=b/mine.py:Mine": 2}
    assert nemeses_of("kill=3,partition") == ("kill", "partition")
    assert weighted_nemeses("none") == {}


@pytest.mark.parametrize(
    "text", ["kill=0", "kill=", "kill=-1", "kill=1.5", "kill=many", "kill=101", "kill*3"]
)
def test_a_weight_that_is_none_is_said_with_the_mend(text: str) -> None:
    with pytest.raises(UsageError, match=r"has no weight that can be used: .*from 1 to 100, such as kill=3"):
        weighted_nemeses(text)


def test_a_nemesis_named_twice_is_an_error_whatever_its_weight() -> None:
    with pytest.raises(UsageError, match="named twice"):
        weighted_nemeses("kill,kill=2")


@pytest.mark.parametrize(
    ("text", "permille"), [("medium", 1000), ("LOW", 500), ("extreme", 4000), ("1.5", 1500), ("20", 20_000)]
)
def test_intensity_is_a_word_or_a_factor(text: str, permille: int) -> None:
    assert parse_intensity(text) == permille


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0", "an intensity of 0 is out of bounds: give a factor from 0.05 to 20"),
        ("-1", "out of bounds"),
        ("1e9", "is no intensity"),
        ("nan", "is no intensity"),
        ("hihg", r"did you mean 'high'\?"),
        ("", "is no intensity"),
    ],
)
def test_an_intensity_that_is_none_is_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_intensity(text)


def test_quiet_windows_are_read_in_order() -> None:
    assert parse_quiet_windows("10-15, 30-35.5", 60) == (QuietWindow(10, 15), QuietWindow(30, 35.5))
    assert parse_quiet_windows(None, 60) == parse_quiet_windows("", 60) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("10-15,12-20", "the quiet window 12-20 overlaps 10-15"),
        ("20-25,3-5", "the quiet window 3-5 comes before 20-25"),
        ("15-10", "ends before it begins"),
        ("10-10", "ends before it begins"),
        ("10", "'10' is no quiet window: give seconds from and to"),
        ("-3-5", "is no quiet window"),
        ("1-2,,3-4", "'' is no quiet window"),
        ("70-80", "begins after the main phase, which lasts 60 s"),
    ],
)
def test_quiet_windows_that_cannot_be_are_said(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_quiet_windows(text, 60)


def test_a_mix_that_is_none_names_the_nearest() -> None:
    assert check_mix("exclusive") == "exclusive"
    with pytest.raises(UsageError, match=r"there is no mix 'exclusiv' \(did you mean 'exclusive'\?\)"):
        check_mix("exclusiv")


def test_the_command_that_runs_a_test_again_has_all_of_it() -> None:
    request = Request(
        nemesis="partition,kill=3",
        mix="exclusive",
        intensity="high",
        quiet_windows="1-2",
        allow="n*",
        interval=2.0,
    )
    words = request.arguments("sim", 7)
    for pair in (
        ["--nemesis", "partition,kill=3"],
        ["--mix", "exclusive"],
        ["--intensity", "high"],
        ["--quiet-windows", "1-2"],
        ["--allow", "n*"],
        ["--interval", "2"],
    ):
        at = words.index(pair[0])
        assert words[at : at + 2] == pair
    assert "--schedule" not in words
    assert not {"--mix", "--intensity", "--quiet-windows", "--schedule", "--allow"} & set(
        Request().arguments("sim", 7)
    )
