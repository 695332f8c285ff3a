"""Locks as sequential objects. The belief of clients under leases is judged in ``checkers/mutex.py``, not here."""

# Methods have the arguments that the protocol of models gives them, whether they look at all of them or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.checkers.models.horizons import last_return, last_returns
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

ACQUIRE: Final = "acquire"
RELEASE: Final = "release"
_OPERATIONS: Final = (ACQUIRE, RELEASE)

FREE: Final = "free"
HELD: Final = "held"
HELD_UNSEEN: Final = "held by a token that nobody has seen"


class Mutex:
    """A lock without owners: ``acquire`` is legal when it is free, ``release`` when it is held, by anybody."""

    name = "mutex"

    def initial(self) -> Hashable:
        """The lock is free."""
        return False

    def is_read(self, f: str) -> bool:
        """No operation of a lock only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """Whether the lock is held after the operation."""
        if f == ACQUIRE:
            return ILLEGAL if state else True
        if f == RELEASE:
            return False if state else ILLEGAL
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """``acquire`` or ``release``."""
        return f

    def describe_state(self, state: Any) -> str:
        """``free`` or ``held``."""
        return HELD if state else FREE

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the lock would have to be for the operation to be legal."""
        return "the lock to be free" if f == ACQUIRE else "the lock to be held"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An acquire: the last return of a release. A release: the last return of an acquire.

        What comes next after the one can only be the other. If that crashed, both can be left out.
        """
        released = last_return(entries, lambda e: e.f == RELEASE)
        acquired = last_return(entries, lambda e: e.f == ACQUIRE)
        return [released if e.f == ACQUIRE else acquired for e in entries]


class OwnerMutex:
    """A lock that knows its owner: only the process that acquired it can release it; not re-entrant."""

    name = "owner-mutex"
    by_process = True

    def initial(self) -> Hashable:
        """The lock has no owner."""
        return None

    def is_read(self, f: str) -> bool:
        """No operation of a lock only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The owner after the operation; ``value`` is ``(process, value)``."""
        process: int = value[0]
        if f == ACQUIRE:
            return process if state is None else ILLEGAL
        if f == RELEASE:
            return None if state == process else ILLEGAL
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``acquire by 3``."""
        return f"{f} by {value[0]}"

    def describe_state(self, state: Any) -> str:
        """``free``, or who holds it."""
        return FREE if state is None else f"held by process {state}"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the lock would have to be for the operation to be legal."""
        return "the lock to be free" if f == ACQUIRE else f"the lock to be held by process {value[0]}"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An acquire: the last return of a release by its process; a release may always let somebody in.

        What comes next after the acquire can only be that release. If it crashed, both can be left out.
        """
        released = last_returns(entries, lambda e: (e.process,) if e.f == RELEASE else ())
        return [released.get(e.process, UNNOTICED) if e.f == ACQUIRE else NEVER for e in entries]


class FencedMutex:
    """A lock whose every grant carries a greater token: acquire results hold ``{"token": n}``, releases name it.

    The state is (the last known token, how it is held). A crashed acquire got a token that nobody has seen:
    some number above the last one, that its release would name.
    """

    name = "fenced-mutex"

    def initial(self) -> Hashable:
        """No token was given yet."""
        return (-1, FREE)

    def is_read(self, f: str) -> bool:
        """No operation of a lock only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The last token and whether it is held, after the operation."""
        last, held = state
        if f == ACQUIRE:
            if held != FREE:
                return ILLEGAL
            if result is UNKNOWN:
                return (last, HELD_UNSEEN)
            token = self.granted(result)
            return (token, HELD) if token > last else ILLEGAL
        if f == RELEASE:
            named = self.named(value)
            if held == HELD_UNSEEN and (named is None or named > last):
                return (last if named is None else named, FREE)
            return (last, FREE) if held == HELD and named in (None, last) else ILLEGAL
        raise unknown_operation(self.name, f, _OPERATIONS)

    def granted(self, result: Any) -> int:
        """The token that an acquire returned; raises ``UsageError`` when there is none in its result."""
        token = result.get("token") if isinstance(result, Mapping) else result
        if not isinstance(token, int) or isinstance(token, bool):
            wanted = 'a token (a whole number), or an object {"token": n}'
            raise bad_value(self.name, ACQUIRE, result, wanted, what="result")
        return token

    def named(self, value: Any) -> int | None:
        """The token that a release names, ``None`` without; raises ``UsageError`` when it is something else."""
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise bad_value(self.name, RELEASE, value, "a token (a whole number) or null")
        return value

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``acquire -> token 7``."""
        if f == ACQUIRE:
            return f if _is_unseen(result) else f"{f} -> token {self.granted(result)}"
        return f if value is None else f"{f} token {value}"

    def describe_state(self, state: Any) -> str:
        """How it is held, and the last token."""
        return f"{state[1]}, last token {state[0]}" if state[0] >= 0 else str(state[1])

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the lock would have to be for the operation to be legal."""
        if f == ACQUIRE:
            return "the lock to be free" + (
                "" if _is_unseen(result) else f" and every earlier token below {self.granted(result)}"
            )
        return f"the lock to be held by token {value}" if value is not None else "the lock to be held"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """An acquire: the last return of a release; a release may let in somebody whose token nobody has seen yet.

        What comes next after the acquire can only be a release. If that crashed, both can be left out: the last
        known token is no greater then, which allows all that was allowed before.
        """
        released = last_return(entries, lambda e: e.f == RELEASE)
        return [released if e.f == ACQUIRE else NEVER for e in entries]


def _is_unseen(result: Any) -> bool:
    """Whether an acquire crashed, so that nobody saw its token; a completed one without a token is refused before."""
    return result is UNKNOWN or result is None
