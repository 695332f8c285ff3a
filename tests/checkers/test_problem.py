"""Windows, slots and classes of the search against what they are by definition."""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from typing import Any

from tests.checkers.random_histories import random_positions

from foreshock.checkers.entries import NEVER, Entry, crash
from foreshock.checkers.models.register import Register
from foreshock.checkers.problem import Problem, Windows, questions_of
from foreshock.harness.model import UNKNOWN


class Given(Register):
    """Crashed updates matter until the position that is their value."""

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        return [entry.value if entry.crashed else NEVER for entry in entries]


def histories(count: int) -> list[list[Entry]]:
    rng = random.Random(17)
    made = []
    for _ in range(count):
        positions = random_positions(rng, rng.randint(1, 14), ties=rng.random() < 0.7)
        history = [
            Entry(n, call, ret, "write", rng.randint(0, 20)) for n, (call, ret) in enumerate(positions)
        ]
        share = rng.choice([0, 0.4, 0.8])
        made.append([crash(entry) if rng.random() < share else entry for entry in history])
    return made


def test_the_window_of_a_level_is_what_is_pending_and_of_use_then() -> None:
    rng = random.Random(3)
    for history in histories(400):
        problem = Problem(history, Given())
        windows = Windows(problem)
        operations, levels = problem.operations, problem.levels
        rets = sorted(entry.ret for entry in history if not entry.crashed)
        assert [entry.ret for entry in operations[:levels]] == rets
        last = rets[-1] if rets else -NEVER
        assert sorted(problem.offsets[levels:]) == [
            o for o, e in enumerate(history) if e.crashed and e.call <= min(e.value, last)
        ]
        before: set[int] = set()
        for level in rng.sample(range(levels), levels):
            ret = operations[level].ret
            assert windows.at(level) == [
                o
                for o, e in enumerate(operations)
                if o >= level and e.call <= ret and not (e.crashed and e.value < ret)
            ]
        peaks = [0, 0]
        for level in range(levels):
            window = windows.at(level)
            for crashed in (False, True):
                bits = [problem.bits[o] for o in window if operations[o].crashed is crashed]
                assert all(bit.bit_count() == 1 for bit in bits)
                assert len(set(bits)) == len(bits)
                assert all(bit.bit_length() <= problem.concurrency for bit in bits)
                peaks[crashed] = max(peaks[crashed], len(bits))
            gone = {o for o in before if operations[o].crashed} - set(window)
            assert set(problem.expires[level]) == gone
            assert problem.expired_bits[level] == sum(problem.bits[o] for o in gone)
            before = set(window)
        # A slot is free again at the next level, so no more of them are made than are needed at once.
        assert problem.concurrency == sum(peaks)


def test_long_windows_are_the_same_from_wherever_one_comes() -> None:
    rng = random.Random(5)
    history = [Entry(n, n, n + rng.randint(1, 150), "write", n) for n in range(900)]
    problem = Problem(history, Register())
    windows = Windows(problem)
    for level in [*rng.sample(range(900), 900), *(level for level in range(900) for _ in range(2))]:
        ret = problem.operations[level].ret
        assert windows.at(level) == [o for o in range(level, 900) if problem.operations[o].call <= ret]


def test_what_crashed_without_a_result_has_an_unknown_one() -> None:
    entries = [
        Entry(0, 0, NEVER, "write", 1, None, crashed=True),
        Entry(1, 0, 5, "write", 1, None),
        Entry(2, 0, NEVER, "write", 1, "seen", crashed=True),
    ]
    plain = questions_of(Plain(), entries)
    assert [result for _, _, result in plain[1]] == [UNKNOWN, None, "seen"]
    assert plain[0] == [0, 1, 2]
    assert questions_of(Alike(), entries) == ([0, 0, 0], [("write", 1, UNKNOWN)])


class Plain:
    """A model with nothing but what every model has."""

    name = "plain"

    def initial(self) -> Hashable:
        return 0

    def is_read(self, f: str) -> bool:
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable:
        return value  # type: ignore[no-any-return]

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f


class Alike(Plain):
    """One that cannot tell any two operations of a name apart, and has a smaller one that serves."""

    def canonical(self, f: str, value: Any, result: Any) -> Hashable:
        return f

    def specialized(self, entries: Sequence[Entry]) -> Plain:
        return Plain()


def test_the_smaller_model_is_searched_with() -> None:
    assert type(Problem([Entry(0, 0, 1, "write", 1)], Alike()).model) is Plain
