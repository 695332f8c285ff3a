"""Sequential consistency: golden histories, every interleaving of small ones, cores that are minimal, limits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.checkers.random_histories import context, history_of, limits

from foreshock.checkers import sequential_problem, sequential_search
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.lock import OwnerMutex
from foreshock.checkers.models.register import CasRegister
from foreshock.checkers.sequential import SequentialChecker
from foreshock.checkers.sequential_problem import Item
from foreshock.checkers.sequential_search import SequentialSearch
from foreshock.harness.checker import CheckResult
from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN, Model
from foreshock.harness.verdict import Verdict

Step = tuple[str, str, Any]
"""What an operation does, on which key, with which value (written, or read)."""


def entries_of(*processes: Sequence[Step]) -> dict[str, list[Entry]]:
    """A history of processes one after the other in real time; a value ``...`` is that of one that never returned."""
    by_key: dict[str, list[Entry]] = {}
    position = number = 0
    for process, steps in enumerate(processes):
        for f, key, value in steps:
            crashed = f.startswith("?")
            f = f.lstrip("?")
            read = f == "read"
            entry = Entry(
                number,
                position,
                NEVER if crashed else position + 1,
                f,
                None if read else value,
                UNKNOWN if crashed else value if read else None,
                crashed,
                process,
            )
            by_key.setdefault(key, []).append(entry)
            position, number = position + 2, number + 1
    return by_key


def check(*processes: Sequence[Step], model: Any = "cas-register", **more: Any) -> CheckResult:
    return SequentialChecker(model).check(history_of(entries_of(*processes)), context(**more))


def w(value: Any, key: str = "x") -> Step:
    return ("write", key, value)


def r(value: Any, key: str = "x") -> Step:
    return ("read", key, value)


def test_a_process_that_is_behind_for_ever_is_sequentially_consistent() -> None:
    result = check([w(1), w(2)], [r(1), r(1)], [r(2)])
    assert result.verdict is Verdict.VALID
    assert result.method == "search"


def test_a_linearizable_history_is_decided_as_such() -> None:
    result = check([w(1), w(2)], [r(2)])
    assert result.verdict is Verdict.VALID
    assert result.method == "linearizable"


def test_two_processes_that_see_two_writes_in_different_orders_are_told_of() -> None:
    result = check([w(1)], [w(2)], [r(1), r(2)], [r(2), r(1)], [w(3), r(3)])
    assert result.verdict is Verdict.INVALID
    [found] = result.counterexamples
    assert found.key == "x"
    # The writes are no part of it: each may have come at any time, but only once.
    assert [row["label"] for row in found.operations if row["f"] == "read"] == [
        "read 1",
        "read 2",
        "read 2",
        "read 1",
    ]
    assert "process 2 did read 1, then read 2; process 3 did read 2, then read 1" in result.reason


def test_each_key_is_sequentially_consistent_and_both_together_are_not() -> None:
    """The example of Herlihy & Wing 1990, section 3.3, with registers: sequential consistency is not local."""
    history = [w(1, "x"), r(None, "y")], [w(1, "y"), r(None, "x")]
    result = check(*history)
    assert result.verdict is Verdict.INVALID
    assert result.method == "search"
    [found] = result.counterexamples
    assert found.key is None
    assert len(found.core) == 4
    assert "process 0 did write 1 of key 'x', then read absent of key 'y'" in result.reason
    for key in ("x", "y"):
        alone = [[step for step in steps if step[1] == key] for steps in history]
        assert check(*alone).verdict is Verdict.VALID


def test_an_illegal_key_is_found_by_itself() -> None:
    result = check([w(1), w(2), w(1, "y")], [r(2), r(1)], [r(1, "y"), r(None, "z")])
    assert result.verdict is Verdict.INVALID
    assert result.method == "per key"
    assert result.details["illegal_keys"] == ["x"]
    assert len(result.counterexamples[0].core) == 4


def test_an_operation_that_never_returned_may_have_happened_late_or_never() -> None:
    assert check([w(1), ("?write", "x", 2)], [r(1), r(2), r(2)], [r(1), r(1)]).verdict is Verdict.VALID
    assert check([w(1), ("?write", "x", 2)], [r(2), r(1)]).verdict is Verdict.INVALID
    assert check([("?write", "x", 2), w(1)], [r(1), r(2)], [r(2), r(2)]).verdict is Verdict.VALID


def test_a_value_from_nowhere_needs_no_search() -> None:
    result = check([w(1), w(2), w(3)], [r(7), w(4)], [w(5)])
    assert result.verdict is Verdict.INVALID
    assert result.details["configurations"] == 0
    [found] = result.counterexamples
    assert [row["label"] for row in found.operations] == ["read 7"]
    assert found.needed == {str(found.impossible): "the value to be 7"}


def test_any_model_will_do() -> None:
    acquire, release = ("acquire", "lock", None), ("release", "lock", None)
    assert check([acquire, release], [acquire, release], model=OwnerMutex()).verdict is Verdict.VALID
    assert check([acquire], [acquire, release], model="owner-mutex").verdict is Verdict.VALID
    assert check([acquire], [acquire], model="owner-mutex").verdict is Verdict.INVALID


def test_a_model_of_times_is_refused() -> None:
    with pytest.raises(UsageError, match="goes by times"):
        SequentialChecker("lease")


def hard_history() -> dict[str, list[Entry]]:
    rng = random.Random(3)
    steps = [
        [("write" if rng.random() < 0.5 else "read", "x", rng.randint(1, 2)) for _ in range(30)]
        for _ in range(8)
    ]
    return entries_of(*steps, [("cas", "x", [5, 6]), r(9), r(8), w(8), w(9), w(5)], [r(9), r(5)])


def test_a_search_that_has_to_stop_says_how_far_it_got() -> None:
    for stopped in (
        SequentialChecker().check(history_of(hard_history()), context(seconds=0)),
        SequentialChecker().check(history_of(hard_history()), context(should_stop=lambda: True)),
        SequentialChecker().check(history_of(hard_history()), context(memory_bytes=1)),
    ):
        assert stopped.verdict is Verdict.UNKNOWN
        assert "operations in the longest legal order" in stopped.reason


def test_a_long_history_that_is_behind_is_decided_in_one_go() -> None:
    rng = random.Random(1)
    writes = [w(n) for n in range(1, 2_001)]
    readers = [[r(n) for n in sorted(rng.choices(range(1, 2_001), k=500))] for _ in range(4)]
    result = check(writes, *readers)
    assert result.verdict is Verdict.VALID
    assert result.details["configurations"] < 10_000


class Counted:
    """A counter whose states are as large as is asked for, and who says what is asked for about ``take``."""

    name = "counted"

    def __init__(self, size: int = 1, *, take_is_read: bool = False) -> None:
        self._size = size
        self._reads = {"take"} if take_is_read else set()

    def initial(self) -> Any:
        return tuple(range(self._size))

    def is_read(self, f: str) -> bool:
        return f in self._reads

    def step(self, state: Any, f: str, value: Any, result: Any) -> Any:
        if f == "inc":
            return (state[0] + 1, *state[1:])
        return (state[0] - 1, *state[1:]) if state[0] > 0 else ILLEGAL

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f


def step(f: str) -> Step:
    return (f, "x", None)


def test_a_model_that_says_that_an_update_only_reads_is_told_so() -> None:
    # Process 1 is behind, so that the history is not decided as a linearizable one.
    by_key = entries_of([step("take")], [step("inc")])
    assert searched(by_key, Counted()) is Verdict.VALID
    with pytest.raises(PlugInError) as told:
        searched(by_key, Counted(take_is_read=True))
    assert str(told.value) == (
        "the model 'counted' says that 'take' only reads, but its step() changed the state from (1,) to (0,): "
        "let is_read('take') be false"
    )


def test_large_states_count_against_the_memory_limit() -> None:
    items = [Item(0, e) for e in entries_of([step("inc")] * 300, [step("take")] * 301)["x"]]
    large = SequentialSearch(items, Counted(20_000)).run(limits(memory_bytes=8_000_000), 1_000)
    assert large.verdict is Verdict.UNKNOWN
    assert large.stopped == "its memory limit was reached"
    # A state of so many numbers takes more than 8 bytes for each.
    assert large.configurations * 160_000 < 16_000_000
    small = SequentialSearch(items, Counted(2)).run(limits(memory_bytes=8_000_000), 1_000)
    assert small.stopped == "its budget was used up"


# --- against every interleaving -------------------------------------------------------------------------


class Interleavings:
    """Every interleaving of the processes, with every choice of what never returned."""

    def __init__(self, by_key: dict[Any, list[Entry]], model: Model) -> None:
        self.model = model
        self.threads: dict[Any, list[tuple[Any, Entry]]] = {}
        self.optional: list[tuple[Any, int, tuple[Any, Entry]]] = []
        everything = [(key, e) for key, entries in by_key.items() for e in entries]
        for pair in sorted(everything, key=lambda pair: pair[1].call):
            process = pair[1].process
            thread = self.threads.setdefault(process, [])
            if pair[1].crashed:
                self.optional.append((process, len(thread), pair))
            else:
                thread.append(pair)

    def after(self, states: dict[Any, Any], pair: tuple[Any, Entry]) -> dict[Any, Any] | None:
        key, e = pair
        if e.crashed and self.model.is_read(e.f):
            return states
        state = self.model.step(states[key], e.f, e.value, e.result)
        return None if state is ILLEGAL else {**states, key: state}

    def extend(self, done: dict[Any, int], used: frozenset[int], states: dict[Any, Any]) -> bool:
        if all(done[process] == len(steps) for process, steps in self.threads.items()):
            return True
        following = [
            ({**done, process: done[process] + 1}, used, self.after(states, steps[done[process]]))
            for process, steps in self.threads.items()
            if done[process] < len(steps)
        ]
        following += [
            (done, used | {number}, self.after(states, pair))
            for number, (process, needed, pair) in enumerate(self.optional)
            if number not in used and done[process] >= needed
        ]
        return any(after is not None and self.extend(d, u, after) for d, u, after in following)


def is_sequentially_consistent(by_key: dict[Any, list[Entry]], model: Model) -> bool:
    """Whether some interleaving is legal."""
    all_of_them = Interleavings(by_key, model)
    start = dict.fromkeys(all_of_them.threads, 0)
    return all_of_them.extend(start, frozenset(), {key: model.initial() for key in by_key})


def random_history(rng: random.Random) -> dict[Any, list[Entry]]:
    """A small history of several processes and keys, with no regard to legality."""
    keys = ["x", "y"][: rng.randint(1, 2)]
    values = rng.randint(1, 3)
    distinct = rng.random() < 0.5
    processes: list[list[Step]] = []
    written = 0
    for _ in range(rng.randint(2, 3)):
        steps: list[Step] = []
        for _ in range(rng.randint(1, 3)):
            f, key = rng.choice(["write", "read", "read", "cas"]), rng.choice(keys)
            written += 1
            new = written if distinct else rng.randint(1, values)
            seen = rng.choice([None, *range(1, 5)]) if distinct else rng.choice([None, *range(1, values + 1)])
            steps.append((f, key, new if f == "write" else seen if f == "read" else [seen, new]))
        if rng.random() < 0.3:
            f, key, value = steps[-1]
            steps[-1] = (f"?{f}", key, value)
        processes.append(steps)
    return entries_of(*processes)


def searched(by_key: dict[Any, list[Entry]], model: Model) -> Verdict:
    items = [Item(number, e) for number, entries in enumerate(by_key.values()) for e in entries]
    return SequentialSearch(items, model).run(limits()).verdict


SPENT_TOO_SOON = entries_of([("?write", "x", 1)], [("?cas", "x", [None, 1])], [r(1), w(2), r(1)])
"""Legal, but only if the compare-and-set is spent on the first read, and the write kept for the second."""


class AnyModel(CasRegister):
    """A register, and the search does not know that it is one."""


def wrong_searches(seed: int, count: int) -> int:
    """How many verdicts of the search are not those of the interleavings."""
    wrong = int(searched(SPENT_TOO_SOON, CasRegister()) is not Verdict.VALID)
    for number in range(count):
        by_key = random_history(random.Random(f"{seed}/{number}"))
        legal = is_sequentially_consistent(by_key, CasRegister())
        model = CasRegister() if number % 2 else AnyModel()
        wrong += (searched(by_key, model) is Verdict.VALID) != legal
    return wrong


def test_the_search_is_right_about_every_small_history() -> None:
    assert wrong_searches(1, 2_500) == 0


def test_the_checker_is_right_about_small_histories_and_its_cores_are_illegal_and_minimal() -> None:
    verdicts = dict.fromkeys((Verdict.VALID, Verdict.INVALID), 0)
    for seed in range(400):
        by_key = random_history(random.Random(seed))
        legal = is_sequentially_consistent(by_key, CasRegister())
        result = SequentialChecker().check(history_of(by_key), context())
        assert result.verdict is (Verdict.VALID if legal else Verdict.INVALID), seed
        verdicts[result.verdict] += 1
        if not legal:
            core = set(result.counterexamples[0].core)
            assert not is_legal_when_relaxed(by_key, core), seed
            assert all(is_legal_when_relaxed(by_key, core - {number}) for number in core), seed
    assert min(verdicts.values()) > 40


def is_legal_when_relaxed(by_key: dict[Any, list[Entry]], core: set[int]) -> bool:
    """Whether a history is legal of which all but a core is left out: reads gone, updates at any time or never."""
    rows = {row.invoke_index: row for row in history_of(by_key)}
    numbers = {(row.key, row.process, row.invoke_index): row.invoke_index for row in rows.values()}
    relaxed: dict[Any, list[Entry]] = {}
    for key, entries in by_key.items():
        mine = sorted(number for where, number in numbers.items() if where[0] == key)
        for number, e in zip(mine, sorted(entries, key=lambda e: e.call), strict=True):
            if number in core:
                relaxed.setdefault(key, []).append(e)
            elif e.f != "read":
                free = e._replace(call=-1, crashed=True, ret=NEVER, process=1_000 + number)
                relaxed.setdefault(key, []).append(free)
    return is_sequentially_consistent(relaxed, CasRegister())


ROOTS = "(*self._roots, self._used)"
MISTAKES = [
    (sequential_search, "the memo forgets who got how far", ROOTS, "(self._roots[1], self._used)"),
    (sequential_search, "the memo forgets the states", ROOTS, "(self._roots[0], self._used)"),
    (sequential_search, "the memo forgets what is used up", ROOTS, "self._roots"),
    (
        sequential_search,
        "updates are taken at once",
        "not problem.is_read[operation] or self._aft",
        "self._aft",
    ),
    (
        sequential_search,
        "optional updates come before their process",
        "positions[o.thread] >= o.after",
        "used >= 0",
    ),
    (sequential_search, "optional updates come again and again", "self._used |= bit", "self._used |= 0"),
    (sequential_search, "optional updates are never noticed", "if after == state:", "if True:"),
    (
        sequential_search,
        "one optional update for all",
        "problem.classes[operation])\n            if",
        "0)\n            if",
    ),
    (sequential_search, "states are not put back", "] = placed.state", "] = self._states[0]"),
    (
        sequential_search,
        "what stays is lost",
        "demands is None or after == self._states[key]",
        "demands is None",
    ),
    (
        sequential_problem,
        "optional writers do not count",
        " or self._optional.get((key, value), 0) & ~used",
        "",
    ),
    (sequential_problem, "nobody else writes it", "self._writers.get((key, value), {})", "{}"),
    (sequential_problem, "all optional updates go unnoticed", "if horizon == UNNOTICED", "if True"),
]


@pytest.mark.parametrize(
    ("module", "name", "right", "wrong"), MISTAKES, ids=[mistake[1] for mistake in MISTAKES]
)
def test_a_mistake_in_the_search_is_found(module: Any, name: str, right: str, wrong: str) -> None:
    with Planted(module, right, wrong):
        assert any(wrong_searches(seed, 250) for seed in range(1, 13)), name


class Planted:
    """The mistake in place of the right text, while it lasts."""

    def __init__(self, module: Any, right: str, wrong: str) -> None:
        self._module = module
        self._source = Path(module.__file__).read_text()
        assert self._source.count(right) == 1, right
        self._wrong = self._source.replace(right, wrong)
        self._saved: dict[str, Any] = {}

    def __enter__(self) -> None:
        space = {**self._module.__dict__}
        exec(compile(self._wrong, self._module.__file__, "exec"), space)
        for name, value in space.items():
            if isinstance(value, type) and value.__module__ == self._module.__name__:
                for attribute, mine in list(vars(value).items()):
                    if callable(mine) and attribute != "__class__":
                        self._change(name, attribute, mine)

    def _change(self, name: str, attribute: str, mine: Any) -> None:
        original = getattr(self._module, name)
        if getattr(original.__dict__.get(attribute), "__code__", None) is not None:
            self._saved[f"{name}.{attribute}"] = original.__dict__[attribute].__code__
            original.__dict__[attribute].__code__ = mine.__code__

    def __exit__(self, *exception: object) -> None:
        for place, code in self._saved.items():
            name, attribute = place.split(".")
            getattr(self._module, name).__dict__[attribute].__code__ = code


def test_without_a_mistake_nothing_is_found() -> None:
    assert not any(wrong_searches(seed, 250) for seed in range(1, 4))
