"""What a fast path can say of one key."""

from __future__ import annotations

from enum import IntEnum


class Decision(IntEnum):
    """A fast path decides, or says that the history of the key is not of its kind."""

    NOT_APPLICABLE = 0
    VALID = 1
    INVALID = 2
