"""The origin of the cache: versioned values by key.

Each change gives its key a version that no key ever had before, so equal versions mean equal values and there is no
way back to an old one (no ABA), not even by deleting a key and putting it again.

The cache itself is with the client: it keeps the values that it got, and asks with the version that it holds. The
node answers such a query only after a quorum has confirmed its leader (ReadIndex), either ``unchanged``, which spares
the value's way over the network, or with the new value. The origin is asked on *every* get, so a hit is as
linearizable as a read of the origin itself; what a hit saves is bytes, not a round trip. Modes that save the round
trip (read leases) need a bound on clocks and are another service's business.

Operations in the log: ``["put", key, value]`` and ``["delete", key]``.
"""

from __future__ import annotations

from typing import Any, ClassVar

from foreshock.targets.reference.node.codes import MALFORMED, Body, error
from foreshock.targets.reference.node.services.base import Operation

ABSENT = 0
"""The version of a key that has no value; versions of values start at 1."""


class CacheOrigin:
    """All values with their versions; ``null`` is the value of an absent key."""

    name: ClassVar[str] = "cache"
    operations: ClassVar[frozenset[str]] = frozenset({"put", "delete"})

    def __init__(self) -> None:
        self._values: dict[int | str, tuple[int, Any]] = {}
        self._changes = 0

    def get(self, key: int | str, version: int | None) -> Body:
        """The answer to a query by a cache that holds ``version`` of the key (``None``: nothing)."""
        present, value = self._values.get(key, (ABSENT, None))
        if present == version:
            return {"type": "get_ok", "version": present, "unchanged": True}
        return {"type": "get_ok", "version": present, "value": value}

    def apply(self, session: int | None, operation: Operation) -> Body:  # noqa: ARG002
        """Apply a put or a delete; deleting an absent key is no error."""
        match operation:
            case ["put", int() | str() as key, value]:
                self._changes += 1
                self._values[key] = (self._changes, value)
                return {"type": "put_ok", "version": self._changes}
            case ["delete", int() | str() as key]:
                self._values.pop(key, None)
                return {"type": "delete_ok"}
        return error(MALFORMED, "the cache service knows no such operation")

    def holds(self, session: int) -> bool:  # noqa: ARG002
        """Never: values belong to nobody."""
        return False

    def end_session(self, session: int) -> None:
        """Nothing to do: values belong to nobody."""

    def snapshot(self) -> Any:
        """``{"changes": n, "values": [[key, version, value], ...]}``."""
        values = [[key, version, value] for key, (version, value) in self._values.items()]
        return {"changes": self._changes, "values": values}

    def restore(self, data: Any) -> None:
        """Take over the values of a snapshot."""
        values = {key: (version, value) for key, version, value in data["values"]}
        self._changes, self._values = data["changes"], values
