"""Locks, queues, stacks, sets and counters: their fast paths say what the oracle says, and say it often."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

import numpy as np
import pytest
from tests.checkers.fast_paths.special_histories import (
    SPECIAL,
    container_history,
    decisions_of,
    histories_of,
    wrong_decisions,
)
from tests.checkers.planted import Planted
from tests.checkers.random_histories import columns_of_entries, limits

from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.fast_paths import (
    balance,
    containers,
    counters,
    fast_paths_of,
    fenced,
    holds,
    lines,
    owned,
    queues,
    sets,
    stacks,
)
from foreshock.checkers.models.counter import Counter
from foreshock.checkers.models.lock import FencedMutex, Mutex, OwnerMutex
from foreshock.checkers.models.queues import FifoQueue, Stack
from foreshock.checkers.models.sets import SetModel
from foreshock.checkers.models.shared_locks import ReadWriteLock, ReentrantMutex, Semaphore
from foreshock.checkers.search import search
from foreshock.harness.model import UNKNOWN, Model
from foreshock.harness.verdict import Verdict

MODELS: list[Model] = [
    Mutex(),
    Semaphore(2),
    OwnerMutex(),
    ReentrantMutex(),
    ReadWriteLock(),
    FencedMutex(),
    FifoQueue(),
    Stack(),
    SetModel(),
    Counter(),
]


def names(model: Model) -> str:
    return model.name


@pytest.mark.parametrize("model", MODELS, ids=names)
def test_fast_paths_say_what_the_oracle_says(model: Model) -> None:
    assert wrong_decisions(model, histories_of(model.name, 1, 400)) == []


@pytest.mark.parametrize("model", MODELS, ids=names)
def test_fast_paths_decide_most_histories_of_their_own_kind(model: Model) -> None:
    rng = random.Random(2)
    said = decisions_of(model, [SPECIAL[model.name](rng) for _ in range(300)])
    assert said.count(None) < (100 if model.name in ("mutex", "semaphore", "counter") else 170)
    assert min(said.count(True), said.count(False)) > 15


@pytest.mark.parametrize("model", [Mutex(), Semaphore(3)], ids=names)
def test_locks_without_owners_are_always_decided(model: Model) -> None:
    assert None not in decisions_of(model, histories_of(model.name, 3, 300))


@pytest.mark.parametrize(
    ("model", "put", "take", "end"), [(FifoQueue(), "enqueue", "dequeue", 0), (Stack(), "push", "pop", -1)]
)
def test_longer_queues_and_stacks_are_decided_as_the_search_does(
    model: Model, put: str, take: str, end: int
) -> None:
    rng = random.Random(4)
    histories = []
    for _ in range(120):
        parts = [container_history(rng, put, take, end) for _ in range(2)]
        moved = [
            entry._replace(
                number=100 * part + entry.number,
                call=entry.call + 9 * part,
                ret=entry.ret if entry.crashed else entry.ret + 9 * part,
                value=None if entry.value is None else 100 * part + entry.value,
                result=100 * part + entry.result if isinstance(entry.result, int) else entry.result,
            )
            for part, entries in enumerate(parts)
            for entry in entries
        ]
        histories.append(moved)
    said = decisions_of(model, histories)
    for history, legal in zip(histories, said, strict=True):
        if legal is not None:
            assert (search(history, model, limits()).verdict is Verdict.VALID) is legal
    assert min(said.count(True), said.count(False)) > 10


def test_what_suspects_a_fast_path_names_is_in_the_history() -> None:
    for model in MODELS:
        histories = histories_of(model.name, 5, 100)

        columns = columns_of_entries(dict(enumerate(histories)))
        (path,) = fast_paths_of(model)
        for key, finding in path.decide(columns, range(len(histories))).items():
            assert set(finding.suspects) <= set(columns.rows_by_key[key].tolist())


# --- single cases -------------------------------------------------------------------------------------------------


def done(
    number: int, call: int, ret: int, f: str, value: Any = None, result: Any = None, process: int = 0
) -> Entry:
    return Entry(number, call, ret, f, value, result, process=process)


def test_a_semaphore_goes_by_what_its_acquires_say_and_leaves_those_that_disagree() -> None:
    def three(told: Any) -> list[Entry]:
        return [
            done(i, 2 * i, 2 * i + 1, "acquire", told if i else {"permits": 3}, process=i) for i in range(3)
        ]

    assert decisions_of(Semaphore(2), [three({"permits": 3}), three({"permits": 2}), three(None)]) == [
        True,
        None,
        None,
    ]
    assert decisions_of(Semaphore(2), [[e._replace(value=0) for e in three(None)]]) == [False]


def test_a_mutex_that_somebody_else_releases_is_decided_by_the_schedule() -> None:
    crashed = Entry(0, 0, NEVER, "acquire", None, UNKNOWN, True, 1)
    assert decisions_of(
        Mutex(), [[crashed, done(1, 2, 3, "release", process=2)], [done(0, 0, 1, "release")]]
    ) == [
        True,
        False,
    ]


def test_nothing_is_found_only_where_two_elements_that_overlap_leave_a_moment() -> None:
    chain = [
        done(0, 0, 1, "enqueue", 1),
        done(1, 4, 5, "enqueue", 2),
        done(2, 6, 7, "dequeue", None, 1),
        done(3, 9, 10, "dequeue", None, 2),
    ]
    ends = [[*chain, done(4, 2, ret, "dequeue")] for ret in (8, 9, 11)]
    # At 9 the second element can be taken, and then there is nothing.
    assert decisions_of(FifoQueue(), ends) == [False, True, True]


def test_other_operations_and_elements_that_come_twice_are_left_to_the_search() -> None:
    twice = [done(0, 0, 1, "push", 1), done(1, 2, 3, "push", 1)]
    assert (
        decisions_of(Stack(), [twice, [done(0, 0, 1, "peek")], [done(0, 0, 1, "push", None)]]) == [None] * 3
    )
    assert decisions_of(Counter(), [[done(0, 0, 1, "add", 1), done(1, 2, 3, "add", 2)]]) == [None]


# --- compiled loops -----------------------------------------------------------------------------------------------


def test_compiled_loops_do_what_the_plain_ones_do() -> None:
    from foreshock.checkers.kernels import monitors

    rng = np.random.default_rng(1)
    seen = set()
    for count in (4, 15, 50):
        for _ in range(150):
            call = rng.integers(0, 2 * count, count)
            ret, crashed = call + rng.integers(0, 6, count), rng.random(count) < 0.2
            events = balance.events_of(call, np.where(crashed, NEVER, ret), crashed)
            rises, counts = rng.random(count) < 0.5, np.minimum(rng.integers(0, count, count), call // 2)
            owners, kinds, deadline = (column.tolist() for column in events)
            plain = balance.first_out_of_bounds(owners, kinds, rises.tolist(), deadline, 2)
            assert monitors.first_out_of_bounds(events[0], events[1], rises, events[2], 2) == plain
            other = counters.first_wrong_count(owners, kinds, rises.tolist(), counts.tolist(), deadline)
            assert monitors.first_wrong_count(events[0], events[1], rises, counts, events[2]) == other
            seen |= {plain >= 0, other >= 0}
    assert seen == {True, False}


def random_stays(rng: np.random.Generator, count: int) -> list[Any]:
    """Windows of the stays of a stack, with wider ones and a shifted one, ascending by the return of putting."""
    moment, there, put, take = 0, list[int](), np.zeros(count), np.full(count, 5.0 * count)
    for element in range(count):
        while there and rng.random() < 0.5:
            moment += 1
            take[there.pop()] = moment
        moment += 1
        put[element] = moment
        there.append(element)
    spread = rng.choice([1, 4, 10])
    put_call, put_ret = put - spread * rng.random(count), put + spread * rng.random(count)
    take_call, take_ret = take - spread * rng.random(count), take + spread * rng.random(count)
    moved, by = rng.integers(count), rng.integers(-5, 15)
    take_call[moved] += by
    take_ret[moved] += by
    windows = [np.round(column * 2).astype(np.int64) for column in (put_call, put_ret, take_call, take_ret)]
    windows[2] = np.maximum(windows[2], windows[0])
    windows[3] = np.maximum(windows[3], windows[2])
    windows[1] = np.minimum(windows[1], windows[3])
    order = np.argsort(windows[1], kind="stable")
    return [column[order] for column in windows]


def test_the_trees_of_stacks_find_what_the_rounds_find() -> None:
    from foreshock.checkers.kernels import nesting

    rng = np.random.default_rng(2)
    legal = []
    for _ in range(400):
        windows = random_stays(rng, int(rng.integers(1, 50)))
        start, stop = stacks.not_nested(*windows)
        legal.append(start == stop)
        compiled = nesting.not_nested(*windows)
        assert (compiled[0] == compiled[1]) is (start == stop)
    assert 50 < sum(legal) < 350


# --- planted mistakes ---------------------------------------------------------------------------------------------

MISTAKES = [
    (Mutex(), holds, "depth > permits[key]", "depth > permits[key] + 1"),
    (Mutex(), lines, "np.argsort(2 * moment + rises", "np.argsort(2 * moment - rises"),
    (Mutex(), holds, "is_acquire[rows] & columns.crashed[rows]", "is_acquire[rows] & False"),
    (Mutex(), holds, "elif negative[number]:", "elif False:"),
    (Semaphore(2), balance, "count == (count_max if up else 0)", "count == (1 if up else 0)"),
    (Semaphore(2), balance, "done[by_deadline[heappop(heaps[1 - up])]] = True", "heappop(heaps[1 - up])"),
    (Mutex(), balance, "np.lexsort((is_return,", "np.lexsort((~is_return,"),
    (ReadWriteLock(), owned, "wrong |= depth[order] > 1", "pass"),
    (OwnerMutex(), owned, "tidy[key] and not crashing[key]", "True"),
    (ReentrantMutex(), owned, "depth = np.minimum(depth, 1)", "pass"),
    (ReadWriteLock(), owned, "total > len(columns) + 1", "total > 2 * len(columns) + 1"),
    (ReadWriteLock(), owned, "asked &= tidy", "pass"),
    (FencedMutex(), fenced, "ret[order[1:]] < latest[:-1]", "ret[order[1:]] <= latest[:-1]"),
    (FencedMutex(), fenced, "token[granted] < 0", "token[granted] < -99"),
    (FencedMutex(), fenced, "impossible = wanted > there", "impossible = wanted > there + 9"),
    (FencedMutex(), fenced, "token[unseen] < 0", "token[unseen] < -99"),
    (FencedMutex(), fenced, "has_next & (end_of < 0)", "has_next & False"),
    (FencedMutex(), fenced, "order[depth > 1]", "order[depth > 2]"),
    (FencedMutex(), fenced, "order[depth < 0]", "order[:0]"),
    (
        FencedMutex(),
        fenced,
        "np.flatnonzero(~(operations.is_acquire & operations.crashed))",
        "np.arange(len(operations.key))",
    ),
    (FencedMutex(), fenced, "_ok_first(operations, releases)", "_ok_first(operations, releases)[::-1]"),
    (FencedMutex(), fenced, "again & ~operations.crashed[releases]", "again & False"),
    (FencedMutex(), fenced, "conflicts.add(operations, granted[twice - 1], granted[twice])", "pass"),
    (FencedMutex(), fenced, "ranks[0] < there[", "ranks[0] <= there["),
    (
        FencedMutex(),
        fenced,
        "lost[np.argsort(operations.key[lost], kind",
        "lost[::-1][np.argsort(operations.key[lost][::-1], kind",
    ),
    (FencedMutex(), fenced, "np.maximum.accumulate(call[grants])", "call[grants]"),
    (
        FencedMutex(),
        fenced,
        "np.minimum.accumulate(operations.ret[grants][::-1])[::-1]",
        "operations.ret[grants]",
    ),
    (FencedMutex(), fenced, "np.intersect1d(key[is_named], key[unnamed])", "key[:0]"),
    (FifoQueue(), queues, "latest[before[possible]] >", "latest[before[possible]] >="),
    (FifoQueue(), queues, "len(calls) >= len(deadline) and", "True and"),
    (FifoQueue(), queues, "(calls[: len(deadline)] > deadline)", "(calls[: len(deadline)] > deadline + 99)"),
    (FifoQueue(), queues, 'stays.put_ret[left], side="right"', 'stays.put_ret[left], side="left"'),
    (FifoQueue(), containers, "low[1:] >= high[:-1]", "low[1:] > high[:-1]"),
    (FifoQueue(), containers, "(ret < top[around])", "(ret <= top[around])"),
    (Stack(), stacks, "put_call[part] <= begins[0]", "put_call[part] < begins[0]"),
    (Stack(), stacks, "latest[cuts - 1] <= begins[cuts]", "latest[cuts - 1] < begins[cuts]"),
    (Stack(), stacks, "len(stays.crashed) and", "False and"),
    (SetModel(), sets, "element.low <= element.high and not", "element.first_call <= element.high and not"),
    (SetModel(), sets, "added < no.call and no.ret < removed", "added < no.call and no.ret <= removed"),
    (SetModel(), sets, "max(low, moment) > high", "low > high"),
    (SetModel(), sets, "if not before <= found", "if False"),
    (Counter(), counters, "counts[operation] < reached", "counts[operation] + 1 < reached"),
    (Counter(), counters, "counts * amount != numbers", "False"),
]


TELLING = {
    "fifo-queue": [
        [
            done(0, 0, 1, "enqueue", 1),
            done(1, 2, 3, "enqueue", 2),
            done(2, 4, 5, "dequeue", None, 2),
            Entry(3, call, NEVER, "dequeue", None, UNKNOWN, True),
        ]
        for call in (0, 5, 6)
    ],
    "set": [
        [
            done(0, 0, 1, "add", 1),
            done(1, 5, 6, "remove", 1),
            done(2, 2, 5, "contains", 1, False),
        ],
        [
            done(0, 0, 9, "add", 1),
            done(1, 0, 9, "add", 2),
            done(2, 2, 3, "read", None, [1]),
            done(3, 4, 5, "read", None, [2]),
        ],
    ],
}
"""What random histories hardly ever are: only a dequeue that crashed can have taken the first element, say."""


@cache
def histories_and_decisions(name: str) -> tuple[list[list[Entry]], list[bool | None]]:
    """Histories that tell mistakes, and what is right about them (other tests say so)."""
    model = next(model for model in MODELS if model.name == name)
    histories = [*TELLING.get(name, ()), *histories_of(name, 10, 2000)]
    return histories, decisions_of(model, histories)


@pytest.mark.parametrize(
    ("model", "module", "right", "wrong"), MISTAKES, ids=lambda part: getattr(part, "name", "")
)
def test_a_planted_mistake_is_found(model: Model, module: Any, right: str, wrong: str) -> None:
    histories, decisions = histories_and_decisions(model.name)
    try:
        with Planted(module, right, wrong):
            changed = decisions_of(model, histories)
    except (IndexError, ValueError, KeyError):
        return
    assert changed != decisions


def test_stacks_are_decided_alike_whether_putting_is_trimmed_or_not() -> None:
    """The text of ``stacks.py`` argues why."""
    trimmed, whole = "np.minimum(line.ret[puts], take_ret)", "line.ret[puts]"
    histories, decisions = histories_and_decisions("stack")
    with Planted(containers, trimmed, whole):
        assert decisions_of(Stack(), histories) == decisions
