"""Registers with compare-and-set whose written values are distinct, decided key by key in O(n log n).

Each value was written by one update, and a compare-and-set names the value before it, so the order from a blind
write through its chain of compare-and-sets, with the reads of each value in between, is forced: that is a
*cluster*. Nothing else can take effect inside it, so clusters are laid out as the zones of ``zones.py`` are:
f is the least return and s the greatest call among the cluster's operations, and two clusters conflict exactly when
each has f strictly before the other's s.

A crashed update counts only if it must have happened: its value was read, or a compare-and-set that must have
happened found it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, Entry, freeze
from foreshock.checkers.fast_paths.base import FastPath, Finding
from foreshock.checkers.models.register import CAS, READS, WRITES

METHOD: Final = "clusters"
_BEFORE_ALL: Final = -1
_INITIAL: Final = None


@dataclass(slots=True)
class _Value:
    """All operations on one value: the update that wrote it and what was read of it."""

    update: int | None = None
    call: int = _BEFORE_ALL
    ret: int = _BEFORE_ALL
    before: Any = _INITIAL
    is_cas: bool = False
    crashed: bool = False
    read_first: int | None = None
    read_last: int | None = None
    ret_min: int = NEVER
    call_max: int = _BEFORE_ALL


@dataclass(slots=True)
class _Cluster:
    """A chain of values with its zone, and which value gives each end of the zone."""

    values: list[_Value] = field(default_factory=list)
    ret_min: int = NEVER
    call_max: int = _BEFORE_ALL
    first: int = 0
    last: int = 0


class _Conflict(Exception):
    """The history is illegal; carries the offsets of the entries that show it."""

    def __init__(self, suspects: Sequence[int | None]) -> None:
        self.suspects = sorted({offset for offset in suspects if offset is not None})


def decide_by_clusters(entries: Sequence[Entry]) -> tuple[Decision, list[int]]:
    """Decide the history of one register that starts absent; with offsets that show it when it is illegal.

    Applies when every update writes a value that no other one writes, and none writes ``None``.
    """
    values = _collect(entries)
    if values is None:
        return Decision.NOT_APPLICABLE, []
    try:
        _check_clusters(_clusters(values))
    except _Conflict as conflict:
        return Decision.INVALID, conflict.suspects
    return Decision.VALID, []


def _collect(entries: Sequence[Entry]) -> dict[Any, _Value] | None:
    """What was done to each value; ``None`` when the values are not distinct."""
    values: dict[Any, _Value] = {_INITIAL: _Value(update=-1)}
    for offset, entry in enumerate(entries):
        if entry.f in READS:
            if entry.crashed:
                continue
            value = values.setdefault(freeze(entry.result), _Value())
            if entry.ret < value.ret_min:
                value.ret_min, value.read_first = entry.ret, offset
            if entry.call > value.call_max:
                value.call_max, value.read_last = entry.call, offset
            continue
        is_cas = entry.f == CAS
        if not is_cas and entry.f not in WRITES:
            return None
        value = values.setdefault(freeze(entry.value[1] if is_cas else entry.value), _Value())
        if value.update is not None:
            return None
        value.update, value.call, value.ret = offset, entry.call, entry.ret
        value.is_cas, value.crashed = is_cas, entry.crashed
        value.before = freeze(entry.value[0]) if is_cas else _INITIAL
    return values


def _clusters(values: dict[Any, _Value]) -> list[_Cluster]:
    """Follow each blind write through its chain; raises when a value came from nowhere or has two successors."""
    certain = _certain(values)
    following: dict[Any, Any] = {}
    for name, value in certain.items():
        if not value.is_cas:
            continue
        other = following.setdefault(value.before, name)
        if other != name:
            raise _Conflict(
                [value.update, value.read_first, certain[other].update, certain[other].read_first]
            )
    clusters = []
    chained = 0
    for name, value in certain.items():
        if not value.is_cas:
            clusters.append(_Cluster(list(_chain(name, certain, following))))
            chained += len(clusters[-1].values)
    if chained < len(certain):
        _raise_for_cycle(certain, following)
    return clusters


def _certain(values: dict[Any, _Value]) -> dict[Any, _Value]:
    """The values whose updates must have happened, in the order of their updates' calls."""
    certain = {name for name, v in values.items() if not v.crashed or v.read_first is not None}
    # In the order of the history: which conflict is told must not depend on how a set is ordered.
    open_names = [name for name in reversed(values) if name in certain]
    while open_names:
        value = values[open_names.pop()]
        if value.update is None:
            raise _Conflict([value.read_first])
        if value.is_cas and value.before not in certain:
            if value.before not in values:
                # Some other compare-and-set or a read made this one certain; the search will say which.
                raise _Conflict([value.update, value.read_first])
            certain.add(value.before)
            open_names.append(value.before)
    return {name: value for name, value in values.items() if name in certain}


def _chain(name: Any, certain: dict[Any, _Value], following: dict[Any, Any]) -> Iterator[_Value]:
    while True:
        yield certain[name]
        if name not in following:
            return
        name = following[name]


def _raise_for_cycle(certain: dict[Any, _Value], following: dict[Any, Any]) -> None:
    reached = {
        id(v) for name, value in certain.items() if not value.is_cas for v in _chain(name, certain, following)
    }
    cycle = [value for value in certain.values() if id(value) not in reached]
    raise _Conflict([offset for value in cycle for offset in (value.update, value.read_first)])


def _check_clusters(clusters: list[_Cluster]) -> None:
    """Raise when the order inside a cluster, or any two clusters, go against the order of events."""
    for cluster in clusters:
        _measure(cluster)
    forward = sorted((c for c in clusters if c.ret_min < c.call_max), key=lambda c: c.ret_min)
    for one, other in pairwise(forward):
        if other.ret_min < one.call_max:
            raise _Conflict(_telling(one) + _telling(other))
    lows = [cluster.ret_min for cluster in forward]
    for cluster in clusters:
        if cluster.ret_min < cluster.call_max:
            continue
        around = bisect_left(lows, cluster.call_max) - 1
        if around >= 0 and cluster.ret_min < forward[around].call_max:
            raise _Conflict(_telling(forward[around]) + _telling(cluster))


def _measure(cluster: _Cluster) -> None:
    """Find a cluster's zone, and check that nothing in it returns before something that must precede it is called."""
    for place, value in enumerate(cluster.values):
        late_update = value.ret < cluster.call_max
        if value.ret < cluster.ret_min:
            cluster.ret_min, cluster.first = value.ret, place
        if value.call > cluster.call_max:
            cluster.call_max, cluster.last = value.call, place
        if late_update or value.ret_min < cluster.call_max:
            raise _Conflict(_telling(cluster, upto=place))
        if value.ret_min < cluster.ret_min:
            cluster.ret_min, cluster.first = value.ret_min, place
        if value.call_max > cluster.call_max:
            cluster.call_max, cluster.last = value.call_max, place


def _telling(cluster: _Cluster, upto: int | None = None) -> list[int | None]:
    """The updates of the chain between the two ends of its zone, and the reads at these ends."""
    places = sorted({cluster.first, cluster.last} if upto is None else {cluster.last, upto})
    told: list[int | None] = [value.update for value in cluster.values[places[0] : places[-1] + 1]]
    for place in places:
        told += [cluster.values[place].read_first, cluster.values[place].read_last]
    return [offset for offset in told if offset is not None and offset >= 0]


def _decide(columns: OperationColumns, keys: Sequence[int]) -> dict[int, Finding]:
    findings = {}
    for key in keys:
        rows = columns.rows_by_key[key]
        decision, suspects = decide_by_clusters(columns.entries(rows))
        if decision is not Decision.NOT_APPLICABLE:
            findings[key] = Finding(decision, tuple(rows[suspects].tolist()))
    return findings


CLUSTERS: Final = FastPath(METHOD, _decide)
