"""What locks must do, written down as plainly as possible: lists that are searched from end to end.

Slow and without any index, so that a glance shows it right. The service is compared with it step by step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SHARED = ("read", "permit")


@dataclass
class Entry:
    """A session that holds a lock, or stands in line for it."""

    session: int
    key: Any
    mode: str
    permits: int
    token: int = 0
    depth: int = 1


@dataclass
class LockOracle:
    """All who hold anything, all who wait for anything, each in the order in which they came to it."""

    holders: list[Entry] = field(default_factory=list)
    waiters: list[Entry] = field(default_factory=list)
    grants: int = 0
    told: list[tuple[int, Any, int]] = field(default_factory=list)

    def acquire(self, session: int, key: Any, wait: bool, mode: str = "exclusive", permits: int = 1) -> Any:
        mine = self._held(session, key)
        if mine is not None:
            if mode != "reentrant" or mine.mode != "reentrant":
                return "refused"
            mine.depth += 1
            return self.standing(session, key)
        others = [e for e in (*self.holders, *self.waiters) if e.key == key]
        if mode == "permit" and any(e.mode == "permit" and e.permits != permits for e in others):
            return "refused"
        entry = Entry(session, key, mode, permits)
        if not [e for e in self.waiters if e.key == key] and self._fits(entry):
            self._grant(entry)
        elif wait and not self._waits(session, key):
            self.waiters.append(entry)
        return self.standing(session, key)

    def withdraw(self, session: int, key: Any) -> Any:
        self.waiters = [e for e in self.waiters if (e.session, e.key) != (session, key)]
        self._serve()
        return self.standing(session, key)

    def renew(self, session: int, key: Any, token: int | None) -> Any:
        mine = self._held(session, key)
        return mine.token if mine is not None and token in (None, mine.token) else "refused"

    def release(self, session: int, key: Any, token: int | None) -> Any:
        mine = self._held(session, key)
        if mine is None or token not in (None, mine.token):
            return "refused"
        mine.depth -= 1
        if mine.depth == 0:
            self.holders.remove(mine)
            self._serve()
        return "released"

    def end(self, session: int) -> None:
        self.holders = [e for e in self.holders if e.session != session]
        self.waiters = [e for e in self.waiters if e.session != session]
        self._serve()

    def standing(self, session: int, key: Any) -> Any:
        mine = self._held(session, key)
        if mine is not None:
            return (mine.token, mine.depth)
        return "queued" if self._waits(session, key) else "not granted"

    def _held(self, session: int, key: Any) -> Entry | None:
        return next((e for e in self.holders if (e.session, e.key) == (session, key)), None)

    def _waits(self, session: int, key: Any) -> bool:
        return any((e.session, e.key) == (session, key) for e in self.waiters)

    def _fits(self, wanted: Entry) -> bool:
        holders = [e for e in self.holders if e.key == wanted.key]
        if not holders:
            return True
        if wanted.mode not in SHARED or any(e.mode != wanted.mode for e in holders):
            return False
        return wanted.mode == "read" or len(holders) < wanted.permits

    def _grant(self, entry: Entry) -> None:
        self.grants += 1
        entry.token = self.grants
        self.holders.append(entry)

    def _serve(self) -> None:
        """Of each line, who is first and fits, as long as there is such a one."""
        for key in dict.fromkeys(e.key for e in self.waiters):
            while line := [e for e in self.waiters if e.key == key]:
                if not self._fits(line[0]):
                    break
                self.waiters.remove(line[0])
                self._grant(line[0])
                self.told.append((line[0].session, key, line[0].token))
