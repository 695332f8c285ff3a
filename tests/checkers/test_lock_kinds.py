"""Re-entrant locks, read-write locks and semaphores: what is allowed there, and that each check can fail."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest
from tests.checkers.random_histories import context
from tests.checkers.test_lock_checkers import Script, exclusive

from foreshock.checkers.fencing import FencingChecker
from foreshock.checkers.guarded_resource import GuardedResourceChecker
from foreshock.checkers.mutex import MutexChecker, beliefs_of
from foreshock.harness.verdict import Verdict


def took(
    script: Script, process: int, mode: str, permits: int = 1, *, token: int | None = None, **result: Any
) -> Script:
    value = {"wait_ms": 0, "mode": mode, "permits": permits}
    return script.did(process, "acquire", value, {"token": token, "ttl_ms": None, **result})


def used(
    script: Script,
    process: int,
    mode: str,
    result: dict[str, int],
    *,
    token: int | None = None,
    permits: int = 1,
) -> Script:
    value = {"token": token, "until_ns": None, "mode": mode, "permits": permits}
    return script.did(process, "use", value, result)


def fenced(script: Script) -> bool:
    return FencingChecker().check(script.history(), context()).verdict is Verdict.VALID


def guarded(script: Script) -> bool:
    return GuardedResourceChecker().check(script.history(), context()).verdict is Verdict.VALID


# --- beliefs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "fine"),
    [
        ("read", "read", True),
        ("read", "write", False),
        ("write", "read", False),
        ("write", "write", False),
        ("reentrant", "reentrant", False),
        ("permit", "read", False),
    ],
)
def test_readers_share_and_all_others_exclude(first: str, second: str, fine: bool) -> None:
    assert exclusive(took(took(Script(), 1, first), 2, second)) is fine


def test_a_writer_is_the_counterexample_to_any_reader_that_still_believes() -> None:
    script = took(took(Script(), 1, "read", token=1), 2, "read", token=2).did(1, "release")
    result = MutexChecker().check(took(script, 3, "write", token=3).history(), context())
    (found,) = result.counterexamples
    assert found.states == ("held by process 2 (read) with token 2",)
    assert "processes 2 and 3 both believed" in result.reason
    assert [row["label"] for row in found.operations] == [
        "acquire read -> token 2",
        "acquire write -> token 3",
    ]


def test_a_semaphore_has_as_many_holders_as_permits_and_one_more_is_the_counterexample() -> None:
    script = took(took(Script(), 1, "permit", 2), 2, "permit", 2)
    assert exclusive(script)
    result = MutexChecker().check(took(script, 3, "permit", 2).history(), context())
    assert (
        "processes 1, 2 and 3 all believed that they held one of the 2 permits of semaphore 1"
        in result.reason
    )
    assert result.counterexamples[0].needed == {"4": "a free permit"}
    again = took(took(took(Script(), 1, "permit", 2), 2, "permit", 2).did(1, "release"), 3, "permit", 2)
    assert exclusive(again)


def test_a_reentrant_lock_is_believed_in_until_it_was_released_as_often_as_it_was_acquired() -> None:
    twice = took(took(Script(), 1, "reentrant", token=1, depth=1), 1, "reentrant", token=1, depth=2)
    assert not exclusive(took(twice.did(1, "release"), 2, "reentrant", token=2, depth=1))
    both = took(took(Script(), 1, "reentrant", token=1, depth=1), 1, "reentrant", token=1, depth=2)
    assert exclusive(took(both.did(1, "release").did(1, "release"), 2, "reentrant", token=2, depth=1))


def test_depth_is_counted_by_the_token_where_the_client_does_not_tell_it() -> None:
    twice = took(took(Script(), 1, "reentrant", token=1), 1, "reentrant", token=1)
    assert not exclusive(took(twice.did(1, "release"), 2, "reentrant", token=2))
    anew = took(took(Script(), 1, "reentrant", token=1), 1, "reentrant", token=2)
    assert exclusive(took(anew.did(1, "release"), 2, "reentrant", token=3))


def test_a_depth_of_one_is_a_new_grant_whatever_was_held_before() -> None:
    lost = took(took(Script(), 1, "reentrant", token=1, depth=1), 1, "reentrant", token=4, depth=1)
    assert exclusive(took(lost.did(1, "release"), 2, "reentrant", token=5, depth=1))


def test_a_release_that_failed_ends_the_belief_in_a_reentrant_lock_whole() -> None:
    twice = took(took(Script(), 1, "reentrant", depth=1), 1, "reentrant", depth=2)
    assert exclusive(took(twice.call(1, "release").fail(1), 2, "reentrant", depth=1))


def test_going_deeper_renews_a_lease() -> None:
    lease = {"ttl_ms": 100}
    value = {"wait_ms": 0, "mode": "reentrant", "permits": 1}
    script = Script().did(1, "acquire", value, {"token": 1, **lease, "depth": 1}).wait(50)
    script.did(1, "acquire", value, {"token": 1, **lease, "depth": 2}).wait(40)
    assert not exclusive(took(script, 2, "reentrant", token=2, depth=1))


def test_the_sweep_agrees_with_looking_at_every_group_of_beliefs() -> None:
    rng = random.Random(5)
    verdicts = []
    for _ in range(800):
        script = Script()
        permits = rng.randint(1, 3)
        for _ in range(rng.randint(2, 14)):
            process = rng.randint(1, 5)
            if rng.random() < 0.4:
                script.did(process, "release")
            else:
                took(script, process, rng.choice(("read", "write", "permit", "permit")), permits)
        beliefs = list(beliefs_of(script.history()))
        # Beliefs are stretches of one line: if every two of a group overlap, all of them do at the latest beginning.
        wrong = any(
            all(
                a.lasts_until(b) if a.start_index < b.start_index else b.lasts_until(a)
                for a, b in combinations(group, 2)
            )
            and _may_not_be(group, permits)
            for size in range(2, permits + 2)
            for group in combinations(beliefs, size)
        )
        verdicts.append(wrong)
        assert exclusive(script) is not wrong
    assert 100 < sum(verdicts) < 700


def _may_not_be(group: tuple[Any, ...], permits: int) -> bool:
    modes = {belief.mode for belief in group}
    return modes != {"read"} and (modes != {"permit"} or len(group) > permits)


# --- tokens -------------------------------------------------------------------------------------------------------


def test_a_lock_acquired_once_more_bears_the_same_token_and_a_new_grant_does_not() -> None:
    nested = took(took(Script(), 1, "reentrant", token=1, depth=1), 1, "reentrant", token=1, depth=2)
    nested.did(1, "release").did(1, "release")
    assert fenced(took(nested, 2, "reentrant", token=2, depth=1))
    again = took(Script(), 1, "reentrant", token=1, depth=1).did(1, "release")
    assert not fenced(took(again, 1, "reentrant", token=1, depth=1))
    assert not fenced(took(took(Script(), 1, "reentrant", token=1), 2, "reentrant", token=1))
    failed = took(Script(), 1, "reentrant", token=1, depth=1).call(1, "release").fail(1)
    assert not fenced(took(failed, 1, "reentrant", token=1, depth=1))


def test_readers_are_accepted_in_any_order_but_never_after_a_later_writer() -> None:
    seen = {"seen": 0, "again": 0}
    assert fenced(used(used(Script(), 1, "read", seen, token=2), 2, "read", seen, token=1))
    wrote = used(Script(), 1, "write", {"seen": 0, "wrote": 1}, token=2)
    assert not fenced(used(wrote, 2, "read", {"seen": 1, "again": 1}, token=1))


def test_a_writer_is_not_accepted_after_a_later_reader() -> None:
    read = used(Script(), 1, "read", {"seen": 0, "again": 0}, token=2)
    assert not fenced(used(read, 2, "write", {"seen": 0, "wrote": 1}, token=1))


def test_the_counter_tells_the_order_of_readers_and_writers_that_overlap() -> None:
    script = Script()
    for process, mode, token in ((1, "write", 1), (2, "read", 2)):
        script.call(process, "use", {"token": token, "until_ns": None, "mode": mode, "permits": 1})
    assert fenced(script.ok(2, {"seen": 1, "again": 1}).ok(1, {"seen": 0, "wrote": 1}))
    script = Script()
    for process, mode, token in ((1, "write", 3), (2, "read", 2)):
        script.call(process, "use", {"token": token, "until_ns": None, "mode": mode, "permits": 1})
    assert not fenced(script.ok(2, {"seen": 1, "again": 1}).ok(1, {"seen": 0, "wrote": 1}))


def test_the_holders_of_a_semaphore_use_it_in_any_order_but_their_tokens_grow() -> None:
    inside = {"inside": 1}
    both = used(used(Script(), 1, "permit", inside, token=2), 2, "permit", inside, token=1)
    assert fenced(both)
    assert not fenced(took(took(Script(), 1, "permit", 2, token=2), 2, "permit", 2, token=1))


# --- the resource -------------------------------------------------------------------------------------------------


def test_a_reader_sees_one_count_and_one_that_was_written() -> None:
    wrote = used(Script(), 1, "write", {"seen": 0, "wrote": 1})
    assert guarded(used(wrote, 2, "read", {"seen": 1, "again": 1}))
    changed = GuardedResourceChecker().check(
        used(Script(), 2, "read", {"seen": 0, "again": 1}).history(), context()
    )
    assert "a reader saw 0, and 1 a moment later" in changed.reason
    assert not guarded(used(Script(), 2, "read", {"seen": 3, "again": 3}))
    stale = used(used(Script(), 1, "write", {"seen": 0, "wrote": 1}), 2, "read", {"seen": 0, "again": 0})
    assert not guarded(stale)


def test_many_readers_of_one_count_lose_no_update() -> None:
    script = Script()
    for process in (1, 2, 3):
        used(script, process, "read", {"seen": 0, "again": 0})
    assert guarded(used(script, 4, "write", {"seen": 0, "wrote": 1}))


def test_a_writer_that_goes_back_behind_what_a_reader_saw_is_convicted() -> None:
    script = used(used(Script(), 1, "write", {"seen": 0, "wrote": 1}), 2, "read", {"seen": 1, "again": 1})
    assert not guarded(used(script, 3, "write", {"seen": 0, "wrote": 1}))


def test_a_crashed_reader_fills_no_gap() -> None:
    script = Script().call(1, "use", {"token": None, "until_ns": None, "mode": "read", "permits": 1}).info(1)
    assert not guarded(used(script, 2, "write", {"seen": 1, "wrote": 2}))


def test_one_user_too_many_under_a_semaphore_is_convicted() -> None:
    assert guarded(used(Script(), 1, "permit", {"inside": 2}, permits=2))
    result = GuardedResourceChecker().check(
        used(Script(), 1, "permit", {"inside": 3}, permits=2).history(), context()
    )
    assert "3 used it at once, and there are 2 permits" in result.reason
    assert result.counterexamples[0].operations[0]["label"] == "use among 3"
