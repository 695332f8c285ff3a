"""Server-side scripts: each is given once as Lua, for a real server, and once as its meaning, for the simulated one.

Redis runs a script as one atomic step. A meaning is a function of ``call`` (which runs one command, as ``redis.call``
does), the keys and the arguments; the tests compare the two on a real server with random commands.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

Call = Callable[..., Any]
"""``call("GET", key)``: the command's reply. An error ends the script with that error."""

Meaning = Callable[[Call, Sequence[str], Sequence[str]], Any]
"""``meaning(call, keys, arguments)``: the script's reply (``str``, ``int``, ``None`` or a list). Arguments are text."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """One script."""

    lua: str
    meaning: Meaning

    @property
    def digest(self) -> str:
        """By what ``EVALSHA`` knows it: the SHA-1 of its text."""
        return digest_of(self.lua)


def digest_of(lua: str) -> str:
    """The SHA-1 of a script's text."""
    return hashlib.sha1(lua.encode(), usedforsecurity=False).hexdigest()
