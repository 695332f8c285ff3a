"""Every model against an object that does what it says, and the search by every model against the oracle."""

# A mistake is read best in one line.
# ruff: noqa: E501

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.checkers.golden_models import GOLDEN
from tests.checkers.model_histories import THINGS, is_legal, random_history
from tests.checkers.model_trials import disagreements, in_order, is_caught, is_valid, wrong_verdicts
from tests.checkers.wrong_models import wrong_text

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry
from foreshock.checkers.linearizable import model_of
from foreshock.checkers.models import counter, lock, multi_register, queues, sets, shared_locks
from foreshock.checkers.models.base import FAILED, ExplainsItself, KnowsWhatCrashesMatter
from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN

OF_THIS_FOLDER = [name for name in THINGS if name not in ("kv", "lease")]
"""The key-value store and the lease have tests of their own, with all that is special about them."""


@pytest.mark.parametrize(
    ("name", "history", "legal"),
    [(n, h, v) for n, _, h, v in GOLDEN],
    ids=[f"{n}: {w}" for n, w, _, _ in GOLDEN],
)
def test_what_a_person_says_of_a_history(name: str, history: list[Entry], legal: bool) -> None:
    model = model_of(name)
    assert is_valid(history, model) is legal
    assert is_legal(history, model) is legal


@pytest.mark.parametrize("name", OF_THIS_FOLDER)
def test_a_model_does_what_its_object_does(name: str) -> None:
    assert disagreements(model_of(name), name, 100) == 0


@pytest.mark.parametrize("name", [name for name in THINGS if name != "kv"])
def test_the_search_agrees_with_the_oracle(name: str) -> None:
    model = model_of(name)
    assert wrong_verdicts(model, model, name, 300) == 0


@pytest.mark.parametrize("name", THINGS)
def test_about_half_of_the_random_histories_are_legal(name: str) -> None:
    rng = random.Random(11)
    model = model_of(name)
    histories = [random_history(rng, name) for _ in range(150)]
    assert 0.3 < sum(is_legal(history, model) for history in histories) / 150 < 0.85
    operations = [e for history in histories for e in history]
    assert any(e.crashed and e.ret == NEVER and e.result is UNKNOWN for e in operations)
    assert all(e.crashed or (e.call <= e.ret and e.times[0] <= e.times[1]) for e in operations)
    assert any(e.call == other.ret for h in histories for e in h for other in h if e is not other)


@pytest.mark.parametrize("name", THINGS)
def test_a_random_history_is_the_same_for_the_same_seed(name: str) -> None:
    assert [random_history(random.Random(seed), name) for seed in range(9)] == [
        random_history(random.Random(seed), name) for seed in range(9)
    ]


@pytest.mark.parametrize("name", OF_THIS_FOLDER)
def test_every_model_finds_words_for_all_it_meets(name: str) -> None:
    rng = random.Random(6)
    model = model_of(name)
    assert isinstance(model, ExplainsItself)
    assert isinstance(model, KnowsWhatCrashesMatter)
    thing = THINGS[name](rng)
    assert model.describe_state(model.initial())
    for _ in range(60):
        f, value = thing.ask(1)
        argument = (1, value) if getattr(model, "by_process", False) else value
        for result in (thing.any_result(f, value), UNKNOWN):
            assert model.describe(f, argument, result).startswith(f)
            assert result is UNKNOWN or model.needs(f, argument, result)


@pytest.mark.parametrize("name", THINGS)
def test_every_model_refuses_operations_that_it_does_not_have(name: str) -> None:
    model = model_of(name)
    value: Any = (1, 5, 6, None) if name == "lease" else (1, None)
    with pytest.raises(UsageError, match="has no operation 'juggle'"):
        model.step(model.initial(), "juggle", value, None)


@pytest.mark.parametrize(
    ("name", "f", "value", "result", "told"),
    [
        ("read-write-lock", "acquire", (1, "both"), None, '"read" or "write"'),
        ("read-write-lock", "acquire", (1, None), None, '"read" or "write"'),
        ("semaphore", "acquire", {"permits": 0}, None, "1 or more"),
        ("semaphore", "acquire", {"permits": True}, None, "1 or more"),
        ("fifo-queue", "enqueue", None, None, "anything but null"),
        ("stack", "push", None, None, "anything but null"),
        ("set", "contains", 1, None, "true or false"),
        ("set", "read", None, 7, "the list of all elements"),
        ("counter", "add", None, None, "a whole number"),
        ("counter", "add", True, None, "a whole number"),
        ("counter", "increment", 0.5, None, "a whole number"),
        ("multi-register", "txn", 5, None, "a list of"),
        ("multi-register", "txn", [["x", "y", 1]], None, "a list of"),
        ("multi-register", "txn", [["r", "y"]], None, "a list of"),
        ("multi-register", "txn", [["r", "y", None]], [["r", "z", 1]], "filled in"),
        ("multi-register", "txn", [["w", "y", 1]], [["w", "y", 2]], "filled in"),
        ("multi-register", "txn", [["r", 1.5, None]], None, "a string or a whole number"),
        ("multi-register", "write", [1], None, "an object"),
        ("multi-register", "read", None, 5, "an object"),
    ],
)
def test_what_a_model_cannot_take_is_told(name: str, f: str, value: Any, result: Any, told: str) -> None:
    model = model_of(name)
    with pytest.raises(UsageError, match=f"the model '{name}' cannot take the .*{told}"):
        model.step(model.initial(), f, value, result)


def test_constructors_refuse_what_makes_no_sense() -> None:
    for permits in (0, True, 1.5, "2"):
        with pytest.raises(UsageError, match="whole number of permits"):
            shared_locks.Semaphore(permits)  # type: ignore[arg-type]
    for start in (0.5, None, True):
        with pytest.raises(UsageError, match="starts at a whole number"):
            counter.Counter(start)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="registers at first"):
        multi_register.MultiRegister([1])  # type: ignore[arg-type]


def test_constructors_say_where_an_object_starts() -> None:
    assert counter.Counter(5).step(5, "read", None, 5) == counter.Counter(5).initial()
    start = multi_register.MultiRegister({"x": 1, "y": None})
    assert start.step(start.initial(), "read", None, {"x": 1}) == start.initial()
    assert start.describe_state(start.initial()) == "x 1"
    two = shared_locks.Semaphore(2)
    assert two.step(1, "acquire", None, None) == 2
    assert two.step(2, "acquire", None, None) is ILLEGAL


def test_acquires_of_one_semaphore_agree_on_its_permits() -> None:
    history = in_order((1, "acquire", {"permits": 2}, None), (1, "acquire", {"permits": 3}, None))
    with pytest.raises(UsageError, match=r"do not agree on how many permits it has: \[2, 3\]"):
        is_valid(history, shared_locks.Semaphore())


@pytest.mark.parametrize(
    ("name", "history", "expected"),
    [
        ("fifo-queue", [(1, "enqueue", 1, UNKNOWN), (1, "enqueue", 2, UNKNOWN), (2, "dequeue", None, 2)], [UNNOTICED, 5]),
        ("stack", [(1, "pop", None, UNKNOWN), (2, "pop", None, None), (1, "push", 2, None)], [3]),
        ("set", [(1, "add", 1, UNKNOWN), (1, "remove", 1, UNKNOWN), (2, "read", None, [1]), (2, "read", None, [2])], [5, 7]),
        ("counter", [(1, "add", 1, UNKNOWN), (1, "add", 0, UNKNOWN), (2, "read", None, 0), (2, "add", 3, None)], [5, UNNOTICED]),
        ("multi-register", [(1, "txn", [["r", "x", None]], UNKNOWN), (1, "write", {"x": 1}, UNKNOWN), (2, "read", None, {"x": 1})], [UNNOTICED, 5]),
        ("try-mutex", [(1, "acquire", None, UNKNOWN), (2, "acquire", None, FAILED), (2, "acquire", None, None)], [3]),
        ("reentrant-mutex", [(1, "acquire", None, UNKNOWN), (2, "acquire", None, None)], [UNNOTICED]),
        ("read-write-lock", [(1, "acquire", "read", UNKNOWN), (2, "acquire", "read", None), (1, "release", None, None)], [5]),
        ("semaphore", [(1, "acquire", None, UNKNOWN), (2, "release", None, UNKNOWN), (3, "acquire", None, None)], [UNNOTICED, 5]),
    ],
)  # fmt: skip
def test_how_long_a_crashed_operation_is_of_use(
    name: str, history: list[tuple[Any, ...]], expected: list[int]
) -> None:
    model = model_of(name)
    assert isinstance(model, KnowsWhatCrashesMatter)
    assert model.useful_until(in_order(*history))[: len(expected)] == expected


MISTAKES = [
    ("mutex", lock, "Mutex", "return ILLEGAL if state else True", "return True"),
    ("mutex", lock, "Mutex", "return False if state else ILLEGAL", "return False"),
    ("owner-mutex", lock, "OwnerMutex", "return None if state == process else ILLEGAL", "return None if state else ILLEGAL"),
    ("owner-mutex", lock, "OwnerMutex", "released.get(e.process, UNNOTICED) if", "UNNOTICED if"),
    ("fenced-mutex", lock, "FencedMutex", "if token > last else ILLEGAL", "if token >= last else ILLEGAL"),
    ("fenced-mutex", lock, "FencedMutex", "named in (None, last)", "True"),
    ("fenced-mutex", lock, "FencedMutex", "[released if e.f == ACQUIRE else NEVER", "[UNNOTICED if e.f == ACQUIRE else NEVER"),
    ("reentrant-mutex", shared_locks, "ReentrantMutex", "(process, depth + 1)", "(process, 1)"),
    ("reentrant-mutex", shared_locks, "ReentrantMutex", "(process, depth + 1) if owner == process", "(process, depth + 1) if True"),
    ("reentrant-mutex", shared_locks, "ReentrantMutex", "owner != process or depth == 0", "depth == 0"),
    ("reentrant-mutex", shared_locks, "ReentrantMutex", "if depth > 1 else None", "if depth > 0 else None"),
    ("reentrant-mutex", shared_locks, "ReentrantMutex", "else others(e.process)", "else UNNOTICED"),
    ("reentrant-mutex", shared_locks, "ReentrantMutex", "released.get(e.process, UNNOTICED) if e.f == ACQUIRE else others", "UNNOTICED if e.f == ACQUIRE else others"),
    ("read-write-lock", shared_locks, "ReadWriteLock", "(mode == WRITE and state)", "False"),
    ("read-write-lock", shared_locks, "ReadWriteLock", "if writing or process in state or", "if writing or"),
    ("read-write-lock", shared_locks, "ReadWriteLock", "return process if mode == WRITE else state | {process}", "return state | {process}"),
    ("read-write-lock", shared_locks, "ReadWriteLock", "return frozenset() if state == process else ILLEGAL", "return frozenset()"),
    ("read-write-lock", shared_locks, "ReadWriteLock", "return state - {process} if process in state else ILLEGAL", "return state - {process}"),
    ("read-write-lock", shared_locks, "ReadWriteLock", "released.get(e.process, UNNOTICED) if e.f == ACQUIRE else NEVER", "UNNOTICED if e.f == ACQUIRE else NEVER"),
    ("read-write-lock", shared_locks, "ReadWriteLock", "if e.f == ACQUIRE else NEVER for e in entries]\n\n    def _mode", "if e.f == ACQUIRE else UNNOTICED for e in entries]\n\n    def _mode"),
    ("semaphore", shared_locks, "Semaphore", "taken < self.permits_of(value)", "taken <= self.permits_of(value)"),
    ("semaphore", shared_locks, "Semaphore", "taken - 1 if taken > 0 else ILLEGAL", "taken - 1"),
    ("semaphore", shared_locks, "Semaphore", 'permits = value["permits"]', "permits = self.permits"),
    ("semaphore", shared_locks, "Semaphore", "[released if e.f == ACQUIRE else acquired", "[UNNOTICED if e.f == ACQUIRE else acquired"),
    ("semaphore", shared_locks, "Semaphore", "[released if e.f == ACQUIRE else acquired", "[released if e.f == ACQUIRE else UNNOTICED"),
    ("try-mutex", shared_locks, "TryMutex", "return ILLEGAL if holder is None else holder", "return holder"),
    ("try-mutex", shared_locks, "TryMutex", "return ILLEGAL if holder is None else holder", "return ILLEGAL if holder in (None, process) else holder"),
    ("try-mutex", shared_locks, "TryMutex", "return process if holder is None else ILLEGAL", "return process"),
    ("try-mutex", shared_locks, "TryMutex", "return None if holder == process else ILLEGAL", "return None"),
    ("try-mutex", shared_locks, "TryMutex", "max(released.get(e.process, refused), refused)", "released.get(e.process, UNNOTICED)"),
    ("try-mutex", shared_locks, "TryMutex", "max(released.get(e.process, refused), refused)", "refused"),
    ("fifo-queue", queues, "FifoQueue", "elements[self._next] != freeze(result)", "freeze(result) not in elements"),
    ("fifo-queue", queues, "FifoQueue", "return elements[1:] if self._next == 0 else elements[:-1]", "return elements[:-1]"),
    ("fifo-queue", queues, "FifoQueue", "elements if result is None or result is UNKNOWN else ILLEGAL", "elements"),
    ("fifo-queue", queues, "FifoQueue", "elements if result is None or result is UNKNOWN else ILLEGAL", "elements if result is None else ILLEGAL"),
    ("fifo-queue", queues, "FifoQueue", "taken.get(freeze(e.value), UNNOTICED) if", "UNNOTICED if"),
    ("fifo-queue", queues, "FifoQueue", "if e.f == self._put else last", "if e.f == self._put else UNNOTICED"),
    ("stack", queues, "Stack", "return elements[1:] if self._next == 0 else elements[:-1]", "return elements[1:]"),
    ("stack", queues, "Stack", 'PUSH, POP, -1', 'PUSH, POP, 0'),
    ("stack", queues, "Stack", "taken.get(freeze(e.value), UNNOTICED) if", "UNNOTICED if"),
    ("stack", queues, "Stack", "if e.f == self._put else last", "if e.f == self._put else UNNOTICED"),
    ("set", sets, "SetModel", "return elements | {freeze(value)}", "return elements"),
    ("set", sets, "SetModel", "return elements - {freeze(value)}", "return elements"),
    ("set", sets, "SetModel", "self._answer(result) is (freeze(value) in elements)", "self._answer(result) <= (freeze(value) in elements)"),
    ("set", sets, "SetModel", "elements == set(seen) and len(seen) == len(elements)", "elements == set(seen)"),
    ("set", sets, "SetModel", "elements == set(seen) and", "elements >= set(seen) and"),
    ("set", sets, "SetModel", "elements == set(seen) and len(seen) == len(elements)", "elements >= set(seen)"),
    ("set", sets, "SetModel", "if e.f == ADD\n", "if e.f == REMOVE\n"),
    ("set", sets, "SetModel", "max(missing.get(element, UNNOTICED), lacking)", "missing.get(element, UNNOTICED)"),
    ("set", sets, "SetModel", "            return self._listed(entry.result)\n", "            return ()\n"),
    ("set", sets, "SetModel", "key=lambda read: -read[0]", "key=lambda read: read[0]"),
    ("counter", counter, "Counter", "return -int(value) if f == DECREMENT else int(value)", "return int(value)"),
    ("counter", counter, "Counter", "value = 1\n", "value = 0\n"),
    ("counter", counter, "Counter", "and result == number else ILLEGAL", "else ILLEGAL"),
    ("counter", counter, "Counter", "else read for e in entries", "else UNNOTICED for e in entries"),
    ("multi-register", multi_register, "MultiRegister", "registers.get(register) != content:", "state and dict(state).get(register) != content:"),
    ("multi-register", multi_register, "MultiRegister", "elif content is not None and registers", "elif registers"),
    ("multi-register", multi_register, "MultiRegister", "horizon[pair] = max(horizon.get(pair, UNNOTICED), entry.ret)", "horizon.setdefault(pair, entry.ret)"),
    ("multi-register", multi_register, "MultiRegister", "hand_on(horizon, found_by)", "pass"),
    ("multi-register", multi_register, "MultiRegister", "default=UNNOTICED) for pairs in writes", "default=UNNOTICED) + 0 * len(pairs) if len(pairs) < 2 else UNNOTICED for pairs in writes"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "module", "kind", "right", "wrong"), MISTAKES, ids=[f"{m[0]}: {m[4]}"[:60] for m in MISTAKES]
)
def test_a_planted_mistake_is_found(name: str, module: Any, kind: str, right: str, wrong: str) -> None:
    mistaken = getattr(wrong_text(module, right, wrong), kind)()
    golden = [(history, legal) for of, _, history, legal in GOLDEN if of == name]
    assert is_caught(mistaken, model_of(name), name, golden)
