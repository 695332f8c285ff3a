"""The lease: golden histories, and every verdict against a search for the moments and the clocks themselves."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from tests.checkers.model_histories import MILLISECOND_NS, is_legal, random_history
from tests.checkers.random_histories import limits
from tests.checkers.wrong_models import wrong_text

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry, relax
from foreshock.checkers.models import lease
from foreshock.checkers.models.lease import Lease
from foreshock.checkers.search import search
from foreshock.harness.errors import UsageError
from foreshock.harness.model import UNKNOWN
from foreshock.harness.verdict import Verdict

_FOR_EVER = 1 << 30


def operation(
    number: int, process: int, call_ms: int, ret_ms: int | None, f: str, ttl_ms: int | None = None
) -> Entry:
    """An operation whose positions are its times; without a return it crashed."""
    crashed = ret_ms is None
    result: Any = UNKNOWN if crashed else {"ttl_ms": ttl_ms} if f != "release" else None
    times = (call_ms * MILLISECOND_NS, NEVER if ret_ms is None else ret_ms * MILLISECOND_NS)
    ret = NEVER if ret_ms is None else ret_ms
    return Entry(number, call_ms, ret, f, None, result, crashed, process, times)


def legal(entries: Sequence[Entry], drift_bound_ms: int = 0, make: Any = Lease) -> bool:
    return search(entries, make(drift_bound_ms), limits()).verdict is Verdict.VALID


def explained(entries: Sequence[Entry], drift_bound_ms: int) -> bool:
    """Whether moments, lengths of unknown grants and clocks within the bound explain a history: by trying all."""
    return _Moments(entries, drift_bound_ms).explain(0, frozenset(range(len(entries))), None, 0)


class _Moments:
    """Time goes on in ms; at each moment any operation may happen that can, and when it ends is decided at a grant."""

    def __init__(self, entries: Sequence[Entry], drift_bound_ms: int) -> None:
        self._entries = entries
        self._drifts_ms = range(-drift_bound_ms, drift_bound_ms + 1)
        self._ms = [
            tuple(_FOR_EVER if time == NEVER else time // MILLISECOND_NS for time in entry.times)
            for entry in entries
        ]
        self._end_ms = max((time for pair in self._ms for time in pair if time < _FOR_EVER), default=0)
        self._tried: set[Any] = set()

    def explain(self, now: int, waiting: frozenset[int], owner: int | None, until: int) -> bool:
        if all(self._entries[i].crashed for i in waiting):
            return True
        if now > self._end_ms or (now, waiting, owner, until) in self._tried:
            return False
        self._tried.add((now, waiting, owner, until))
        return any(
            self.explain(now, waiting - {i}, *after)
            for i in waiting
            if self._can_happen(i, now, waiting)
            for after in self._afterwards(self._entries[i], now, owner, until)
        ) or self.explain(now + 1, waiting, owner, until)

    def _can_happen(self, i: int, now: int, waiting: frozenset[int]) -> bool:
        first = [self._entries[j] for j in waiting if not self._entries[j].crashed]
        return self._ms[i][0] <= now <= self._ms[i][1] and not any(
            other.ret < self._entries[i].call for other in first
        )

    def _afterwards(
        self, entry: Entry, now: int, owner: int | None, until: int
    ) -> list[tuple[int | None, int]]:
        """Who may be its owner then, until when; nothing where the operation cannot happen."""
        mine = owner == entry.process
        if entry.f == "release":
            return [(None, 0)] if mine else []
        if not mine and (entry.f == "renew" or (owner is not None and now < until)):
            return []
        if entry.result is UNKNOWN:
            # It may end at any time, but does not cut short what its process has.
            least = max(until, now) if mine else now
            ends = {least, *range(least, self._end_ms + 2)}
        elif entry.result["ttl_ms"] is None:
            ends = {_FOR_EVER}
        else:
            ends = {max(now, now + entry.result["ttl_ms"] + drift) for drift in self._drifts_ms}
        return [(entry.process, end) for end in ends]


GRANTED = operation(0, 1, 0, 2, "acquire", 10)


CASES: list[tuple[str, list[Entry], int, bool]] = [
    ("another is granted it once it has run out", [operation(1, 2, 11, 12, "acquire", 10)], 0, True),
    ("at the very moment", [operation(1, 2, 9, 10, "acquire", 10)], 0, True),
    ("too soon", [operation(1, 2, 8, 9, "acquire", 10)], 0, False),
    ("not too soon for clocks that differ so much", [operation(1, 2, 8, 9, "acquire", 10)], 1, True),
    ("too soon even so", [operation(1, 2, 7, 8, "acquire", 10)], 1, False),
    (
        "it was released",
        [operation(1, 1, 3, 4, "release"), operation(2, 2, 4, 5, "acquire", 10)],
        0,
        True,
    ),
    (
        "it may have been released",
        [operation(1, 1, 3, None, "release"), operation(2, 2, 4, 5, "acquire", 1)],
        0,
        True,
    ),
    ("its own process may have it again", [operation(1, 1, 3, 4, "acquire", 10)], 0, True),
    ("a stranger cannot release it", [operation(1, 2, 3, 4, "release")], 0, False),
    ("a stranger cannot renew it", [operation(1, 2, 3, 4, "renew", 10)], 0, False),
    ("its process can renew it when it has run out", [operation(1, 1, 30, 31, "renew", 10)], 0, True),
    (
        "but not when another was granted it",
        [operation(1, 2, 20, 21, "acquire", 10), operation(2, 1, 30, 31, "renew", 10)],
        0,
        False,
    ),
    (
        "a renewal counts from its own moment, which is after its call",
        [operation(1, 1, 8, 9, "renew", 10), operation(2, 2, 14, 17, "acquire", 10)],
        0,
        False,
    ),
    (
        "a renewal may cut the grant short",
        [operation(1, 1, 3, 4, "renew", 2), operation(2, 2, 5, 6, "acquire", 10)],
        0,
        True,
    ),
    (
        "a renewal that crashed cuts nothing short",
        [operation(1, 1, 3, None, "renew"), operation(2, 2, 5, 6, "acquire", 10)],
        0,
        False,
    ),
    (
        "an acquire that crashed may have been granted for a moment only",
        [operation(1, 3, 10, None, "acquire"), operation(2, 2, 11, 12, "acquire", 10)],
        0,
        True,
    ),
    (
        "and is noticed by its release",
        [operation(1, 3, 4, None, "acquire"), operation(2, 3, 5, 6, "release")],
        0,
        False,
    ),
    (
        "which is fine once the first grant has run out",
        [operation(1, 3, 4, None, "acquire"), operation(2, 3, 5, 11, "release")],
        0,
        True,
    ),
    (
        "an acquire that crashed does not cut short what its process has",
        [
            operation(1, 1, 3, None, "acquire"),
            operation(2, 2, 5, 6, "acquire", 9),
            operation(3, 2, 7, 8, "release"),
            operation(4, 1, 9, 10, "acquire", 9),
            operation(5, 1, 11, 12, "release"),
        ],
        0,
        False,
    ),
]


@pytest.mark.parametrize(("name", "others", "bound", "expected"), CASES)
def test_who_may_have_the_lease(name: str, others: list[Entry], bound: int, expected: bool) -> None:
    history = [GRANTED, *others]
    assert legal(history, bound) is expected
    assert explained(history, bound) is expected


def test_a_grant_without_an_end_is_only_released() -> None:
    for_ever = operation(0, 1, 0, 2, "acquire", None)
    assert not legal([for_ever, operation(1, 2, 900, 901, "acquire", 10)])
    assert not legal([for_ever, operation(1, 2, 900, None, "acquire"), operation(2, 2, 901, 902, "release")])
    assert legal([for_ever, operation(1, 1, 9, 10, "release"), operation(2, 2, 900, 901, "acquire", 10)])


def test_moments_are_where_all_operations_fit() -> None:
    """Each grant must be early enough for the next one to be: a ms less, and there is no room for three."""
    assert legal([operation(i, i, 0, 10, "acquire", 5) for i in range(3)])
    assert not legal([operation(i, i, 0, 9, "acquire", 5) for i in range(3)])


def wrong_verdicts(make: Any, count: int, seed: int = 5) -> int:
    """How many verdicts of the search differ from what moments and clocks can explain, or a person has written down."""
    rng = random.Random(seed)
    wrong = sum(legal([GRANTED, *others], bound, make) != expected for _, others, bound, expected in CASES)
    for _ in range(count):
        history = random_history(rng, "lease", operations=rng.choice([4, 5, 6]), ties=rng.random() < 0.5)
        bound = rng.choice([0, 0, 1, 2])
        wrong += legal(history, bound, make) != explained(history, bound)
    return wrong


def test_every_verdict_is_what_moments_and_clocks_can_explain() -> None:
    assert wrong_verdicts(Lease, 1_500) == 0


MISTAKES = [
    ("the late end of the bound", "ttl_ns - self._drift_bound_ns", "ttl_ns + self._drift_bound_ns"),
    ("a grant counted from the call", "ttl_ns is None else now_ns +", "ttl_ns is None else call_ns +"),
    ("time does not go on", "now_ns = max(lease.now_ns, call_ns)", "now_ns = call_ns"),
    ("no acquire waits for the end", "now_ns = max(now_ns, lease.expiry_ns)", "pass"),
    ("moments after the return", "if now_ns > ret_ns or", "if"),
    ("moments at the return are too late", "if now_ns > ret_ns or", "if now_ns >= ret_ns or"),
    ("anybody releases", "elif not mine:", "elif not mine and f == RENEW:"),
    ("anybody renews", "elif not mine:", "elif not mine and f == RELEASE:"),
    ("its process has to wait for the end too", "if not mine and lease.owner is not None:", "if True:"),
    ("a crashed renewal cuts short", "lease.expiry_ns if mine else now_ns", "now_ns"),
    ("a release changes nothing", "LeaseState(None, -1, now_ns)", "lease._replace(now_ns=now_ns)"),
    ("crashed acquires are of no use", "max(horizon, kept.get(e.process, UNNOTICED)) if", "horizon if"),
    ("crashed releases are of no use", "horizon = others(e.process) if", "horizon = UNNOTICED if"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "right", "wrong"), MISTAKES)
def test_a_planted_mistake_is_found(name: str, right: str, wrong: str) -> None:
    assert wrong_verdicts(wrong_text(lease, right, wrong).Lease, 600) > 0


def test_the_search_and_the_oracle_agree_where_operations_are_made_optional() -> None:
    rng = random.Random(9)
    for _ in range(800):
        history = random_history(rng, "lease", operations=6)
        kept = [i for i in range(len(history)) if rng.random() < 0.6]
        relaxed = relax(history, kept, [False] * len(history))
        assert legal(relaxed) == is_legal(relaxed, Lease())


def test_how_long_a_crashed_operation_is_of_use() -> None:
    history = [
        operation(0, 1, 0, None, "acquire"),
        operation(1, 2, 1, None, "acquire"),
        operation(2, 1, 2, None, "renew"),
        operation(3, 1, 3, None, "release"),
        operation(4, 1, 4, 5, "release"),
        operation(5, 3, 6, 7, "acquire", 1),
        operation(6, 1, 8, 9, "acquire", 1),
    ]
    assert Lease().useful_until(history)[:4] == [5, UNNOTICED, UNNOTICED, 7]


def test_what_is_said_of_a_lease() -> None:
    model = Lease()
    granted = model.step(model.initial(), "acquire", (3, 0, 2_000_000, 0), {"ttl_ms": 500})
    assert model.describe_state(model.initial()) == "free"
    assert model.describe_state(granted) == "held by process 3 until 0.500 s at least"
    assert model.describe("acquire", (3, 0, 1, 0), {"ttl_ms": 500}) == "acquire by 3 for 500 ms"
    assert model.describe("renew", (3, 0, 1, 0), {"ttl_ms": None}) == "renew by 3 for ever"
    assert model.describe("release", (3, 0, 1, 0), None) == "release by 3"
    assert model.needs("acquire", (3, 0, 2_000_000, 0), {"ttl_ms": 5}) == (
        "the lease to be free, or run out by 0.002 s, or held by process 3"
    )
    assert model.needs("renew", (3, 0, 1, 0), {"ttl_ms": 5}) == (
        "process 3 to be the last that was granted the lease, and not to have released it"
    )


def test_what_a_lease_cannot_take_is_told() -> None:
    model = Lease()
    for result in (None, 5, {}, {"ttl_ms": "long"}, {"ttl_ms": -1}, {"ttl_ms": True}):
        with pytest.raises(UsageError, match="ttl_ms"):
            model.step(model.initial(), "acquire", (1, 0, 5, None), result)
    with pytest.raises(UsageError, match="no times"):
        model.step(model.initial(), "acquire", (1, -1, -1, None), {"ttl_ms": 5})
    with pytest.raises(UsageError, match="has no operation 'read'"):
        model.step(model.initial(), "read", (1, 0, 5, None), None)
    for bound in (-1, 0.5, True, "10"):
        with pytest.raises(UsageError, match="drift bound"):
            Lease(bound)  # type: ignore[arg-type]
