"""What a page tells of locks: who held them, tokens, waits, leases that ran out; the holds are the checker's."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tests.reports import service_runs
from tests.reports.tapes import MS, SECOND, Tape
from tests.reports.test_html_report import page_of

from foreshock.checkers.mutex import MutexChecker
from foreshock.harness.checker import CheckContext
from foreshock.harness.history import History
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict
from foreshock.reports.columns import columns_of
from foreshock.reports.explorer_holds import HOLDS_MAX, holds_document
from foreshock.reports.lock_beliefs import NEVER, Beliefs, LockHold, beliefs_of
from foreshock.reports.lock_tokens import tokens_of, uses_of


def random_locks(seed: int, kind: str) -> History:
    """Processes that acquire, renew and release two locks of a kind, more or less as they should."""
    rng, tape = random.Random(seed), Tape()
    for process in range(2 + seed % 4):
        at, depth = rng.randrange(40) * MS, [0, 0]
        for _ in range(2 + seed % 11):
            lock, took = rng.randrange(2), rng.randrange(1, 30) * MS
            f = rng.choice(("acquire", "acquire", "renew", "release", "release"))
            outcome = rng.choices(("ok", "fail"), (7, 2))[0]
            ttl = rng.choice((None, None, 20, 80, 300))
            value: object = 500
            result: object = (
                {"token": rng.randrange(50), "ttl_ms": ttl} if f != "release" and outcome == "ok" else None
            )
            if f == "acquire" and kind != "mutex":
                mode = {
                    "read-write": rng.choice(("read", "write")),
                    "semaphore": "permit",
                    "reentrant": "reentrant",
                }[kind]
                value = {"wait_ms": 5, "mode": mode, "permits": 2}
                if kind == "reentrant" and isinstance(result, dict):
                    result["depth"] = depth[lock] = depth[lock] + 1
            if f == "release":
                depth[lock] = 0 if outcome == "fail" else max(0, depth[lock] - 1)
            tape.add(
                process,
                f,
                at,
                at + took,
                OperationType(outcome),
                key=lock,
                value=value if f == "acquire" else None,
                result=result,
            )
            at += took + rng.randrange(1, 25) * MS
    return tape.history()


@pytest.mark.parametrize("kind", ["mutex", "read-write", "semaphore", "reentrant"])
def test_locks_overlap_exactly_where_the_checker_convicts(kind: str) -> None:
    seen = set()
    for seed in range(80):
        history = random_locks(seed, kind)
        beliefs = beliefs_of(columns_of(history))
        convicted = MutexChecker().check(history, CheckContext(1 << 62, 1 << 40)).verdict is Verdict.INVALID
        assert bool(beliefs.overlaps) == convicted, seed
        seen.add(convicted)
    assert seen == {True, False}


def test_the_page_tells_of_overlaps_tokens_waits_and_leases(tmp_path: Path) -> None:
    page = page_of(service_runs.lock_run(tmp_path))
    told = page.text[page.text.index("holds began") - 10 :]
    assert "1 of 5 holds began while another process held the same lock" in told
    assert "processes 4 and 5 at once" in told
    assert "20, 21 6.000 s 990 ms" in told
    # A use with token 20 after one with 21, and a grant of 19 after 21.
    assert "2 times a token was granted or accepted after a newer one" in told
    assert "20 accepted 21 4 7.100 s" in told
    assert "19 granted 21 6 9.000 s" in told
    assert "1 use of the guarded resource ended ok after the lease had run out" in told
    assert "20 use 6.990 s 110 ms" in told
    assert "20 given back late 6.990 s 1.01 s" in told
    assert "1 2 1 1 10 ms 10 ms 10 ms" in told
    for plot in ("plot-holds", "plot-tokens", "plot-waits"):
        assert len(page.having("svg", plot)) == 1, plot
    assert len(page.having("rect", "double")) == 1
    assert len(page.having("path", "token-back")) == 2
    assert len(page.having("rect", "lock-hold")) == 5


def test_a_run_without_locks_has_no_such_part(tmp_path: Path) -> None:
    page = page_of(service_runs.cache_run(tmp_path))
    assert not page.having("svg", "plot-holds")
    assert "Held by two" not in page.text


def test_a_lock_that_nobody_was_granted_is_told(tmp_path: Path) -> None:
    tape = Tape()
    tape.add(0, "acquire", 0, 5 * MS, OperationType.FAIL, key=0, value=0)
    tape.add(0, "release", 6 * MS, 7 * MS, OperationType.FAIL, key=0)
    service_runs._stored(tmp_path, tape, "lock", {})
    assert "No lock was granted in this run." in page_of(tmp_path).text


@pytest.mark.parametrize("odd", [10**40, -(10**40), 1e300, -1.0, True, "soon", None, [1], {"a": 1}])
def test_odd_leases_tokens_and_ends_stop_nothing(tmp_path: Path, odd: Any) -> None:
    tape = Tape()
    tape.add(
        0, "acquire", 0, MS, key=0, value={"mode": odd, "permits": odd}, result={"token": odd, "ttl_ms": odd}
    )
    tape.add(1, "acquire", 0, MS, key="0", value=odd, result=odd)
    tape.add(0, "use", 2 * MS, 3 * MS, key=0, value={"token": odd, "until_ns": odd}, result=odd)
    tape.add(0, "renew", 4 * MS, 5 * MS, key=0, value=odd, result={"ttl_ms": odd, "depth": odd})
    tape.add(0, "release", 6 * MS, 7 * MS, key=0, value=odd)
    page = page_of(service_runs._stored(tmp_path, tape, "lock", {}))
    assert len(page.having("svg", "plot-holds")) == 1


def test_tokens_are_compared_with_those_that_had_returned() -> None:
    tape = Tape()
    # Two grants at once may come in any order; the third comes after both.
    for process, start, end, token in ((0, 0, 10, 5), (1, 0, 11, 4), (2, 20, 21, 5)):
        tape.add(process, "acquire", start * MS, end * MS, key=0, result={"token": token}, value=1)
    tape.add(0, "release", 30 * MS, 31 * MS, key=0)
    columns = columns_of(tape.history())
    grants, uses = tokens_of(columns, beliefs_of(columns), uses_of(columns))[0]
    assert sorted(zip(grants.token.tolist(), grants.went_back.tolist(), strict=True)) == [
        (4, False),
        (5, False),
        (5, True),
    ]
    assert not len(uses.token)


def test_a_renewal_of_what_had_run_out_is_no_grant() -> None:
    tape = Tape()
    tape.add(0, "acquire", 0, 10 * MS, key=0, result={"token": 9, "ttl_ms": 20}, value=1)
    tape.add(0, "renew", 30 * MS, 40 * MS, key=0, result={"token": 9, "ttl_ms": 20}, value=9)
    columns = columns_of(tape.history())
    beliefs = beliefs_of(columns)
    assert len(beliefs.holds) == 2
    grants, _ = tokens_of(columns, beliefs, uses_of(columns))[0]
    assert (grants.token.tolist(), grants.went_back.tolist()) == ([9], [False])


def test_of_many_holds_the_view_is_never_without_those_that_overlap() -> None:
    holds = [
        LockHold(0, number, number * 10, number * 10, NEVER, None, "", 1, number, given_up_ns=number * 10 + 9)
        for number in range(HOLDS_MAX + 5_000)
    ]
    for number in range(0, len(holds), 1_111):
        holds[number].overlapping = True
    document = holds_document(Beliefs(holds), 1_000 * SECOND)
    assert document is not None
    assert 0 < document["left_out"] <= 5_100
    kept = next(array["length"] for array in document["arrays"] if array["name"] == "start")
    assert kept + document["left_out"] == len(holds)
    assert kept <= HOLDS_MAX
