"""Where every order of an illegal history ends, found by the compiled search.

It prunes what is bound to end, so where its own orders ended is too early. But every part of a legal history up to some
event is legal itself; so the first return that no linearization survives is found by asking about parts. Of the part
before that return all orders are then walked through, for the states that are possible just before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from foreshock.checkers.encoding import Encoded
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernel_search import KernelSearch, Prepared, pending_at
from foreshock.checkers.kernels.layout import NEVER_LEGAL
from foreshock.checkers.search import Deepest, Limits
from foreshock.harness.verdict import Verdict

_EXACT_CONFIGURATIONS_MAX: Final = 20_000


def deepest_of(encoded: Encoded, limits: Limits, configurations_max: int | None = None) -> Deepest | None:
    """Where every order of one key's illegal history ends; ``None`` where the limits do not allow to find out.

    ``configurations_max`` is for each of the log n questions; each costs as much as to prepare a part of the history.
    """
    whole = KernelSearch(Prepared(encoded)).run(limits, configurations_max)
    if whole is None or whole.verdict is not Verdict.INVALID:
        return None
    # Some order came as far as this, and most often none comes much farther.
    first = _first(
        lambda level: _is_illegal(until(encoded, level), limits, configurations_max),
        whole.passed,
        int(whole.returns) - 1,
    )
    if first is None:
        return None
    part = until(encoded, first)
    impossible = np.arange(len(part.code)) == first
    part = replace(part, code=np.where(impossible, NEVER_LEGAL, part.code).astype(np.int32))
    # With every value as it is, where that is not too much, so that the states can be told.
    for exact, most in ((True, _EXACT_CONFIGURATIONS_MAX), (False, configurations_max)):
        search = KernelSearch(Prepared(part, exact=exact))
        result = search.run(limits, most)
        if result is not None and result.verdict is Verdict.INVALID:
            found = search.deepest()
            pending = _pending(encoded, first)
            return replace(found, pending=pending, linearized=found.linearized.intersection(pending))
    return None


def _pending(encoded: Encoded, level: int) -> tuple[int, ...]:
    """What is pending at a return of the whole history, where more is of use to somebody than in a part of it."""
    prepared = Prepared(encoded)
    offsets = prepared.offsets(0)
    return tuple(int(offsets[o]) for o in pending_at(level, prepared.operations(0)))


def until(encoded: Encoded, level: int) -> Encoded:
    """The history as it was known at its ``level``-th return: what had not returned yet may still never happen."""
    position = encoded.ret[level]
    begun = np.flatnonzero(encoded.call <= position)
    returned = begun[begun <= level]
    others = begun[begun > level]
    order = np.concatenate((returned, others[np.argsort(encoded.call[others], kind="stable")]))
    crashed = np.arange(len(order)) > level
    return replace(
        encoded,
        starts=np.array((0, len(order))),
        offset=encoded.offset[order],
        call=encoded.call[order],
        ret=np.where(crashed, NEVER, encoded.ret[order]),
        crashed=crashed,
        is_read=encoded.is_read[order],
        horizon=encoded.horizon[order],
        code=encoded.code[order],
        first=encoded.first[order],
        second=encoded.second[order],
    )


def _first(holds: Callable[[int], bool | None], low: int, high: int) -> int | None:
    """The least number from ``low`` on for which something holds that holds from there on; it does for ``high``."""
    step = 1
    while low < high:
        middle = min(low + step - 1, (low + high) // 2)
        answer = holds(middle)
        if answer is None:
            return None
        if answer:
            high = middle
        else:
            low, step = middle + 1, 2 * step
    return low


def _is_illegal(part: Encoded, limits: Limits, configurations_max: int | None) -> bool | None:
    result = KernelSearch(Prepared(part)).run(limits, configurations_max)
    if result is None or result.verdict is Verdict.UNKNOWN:
        return None
    return result.verdict is Verdict.INVALID
