"""The resource that locks guard in the lock workload: the harness's own counters, where a lost update shows."""

from __future__ import annotations

from typing import Final

from foreshock.harness.errors import Definite
from foreshock.harness.services import Key

NO_TOKEN: Final = -1


class GuardedResource:
    """One counter a key, read and written in two steps, so that two users at once lose an update.

    With ``fencing`` it keeps the greatest token that it has seen for each key and refuses an older one, as a storage
    service would that takes part in fencing (Kleppmann 2016); a use without a token is then refused too. Readers share
    their lock and come in any order: a reader is refused only where a later writer was before it, and a writer where
    anybody later was. Under a semaphore the users of a key are counted instead; tokens cannot tell there who is late.
    """

    def __init__(self, *, fencing: bool) -> None:
        self._fencing = fencing
        self._counts: dict[Key, int] = {}
        self._newest_tokens: dict[Key, int] = {}
        self._newest_writers: dict[Key, int] = {}
        self._inside: dict[Key, int] = {}

    def read(self, key: Key, token: int | None, *, shared: bool = False) -> int:
        """The counter; raises ``Definite`` when the token is refused. ``shared``: the user is a mere reader."""
        self._check(key, token, shared=shared)
        return self._counts.get(key, 0)

    def write(self, key: Key, token: int | None, count: int) -> None:
        """Set the counter; raises ``Definite`` when the token is refused, and then nothing was written."""
        self._check(key, token, shared=False)
        self._counts[key] = count

    def enter(self, key: Key) -> int:
        """One user more; how many there are with this one."""
        self._inside[key] = self._inside.get(key, 0) + 1
        return self._inside[key]

    def leave(self, key: Key) -> None:
        """One user less."""
        self._inside[key] -= 1

    def _check(self, key: Key, token: int | None, *, shared: bool) -> None:
        if not self._fencing:
            return
        if token is None:
            raise Definite("the resource wants a fencing token and the grant came without one")
        newest = (self._newest_writers if shared else self._newest_tokens).get(key, NO_TOKEN)
        if token < newest:
            raise Definite(f"the resource refused token {token}: it has seen {newest}")
        self._newest_tokens[key] = max(token, self._newest_tokens.get(key, NO_TOKEN))
        if not shared:
            self._newest_writers[key] = token
