"""Session guarantees: golden histories kept and broken, and never a conviction that some order of updates refutes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import permutations, product
from typing import Any

import pytest
from tests.checkers.planted import Planted
from tests.checkers.random_histories import context
from tests.checkers.register_histories import Op, history_of, in_turn, random_operations, writers

from foreshock.checkers import session_floors, sessions, versions
from foreshock.checkers.sessions import GUARANTEES, SessionChecker
from foreshock.harness.checker import CheckResult
from foreshock.harness.errors import UsageError
from foreshock.harness.verdict import Verdict

MR, RYW, MW, WFR = GUARANTEES


def check(operations: Sequence[Op], guarantees: str = "") -> CheckResult:
    return SessionChecker(guarantees).check(history_of(*operations), context())


BROKEN = [
    (MR, in_turn((1, "put", "x", 1), (1, "put", "x", 2), (2, "get", "x", 2), (2, "get", "x", 1))),
    (MR, in_turn((1, "put", "x", 1), (2, "get", "x", 1), (2, "get", "x", None))),
    (RYW, in_turn((1, "put", "x", 1), (1, "put", "x", 2), (1, "get", "x", 1))),
    (RYW, in_turn((1, "put", "x", 1), (2, "delete", "x", None), (2, "get", "x", 1))),
    (MW, in_turn((1, "put", "x", 1), (1, "put", "y", 2), (2, "get", "y", 2), (2, "get", "x", None))),
    (
        WFR,
        in_turn(
            (3, "put", "x", 1),
            (1, "get", "x", 1),
            (1, "put", "y", 2),
            (2, "get", "y", 2),
            (2, "get", "x", None),
        ),
    ),
]


@pytest.mark.parametrize(("guarantee", "operations"), BROKEN)
def test_a_broken_guarantee_is_found_by_its_name_and_alone(guarantee: str, operations: list[Op]) -> None:
    result = check(operations)
    assert result.verdict is Verdict.INVALID
    assert f"(no {guarantee.replace('-', ' ')})" in result.reason
    counts = {name: found["broken_by"] for name, found in result.details["guarantees"].items()}
    assert counts == {name: int(name == guarantee) for name in GUARANTEES}
    assert result.counterexamples[0].impossible == 2 * len(operations) - 2
    assert result.details["illegal_keys"] == ["x"]
    others = ",".join(name for name in GUARANTEES if name != guarantee)
    assert check(operations, others).verdict is Verdict.VALID
    assert check(operations, guarantee).verdict is Verdict.INVALID


def test_the_whole_chain_of_a_write_that_does_not_follow_its_read_is_shown() -> None:
    [found] = check(BROKEN[-1][1]).counterexamples
    assert [row["label"] for row in found.operations] == ["put 1", "get 1", "put 2", "get 2", "get absent"]
    assert (
        "get absent of key 'x' by process 2 goes back behind the get 1 of process 1, which then did put 2 of key 'y', "
        "which process 2 had read (get 2)"
    ) in found.reason


KEPT = {
    "another process may be behind": in_turn(
        (1, "put", "x", 1), (1, "put", "x", 2), (2, "get", "x", 2), (3, "get", "x", 1)
    ),
    "a process may stay behind": in_turn(
        (1, "put", "x", 1), (1, "put", "x", 2), (2, "get", "x", 1), (2, "get", "x", 1), (2, "get", "x", 2)
    ),
    "concurrent updates come in either order": [
        Op("put", 0, 10, 1, 1),
        Op("put", 2, 9, 2, 2),
        Op("get", 14, 15, 2),
        Op("get", 16, 17, 1),
    ],
    "an own update that never returned promises nothing": [
        Op("put", 0, 1, 1, 1),
        Op("put", 2, None, 2, 0),
        Op("get", 4, 5, 1, 0),
    ],
    "a value that was written twice may be the later one": in_turn(
        (1, "put", "x", 1), (1, "put", "x", 2), (1, "put", "x", 1), (2, "get", "x", 2), (2, "get", "x", 1)
    ),
    "who wrote it again may not have come yet": [
        Op("put", 0, None, 1, 3),
        *(
            o._replace(begin=o.begin + 2, end=(o.end or 0) + 2)
            for o in in_turn(
                (1, "put", "x", 1),
                (2, "get", "x", 1),
                (1, "put", "x", 2),
                (2, "get", "x", 2),
                (2, "get", "x", 1),
            )
        ),
    ],
    "what was made before, and after the reader had looked": in_turn(
        (1, "put", "y", 2), (2, "get", "y", 2), (1, "put", "x", 1), (2, "get", "x", None)
    ),
    "of who wrote twice it is not known which he read": in_turn(
        (1, "put", "y", 2),
        (1, "put", "x", 1),
        (1, "put", "y", 2),
        (2, "get", "y", 2),
        (2, "get", "x", None),
    ),
    "another may have written what he read": in_turn(
        (1, "put", "x", 1),
        (1, "put", "y", 2),
        (3, "put", "y", 2),
        (2, "get", "y", 2),
        (2, "get", "x", None),
    ),
    "through two other processes": in_turn(
        (1, "put", "x", 1),
        (1, "put", "y", 2),
        (3, "get", "y", 2),
        (3, "put", "z", 3),
        (2, "get", "z", 3),
        (2, "get", "x", None),
    ),
}


@pytest.mark.parametrize("name", KEPT)
def test_who_may_be_innocent_is_let_go(name: str) -> None:
    result = check(KEPT[name])
    assert result.verdict is Verdict.VALID
    assert "monotonic reads or read your writes or monotonic writes or writes follow reads" in result.reason


def test_a_delete_that_must_have_been_seen_counts() -> None:
    read = in_turn(
        (1, "put", "x", 1),
        (1, "delete", "x", None),
        (2, "get", "x", 1),
        (2, "get", "x", None),
        (2, "get", "x", 1),
    )
    result = check(read)
    assert result.verdict is Verdict.INVALID
    assert result.details["guarantees"][MR] == {"broken_by": 1}


def test_a_compare_and_set_is_an_update_to_its_new_value() -> None:
    assert (
        check(in_turn((1, "put", "x", 1), (1, "cas", "x", [1, 2]), (1, "get", "x", 1))).verdict
        is Verdict.INVALID
    )
    assert (
        check(in_turn((1, "put", "x", 1), (1, "cas", "x", [1, 2]), (1, "get", "x", 2))).verdict
        is Verdict.VALID
    )


def test_values_that_are_no_small_integers_are_told_apart() -> None:
    values = [True, 1, 1.5, "1", [1, 2], {"a": None}]
    writes = [(1, "put", "x", value) for value in values]
    assert check(in_turn(*writes, (1, "get", "x", values[-1]))).verdict is Verdict.VALID
    for value in values[:-1]:
        result = check(in_turn(*writes, (1, "get", "x", value)))
        assert result.details["guarantees"][RYW] == {"broken_by": 1}, value


def test_every_key_that_is_broken_is_told_of() -> None:
    steps = [(1, f, f"k{n}", v) for n in range(30) for f, v in (("put", 1), ("put", 2), ("get", 1))]
    result = check(in_turn(*steps))
    assert len(result.details["illegal_keys"]) == 30
    assert len(result.counterexamples) == 20
    assert result.details["guarantees"][RYW] == {"broken_by": 30}


def test_what_is_no_guarantee_or_no_register_is_refused() -> None:
    with pytest.raises(UsageError, match="no session guarantee 'causal'"):
        SessionChecker("causal")
    with pytest.raises(UsageError, match="'append' is no operation of theirs"):
        check(in_turn((1, "append", "x", 1)))
    with pytest.raises(UsageError, match=r"must be a pair \[old, new\]"):
        check(in_turn((1, "cas", "x", 1)))


def test_it_stops_when_it_is_told_to() -> None:
    history = history_of(*BROKEN[0][1])
    for stopped in (context(seconds=0), context(should_stop=lambda: True)):
        assert SessionChecker().check(history, stopped).verdict is Verdict.UNKNOWN
    assert SessionChecker().check(history_of(), context()).verdict is Verdict.VALID


# --- against the definition -----------------------------------------------------------------------------


def orders(operations: Sequence[Op]) -> Iterator[dict[Op | None, int]]:
    """Every order of the updates that keeps real time, as ranks; those of different keys do not meet."""
    updates = [o for o in operations if o.f != "get"]
    for order in permutations(updates):
        ranks: dict[Op | None, int] = {None: -1, **{o: rank for rank, o in enumerate(order)}}
        if all(
            ranks[u] < ranks[v]
            for u in updates
            for v in updates
            if u.key == v.key and u.end is not None and u.end < v.begin
        ):
            yield ranks


def may_keep(operations: Sequence[Op], guarantees: Sequence[str]) -> bool:
    """Whether there is an order of updates, and a choice of what each read saw, by which the guarantees are kept."""
    reads = [o for o in operations if o.f == "get" and o.end is not None and writers(operations, o)]
    for seen in product(*(writers(operations, read) for read in reads)):
        saw = dict(zip(reads, seen, strict=True))
        for ranks in orders(operations):
            if proves(operations, saw, ranks) and all(
                ranks[older] <= ranks[saw[read]]
                for name in guarantees
                for older, read in demanded(name, operations, saw)
            ):
                return True
    return False


def proves(operations: Sequence[Op], saw: dict[Op, Op | None], ranks: dict[Op | None, int]) -> bool:
    """What was read had taken effect before the read returned, and so before all updates that began after that."""
    return all(
        ranks[update] < ranks[later]
        for read, update in saw.items()
        for later in operations
        if later.f != "get" and later.key == read.key and before(read, later)
    )


def before(one: Op, other: Op) -> bool:
    return one.end is not None and one.end < other.begin


def demanded(name: str, operations: Sequence[Op], saw: dict[Op, Op | None]) -> Iterator[tuple[Op | None, Op]]:
    """What a guarantee says of each read: an update that it must have seen, or a newer one."""
    for read in saw:
        mine = [o for o in operations if o.process == read.process and before(o, read)]
        for o in mine:
            if name == MR and o in saw and o.key == read.key:
                yield saw[o], read
            if name == RYW and o.f != "get" and o.key == read.key:
                yield o, read
            link = saw.get(o)
            if link is None or name not in (MW, WFR):
                continue
            for older in operations:
                if older.process == link.process and older.key == read.key and before(older, link):
                    if name == MW and older.f != "get":
                        yield older, read
                    if name == WFR and older in saw:
                        yield saw[older], read


def wrong_convictions(seed: int, count: int) -> tuple[int, int, int]:
    """How many were convicted that may be innocent; how many cannot be innocent; how many of those were convicted."""
    wrong = guilty = caught = 0
    for number in range(count):
        rng = random.Random(f"{seed}/{number}")
        operations = random_operations(rng, distinct=rng.random() < 0.8)
        chosen = GUARANTEES if rng.random() < 0.5 else [rng.choice(GUARANTEES)]
        convicted = check(operations, ",".join(chosen)).verdict is Verdict.INVALID
        if convicted or number % 4 == 0:
            innocent = may_keep(operations, chosen)
            wrong += convicted and innocent
            guilty += not innocent and number % 4 == 0
            caught += convicted and number % 4 == 0
    return wrong, guilty, caught


def test_nobody_is_convicted_who_may_be_innocent_and_few_others_get_away() -> None:
    wrong, guilty, caught = wrong_convictions(1, 2_400)
    assert wrong == 0
    assert guilty > 60
    assert caught > 0.8 * guilty


CHOSEN = "chosen = np.flatnonzero((sole >= 0) &"
LEARNED = "self.ret[chosen], columns.call[seen]"
FLOOR = "self.read.at(code, self.call)"
LINE = "place * self._width + ret[order]"
SINCE = "self.begins[np.where(found, place, 0)]"
MISTAKES = [
    (sessions, "what is concurrent is older", "(self.until < self.floors", "(self.until - 3 < self.floors"),
    (sessions, "updates that never returned count", "rows = rows[~columns.crashed[rows]]", ""),
    (
        versions,
        "any writer of the value will do",
        "sole = self.stop - self.first == 1",
        "sole = self.stop > self.first",
    ),
    (sessions, "what was done after the link counts", LEARNED, f"{LEARNED} + 99"),
    (sessions, "what was read later counts", FLOOR, "self.read.at(code, self.call + 99)"),
    (session_floors, "all had returned", LINE, "place * self._width"),
    (session_floors, "all codes are one", "(self._codes[place] == code) &", ""),
    (
        versions,
        "the last writer was seen to end",
        "self.latest[self.stop - 1]",
        "self.ends[self.stop - 1]",
    ),
    (versions, "the last writer of the value was seen", SINCE, "self.begins[self.stop - 1]"),
    (
        versions,
        "any read is a proof",
        "proof = np.flatnonzero(stop - first == 1)",
        "proof = np.flatnonzero(stop > first)",
    ),
]


@pytest.mark.parametrize(("module", "name", "right", "wrong"), MISTAKES, ids=[m[1] for m in MISTAKES])
def test_a_mistake_in_the_rules_is_found(module: Any, name: str, right: str, wrong: str) -> None:
    with Planted(module, right, wrong):
        assert is_found(), name


def is_found() -> bool:
    """Whether somebody is convicted who may be innocent."""
    try:
        return any(check(kept).verdict is Verdict.INVALID for kept in KEPT.values()) or any(
            wrong_convictions(seed, 150)[0] for seed in range(1, 8)
        )
    except (IndexError, AssertionError):
        return True  # It was convicted, and then nothing was found that convicts it.


def test_without_a_mistake_nothing_is_found() -> None:
    assert not is_found()
