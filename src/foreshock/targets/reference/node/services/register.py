"""The register service: one register a key, with get, put and compare-and-set.

Operations in the log: ``["write", key, value]`` and ``["cas", key, old, new]`` (``old`` is ``null`` for a key that
is to be absent). A read is not logged; it is a query that the node answers once a quorum has confirmed its leader.
"""

from __future__ import annotations

from typing import Any, ClassVar

from foreshock.targets.reference.node.codes import (
    KEY_DOES_NOT_EXIST,
    MALFORMED,
    PRECONDITION_FAILED,
    Body,
    error,
)
from foreshock.targets.reference.node.services.base import Operation, same

_WRITTEN: Body = {"type": "write_ok"}
_SWAPPED: Body = {"type": "cas_ok"}


class Registers:
    """All registers by key; an absent key reads as ``null``."""

    name: ClassVar[str] = "register"
    operations: ClassVar[frozenset[str]] = frozenset({"write", "cas"})

    def __init__(self) -> None:
        self._values: dict[int | str, Any] = {}

    def read(self, key: int | str) -> Body:
        """The answer to a query for the key's value."""
        return {"type": "read_ok", "value": self._values.get(key)}

    def apply(self, session: int | None, operation: Operation) -> Body:  # noqa: ARG002
        """Apply a write or a compare-and-set."""
        match operation:
            case ["write", int() | str() as key, value]:
                self._values[key] = value
                return _WRITTEN
            case ["cas", int() | str() as key, old, new]:
                return self._compare_and_set(key, old, new)
        return error(MALFORMED, "the register service knows no such operation")

    def holds(self, session: int) -> bool:  # noqa: ARG002
        """Never: registers belong to nobody."""
        return False

    def end_session(self, session: int) -> None:
        """Nothing to do: registers belong to nobody."""

    def snapshot(self) -> Any:
        """``[[key, value], ...]`` in the order in which the keys came."""
        return [[key, value] for key, value in self._values.items()]

    def restore(self, data: Any) -> None:
        """Take over the registers of a snapshot."""
        self._values = {key: value for key, value in data}  # noqa: C416 - unpacking checks the shape

    def _compare_and_set(self, key: int | str, old: Any, new: Any) -> Body:
        present = self._values.get(key)
        if not same(present, old):
            if present is None:
                return error(KEY_DOES_NOT_EXIST, f"the register {key!r} has never been written")
            return error(
                PRECONDITION_FAILED, f"the register {key!r} holds another value than the one expected"
            )
        self._values[key] = new
        return _SWAPPED
