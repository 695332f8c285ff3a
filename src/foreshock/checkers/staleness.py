"""The checker of bounded staleness: what a read returned was current not long before the read began.

**In time.** Golab, Li & Shah ("Analyzing Consistency Properties for Fun and Profit", PODC 2011, section 4) call a
register Delta-atomic when its history is linearizable once every read is given Delta more time before its call. So this
is the checker of linearizability, over reads that begin earlier: as exact, and with the same counterexamples.

**In versions.** They call it k-atomic (after Aiyer, Alvisi & Bazzi, "On the Availability of Non-strict Quorum Systems",
DISC 2005) when its operations can be put into one order that keeps real time, in which every read returns one of the k
last updates before it. For k = 2 that can be decided fast, for greater k nobody knows how. What is done here for any k
is sound but not exact: a read is convicted when k or more updates were certainly made after the one that it saw
(``versions.py``) and had certainly ended before it was called. Not seen is what only several reads together
show: two concurrent updates of which one must be the older for one reader, and the other for another.

It reports how old what was read was, too, at least: for each read for how long, and by how many updates, the
value had certainly been overwritten when the read began.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import numpy as np
from msgspec.structs import replace as with_fields

from foreshock.checkers.columns import Bools, Ints, OperationColumns, columns_of
from foreshock.checkers.entries import NEVER
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.models.register import READS, Register
from foreshock.checkers.rows import rows_of
from foreshock.checkers.versions import INITIAL, Order, Versions, has_times, versions_of
from foreshock.harness.checker import CheckContext, CheckResult, Counterexample
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History, Row
from foreshock.harness.model import UNKNOWN
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_MILLISECOND_NS: Final = 1_000_000
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_METHOD: Final = "certain order of updates"
_SHOWN_MAX: Final = 20


class StalenessChecker(LinearizableChecker):
    """Judges how old what was read is, of registers: ``read``/``get``, ``write``/``put``, ``delete``.

    ``bound_ms``: every read returned what the key held at some moment between its call less so many ms and its
    return; 0 is linearizability. ``bound_versions``: every read returned one of the so many last versions that
    certainly were there when it was called (or a newer one); 1 is the last one alone. Both may be asked for; with
    neither, ``bound_ms`` is 0. ``details`` hold the ages of what was read: quantiles, and counts by age.
    """

    name = "staleness"

    def __init__(self, bound_ms: int | None = None, bound_versions: int | None = None) -> None:
        super().__init__("register")
        if bound_ms is not None and bound_ms < 0:
            raise UsageError(f"the option 'bound_ms' cannot be {bound_ms}: give 0 or more ms")
        if bound_versions is not None and bound_versions < 1:
            raise UsageError(f"the option 'bound_versions' cannot be {bound_versions}: the last version is 1")
        self.bound_ms = 0 if bound_ms is None and bound_versions is None else bound_ms
        self.bound_versions = bound_versions

    def columns(self, history: History) -> OperationColumns:
        """The operations with reads that begin earlier, where the bound makes them; else in the order of events.

        Only before the returns of others matters: so a read comes before the first of them that is not older than the
        bound, if it was called after it. What is just as old as the bound may be read. Where times are not those of one
        clock, and go back, the latest so far counts.
        """
        columns = super().columns(history)
        if not self.bound_ms:
            return columns
        ends = np.flatnonzero(~columns.crashed)
        ends = ends[np.argsort(columns.ret[ends])]
        latest_ns = np.maximum.accumulate(columns.ret_ns[ends])
        since_ns = columns.call_ns - self.bound_ms * _MILLISECOND_NS
        # One more return, later than all, for those that began after the last.
        returns = np.append(2 * columns.ret[ends], NEVER)
        shifted = returns[np.searchsorted(latest_ns, since_ns)] - 1
        calls = np.where(columns.f_in(READS), np.minimum(2 * columns.call, shifted), 2 * columns.call)
        events = np.concatenate((calls, returns[:-1]))
        position = np.empty(len(events), dtype=np.int64)
        position[np.argsort(events, kind="stable")] = np.arange(len(events))
        call = position[: len(columns)]
        ret = np.full(len(columns), NEVER, dtype=np.int64)
        ret[ends] = position[len(columns) :]
        return _in_order(replace(columns, call=call, ret=ret), np.argsort(call, kind="stable"))

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide every key, and measure the age of what was read.

        Raises :class:`UsageError` for a bound in time of a history without times.
        """
        ages = ages_of(history)
        if self.bound_ms is not None and not ages.has_times:
            raise UsageError(
                "the checker 'staleness' cannot measure 'bound_ms' in a history without times: "
                "give 'bound_versions' instead, or use the checker 'linearizable'"
            )
        results = []
        if self.bound_ms is not None:
            results.append(self._check_time(history, context))
        if self.bound_versions is not None:
            results.append(_check_versions(history, ages, self.bound_versions))
        # Valid is told of all, anything else of what is worst, the first of them first.
        verdict = Verdict.worst(result.verdict for result in results)
        told = [result for result in results if result.verdict is verdict]
        details = {
            **(results[0].details if self.bound_ms is not None else {}),
            "bound_ms": self.bound_ms,
            "bound_versions": self.bound_versions,
            **ages.figures(),
        }
        illegal = [found for result in results for found in result.counterexamples]
        if self.bound_versions is not None:
            details["illegal_keys"] = list(dict.fromkeys(found.key for found in illegal))
        return with_fields(
            told[0],
            reason="; ".join(result.reason for result in told),
            method="+".join(dict.fromkeys(result.method for result in results)),
            seconds=sum(result.seconds for result in results),
            details=details,
            counterexamples=tuple(illegal),
        )

    def _check_time(self, history: History, context: CheckContext) -> CheckResult:
        result = super().check(history, context)
        if result.verdict is Verdict.VALID:
            reason = f"no read returned what had been overwritten for more than {self.bound_ms} ms"
        else:
            reason = f"with reads that may be {self.bound_ms} ms old, {result.reason}"
        return with_fields(result, reason=reason)


@dataclass(frozen=True)
class Ages:
    """How old what was read was, at least: for each read that returned what somebody may have written."""

    versions: Versions
    age_ns: Ints
    age_versions: Ints
    has_times: bool
    """Whether all events have times; the ages in ns mean nothing otherwise."""

    @property
    def known(self) -> Bools:
        """Which of ``versions.reads`` the ages are of."""
        return self.versions.known

    def figures(self) -> dict[str, Any]:
        """``reads``, ``stale_reads``; quantiles over all of them in ms and in versions; and how many were how old.

        A histogram counts reads by the least bound that they keep: in ms, 0 and powers of two; in versions, 0 (nothing
        newer was certain), 1, 2, 3, 4 and powers of two. Of a history without times nothing is told in ms.
        """
        ages_ms = (self.age_ns if self.has_times else self.age_ns[:0]) / _MILLISECOND_NS
        return {
            "reads": len(self.age_versions),
            "stale_reads": int((self.age_versions > 0).sum()),
            "unknown_values": int((~self.known).sum()),
            "age_ms": _quantiles(ages_ms),
            "age_versions": _quantiles(self.age_versions),
            "age_ms_histogram": _histogram(ages_ms, [0]),
            "age_versions_histogram": _histogram(self.age_versions, [0, 1, 2, 3]),
        }


def ages_of(history: History) -> Ages:
    """The ages of what was read in a history of registers."""
    versions = versions_of(columns_of(history), StalenessChecker.name)
    columns, order, known = versions.columns, Order(versions), versions.known
    reads = versions.reads[known]
    key, until = columns.key[reads], versions.seen_until[known]
    age_ns = np.maximum(columns.call_ns[reads] - order.overwritten_ns(key, until), 0)
    # By positions, not where the age in ns is above 0: the clock may tie, or there may be none.
    old = np.flatnonzero(order.next_begin(key, until) < columns.call[reads])
    age_versions = np.zeros(len(reads), dtype=np.int64)
    age_versions[old] = order.overwritten_times(key[old], until[old], columns.call[reads[old]])
    return Ages(versions, age_ns, age_versions, has_times(columns))


def _check_versions(history: History, ages: Ages, bound: int) -> CheckResult:
    """Whether each read returned one of the last versions, as far as the order of updates is certain."""
    versions = ages.versions
    columns, known = versions.columns, np.flatnonzero(ages.known)
    too_old = known[ages.age_versions >= bound]
    nowhere = np.flatnonzero(~ages.known)
    broken = np.sort(np.concatenate((too_old, nowhere)))
    broken = broken[np.argsort(columns.ret[versions.reads[broken]], kind="stable")]
    firsts = broken[np.sort(np.unique(columns.key[versions.reads[broken]], return_index=True)[1])]
    counterexamples = tuple(
        _counterexample(history, ages, place, bound) for place in firsts[:_SHOWN_MAX].tolist()
    )
    what = f"one of the last {bound} versions" if bound > 1 else "the last version"
    if not counterexamples:
        reason = f"no read of {len(versions.reads)} returned what was certainly not {what}"
        return CheckResult(verdict=Verdict.VALID, reason=reason, method=_METHOD)
    reason = (
        f"{counterexamples[0].reason} ({len(broken)} of {len(versions.reads)} reads did not return {what})"
    )
    return CheckResult(
        verdict=Verdict.INVALID, reason=reason, method=_METHOD, counterexamples=counterexamples
    )


def _counterexample(history: History, ages: Ages, place: int, bound: int) -> Counterexample:
    """Why a read (a place among all reads) is too old: the update that it saw, and as many newer ones as the bound."""
    versions = ages.versions
    columns, read = versions.columns, int(versions.reads[place])
    key = int(columns.key[read])
    until, call = int(versions.seen_until[place]), int(columns.call[read])
    core = [read]
    what = f"{_label(history[_place(history, columns, read)])} of key {columns.keys[key]!r}"
    what += f" by process {int(columns.process[read])} "
    if not versions.known[place]:
        what += "returned what nobody had written"
    else:
        mine = (versions.key == key) & (versions.row != INITIAL)
        newer = mine & (versions.begins > until) & (versions.ends < call)
        rows = versions.row[newer]
        core += rows[np.argsort(versions.ends[newer], kind="stable")][:bound].tolist()
        seen = versions.row[versions.first[place] : versions.stop[place]]
        core += seen[seen != INITIAL].tolist() if len(seen) == 1 else []
        count = int(ages.age_versions[np.searchsorted(np.flatnonzero(ages.known), place)])
        what += f"is {count} version{'s' * (count != 1)} old: "
        what += "so many updates certainly came after what it saw, and ended before it began"
    numbers = sorted(int(columns.index[row]) for row in set(core))
    return Counterexample(
        key=columns.keys[key],
        reason=what,
        core=tuple(numbers),
        impossible=int(columns.index[read]),
        operations=rows_of(history, numbers, _label),
    )


def _place(history: History, columns: OperationColumns, row: int) -> int:
    return int(np.searchsorted(history.column("invoke_index"), columns.index[row]))


def _label(row: Row) -> str:
    return Register().describe(row.f, row.value, row.result if row.type is OperationType.OK else UNKNOWN)


def _quantiles(values: Any) -> dict[str, float]:
    if not len(values):
        return {}
    found = np.quantile(np.asarray(values), list(_QUANTILES.values()), method="nearest").tolist()
    return {name: round(float(value), 3) for name, value in zip(_QUANTILES, found, strict=True)}


def _histogram(values: Any, bounds: Sequence[int]) -> Mapping[str, int]:
    """How many values are at most each bound and above the one before; after those given come powers of two."""
    edges = list(bounds)
    greatest = float(np.max(values, initial=0))
    while edges[-1] < greatest:
        edges.append(max(1, 1 << edges[-1].bit_length()))
    which = np.searchsorted(edges, values)
    counts = np.bincount(which, minlength=len(edges)).tolist()
    return {str(edge): count for edge, count in zip(edges, counts, strict=True) if count}


def _in_order(columns: OperationColumns, order: Ints) -> OperationColumns:
    """The same rows in another order."""
    values_of = columns.values_of

    def ordered(name: str, rows: Ints | None) -> Sequence[Any]:
        return values_of(name, order if rows is None else order[rows])

    names = [field.name for field in fields(columns) if isinstance(getattr(columns, field.name), np.ndarray)]
    return replace(columns, values_of=ordered, **{name: getattr(columns, name)[order] for name in names})
