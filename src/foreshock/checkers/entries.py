"""The compact form that every decision procedure works on: one entry an operation, in event order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from foreshock.harness.model import UNKNOWN

NEVER: Final = 1 << 62
"""The position of a return that never came: after every other position."""
UNNOTICED: Final = -NEVER - 1
"""The horizon of an update that nothing can notice: before every position."""


class Entry(NamedTuple):
    """One operation that happened or may have happened; operations that failed never become entries.

    ``call`` and ``ret`` are positions in the order of events. An operation precedes another one only if its
    ``ret`` is strictly less than the other's ``call``, so equal positions mean "concurrent". A ``crashed``
    operation may take effect at any position after its call, or never; its ``ret`` is :data:`NEVER`.
    ``number`` names the operation (the index of its invocation) and orders nothing.
    """

    number: int
    call: int
    ret: int
    f: str
    value: Any = None
    result: Any = None
    crashed: bool = False
    process: int = 0
    times: tuple[int, int] = (-1, -1)
    """Call and return by the clock (ns), for models that ask for them."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """A JSON value that Python cannot hash, or would confuse with another one (``True == 1``)."""

    kind: str
    content: Any

    def __repr__(self) -> str:
        return repr(thaw(self))


def freeze(value: Any) -> Any:
    """A hashable stand-in for a JSON value; two values that JSON tells apart are never equal."""
    if isinstance(value, bool):
        return Frozen("bool", value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list | tuple):
        return tuple(freeze(part) for part in value)
    if isinstance(value, dict):
        return Frozen("object", tuple(sorted((str(name), freeze(part)) for name, part in value.items())))
    return value


def thaw(value: Any) -> Any:
    """The JSON value behind a frozen one (a tuple comes back as a list)."""
    if isinstance(value, Frozen):
        if value.kind == "bool":
            return value.content
        return {name: thaw(part) for name, part in value.content}
    if isinstance(value, tuple):
        return [thaw(part) for part in value]
    return value


def crash(entry: Entry) -> Entry:
    """The same operation had it never returned."""
    return entry._replace(ret=NEVER, result=UNKNOWN, crashed=True)


def relax(entries: Sequence[Entry], keep: Iterable[int], reads: Iterable[bool]) -> list[Entry]:
    """Leave out all operations but ``keep`` (offsets), soundly: what was legal stays legal.

    Leaving out a read deletes it. Leaving out an update makes it optional and unbounded in time: to delete it
    would turn the reads of its value into reads from nowhere, and convict valid histories.
    """
    kept = set(keep)
    relaxed = []
    for offset, (entry, is_read) in enumerate(zip(entries, reads, strict=True)):
        if offset in kept:
            relaxed.append(entry)
        elif not is_read:
            relaxed.append(entry._replace(call=-NEVER, ret=NEVER, crashed=True))
    return relaxed
