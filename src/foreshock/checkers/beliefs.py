"""Beliefs of many operations as columns: the same as ``checkers/mutex.py`` finds row by row, for large histories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints
from foreshock.checkers.entries import NEVER
from foreshock.checkers.rows import EXCLUSIVE, PERMIT, READ, REENTRANT, mode_of, permits_of
from foreshock.harness.history import History
from foreshock.harness.history_columns import INFO_CODE

_AT_ONCE: Final = 1 << 14
_MILLISECOND_NS: Final = 1_000_000
_NAMES: Final = ("acquire", "renew", "release")
_MODES: Final = (EXCLUSIVE, READ, PERMIT, REENTRANT)


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
    results = _results(clients, drift_bound_ns)
    kind = clients.column("type")
    rows = np.flatnonzero(
        np.isin(clients.column("f"), [clients.code(n) for n in _NAMES]) | (kind == INFO_CODE)
    )
    facts, modes = _facts(clients, rows), list(_MODES)
    _note_values(facts, clients, rows, modes)
    told = np.searchsorted(facts[kernel.CALL], results[0])
    facts[kernel.EXPIRES_NS, told], facts[kernel.TOKEN, told], facts[kernel.DEPTH, told] = results[1:]
    del results, told
    process_of, process = np.unique(clients.column("process")[rows], return_inverse=True)
    key = clients.payloads("key")[rows]
    key_of, key_number = np.unique(key, return_inverse=True)
    facts[kernel.PROCESS] = process.reshape(-1)
    pairs, place = np.unique(
        facts[kernel.PROCESS] * len(key_of) + key_number.reshape(-1), return_inverse=True
    )
    facts[kernel.PLACE] = np.where(facts[kernel.F] == kernel.OTHER, kernel.NOTHING, place.reshape(-1))
    del process, key_number, place
    beliefs, began = kernel.trace(facts, len(pairs), len(process_of))
    kept = np.flatnonzero(began)
    kept = kept[
        (beliefs[kernel.END_NS, kept] > facts[kernel.RET_NS, kept])
        & (beliefs[kernel.END_INDEX, kept] > facts[kernel.RET, kept])
    ]
    kept = kept[np.lexsort((facts[kernel.RET, kept], key[kept]))]
    return BeliefColumns(
        key=key[kept],
        process=process_of[facts[kernel.PROCESS, kept]],
        call=facts[kernel.CALL, kept],
        start_index=facts[kernel.RET, kept],
        start_ns=facts[kernel.RET_NS, kept],
        end_index=beliefs[kernel.END_INDEX, kept],
        end_ns=beliefs[kernel.END_NS, kept],
        renewed=beliefs[kernel.RENEWED, kept],
        released=beliefs[kernel.RELEASED, kept],
        depth=beliefs[kernel.HELD, kept],
        mode=beliefs[kernel.IN_MODE, kept],
        permits=beliefs[kernel.OF_PERMITS, kept],
        modes=modes,
    )


def _facts(clients: History, rows: Ints) -> Ints:
    """What the compiled loop wants to know of each operation, but for what its values say."""
    from foreshock.checkers.kernels import belief_kernel as kernel

    facts = np.empty((kernel.FACTS, len(rows)), dtype=np.int64)
    facts[kernel.F] = kernel.OTHER
    f = clients.column("f")[rows]
    for number, name in enumerate(_NAMES):
        facts[kernel.F, f == clients.code(name)] = number
    named = {"TYPE": "type", "CALL": "invoke_index", "RET": "complete_index", "RET_NS": "complete_ns"}
    for fact, name in named.items():
        facts[getattr(kernel, fact)] = clients.column(name)[rows]
    facts[kernel.EXPIRES_NS], facts[kernel.TOKEN], facts[kernel.DEPTH] = NEVER, kernel.NOTHING, kernel.NOTHING
    return facts


def _note_values(facts: Ints, clients: History, rows: Ints, modes: list[str]) -> None:
    """The mode and the permits that each acquire or renew asks for; few different values do."""
    from foreshock.checkers.kernels import belief_kernel as kernel

    facts[kernel.MODE], facts[kernel.PERMITS] = kernel.EXCLUSIVE, 1
    payloads = clients.payloads("value")[rows]
    asking = np.flatnonzero((payloads < ABSENT) & (facts[kernel.F] <= kernel.RENEW))
    _, first, which = np.unique(payloads[asking], return_index=True, return_inverse=True)
    told_modes, told_permits = [], []
    for place in first.tolist():
        row = clients[int(rows[asking[place]])]
        mode = mode_of(row)
        if mode not in modes:
            modes.append(mode)
        told_modes.append(modes.index(mode))
        told_permits.append(permits_of(row))
    if len(asking):
        facts[kernel.MODE, asking] = np.array(told_modes)[which.reshape(-1)]
        facts[kernel.PERMITS, asking] = np.array(told_permits)[which.reshape(-1)]


def _results(clients: History, drift_bound_ns: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Of each grant, where any result says something: its call, when it runs out (ns), its token and its depth."""
    from foreshock.checkers.kernels.belief_kernel import NOTHING

    grants = clients.where(f=("acquire", "renew"), type="ok")
    count = len(grants) if (grants.payloads("result") < ABSENT).any() else 0
    lasts, tokens, depths = (np.full(count, NOTHING, dtype=np.int64) for _ in range(3))
    # Some at a time: all results at once would be larger than all else here.
    parts = (np.arange(at, min(at + _AT_ONCE, count)) for at in range(0, count, _AT_ONCE))
    for number, result in enumerate(result for part in parts for result in grants.values("result", part)):
        if type(result) is not dict:
            continue
        ttl_ms, token, depth = result.get("ttl_ms"), result.get("token"), result.get("depth")
        if ttl_ms is not None:
            lasts[number] = round(ttl_ms * _MILLISECOND_NS)
        if type(token) is int:
            tokens[number] = token
        if isinstance(depth, int):
            depths[number] = depth
    invoked_ns = grants.column("invoke_ns")[:count]
    expires_ns = np.where(lasts == NOTHING, NEVER, invoked_ns + lasts - drift_bound_ns)
    return grants.column("invoke_index")[:count], expires_ns, tokens, depths
