"""Beliefs of many operations as columns: the same as ``checkers/mutex.py`` finds row by row, for large histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints
from foreshock.checkers.entries import NEVER
from foreshock.checkers.kernels.layout import Int32s
from foreshock.checkers.lock_columns import MODES, asked_modes, parts_of
from foreshock.harness.history import History
from foreshock.harness.history_columns import INFO_CODE
from foreshock.harness.history_values import INTEGER_LIMIT

_MILLISECOND_NS: Final = 1_000_000
_NAMES: Final = ("acquire", "renew", "release")
NOTHING: Final = -(1 << 62)
"""What the compiled loop knows as nothing."""
_NARROW_MAX: Final = 1 << 60


@dataclass(frozen=True)
class BeliefColumns:
    """Beliefs that did not end before they began, sorted by lock (a payload) and beginning.

    ``call`` is that of the grant; ``renewed`` and ``released`` are those of what prolonged and ended it, negative where
    there was none. ``mode`` counts into ``modes``.
    """

    key: Ints
    process: Ints
    call: Ints
    start_index: Ints
    start_ns: Ints
    end_index: Ints
    end_ns: Ints
    renewed: Ints
    released: Ints
    depth: Ints
    mode: Ints
    permits: Ints
    modes: Sequence[str]

    @cached_property
    def is_wrong(self) -> Bools:
        """Which of them is the first of its lock that must not be, since others hold the lock then."""
        from foreshock.checkers.kernels.belief_kernel import first_wrong

        wrong: Bools = first_wrong(
            self.key,
            self.start_index,
            self.start_ns,
            self.end_index,
            self.end_ns,
            self.mode,
            self.permits,
        )
        return wrong

    def __len__(self) -> int:
        return len(self.key)

    def holders(self, other: int) -> list[int]:
        """Those of the same lock that still last when another one begins, in the order of their beginnings."""
        first = int(np.searchsorted(self.key, self.key[other], side="left"))
        lasting = [int(holder) for holder in first + np.flatnonzero(self._last(slice(first, other), other))]
        if (np.diff(self.start_ns[first : other + 1]) >= 0).all():
            return lasting
        # The clock went back: one that had ended by time when some other one began has ended for good.
        return [
            holder
            for holder in lasting
            if all(self._last(holder, between) for between in range(holder + 1, other))
        ]

    def _last(self, holder: int | slice, other: int) -> Any:
        return (self.start_index[other] < self.end_index[holder]) & (
            self.start_ns[other] < self.end_ns[holder]
        )


def belief_columns(history: History, drift_bound_ns: int) -> BeliefColumns:
    """All beliefs in a history, by compiled loops: worth it from a few thousand operations on."""
    from foreshock.checkers.kernels import belief_kernel as kernel

    clients = history.clients()
    kind, f = clients.column("type"), clients.column("f")
    rows = np.flatnonzero(np.isin(f, [clients.code(name) for name in _NAMES]) | (kind == INFO_CODE))
    narrow = np.empty((kernel.NARROW_FACTS, len(rows)), dtype=np.int32)
    narrow[kernel.TYPE], narrow[kernel.F] = kind[rows], kernel.OTHER
    for number, name in enumerate(_NAMES):
        narrow[kernel.F, f[rows] == clients.code(name)] = number
    del kind, f
    pairs, process_of = _note_places(narrow, clients, rows)
    granted = np.flatnonzero((narrow[kernel.F] <= kernel.RENEW) & (narrow[kernel.TYPE] == kernel.OK))
    narrow[kernel.GRANT] = -1
    narrow[kernel.GRANT, granted] = np.arange(len(granted))
    modes = list(MODES)
    grants = _grants(clients, rows[granted], modes, drift_bound_ns)
    facts = np.empty((kernel.FACTS, len(rows)), dtype=np.int64)
    named = {"CALL": "invoke_index", "RET": "complete_index", "RET_NS": "complete_ns"}
    for fact, column in named.items():
        facts[getattr(kernel, fact)] = clients.column(column)[rows]
    beliefs, began = kernel.trace(facts, narrow, grants, pairs, len(process_of))
    del grants
    began &= beliefs[kernel.END_NS] > facts[kernel.RET_NS, granted]
    began &= beliefs[kernel.END_INDEX] > facts[kernel.RET, granted]
    kept = np.flatnonzero(began)
    at = granted[kept]
    key, start = clients.payloads("key")[rows[at]], facts[kernel.RET, at]
    order = np.lexsort((start, key))
    kept, at = kept[order], at[order]
    key, start, process = key[order], start[order], process_of[narrow[kernel.PROCESS, at]]
    del rows, granted, began, order, narrow
    call, start_ns = facts[kernel.CALL, at], facts[kernel.RET_NS, at]
    del facts, at
    return BeliefColumns(
        key=key,
        process=process,
        call=call,
        start_index=start,
        start_ns=start_ns,
        end_index=beliefs[kernel.END_INDEX, kept],
        end_ns=beliefs[kernel.END_NS, kept],
        renewed=beliefs[kernel.RENEWED, kept],
        released=beliefs[kernel.RELEASED, kept],
        depth=beliefs[kernel.HELD, kept],
        mode=beliefs[kernel.IN_MODE, kept],
        permits=beliefs[kernel.OF_PERMITS, kept],
        modes=modes,
    )


def _note_places(narrow: Int32s, clients: History, rows: Ints) -> tuple[int, Ints]:
    """Number the processes and the pairs of process and lock; answers how many pairs, and who the processes are."""
    from foreshock.checkers.kernels import belief_kernel as kernel

    process_of, process = np.unique(clients.column("process")[rows], return_inverse=True)
    narrow[kernel.PROCESS] = process.reshape(-1)
    del process
    keys, key = np.unique(clients.payloads("key")[rows], return_inverse=True)
    pair = narrow[kernel.PROCESS] * np.int64(len(keys)) + key.reshape(-1)
    del key
    pairs, place = np.unique(pair, return_inverse=True)
    narrow[kernel.PLACE] = place.reshape(-1)
    narrow[kernel.PLACE, narrow[kernel.F] == kernel.OTHER] = -1
    return len(pairs), process_of


def _grants(clients: History, rows: Ints, modes: list[str], drift_bound_ns: int) -> Ints:
    """What only grants tell: when they run out (ns), their tokens and depths, and the modes that they were asked in."""
    from foreshock.checkers.kernels import belief_kernel as kernel

    grants = np.empty((kernel.GRANT_FACTS, len(rows)), dtype=np.int64)
    grants[kernel.EXPIRES_NS] = NEVER
    grants[kernel.TOKEN], grants[kernel.DEPTH] = kernel.NOTHING, kernel.NOTHING
    grants[kernel.MODE], grants[kernel.PERMITS] = asked_modes(clients, rows, modes)
    huge: dict[int, int] = {}
    telling = np.flatnonzero(clients.payloads("result")[rows] < ABSENT)
    for part in parts_of(telling):
        told = [_told(result, huge) for result in clients.values("result", rows[part])]
        grants[kernel.EXPIRES_NS : kernel.DEPTH + 1, part] = np.array(told, dtype=np.int64).T
    leased = telling[grants[kernel.EXPIRES_NS, telling] != NEVER]
    invoked_ns = clients.column("invoke_ns")[rows[leased]]
    grants[kernel.EXPIRES_NS, leased] += invoked_ns - drift_bound_ns
    return grants


_TELLS_NOTHING: Final = (NEVER, NOTHING, NOTHING)


def _told(result: Any, huge: dict[int, int]) -> tuple[int, int, int]:
    """How long a grant lasts (ns, ``NEVER`` for ever), its token and its depth, by its result."""
    if type(result) is not dict:
        return _TELLS_NOTHING
    ttl_ms, token, depth = result.get("ttl_ms"), result.get("token"), result.get("depth")
    lasts_ns = NEVER if ttl_ms is None else _narrow(round(ttl_ms * _MILLISECOND_NS))
    if type(token) is not int:
        token = NOTHING
    elif abs(token) >= INTEGER_LIMIT:
        # It only matters which ones are equal.
        token = huge.setdefault(token, -INTEGER_LIMIT - len(huge))
    return lasts_ns, token, _narrow(int(depth)) if isinstance(depth, int) else NOTHING


def _narrow(number: int) -> int:
    """The nearest number that can be counted on with: 36 years in nanoseconds are as good as more."""
    return max(-_NARROW_MAX, min(number, _NARROW_MAX))
