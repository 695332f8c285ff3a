"""What a replicated service is to the sessions that wrap it."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Protocol

from foreshock.targets.reference.node.codes import Body

Operation = list[Any]
"""An operation as it stands in the log: ``[type, key, arguments...]``, all JSON values."""


class Service(Protocol):
    """A deterministic state machine: no clock, no randomness, no I/O; equal logs give equal states.

    Operations have been validated before they were proposed; one that is nonsense all the same (a hostile peer
    wrote it) may raise ``TypeError``, ``ValueError`` or ``LookupError``, before it has changed anything.
    """

    name: ClassVar[str]
    operations: ClassVar[frozenset[str]]
    """The types of the operations that this service applies; no two services share one."""

    def apply(self, session: int | None, operation: Operation) -> Body:
        """Apply one operation of a session (``None``: of nobody's); returns the reply's body."""

    def holds(self, session: int) -> bool:
        """Whether the session has something here that it would lose by ending (a lock)."""

    def end_session(self, session: int) -> None:
        """The session is over: what it held goes to the next in line."""

    def snapshot(self) -> Any:
        """The whole state as a new JSON value, which shares nothing mutable with the service."""

    def restore(self, data: Any) -> None:
        """Take over the state of a snapshot, without keeping or changing anything mutable of it."""


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal as JSON: unlike in Python, ``true`` is not ``1``."""
    if isinstance(one, dict | list) or isinstance(other, dict | list):
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    return isinstance(one, bool) is isinstance(other, bool) and bool(one == other)
