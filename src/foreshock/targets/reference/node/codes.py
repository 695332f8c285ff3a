"""Error codes of the wire, and the bodies that carry them.

Codes below 1000 mean what they mean in Maelstrom's protocol. *Definite*: the request certainly had no effect.
*Indefinite*: it may have taken effect, or may do so later.
"""

from __future__ import annotations

from typing import Any, Final

Body = dict[str, Any]
"""The body of a message: a JSON object. Never mutated once it has been handed over."""

TIMEOUT: Final = 0
"""Indefinite: no answer in time."""
NOT_SUPPORTED: Final = 10
"""Definite: the node does not know this type of request."""
TEMPORARILY_UNAVAILABLE: Final = 11
"""Definite: not the leader (see the ``leader`` hint), no leader known, or too busy; nothing was logged."""
MALFORMED: Final = 12
"""Definite: the request makes no sense; the text says why."""
CRASH: Final = 13
"""Indefinite: the node lost track of the request, which may still take effect."""
KEY_DOES_NOT_EXIST: Final = 20
"""Definite: there is no such key."""
PRECONDITION_FAILED: Final = 22
"""Definite: the state was not as the request demands, so nothing was changed."""
SESSION_UNKNOWN: Final = 1001
"""This copy of the request had no effect, for its session is unknown, closed or expired. Whether an *earlier*
copy of it took effect is not known any more, so a client that had sent one must not execute it anew."""
SEQUENCE_STALE: Final = 1002
"""This copy of the request had no effect, for its session has gone on to a later sequence number."""


def error(code: int, text: str) -> Body:
    """The body of an error reply; ``text`` is one sentence for a person."""
    return {"type": "error", "code": code, "text": text}
