"""The checker of bounded staleness: what a read returned was the current value not long before the read began.

Golab, Li & Shah ("Analyzing Consistency Properties for Fun and Profit", PODC 2011) call a register Delta-atomic when
its history is linearizable once every read is given Delta more time before its call. So this is the checker of
linearizability, over reads that begin earlier: as exact, and with the same counterexamples.

It reports how old what was read was, too: for each read, for how long at least, and by how many updates at least, the
value had been overwritten when the read began.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Final

import numpy as np
from msgspec.structs import replace as with_fields

from foreshock.checkers.columns import Ints, OperationColumns
from foreshock.checkers.entries import NEVER
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.models.register import READS
from foreshock.checkers.versions import KeyVersions
from foreshock.harness.checker import CheckContext, CheckResult
from foreshock.harness.history import History
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_MILLISECOND_NS: Final = 1_000_000
_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


class StalenessChecker(LinearizableChecker):
    """Decides whether every read returned what the key held at some moment between its call less ``bound_ms`` and its
    return. A bound of 0 is linearizability. Written values must be distinct for the ages in ``details`` to be right.
    """

    name = "staleness"

    def __init__(self, bound_ms: int = 0) -> None:
        super().__init__("register")
        self.bound_ms = bound_ms

    def columns(self, history: History) -> OperationColumns:
        """The operations with reads that begin earlier: in the order of the clock, and of events where it ties."""
        columns = super().columns(history)
        call_ns, ret_ns = _times_of(columns, history)
        is_read = columns.f_in(READS)
        shifted = np.where(is_read, call_ns - self.bound_ms * _MILLISECOND_NS, call_ns)
        ends = np.flatnonzero(~columns.crashed)
        times = np.concatenate((shifted, ret_ns[ends]))
        # Where a shifted call meets another event, it comes first: a tie must not convict.
        events = np.concatenate((np.where(is_read, -1, columns.call), columns.ret[ends]))
        position = np.empty(len(times), dtype=np.int64)
        position[np.lexsort((events, times))] = np.arange(len(times))
        call = position[: len(columns)]
        ret = np.full(len(columns), NEVER, dtype=np.int64)
        ret[ends] = position[len(columns) :]
        return _in_order(replace(columns, call=call, ret=ret), np.argsort(call, kind="stable"))

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide every key, and measure the age of what was read."""
        result = super().check(history, context)
        ages = ages_of(history.clients())
        if result.verdict is Verdict.VALID:
            reason = f"no read returned what had been overwritten for more than {self.bound_ms} ms"
        else:
            reason = f"with reads that may be {self.bound_ms} ms old, {result.reason}"
        details = {**result.details, "bound_ms": self.bound_ms, **ages}
        return with_fields(result, reason=reason, details=details)


def ages_of(clients: History) -> dict[str, Any]:
    """How stale reads were, at least: ``stale_reads``, and quantiles over all ok reads in ms and in versions."""
    ages_ms: list[float] = []
    versions: list[int] = []
    for key_history in clients.by_key().values():
        rows = list(key_history)
        known = KeyVersions(rows)
        for row in rows:
            if row.f not in READS or row.type is not OperationType.OK:
                continue
            seen = known.seen_by(row)
            if not seen:
                continue
            latest = max(seen, key=lambda span: span.ends)
            overwritten_ns = known.overwritten_ns(latest)
            age_ns = 0 if overwritten_ns is None else max(0, row.invoke_ns - overwritten_ns)
            ages_ms.append(age_ns / _MILLISECOND_NS)
            versions.append(known.overwritten_times(latest, row.invoke_index) if age_ns else 0)
    return {
        "reads": len(ages_ms),
        "stale_reads": sum(age > 0 for age in ages_ms),
        "age_ms": _quantiles(ages_ms),
        "age_versions": _quantiles(versions),
    }


def _quantiles(values: list[Any]) -> dict[str, float]:
    if not values:
        return {}
    found = np.quantile(np.array(values), list(_QUANTILES.values()), method="nearest").tolist()
    return {name: round(float(value), 3) for name, value in zip(_QUANTILES, found, strict=True)}


def _times_of(columns: OperationColumns, history: History) -> tuple[Ints, Ints]:
    """When each operation of the columns was called and returned, by the clock (ns)."""
    places = np.searchsorted(history.column("invoke_index"), columns.index)
    return history.column("invoke_ns")[places], history.column("complete_ns")[places]


def _in_order(columns: OperationColumns, order: Ints) -> OperationColumns:
    """The same rows in another order."""
    values_of = columns.values_of

    def ordered(name: str) -> list[Any]:
        values = values_of(name)
        return [values[row] for row in order.tolist()]

    names = [field.name for field in fields(columns) if isinstance(getattr(columns, field.name), np.ndarray)]
    return replace(columns, values_of=ordered, **{name: getattr(columns, name)[order] for name in names})
