"""Operations: what processes invoke and how their invocations end.

Completion semantics are sacred. ``ok``: it happened. ``fail``: it certainly did not happen. ``info``:
unknown; it may take effect at any later time, or never. Absence is a value: a read whose result is
``None`` found the key absent; it does not mean that the result is unknown.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

NEMESIS: Final = -1
"""The process of every operation that a nemesis performs."""


class OperationType(StrEnum):
    """The kind of an event in a history."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"


class Operation(msgspec.Struct, frozen=True, gc=True, omit_defaults=True):
    """One event of a history: an invocation, or the completion of one.

    ``value`` is what was asked for (arguments; JSON-able); ``result`` is what came back (only in ``ok``
    completions). ``time_ns`` counts from the start of the test by the runtime's clock and is for people:
    the *order* of events is their index. A generator leaves ``process``, ``index`` and ``time_ns`` to the
    interpreter unless it wants a particular process.
    """

    f: str
    key: int | str | None = None
    value: object = None
    type: OperationType = OperationType.INVOKE
    process: int | None = None
    time_ns: int | None = None
    index: int | None = None
    result: object = None
    error: str | None = None
    node: str | None = None
