"""What a model answers, with states as numbers: it is asked, and what it says is looked at, in one place."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from foreshock.checkers.models.base import asked, changed_by_read, unhashable_state
from foreshock.checkers.sizes_of_states import StateSizes
from foreshock.harness.model import ILLEGAL, Model

Question = tuple[str, Any, Any]
"""What a model's ``step`` is asked beside the state: the operation's name, its argument, its result."""


class Answers:
    """The steps of a model, by the number of a state and that of a question; nothing is remembered but the states.

    Raises ``PlugInError`` where the model fails, where a state cannot be hashed, and where what is said only to read
    changes the state: all searches count on that it does not.
    """

    def __init__(self, model: Model, questions: Sequence[Question]) -> None:
        self._model = model
        self._questions = questions
        self._only_reads = {f: bool(asked(model, "is_read", f)) for f, _, _ in questions}
        self._numbers: dict[Hashable, int] = {}
        self.states: list[Any] = []
        self.sizes = StateSizes()
        self.initial = self._number(asked(model, "initial"))

    def after(self, state: int, question: int, illegal: int) -> int:
        """The number of the state after an operation, or ``illegal``."""
        f, argument, result = self._questions[question]
        found = asked(self._model, "step", self.states[state], f, argument, result)
        if found is ILLEGAL:
            return illegal
        number = self._number(found)
        if number != state and self._only_reads[f]:
            raise changed_by_read(self._model, f, self.states[state], found)
        return number

    def _number(self, state: Any) -> int:
        try:
            number = self._numbers.setdefault(state, len(self._numbers))
        except TypeError as error:
            raise unhashable_state(self._model, state) from error
        if number == len(self.states):
            self.states.append(state)
            self.sizes.note(state)
        return number
