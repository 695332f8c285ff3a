"""Locks of every mode: who shares with whom, who waits, and the same answers as a plain model gives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.targets.reference.node.services.lock_oracle import LockOracle

from foreshock.targets.reference.bugs.lock import GrantTableNotReplicated, ReleaseByNonOwner
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.services.lock import DEPTH_MAX, Granted, Locks
from foreshock.targets.reference.node.sessions import Sessions

A, B, C, D = 11, 12, 13, 14


def acquire(locks: Locks, session: int, mode: str, permits: int = 1, *, wait: bool = True) -> Any:
    reply = locks.apply(session, ["acquire", "k", wait, mode, permits])
    return reply.get("token") if reply.get("granted") else "queued" if reply.get("queued") else reply


def release(locks: Locks, session: int) -> Any:
    return locks.apply(session, ["release", "k", None])


def test_readers_share_and_a_writer_waits_for_all_of_them() -> None:
    locks = Locks()
    assert [acquire(locks, session, "read") for session in (A, B)] == [1, 2]
    assert acquire(locks, C, "write") == "queued"
    release(locks, A)
    assert locks.news == []
    release(locks, B)
    assert locks.news == [Granted(C, "k", 3)]
    assert locks.holder("k")["holders"] == [[C, 3]]


def test_a_reader_does_not_overtake_a_writer_in_line_and_all_readers_behind_it_are_served_at_once() -> None:
    locks = Locks()
    acquire(locks, A, "read")
    assert [acquire(locks, session, mode) for session, mode in ((B, "write"), (C, "read"), (D, "read"))] == [
        "queued",
        "queued",
        "queued",
    ]
    release(locks, A)
    assert [granted.session for granted in locks.news] == [B]
    release(locks, B)
    assert [granted.session for granted in locks.news] == [B, C, D]


@pytest.mark.parametrize("leave", ["withdraw", "end"])
def test_readers_that_waited_for_nobody_but_a_writer_are_served_when_it_leaves_the_line(leave: str) -> None:
    locks = Locks()
    acquire(locks, A, "read")
    acquire(locks, B, "write")
    acquire(locks, C, "read")
    if leave == "end":
        locks.end_session(B)
    else:
        locks.apply(B, ["withdraw", "k"])
    assert locks.news == [Granted(C, "k", 2)]


def test_a_reader_does_not_become_a_writer_nor_a_writer_a_reader() -> None:
    for first, second in (("read", "write"), ("write", "read"), ("read", "read"), ("exclusive", "reentrant")):
        locks = Locks()
        acquire(locks, A, first)
        assert acquire(locks, A, second)["code"] == codes.PRECONDITION_FAILED


def test_a_semaphore_has_so_many_holders_and_no_more() -> None:
    locks = Locks()
    assert [acquire(locks, session, "permit", 2) for session in (A, B, C)] == [1, 2, "queued"]
    assert acquire(locks, D, "permit", 3)["code"] == codes.PRECONDITION_FAILED
    release(locks, B)
    assert locks.news == [Granted(C, "k", 3)]
    for session in (A, C):
        release(locks, session)
    assert acquire(locks, D, "permit", 3) == 4


def test_a_reentrant_lock_is_let_go_by_as_many_releases_and_keeps_its_token() -> None:
    locks = Locks()
    granted = [locks.apply(A, ["acquire", "k", False, "reentrant", 1]) for _ in range(3)]
    assert [(reply["token"], reply["depth"]) for reply in granted] == [(1, 1), (1, 2), (1, 3)]
    acquire(locks, B, "reentrant")
    assert [release(locks, A).get("depth") for _ in range(3)] == [2, 1, None]
    assert locks.news == [Granted(B, "k", 2)]


def test_the_end_of_its_session_takes_a_reentrant_lock_whole() -> None:
    locks = Locks()
    for _ in range(3):
        acquire(locks, A, "reentrant")
    acquire(locks, B, "reentrant")
    locks.end_session(A)
    assert locks.holder("k")["client"] == B


def test_the_depth_has_a_limit() -> None:
    locks = Locks()
    locks.restore({"grants": 1, "locks": [["k", [[A, 1, "reentrant", 1, DEPTH_MAX]], []]]})
    assert acquire(locks, A, "reentrant")["code"] == codes.PRECONDITION_FAILED


@pytest.mark.parametrize(
    "operation", [["acquire", "k", True, "borrow", 1], ["acquire", "k", True, "read", "many"]]
)
def test_a_mode_that_there_is_not_is_refused(operation: list[Any]) -> None:
    assert Locks().apply(A, operation)["code"] == codes.MALFORMED


SESSIONS, KEYS = st.integers(1, 4), st.sampled_from(["k", 7])
WISHES = st.one_of(
    st.sampled_from([("exclusive", 1), ("reentrant", 1), ("read", 1), ("write", 1)]),
    st.tuples(st.just("permit"), st.integers(1, 3)),
)
STEPS = st.one_of(
    st.tuples(st.just("acquire"), SESSIONS, KEYS, st.booleans(), WISHES),
    st.tuples(st.sampled_from(["release", "renew"]), SESSIONS, KEYS, st.one_of(st.none(), st.integers(1, 9))),
    st.tuples(st.sampled_from(["withdraw", "await"]), SESSIONS, KEYS),
    st.tuples(st.just("end"), SESSIONS),
    st.tuples(st.just("restore")),
)


def answer_of(reply: dict[str, Any]) -> Any:
    """The service's answer in the words of the oracle."""
    if reply["type"] == "error":
        return "refused"
    if reply["type"] == "acquire_ok":
        if reply["granted"]:
            return (reply["token"], reply.get("depth", 1))
        return "queued" if reply["queued"] else "not granted"
    return "released" if reply["type"] == "release_ok" else reply["token"]


def told_by(locks: Locks, oracle: LockOracle, step: tuple[Any, ...]) -> tuple[Any, Any]:
    """What both answer to a step; a restored copy takes the service's place at ``restore``, which changes nothing."""
    match step:
        case ("acquire", session, key, wait, (mode, permits)):
            operation = ["acquire", key, wait, mode, permits]
            return answer_of(locks.apply(session, operation)), oracle.acquire(
                session, key, wait, mode, permits
            )
        case ("release" | "renew" as f, session, key, token):
            return answer_of(locks.apply(session, [f, key, token])), getattr(oracle, f)(session, key, token)
        case ("withdraw", session, key):
            return answer_of(locks.apply(session, ["withdraw", key])), oracle.withdraw(session, key)
        case ("await", session, key):
            return answer_of(locks.apply(session, ["await", key])), oracle.standing(session, key)
        case ("end", session):
            return locks.end_session(session), oracle.end(session)
    snapshot = json.loads(json.dumps(locks.snapshot()))
    locks.restore(snapshot)
    return locks.snapshot(), snapshot


def agrees_with_the_oracle(locks: Locks, steps: list[tuple[Any, ...]]) -> None:
    oracle = LockOracle()
    for step in steps:
        told, wanted = told_by(locks, oracle, step)
        assert told == wanted
        assert sorted(map(str, locks.news)) == sorted(str(Granted(*granted)) for granted in oracle.told)
        held = {(s, k) for k in ("k", 7) for s, _ in locks.holder(k)["holders"]}
        assert held == {(e.session, e.key) for e in oracle.holders}
        assert locks.holder("k")["waiting"] == sum(e.key == "k" for e in oracle.waiters)
        everywhere = {e.session for e in (*oracle.holders, *oracle.waiters)}
        assert {s for s in range(1, 5) if locks.holds(s)} == everywhere
        locks.news.clear()
        oracle.told.clear()


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_every_answer_is_that_of_the_plain_model(steps: list[tuple[Any, ...]]) -> None:
    agrees_with_the_oracle(Locks(), steps)


@pytest.mark.parametrize(
    ("bug", "steps"),
    [
        (ReleaseByNonOwner, [("acquire", 1, "k", False, ("write", 1)), ("release", 2, "k", None)]),
        (
            GrantTableNotReplicated,
            [("acquire", 1, "k", False, ("write", 1)), ("restore",), ("await", 1, "k")],
        ),
    ],
)
def test_the_planted_bugs_part_from_the_plain_model(bug: type[Locks], steps: list[tuple[Any, ...]]) -> None:
    agrees_with_the_oracle(Locks(), steps)
    with pytest.raises(AssertionError):
        agrees_with_the_oracle(bug(), steps)


@given(st.lists(STEPS, max_size=30))
def test_a_snapshot_shares_nothing_with_the_service_that_made_it(steps: list[tuple[Any, ...]]) -> None:
    locks, oracle = Locks(), LockOracle()
    for step in steps:
        told_by(locks, oracle, step)
    snapshot = locks.snapshot()
    text = json.dumps(snapshot)
    copy = Locks()
    copy.restore(snapshot)
    for session in range(1, 5):
        locks.end_session(session)
        copy.end_session(session)
    assert json.dumps(snapshot) == text


def test_a_snapshot_of_another_shape_is_refused_by_the_sessions() -> None:
    sessions = Sessions([Locks()])
    with pytest.raises(ValueError, match="unpack"):
        sessions.restore({"sessions": [], "services": {"lock": {"grants": 1, "locks": [["k", 11, 1, []]]}}})
