"""The lock service: one owner, first come first served, tokens that only grow."""

from __future__ import annotations

from typing import Any

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.services.lock import Granted, Locks

A, B, C, D = 11, 12, 13, 14


def acquire(locks: Locks, session: int, *, wait: bool = True, key: str = "k") -> dict[str, Any]:
    return locks.apply(session, ["acquire", key, wait])


def test_a_free_lock_is_granted_and_a_held_one_is_not() -> None:
    locks = Locks()
    assert acquire(locks, A) == {"type": "acquire_ok", "granted": True, "token": 1}
    assert acquire(locks, B, wait=False) == {"type": "acquire_ok", "granted": False, "queued": False}
    assert locks.holder("k")["waiting"] == 0


def test_those_who_wait_are_served_in_the_order_of_asking_with_growing_tokens() -> None:
    locks = Locks()
    acquire(locks, A)
    for session in (B, C, D, B):
        assert acquire(locks, session) == {"type": "acquire_ok", "granted": False, "queued": True}
    for holder in (A, B, C):
        assert locks.apply(holder, ["release", "k", None]) == {"type": "release_ok"}
    assert locks.news == [Granted(B, "k", 2), Granted(C, "k", 3), Granted(D, "k", 4)]
    assert locks.apply(D, ["await", "k"]) == {"type": "acquire_ok", "granted": True, "token": 4}


def test_one_who_withdraws_loses_the_place_and_one_who_was_granted_meanwhile_keeps_the_lock() -> None:
    locks = Locks()
    acquire(locks, A)
    acquire(locks, B)
    acquire(locks, C)
    assert locks.apply(B, ["withdraw", "k"]) == {"type": "acquire_ok", "granted": False, "queued": False}
    locks.apply(A, ["release", "k", None])
    assert locks.apply(C, ["withdraw", "k"]) == {"type": "acquire_ok", "granted": True, "token": 2}
    assert locks.apply(B, ["await", "k"])["granted"] is False


def test_only_the_owner_by_the_right_grant_releases_or_renews() -> None:
    locks = Locks()
    token = acquire(locks, A)["token"]
    for operation in ("release", "renew"):
        assert locks.apply(B, [operation, "k", token])["code"] == codes.PRECONDITION_FAILED
        assert locks.apply(A, [operation, "k", token + 1])["code"] == codes.PRECONDITION_FAILED
        assert locks.apply(A, [operation, "free", None])["code"] == codes.PRECONDITION_FAILED
    assert locks.apply(A, ["renew", "k", token]) == {"type": "renew_ok", "token": token}
    assert locks.apply(A, ["release", "k", token]) == {"type": "release_ok"}
    assert locks.apply(A, ["release", "k", token])["code"] == codes.PRECONDITION_FAILED


def test_the_owner_is_not_granted_the_lock_again() -> None:
    locks = Locks()
    acquire(locks, A)
    assert acquire(locks, A)["code"] == codes.PRECONDITION_FAILED


def test_a_lock_without_a_session_is_refused() -> None:
    assert Locks().apply(None, ["acquire", "k", True])["code"] == codes.MALFORMED


def test_the_end_of_a_session_frees_its_locks_and_its_places_in_line() -> None:
    locks = Locks()
    acquire(locks, A, key="one")
    acquire(locks, A, key="two")
    acquire(locks, B, key="three")
    acquire(locks, A, key="three")
    acquire(locks, C, key="three")
    acquire(locks, C, key="one")
    assert locks.holds(A)
    locks.end_session(A)
    assert not locks.holds(A)
    assert locks.holder("one")["client"] == C
    assert locks.holder("two")["client"] is None
    locks.apply(B, ["release", "three", None])
    assert locks.holder("three")["client"] == C
