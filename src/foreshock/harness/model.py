"""Models: sequential specifications that a history is checked against. A user's model is one small class."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final, Protocol


class Illegal:
    """The answer of a model's ``step`` to an operation that is impossible in the given state."""

    def __repr__(self) -> str:
        return "ILLEGAL"


ILLEGAL: Final = Illegal()


class Model(Protocol):
    """A sequential specification. States are hashable values; ``step`` is pure."""

    name: str
    """Its name, in a word."""

    def initial(self) -> Hashable:
        """The state before any operation."""

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The state after an operation, or ``ILLEGAL``.

        ``value`` is what was asked for, ``result`` what came back; an operation that crashed has the result
        ``UNKNOWN`` (and only updates are ever tried then).
        """

    def is_read(self, f: str) -> bool:
        """Whether operations ``f`` never change the state (a crashed one then constrains nothing)."""

    def describe(self, f: str, value: Any, result: Any) -> str:
        """The operation in a few words, such as ``write 3`` or ``read 3``."""


class Unknown:
    """The result of an operation that never returned."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()
