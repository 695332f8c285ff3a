"""A model that raises: the sentence names it, the operation and the place, whoever asked."""

from __future__ import annotations

from typing import Any

import pytest
from tests.checkers.random_histories import limits

from foreshock.checkers.argument import state_of
from foreshock.checkers.encoding import encode_entries
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.base import asked
from foreshock.checkers.problem import Problem, Steps
from foreshock.checkers.search import search
from foreshock.checkers.sequential_problem import Item
from foreshock.checkers.sequential_search import SequentialSearch
from foreshock.checkers.wording import label_of, needs_of
from foreshock.harness.errors import PlugInError, UsageError

HISTORY = [
    Entry(0, 0, 1, "add", 3, None, False, 0),
    Entry(1, 2, 3, "look", None, 3, False, 1),
    Entry(2, 4, NEVER, "add", 5, None, True, 2),
]


class Breaking:
    """Keeps the protocol, but for one method."""

    name = "breaking"

    def __init__(self, method: str, error: BaseException | None = None) -> None:
        self._method = method
        self._error = error or ZeroDivisionError("oh no")

    def _perhaps(self, method: str) -> None:
        if method == self._method:
            raise self._error

    def initial(self) -> Any:
        self._perhaps("initial")
        return 0

    def is_read(self, f: str) -> bool:
        self._perhaps("is_read")
        return f == "look"

    def step(self, state: Any, f: str, value: Any, result: Any) -> Any:
        self._perhaps("step")
        return state if f == "look" else state + value

    def describe(self, f: str, value: Any, result: Any) -> str:
        self._perhaps("describe")
        return f

    def needs(self, f: str, value: Any, result: Any) -> str:
        self._perhaps("needs")
        return f"{f} {value} {result}"

    def describe_state(self, state: Any) -> str:
        self._perhaps("describe_state")
        return str(state)

    def useful_until(self, entries: Any) -> list[int]:
        self._perhaps("useful_until")
        return [NEVER] * len(entries)

    def specialized(self, entries: Any) -> Any:
        self._perhaps("specialized")
        return self

    def canonical(self, f: str, value: Any, result: Any) -> Any:
        self._perhaps("canonical")
        return (f, value, result)


WHAT = {
    "initial": r"failed in initial\(\)",
    "is_read": r"failed in is_read\(\)",
    "step": "failed on add 3",
    "useful_until": r"failed in useful_until\(\)",
    "specialized": r"failed in specialized\(\)",
    "canonical": "failed on add 3",
}


def encode_and_step(model: Any) -> None:
    answers = encode_entries(HISTORY, model).answers
    assert answers is not None
    answers.after(answers.initial, 0, -1)


@pytest.mark.parametrize("method", WHAT)
def test_a_model_that_raises_is_named(method: str) -> None:
    sentence = rf"the model 'breaking' {WHAT[method]}: ZeroDivisionError: oh no \(test_model_errors.py, line"
    with pytest.raises(PlugInError, match=sentence):
        search(HISTORY, Breaking(method), limits())
    with pytest.raises(PlugInError, match=sentence):
        encode_and_step(Breaking(method))


@pytest.mark.parametrize("method", ["initial", "is_read", "step", "useful_until"])
def test_a_model_that_raises_is_named_for_sequential_consistency_too(method: str) -> None:
    items = [Item(0, entry) for entry in HISTORY if entry.f == "add"]
    with pytest.raises(PlugInError, match=rf"the model 'breaking' {WHAT[method]}: ZeroDivisionError: oh no"):
        SequentialSearch(items, Breaking(method)).run(limits())


def test_what_ends_the_program_ends_the_question_only() -> None:
    with pytest.raises(PlugInError, match=r"the model 'breaking' failed on add 3: SystemExit: 4"):
        search(HISTORY, Breaking("step", SystemExit(4)), limits())


def test_what_a_model_says_of_bad_input_and_an_interruption_come_through() -> None:
    with pytest.raises(UsageError, match=r"^that is no number$"):
        search(HISTORY, Breaking("step", UsageError("that is no number")), limits())
    with pytest.raises(KeyboardInterrupt):
        search(HISTORY, Breaking("step", KeyboardInterrupt()), limits())


def test_a_long_value_is_shortened() -> None:
    with pytest.raises(PlugInError, match=r"failed on add '.{5,40}': ZeroDivisionError"):
        asked(Breaking("describe"), "describe", "add", "x" * 10_000, None)


def test_a_model_that_keeps_the_protocol_is_asked_as_ever() -> None:
    steps = Steps(Problem(HISTORY, Breaking("")))
    assert steps.states[steps.after(steps.initial, 0)] == 3


@pytest.mark.parametrize("method", ["describe", "needs", "describe_state"])
def test_a_model_that_has_no_words_is_named(method: str) -> None:
    model, entry = Breaking(method), HISTORY[0]
    words = {
        "describe": lambda: label_of(model, entry),
        "needs": lambda: needs_of(model, entry),
        "describe_state": lambda: state_of(model, 3),
    }
    where = "in describe_state\\(\\)" if method == "describe_state" else "on add 3"
    with pytest.raises(PlugInError, match=f"the model 'breaking' failed {where}: ZeroDivisionError: oh no"):
        words[method]()
