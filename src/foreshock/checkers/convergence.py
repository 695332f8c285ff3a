"""The checker of eventual convergence: once nobody updates a key any more, all who read it read the same, and the last.

Vogels ("Eventually Consistent", CACM 52(1), 2009): if no new updates are made to an object, eventually all reads return
the last updated value. A test ends, so "eventually" is given a length: a key is *quiet* from ``quiet_ms`` after the end
of its last update, and after the last fault was healed, to the end of the history, and what was read of it in that time
is judged. What it finds is the entry that stays stale for ever: the stale set (Nishtala et al., "Scaling Memcache at
Facebook", NSDI 2013, section 3.2.1), the replica that lost an update and is not told of it again.

What is asked of a quiet key:

* nothing is read of it that was certainly overwritten for longer than ``quiet_ms`` (``versions.py``), or that nobody
  wrote;
* no two values are read of it, except that an update which never returned may still take effect while the key is quiet.
  Then the reads change, and have ``quiet_ms`` for it from the first read of the new value on.

O(n log n), in columns; keys of which several values were read are looked at one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import Ints, columns_of
from foreshock.checkers.fault_times import fault_times
from foreshock.checkers.models.register import CasRegister, word
from foreshock.checkers.rows import rows_of
from foreshock.checkers.search import Limits
from foreshock.checkers.versions import INITIAL, Order, Versions, has_times, versions_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History, Row
from foreshock.harness.model import UNKNOWN
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_MILLISECOND_NS: Final = 1_000_000
_METHOD: Final = "reads of quiet keys"
_SHOWN_MAX: Final = 20


class ConvergenceChecker(Checker):
    """Judges what was read of quiet registers: ``read``/``get``, ``write``/``put``, ``delete``, ``cas``.

    ``quiet_ms``: how long after the last update of a key, and the last healing, the copies may take to agree. Unknown
    when no key was read after that, or the history has no times. Details: how many keys and reads were judged, and
    ``looked_ms``, for how long.
    """

    name = "convergence"
    judges_the_end = True

    def __init__(self, quiet_ms: int = 1_000) -> None:
        if quiet_ms < 0:
            raise UsageError(f"the option 'quiet_ms' cannot be {quiet_ms}: give 0 or more ms")
        self.quiet_ms = quiet_ms

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide; invalid with every key whose copies differ, or agree on what cannot be the last value."""
        limits = Limits(context.deadline_ns, context.memory_limit_bytes, context.should_stop)
        faults = fault_times(context.faults)
        unhealed = [fault for fault in faults if fault.healed_ns is None]
        if stopped := limits.exceeded():
            return _unknown(f"{stopped} before it began", {})
        if unhealed:
            return _unknown(
                f"the fault {unhealed[0].kind!r} was never healed, so nothing had to converge", {}
            )
        versions = versions_of(columns_of(history), self.name)
        if not has_times(versions.columns):
            return _unknown("the history has no times, so nobody knows when its keys were quiet", {})
        healed_ns = max((fault.healed_ns or 0 for fault in faults), default=0)
        judge = _Judge(versions, np.maximum(_last_update_ns(history, versions), healed_ns), self.quiet_ms)
        details = judge.figures()
        if not len(judge.reads):
            reason = f"no key was read later than {self.quiet_ms} ms after its last update"
            return _unknown(reason, details)
        broken = judge.broken(limits)
        if broken is None:
            return _unknown(f"{limits.exceeded()} before all keys were judged", details)
        details["illegal_keys"] = [versions.columns.keys[key] for key, _, _ in broken]
        found = [
            _counterexample(history, versions, key, reason, [*rows, *judge.overwriting(key, rows)])
            for key, reason, rows in broken[:_SHOWN_MAX]
        ]
        looked = (
            f"{details['judged_keys']} keys, looked at for {details['looked_ms']['median']:g} ms (median)"
        )
        if not found:
            reason = (
                f"from {self.quiet_ms} ms after the last update on all reads agreed on a last value: {looked}"
            )
            return CheckResult(verdict=Verdict.VALID, reason=reason, method=_METHOD, details=details)
        reason = f"{found[0].reason} ({len(broken)} of {looked}, did not converge)"
        return CheckResult(
            verdict=Verdict.INVALID,
            reason=reason,
            method=_METHOD,
            details=details,
            counterexamples=tuple(found),
        )


@dataclass(frozen=True)
class _Value:
    """The reads of one value of a quiet key: rows of the one that returned first and of the one called last.

    ``late``: whether it may have been written while the key was quiet; ``once``: by one update alone.
    """

    first: int
    last: int
    late: bool
    once: bool


class _Judge:
    """The reads of quiet keys. ``places`` counts into ``versions.reads``, ``reads`` holds their rows."""

    def __init__(self, versions: Versions, since_ns: Ints, quiet_ms: int) -> None:
        columns = versions.columns
        self.versions, self.columns = versions, columns
        self.quiet_ms, self._quiet_ns = quiet_ms, quiet_ms * _MILLISECOND_NS
        self._since_ns = since_ns
        quiet = columns.call_ns[versions.reads] > since_ns[columns.key[versions.reads]] + self._quiet_ns
        self.places = np.flatnonzero(quiet)
        self.reads = versions.reads[self.places]
        self.key = columns.key[self.reads]

    def figures(self) -> dict[str, Any]:
        """How much there was to judge, and for how long (ms) each judged key was seen quiet, ``quiet_ms`` included."""
        keys = np.unique(self.key)
        last_ns = np.full(len(self.columns.keys), -1, dtype=np.int64)
        np.maximum.at(last_ns, self.key, self.columns.ret_ns[self.reads])
        looked_ms = (last_ns[keys] - self._since_ns[keys]) / _MILLISECOND_NS
        looked = (
            {"min": looked_ms.min(), "median": np.median(looked_ms), "max": looked_ms.max()}
            if len(keys)
            else {}
        )
        return {
            "quiet_ms": self.quiet_ms,
            "keys": len(self.columns.keys),
            "judged_keys": len(keys),
            "reads": len(self.places),
            "looked_ms": {name: round(float(value), 3) for name, value in looked.items()},
        }

    def broken(self, limits: Limits) -> list[tuple[int, str, list[int]]] | None:
        """The keys that did not converge, each with the reason and the rows that show it, by when it was seen.

        ``None`` when time was up.
        """
        found = self._stale()
        for number, (key, values) in enumerate(self._several()):
            if number % 1_000 == 0 and limits.exceeded():
                return None
            if key not in found and (pair := self._disagree(values)) is not None:
                results = (word(self.columns.results[row]) for row in pair)
                processes = (int(self.columns.process[row]) for row in pair)
                reads = [f"process {who} read {what}" for who, what in zip(processes, results, strict=True)]
                found[key] = (f"{' and '.join(reads)}: its copies do not agree", pair)
        order = sorted(found, key=lambda key: max(int(self.columns.ret[row]) for row in found[key][1][:2]))
        return [(key, *found[key]) for key in order]

    def _stale(self) -> dict[int, tuple[str, list[int]]]:
        """The keys of which something was read that was overwritten long ago, or that nobody wrote."""
        versions, columns = self.versions, self.columns
        updated = np.zeros(len(columns.keys), dtype=np.bool_)
        updated[versions.key[versions.row != INITIAL]] = True
        known = versions.known[self.places]
        until = versions.seen_until[self.places]
        over_ns = Order(versions).overwritten_ns(self.key, until)
        stale = known & (over_ns < columns.call_ns[self.reads] - self._quiet_ns)
        wrong = np.flatnonzero(stale | (~known & updated[self.key]))
        wrong = wrong[np.argsort(columns.ret[self.reads[wrong]], kind="stable")]
        found = {}
        for place in wrong[np.unique(self.key[wrong], return_index=True)[1]].tolist():
            key, read = int(self.key[place]), int(self.reads[place])
            what = f"process {int(columns.process[read])} read {word(columns.results[read])}, which "
            late_ns = int(columns.call_ns[read] - over_ns[place])
            over = f"had certainly been overwritten for {late_ns / _MILLISECOND_NS:.0f} ms"
            found[key] = (what + (over if known[place] else "nobody had written"), [read])
        return found

    def overwriting(self, key: int, rows: Sequence[int]) -> list[int]:
        """The row of an update that certainly came after what a read saw, if there is one that ended before it."""
        versions, columns = self.versions, self.columns
        place = int(np.searchsorted(versions.reads, rows[0]))
        if len(rows) > 1 or not versions.known[place]:
            return []
        later = (versions.key == key) & (versions.begins > versions.seen_until[place])
        later &= (versions.ends < columns.call[rows[0]]) & (versions.row != INITIAL)
        found: list[int] = versions.row[later][:1].tolist()
        return found

    def _several(self) -> list[tuple[int, list[_Value]]]:
        """The keys of which several values were read that somebody wrote, with these."""
        versions, columns = self.versions, self.columns
        places = self.places[versions.known[self.places]]
        group = versions.group[versions.first[places]]
        key = columns.key[versions.reads[places]]
        where = np.unique(group, return_index=True)[1]
        several = np.flatnonzero(np.bincount(key[where], minlength=len(columns.keys)) > 1)
        places = places[np.isin(key, several)]
        group = versions.group[versions.first[places]]
        order = np.argsort(group, kind="stable")
        bounds = np.flatnonzero(np.diff(group[order], prepend=-1))
        first_call = np.full(len(columns.keys), versions.end)
        np.minimum.at(first_call, self.key, columns.call[self.reads])
        of_key: dict[int, list[_Value]] = {}
        parts = np.split(places[order], bounds[1:]) if len(order) else []
        for part in parts:
            number = int(columns.key[versions.reads[part[0]]])
            of_key.setdefault(number, []).append(self._value(part, int(first_call[number])))
        return list(of_key.items())

    def _value(self, places: Ints, first_call: int) -> _Value:
        versions, columns = self.versions, self.columns
        reads, group = versions.reads[places], versions.group[versions.first[places[0]]]
        low, high = np.searchsorted(versions.group, [group, group + 1])
        rows, ends = versions.row[low:high], versions.ends[low:high]
        # One that was proven to have happened before all of the reads does not come late.
        late = (rows != INITIAL) & columns.crashed[rows] & (ends >= first_call)
        return _Value(
            first=int(reads[np.argmin(columns.ret[reads])]),
            last=int(reads[np.argmax(columns.call[reads])]),
            late=bool(late.any()),
            once=len(rows) == 1,
        )

    def _disagree(self, values: Sequence[_Value]) -> list[int] | None:
        """Two reads that cannot both be right, in the order of their returns."""
        for one, other in combinations(values, 2):
            if one.late and other.late:
                wrong = one.once and other.once and self._stays(one, other) and self._stays(other, one)
            elif one.late or other.late:
                settled, late = (other, one) if one.late else (one, other)
                wrong = self._stays(settled, late)
            else:
                wrong = True
            if wrong:
                settled, late = (other, one) if one.late else (one, other)
                pair = (settled.last, late.first) if late.late else (one.first, other.first)
                return sorted(pair, key=lambda row: int(self.columns.ret[row]))
        return None

    def _stays(self, one: _Value, other: _Value) -> bool:
        """Whether one value was still read when another had been seen long before."""
        columns = self.columns
        return bool(columns.call_ns[one.last] > columns.ret_ns[other.first] + self._quiet_ns)


def _last_update_ns(history: History, versions: Versions) -> Ints:
    """For each key when (ns) its last update ended or was given up; 0 where it was never updated."""
    columns = versions.columns
    rows = versions.row[versions.row != INITIAL]
    places = np.searchsorted(history.column("invoke_index"), columns.index[rows])
    ended_ns = np.maximum(history.column("complete_ns")[places], columns.call_ns[rows])
    last_ns = np.zeros(len(columns.keys), dtype=np.int64)
    np.maximum.at(last_ns, columns.key[rows], ended_ns)
    return last_ns


def _counterexample(
    history: History, versions: Versions, key: int, reason: str, rows: Sequence[int]
) -> Counterexample:
    columns = versions.columns
    places = np.flatnonzero(np.isin(versions.reads, rows))
    sole = versions.sole_candidates()[places]
    written = versions.row[sole[sole >= 0]]
    numbers = sorted({int(columns.index[row]) for row in (*rows, *written[written != INITIAL].tolist())})
    last_read = max(
        (row for row in rows if row in versions.reads[places]), key=lambda row: int(columns.ret[row])
    )
    return Counterexample(
        key=columns.keys[key],
        reason=f"key {columns.keys[key]!r} did not converge: {reason}",
        core=tuple(numbers),
        impossible=int(columns.index[last_read]),
        operations=rows_of(history, numbers, _label),
    )


def _unknown(reason: str, details: Mapping[str, Any]) -> CheckResult:
    return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, method=_METHOD, details=details)


def _label(row: Row) -> str:
    return CasRegister().describe(row.f, row.value, row.result if row.type is OperationType.OK else UNKNOWN)
