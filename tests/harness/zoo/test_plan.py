"""Which tests the zoo plans."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.harness.zoo.small_zoo import FOUND, MISSED

from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.exhibit import Exhibit, Promise
from foreshock.harness.randomness import RandomStream
from foreshock.harness.request import Request
from foreshock.harness.zoo import plan
from foreshock.harness.zoo.plan import Hunt, Zoo, plan_zoo, sources_digest

pytestmark = pytest.mark.usefixtures("zoo_of_one")


def small(*wanted: str, tests: int = 10, seed: int = 0) -> Zoo:
    return plan_zoo(wanted, tests=tests, time_limit=5, first_seed=seed)


def test_everything_registered_is_hunted_or_surveyed_or_said_to_be_neither() -> None:
    zoo = small()
    assert [hunt.name for hunt in zoo.hunts] == [MISSED, FOUND]
    assert [(survey.target, survey.skipped) for survey in zoo.surveys] == [
        ("raft", None),
        ("solid", "it cannot be simulated"),
    ]
    assert zoo.unhunted == ("raft/unknown",)


def test_a_survey_goes_round_its_promises_with_seeds_that_count_up() -> None:
    tests = small(tests=8, seed=100).surveys[0].tests
    assert [test.seed for test in tests] == list(range(100, 108))
    assert [test.workload for test in tests] == ["register", "lock"] * 4
    assert {test.backend for test in tests} == {"sim"}
    assert {test.time_limit for test in tests} == {5}
    assert [test.nemesis for test in tests[::2]] == ["kill,pause", "kill", "pause", "none"]
    assert all(test.options == {"locks": 1} for test in tests[1::2])


def test_the_nemeses_of_a_promise_come_together_alone_not_at_all_and_in_any_mixture() -> None:
    promise = Promise(workload="register", nemeses=("a", "b", "c"))
    drawn = list(itertools.islice(plan._subsets(promise, RandomStream(1, "x")), 60))
    assert drawn[:5] == [("a", "b", "c"), ("a",), ("b",), ("c",), ()]
    assert len(set(drawn)) == 8


def test_names_choose_and_stars_stand_for_anything() -> None:
    assert [hunt.name for hunt in small("raft/votes*").hunts] == [FOUND]
    assert small("raft/votes*").surveys == ()
    assert [survey.target for survey in small("raft").surveys] == ["raft"]
    assert small("raft").hunts == ()
    assert small("raft", tests=0).surveys == ()


def test_a_name_that_is_nothing_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"nothing in the zoo is called 'raft/vote-for.*did you mean 'raft/votes-for"
    ):
        small("raft/vote-for-shorter-logs")


def test_an_exhibit_is_a_bug_a_target_or_a_finding() -> None:
    def kind(name: str, bug: str | None) -> str:
        return Hunt(Exhibit(name=name, request=Request(target="naive", bug=bug))).kind

    assert kind("raft/x", "raft/x") == "bug"
    assert kind("naive", None) == "target"
    assert kind("naive/stalled-client", None) == "finding"


def test_equal_zoos_have_equal_digests_and_others_have_others() -> None:
    assert small().digest() == small().digest()
    assert small().digest() != small(tests=11).digest()
    assert small().digest() != small(seed=1).digest()


def test_other_sources_make_another_digest(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = sources_digest(tmp_path)
    assert sources_digest(tmp_path) == before
    (tmp_path / "a.py").write_text("2")
    assert sources_digest(tmp_path) != before
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    (tmp_path / "b.py").write_text("1")
    assert sources_digest(tmp_path) != before


def test_a_target_that_does_not_import_is_named_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    load = plan.load

    def broken(kind: plan.Kind, name: str) -> object:
        if name == "solid":
            raise PlugInError("the target 'solid' does not import")
        return load(kind, name)

    monkeypatch.setattr(plan, "load", broken)
    zoo = small()
    assert [survey.target for survey in zoo.surveys] == ["raft"]
    assert zoo.broken == ("the target 'solid' does not import",)
