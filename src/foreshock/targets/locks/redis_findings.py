"""What the Redis locks promise, and the tests that show where each promise ends: ``docs/findings.md`` tells of each."""

from __future__ import annotations

from typing import Final

from foreshock.harness.exhibit import Exhibit, Promise

REDIS_LOCK_PROMISES: Final[tuple[Promise, ...]] = ()
REDIS_LOCK_EXHIBITS: Final[tuple[Exhibit, ...]] = ()
REDLOCK_PROMISES: Final[tuple[Promise, ...]] = ()
REDLOCK_EXHIBITS: Final[tuple[Exhibit, ...]] = ()
