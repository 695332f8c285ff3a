"""A model of your own in one file: a buffer with room for a few elements, first in, first out.

    foreshock check history.jsonl --model examples/bounded_buffer_model.py:BoundedBuffer

The operations are ``put`` (value: an element; it fails, and is left out, when there is no room) and ``take`` (result:
the oldest element, ``None`` when there is none). Nothing needs to be inherited or registered.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal


class BoundedBuffer:
    """A buffer with room for ``capacity`` elements. The state is the tuple of its elements, the oldest first."""

    name = "bounded-buffer"

    def __init__(self, capacity: int = 2) -> None:
        self.capacity = capacity

    def initial(self) -> Hashable:
        """The buffer is empty."""
        return ()

    def is_read(self, f: str) -> bool:
        """Neither operation leaves the buffer as it was."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The elements after an operation, or ``ILLEGAL``; one that crashed has the result ``UNKNOWN``."""
        elements: tuple[Any, ...] = state
        if f == "put":
            return (*elements, value) if len(elements) < self.capacity else ILLEGAL
        if f == "take":
            oldest = elements[0] if elements else None
            return elements[1:] if result is UNKNOWN or result == oldest else ILLEGAL
        raise UsageError(f"a bounded buffer has no operation {f!r}; it knows put and take")

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``put 3`` or ``take -> 3``."""
        if f == "put":
            return f"put {value}"
        return "take" if result is UNKNOWN else f"take -> {result}"

    # The two methods from here on may be left out. With them an explanation says more.

    def describe_state(self, state: Any) -> str:
        """The elements in words."""
        return ", ".join(map(str, state)) or "empty"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the buffer would have to be for the operation to be legal."""
        if f == "put":
            return f"fewer than {self.capacity} elements"
        return "the buffer to be empty" if result is None else f"{result} to be the oldest"
