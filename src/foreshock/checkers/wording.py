"""What operations are called in an explanation: what they did, who did it, and at which events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from foreshock.checkers.entries import Entry
from foreshock.checkers.models.base import ExplainsItself, argument_of, asked
from foreshock.checkers.shortening import shortened
from foreshock.harness.model import Model

OPEN: Final = -1
"""In place of an event: the operation never returned, or nobody knows how it ended."""


def no_end(_: int) -> int | None:
    """Where nobody knows at which events operations returned."""
    return None


@dataclass(frozen=True)
class Wording:
    """Words for some entries (given by their offsets). ``end_of`` is at which event an operation
    returned (given the event at which it began): :data:`OPEN` where it never did, ``None`` where nobody knows.
    """

    model: Model
    entries: Sequence[Entry]
    end_of: Callable[[int], int | None] = no_end

    def label(self, offset: int) -> str:
        """Such as ``write 2``."""
        return label_of(self.model, self.entries[offset])

    def by(self, offset: int) -> str:
        """Such as ``write 2 by process 3``."""
        process = self.entries[offset].process
        label = self.label(offset)
        return label if label.endswith(f" by {process}") else f"{label} by process {process}"

    def events(self, offset: int) -> str:
        """Such as ``events 64-68``; ``event 64`` where nobody knows when it returned."""
        number = self.entries[offset].number
        end = self.end_of(number)
        if end is None:
            return f"event {number}"
        return f"events {number}-{'?' if end == OPEN else end}"

    def full(self, offset: int) -> str:
        """Such as ``write 2 by process 3 (events 64-68)``."""
        return f"{self.by(offset)} ({self.events(offset)})"

    def returned(self, offset: int) -> str:
        """When it returned, such as ``at event 68``; empty where nobody knows."""
        end = self.end_of(self.entries[offset].number)
        return "" if end is None or end == OPEN else f" at event {end}"

    def began(self, offset: int) -> str:
        """When it began, such as ``at event 64``."""
        return f" at event {self.entries[offset].number}"


def label_of(model: Model, entry: Entry) -> str:
    """An operation in the model's words; long ones are cut."""
    return shortened(str(asked(model, "describe", entry.f, argument_of(model, entry), entry.result)))


def needs_of(model: Model, entry: Entry) -> str:
    """The state that an operation needs, in words; empty where it needs none, or the model has no words for it."""
    if not isinstance(model, ExplainsItself):
        return ""
    needs = str(asked(model, "needs", entry.f, argument_of(model, entry), entry.result))
    return "" if needs == "nothing" else shortened(needs)


def either(words: Sequence[str]) -> str:
    """Such as ``a, b or c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def both(words: Sequence[str]) -> str:
    """Such as ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
