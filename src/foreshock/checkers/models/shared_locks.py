"""Locks that several may hold, that one may hold several times, or that one may ask for without waiting."""

# Methods have the arguments that the protocol of models gives them, whether they look at all of them or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry
from foreshock.checkers.models.base import FAILED, bad_value, unknown_operation
from foreshock.checkers.models.horizons import last_return, last_return_of_others, last_returns
from foreshock.checkers.models.lock import ACQUIRE, FREE, HELD, RELEASE
from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, Illegal

READ: Final = "read"
WRITE: Final = "write"
_OPERATIONS: Final = (ACQUIRE, RELEASE)


class ReentrantMutex:
    """A lock that its holder may acquire again: it is free once it was released as often as it was acquired.

    ``acquire`` is legal when the lock is free or held by the same process, ``release`` when it is held by it. The
    state is ``None`` or (process, how often it holds the lock).
    """

    name = "reentrant-mutex"
    by_process = True

    def initial(self) -> Hashable:
        """Nobody holds the lock."""
        return None

    def is_read(self, f: str) -> bool:
        """No operation of a lock only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """Who holds the lock after the operation, and how often; ``value`` is ``(process, value)``."""
        process: int = value[0]
        owner, depth = (process, 0) if state is None else state
        if f == ACQUIRE:
            return (process, depth + 1) if owner == process else ILLEGAL
        if f == RELEASE:
            if owner != process or depth == 0:
                return ILLEGAL
            return (process, depth - 1) if depth > 1 else None
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``acquire by 3``."""
        return f"{f} by {value[0]}"

    def describe_state(self, state: Any) -> str:
        """``free``, or who holds it and how often."""
        if state is None:
            return FREE
        times = "" if state[1] == 1 else f" {state[1]} times"
        return f"held by process {state[0]}{times}"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the lock would have to be for the operation to be legal."""
        held = f"held by process {value[0]}"
        return f"the lock to be free or {held}" if f == ACQUIRE else f"the lock to be {held}"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An acquire: the last return of a release by its process. A release: of any operation of another process.

        After the former, whatever releases of that process follow have crashed: the acquire can be left out together
        with the first of them, and in between its process holds the lock once less, or needs it no more. After
        the latter, only its own process has operations that count: without the release (and without what others did
        unseen) it holds the lock once more, and all of them are as legal.
        """
        released = last_returns(entries, lambda e: (e.process,) if e.f == RELEASE else ())
        others = last_return_of_others(entries)
        return [released.get(e.process, UNNOTICED) if e.f == ACQUIRE else others(e.process) for e in entries]


class ReadWriteLock:
    """A lock that one writer or any number of readers hold; nobody holds it twice.

    ``acquire`` has the value ``"read"`` or ``"write"``, or an object whose ``mode`` is one of them; ``release`` gives
    back what its process holds, of either kind. A process that holds the lock cannot acquire it in any mode. The state
    is the set of readers (a frozenset of processes, empty when the lock is free) or the process that writes.
    """

    name = "read-write-lock"
    by_process = True

    def initial(self) -> Hashable:
        """Nobody holds the lock."""
        return frozenset()

    def is_read(self, f: str) -> bool:
        """No operation of a lock only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """Who holds the lock after the operation; ``value`` is ``(process, value)``."""
        process: int = value[0]
        writing = not isinstance(state, frozenset)
        if f == ACQUIRE:
            mode = self._mode(value[1])
            if writing or process in state or (mode == WRITE and state):
                return ILLEGAL
            return process if mode == WRITE else state | {process}
        if f == RELEASE:
            if writing:
                return frozenset() if state == process else ILLEGAL
            return state - {process} if process in state else ILLEGAL
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``acquire read by 3``."""
        return f"{f} {self._mode(value[1])} by {value[0]}" if f == ACQUIRE else f"{f} by {value[0]}"

    def describe_state(self, state: Any) -> str:
        """``free``, or who reads or writes."""
        if not isinstance(state, frozenset):
            return f"process {state} writes"
        if not state:
            return FREE
        return f"process{'es' * (len(state) > 1)} {', '.join(map(str, sorted(state)))} read{'s' * (len(state) == 1)}"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the lock would have to be for the operation to be legal."""
        if f == RELEASE:
            return f"the lock to be held by process {value[0]}"
        if self._mode(value[1]) == WRITE:
            return "the lock to be free"
        return f"nobody to write, and process {value[0]} not to read yet"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An acquire: the last return of a release by its process; a release may always let somebody in.

        What the process does next with the lock is to release it. If that crashed too, both can be left out: with
        a holder less in between, everything else is as legal.
        """
        released = last_returns(entries, lambda e: (e.process,) if e.f == RELEASE else ())
        return [released.get(e.process, UNNOTICED) if e.f == ACQUIRE else NEVER for e in entries]

    def _mode(self, value: Any) -> str:
        mode = value.get("mode") if isinstance(value, Mapping) else value
        if mode not in (READ, WRITE):
            raise bad_value(
                self.name, ACQUIRE, value, '"read" or "write", or an object whose "mode" is one of them'
            )
        return str(mode)


class Semaphore:
    """A number of permits: ``acquire`` takes one, ``release`` gives one back, whoever took it.

    ``permits`` is how many there are. An acquire whose value is an object with ``permits`` tells it itself; then all
    that tell it have to agree, and the number given here counts for the others. The state is how many are taken.
    """

    name = "semaphore"

    def __init__(self, permits: int = 1) -> None:
        if isinstance(permits, bool) or not isinstance(permits, int) or permits < 1:
            raise UsageError(f"a semaphore has a whole number of permits, 1 or more, and not {permits!r}")
        self.permits = permits

    def initial(self) -> Hashable:
        """No permit is taken."""
        return 0

    def is_read(self, f: str) -> bool:
        """No operation of a semaphore only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """How many permits are taken after the operation."""
        taken: int = state
        if f == ACQUIRE:
            return taken + 1 if taken < self.permits_of(value) else ILLEGAL
        if f == RELEASE:
            return taken - 1 if taken > 0 else ILLEGAL
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """``acquire`` or ``release``."""
        return f

    def describe_state(self, state: Any) -> str:
        """How many permits are taken."""
        return f"{state} taken"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What would have to be so for the operation to be legal."""
        if f == RELEASE:
            return "a permit to be taken"
        return f"fewer than {self.permits_of(value)} permits to be taken"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An acquire: the last return of a release. A release: the last return of an acquire.

        All that could notice it later has crashed. It can be left out with the first of those, if there is any: in
        between one permit less (or more) is taken, and only operations that like that are there.

        Raises ``UsageError`` where acquires do not agree on how many permits there are.
        """
        told = {self.permits_of(e.value) for e in entries if e.f == ACQUIRE and _tells_permits(e.value)}
        if len(told) > 1:
            raise UsageError(
                f"the acquires of one semaphore do not agree on how many permits it has: {sorted(told)}"
            )
        released = last_return(entries, lambda e: e.f == RELEASE)
        acquired = last_return(entries, lambda e: e.f == ACQUIRE)
        return [released if e.f == ACQUIRE else acquired for e in entries]

    def permits_of(self, value: Any) -> int:
        """How many permits there are, by the value of an acquire."""
        if not _tells_permits(value):
            return self.permits
        permits = value["permits"]
        if isinstance(permits, bool) or not isinstance(permits, int) or permits < 1:
            raise bad_value(
                self.name, ACQUIRE, value, 'an object whose "permits" is a whole number, 1 or more'
            )
        return permits


class TryMutex:
    """A lock that is asked for without waiting: a failed ``acquire`` says that somebody held the lock.

    That may be the process itself. ``release`` is legal for the holder. An acquire that crashed may be what made
    others fail, though nobody ever saw it succeed. The state is the holder, ``None`` when the lock is free.
    """

    name = "try-mutex"
    by_process = True
    observed_failures = frozenset({ACQUIRE})

    def initial(self) -> Hashable:
        """Nobody holds the lock."""
        return None

    def is_read(self, f: str) -> bool:
        """No operation of a lock only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """Who holds the lock after the operation; ``value`` is ``(process, value)``."""
        process: int = value[0]
        holder: Hashable = state
        if f == ACQUIRE:
            if result is FAILED:
                return ILLEGAL if holder is None else holder
            return process if holder is None else ILLEGAL
        if f == RELEASE:
            return None if holder == process else ILLEGAL
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``acquire by 3``, or ``acquire by 3 failed``."""
        return f"{f} by {value[0]}{' failed' * (result is FAILED)}"

    def describe_state(self, state: Any) -> str:
        """``free``, or who holds it."""
        return FREE if state is None else f"{HELD} by process {state}"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the lock would have to be for the operation to be legal."""
        if f == RELEASE:
            return f"the lock to be held by process {value[0]}"
        return "somebody to hold the lock" if result is FAILED else "the lock to be free"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An acquire: the last return of a release by its process, or of any acquire that failed.

        What happens next to the lock is that this process releases it. If that crashed too, both can be left out, for
        all that saw the lock held are over by then. A release may always let somebody in.
        """
        released = last_returns(entries, lambda e: (e.process,) if e.f == RELEASE else ())
        refused = last_return(entries, lambda e: e.f == ACQUIRE and e.result is FAILED)
        return [max(released.get(e.process, refused), refused) if e.f == ACQUIRE else NEVER for e in entries]


def _tells_permits(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("permits") is not None
