"""About how much memory the states of a model take: some are looked at closely, the rest taken to be alike."""

from __future__ import annotations

import sys
from typing import Any, Final

STATE_BYTES: Final = 120
"""What a state costs beside itself: its number, its places in a table and a list."""
_LOOK_EVERY: Final = 32
_PARTS_MAX: Final = 20_000


def deep_size(value: Any, most: int = _PARTS_MAX) -> int:
    """What a value and its parts take (bytes), each counted once; no more than ``most`` parts are looked at."""
    seen: set[int] = set()
    waiting = [value]
    size = 0
    while waiting and len(seen) < most:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        size += sys.getsizeof(part)
        if isinstance(part, tuple | frozenset | list | set):
            waiting += part
        elif isinstance(part, dict):
            waiting += [*part.keys(), *part.values()]
        elif hasattr(part, "__dict__"):
            waiting.append(vars(part))
    return size


class StateSizes:
    """Keeps count of what states take, as they come up."""

    def __init__(self) -> None:
        self._count = 0
        self._looked_at = 0
        self._bytes = 0

    def note(self, state: Any) -> None:
        """Another state."""
        if self._count % _LOOK_EVERY == 0:
            self._looked_at += 1
            self._bytes += deep_size(state)
        self._count += 1

    @property
    def bytes_used(self) -> int:
        """What all of them take, as far as those that were looked at tell."""
        if not self._count:
            return 0
        return self._count * (STATE_BYTES + self._bytes // self._looked_at)
