"""A lease: a lock whose every grant runs out by itself, on clocks that need not run at one speed."""

# Methods have the arguments that the protocol of models gives them, whether they look at all of them or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.checkers.models.horizons import last_return_of_others, last_returns
from foreshock.checkers.models.lock import ACQUIRE, FREE, RELEASE
from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

RENEW: Final = "renew"
_OPERATIONS: Final = (ACQUIRE, RENEW, RELEASE)
_MILLISECOND_NS: Final = 1_000_000


class LeaseState(NamedTuple):
    """Who was granted the lease last (``None``: nobody, or it was released), and when.

    ``expiry_ns`` is the earliest moment at which that grant may have run out (``NEVER``: it does not), ``now_ns`` the
    earliest moment at which all operations so far can have taken effect.
    """

    owner: int | None = None
    expiry_ns: int = -1
    now_ns: int = -1


class Lease:
    """A lease whose grants last as long as their results say in ``ttl_ms``, give or take the bound of the clocks.

    What it holds a system to: each operation takes effect at one moment between its call and its return, the moments
    in the order of the operations. ``acquire`` and ``renew`` result in an object with ``ttl_ms`` (``None``: for ever).
    A grant lasts from its moment until some clock has advanced by ``ttl_ms``; by then the history's clock has advanced
    by ``drift_bound_ms`` less at worst, so for the history the grant may end that much sooner.
    ``acquire`` is legal for another process when the lease was never granted, was released or has run out, and
    for the process that holds it at any time, as a new grant. ``renew`` and ``release`` are legal for the
    process that was granted it last, until it is released or granted to another: that it has run out meanwhile wrongs
    nobody. A new grant or renewal with a known time to live replaces the old end; one that crashed, of which nobody
    knows how long it was to last, may last no time at all, but does not shorten what its process has.

    Why the state is exact. Fix an order of the operations. It is legal exactly if moments t_1 <= t_2 <= ... exist with
    call_i <= t_i <= ret_i, and t_j >= t_g + ttl_g - bound for each acquire j by another process than that of the last
    grant g before it, where no release is between. (That the grant ran out earlier than so, no clock within the bound
    allows; that it did by then, one does, and the clocks of two grants are independent. For ttl_g - bound read 0 where
    that is negative, or where g crashed; but the older end where g crashed and its process had the lease already.)
    Which g that is depends on the order alone. So all constraints but the upper ends are of the form
    t_j >= t_i + constant with i before j, or t_j >= constant, and have a least solution: each moment is the greatest
    of its lower bounds, in turn. Every other solution is later in every moment, hence the least one keeps the upper
    ends if any does. ``now_ns`` is the last moment of the least solution, ``expiry_ns`` its t_g + ttl_g - bound, and
    whatever may follow depends on these and the owner only. An operation that crashed has no upper end.

    Only what is certain convicts: a history is illegal when no moments and no clocks within the bound explain it.
    """

    name = "lease"
    by_time = True

    def __init__(self, drift_bound_ms: int = 0) -> None:
        if isinstance(drift_bound_ms, bool) or not isinstance(drift_bound_ms, int) or drift_bound_ms < 0:
            raise UsageError(
                f"the drift bound of a lease is a whole number of ms, 0 or more, and not {drift_bound_ms!r}"
            )
        self._drift_bound_ns = drift_bound_ms * _MILLISECOND_NS

    def initial(self) -> Hashable:
        """The lease was never granted."""
        return LeaseState()

    def is_read(self, f: str) -> bool:
        """No operation of a lease only reads."""
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The lease after an operation; ``value`` is ``(process, call_ns, ret_ns, value)``."""
        lease: LeaseState = state
        process, call_ns, ret_ns = self._who_and_when(value)
        if f not in _OPERATIONS:
            raise unknown_operation(self.name, f, _OPERATIONS)
        mine = lease.owner == process
        now_ns = max(lease.now_ns, call_ns)
        if f == ACQUIRE:
            if not mine and lease.owner is not None:
                now_ns = max(now_ns, lease.expiry_ns)
        elif not mine:
            return ILLEGAL
        if now_ns > ret_ns or now_ns >= NEVER:
            return ILLEGAL
        if f == RELEASE:
            return LeaseState(None, -1, now_ns)
        if result is UNKNOWN:
            return LeaseState(process, lease.expiry_ns if mine else now_ns, now_ns)
        ttl_ns = self._ttl_ns(f, result)
        expiry_ns = NEVER if ttl_ns is None else now_ns + max(0, ttl_ns - self._drift_bound_ns)
        return LeaseState(process, expiry_ns, now_ns)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``acquire by 3 for 500 ms``."""
        process = value[0]
        if f == RELEASE or result is UNKNOWN:
            return f"{f} by {process}"
        ttl_ns = self._ttl_ns(f, result)
        return f"{f} by {process} {'for ever' if ttl_ns is None else f'for {ttl_ns / _MILLISECOND_NS:g} ms'}"

    def describe_state(self, state: Any) -> str:
        """Who holds the lease, and until when at least."""
        if state.owner is None:
            return FREE
        if state.expiry_ns >= NEVER:
            return f"held by process {state.owner}"
        return f"held by process {state.owner} until {state.expiry_ns / 1e9:.3f} s at least"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the lease would have to be for the operation to be legal."""
        process, _, ret_ns = self._who_and_when(value)
        if f != ACQUIRE:
            return f"process {process} to be the last that was granted the lease, and not to have released it"
        by = "" if ret_ns >= NEVER else f" by {ret_ns / 1e9:.3f} s"
        return f"the lease to be free, or run out{by}, or held by process {process}"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """How long a crashed operation can be noticed.

        * An acquire of unknown length: by a release or renewal of its process. Otherwise the lease might stay with
          its last owner, whose grant must have run out for it, and be as good as free.
        * A renewal of unknown length: never, for it changes nothing.
        * A release: by any operation of another process. Without those it is as if its process had held the lease
          on, and whatever that does later is legal for the holder as well. So too a renewal or an acquire with a known
          length, which may cut short what its process has.
        """
        kept = last_returns(entries, lambda e: (e.process,) if e.f != ACQUIRE else ())
        others = last_return_of_others(entries)
        horizons = []
        for e in entries:
            ends_what_was = e.f == RELEASE or not (e.result is UNKNOWN or e.result is None)
            horizon = others(e.process) if ends_what_was else UNNOTICED
            horizons.append(max(horizon, kept.get(e.process, UNNOTICED)) if e.f == ACQUIRE else horizon)
        return horizons

    def _who_and_when(self, value: Any) -> tuple[int, int, int]:
        process, call_ns, ret_ns, _ = value
        if call_ns < 0 or ret_ns < call_ns:
            raise UsageError(
                f"the model {self.name!r} needs to know when each operation was called and when it returned, "
                f"and cannot take {call_ns} and {ret_ns} ns: this history has no times that it could use"
            )
        return process, call_ns, ret_ns

    def _ttl_ns(self, f: str, result: Any) -> int | None:
        if isinstance(result, Mapping) and "ttl_ms" in result:
            ttl_ms = result["ttl_ms"]
            if ttl_ms is None:
                return None
            if isinstance(ttl_ms, int | float) and not isinstance(ttl_ms, bool) and ttl_ms >= 0:
                return round(ttl_ms * _MILLISECOND_NS)
        raise bad_value(
            self.name, f, result, 'an object whose "ttl_ms" is a number, or null for ever', "result"
        )
