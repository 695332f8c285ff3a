"""Operation statistics: counts, rates, latencies, and availability by node and around each fault. Never a verdict."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from foreshock.checkers.fault_times import Bools, FaultTime, Ints, fault_times, recovery_ns
from foreshock.harness.blame import without_numbers
from foreshock.harness.checker import CheckContext, Checker, CheckResult
from foreshock.harness.history import History
from foreshock.harness.history_columns import FAIL_CODE, INFO_CODE, OK_CODE, TYPES
from foreshock.harness.verdict import Verdict

BUCKETS_MAX: Final = 120
_BUCKETS_MS: Final = (10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000)
_MILLISECOND_NS: Final = 1_000_000
_AROUND_NS: Final = 5_000_000_000
"""How long before a fault, and how long after its healing, availability is compared with that during it."""
ERRORS_MAX: Final = 8
"""Of the reasons why operations were not ok the commonest so many are told."""
_ERROR_MAX: Final = 200
REFUSABLE: Final = frozenset({"cas", "acquire", "renew", "release", "use"})
"""Operations that may rightly be refused, so that a ``fail`` of theirs says nothing about availability."""


class StatisticsChecker(Checker):
    """Figures about the operations of clients, in ``details``; always valid.

    ``details``: ``by_f`` (counts by outcome), ``rate`` (completions a bucket of ``bucket_ms``, by ``f`` and outcome),
    ``latency_ms`` (of ok operations, by ``f``), ``quantile_series`` (of all ok operations, ``None`` in a bucket
    without any), ``errors`` (why operations were not ok: the commonest reasons, whatever their numbers, with the
    outcome and how often) and ``availability``: the share of operations that were ok, by node, and before, during and
    after each fault. There, a ``fail`` of an operation that may rightly be refused (a compare-and-set, say) does not
    count.
    """

    name = "statistics"

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Compute the figures."""
        clients = history.clients()
        counts = clients.counts()
        seconds = _end_ns(clients) / 1e9
        rate = counts["ok"] / seconds if seconds > 0 else 0.0
        reason = (
            f"{counts['ok']} ok, {counts['fail']} fail, {counts['info']} info; {rate:.1f} ok operations/s"
        )
        bucket_ms = _bucket_ms(_end_ns(clients))
        return CheckResult(
            verdict=Verdict.VALID,
            reason=reason,
            details={
                "by_f": _counts_by_f(clients),
                "errors": _errors(clients),
                "rate": {"bucket_ms": bucket_ms, "series": _rates(clients, bucket_ms)},
                "latency_ms": _latencies(clients),
                "quantile_series": _quantile_series(clients, bucket_ms),
                "availability": {
                    "by_node": _availability_by_node(clients),
                    "around_faults": _around_faults(clients, fault_times(context.faults)),
                },
            },
        )


def _end_ns(clients: History) -> int:
    last = [int(clients.column(name).max(initial=0)) for name in ("invoke_ns", "complete_ns")]
    return max(last)


def _bucket_ms(end_ns: int) -> int:
    """The least round bucket that cuts the test into at most ``BUCKETS_MAX``."""
    for bucket_ms in _BUCKETS_MS:
        if end_ns <= bucket_ms * _MILLISECOND_NS * BUCKETS_MAX:
            return bucket_ms
    return -(-end_ns // (BUCKETS_MAX * _MILLISECOND_NS))


def _by_f(clients: History) -> tuple[list[str], Ints]:
    """The names of the operations there are, in order, and for each operation which of them it is."""
    codes, which = np.unique(clients.column("f"), return_inverse=True)
    # Counted by these few and not by code: codes go on to every error text that a client ever gave.
    names = [clients.names[code] for code in codes.tolist()]
    order = sorted(range(len(names)), key=names.__getitem__)
    places: Ints = np.argsort(np.array(order, dtype=np.int64))[which.reshape(-1)]
    return [names[place] for place in order], places


def _counts_by_f(clients: History) -> dict[str, dict[str, int]]:
    names, f = _by_f(clients)
    cells = f * len(TYPES) + clients.column("type")
    counts = np.bincount(cells, minlength=len(names) * len(TYPES)).reshape(-1, len(TYPES))
    return {
        name: {str(kind): int(count) for kind, count in zip(TYPES, row, strict=True)}
        for name, row in zip(names, counts, strict=True)
    }


def _errors(clients: History) -> list[dict[str, Any]]:
    """The commonest reasons of each outcome but ok, the commonest first."""
    kinds, errors = clients.column("type"), clients.column("error")
    counts: Counter[tuple[str, str]] = Counter()
    for code in (FAIL_CODE, INFO_CODE):
        texts, times = np.unique(errors[(kinds == code) & (errors >= 0)], return_counts=True)
        for text, count in zip(texts.tolist(), times.tolist(), strict=True):
            counts[str(TYPES[code]), without_numbers(clients.names[text][:_ERROR_MAX])] += count
    common = sorted(counts.items(), key=lambda counted: (-counted[1], counted[0]))[:ERRORS_MAX]
    return [{"type": kind, "error": text, "count": count} for (kind, text), count in common]


def _buckets(clients: History, bucket_ms: int) -> tuple[Ints, int]:
    """The bucket in which each operation ended (or began, if it never ended), and how many buckets there are."""
    completed = clients.column("complete_ns")
    ended: Ints = np.where(completed >= 0, completed, clients.column("invoke_ns"))
    buckets: Ints = np.maximum(ended, 0) // (bucket_ms * _MILLISECOND_NS)
    return buckets, int(buckets.max(initial=-1)) + 1


def _rates(clients: History, bucket_ms: int) -> dict[str, dict[str, list[int]]]:
    """How many operations ended in each bucket."""
    buckets, count = _buckets(clients, bucket_ms)
    names, f = _by_f(clients)
    cells = (f * len(TYPES) + clients.column("type")) * count + buckets
    table = np.bincount(cells, minlength=len(names) * len(TYPES) * count).reshape(
        len(names), len(TYPES), count
    )
    return {
        name: {str(kind): row[number].tolist() for number, kind in enumerate(TYPES)}
        for name, row in zip(names, table, strict=True)
    }


def _latency_ms(clients: History) -> npt.NDArray[np.float64]:
    latency: npt.NDArray[np.float64] = (
        clients.column("complete_ns") - clients.column("invoke_ns")
    ) / _MILLISECOND_NS
    return latency


def _latencies(clients: History) -> dict[str, dict[str, float]]:
    ok = clients.where(type="ok")
    latency = _latency_ms(ok)
    names, f = _by_f(ok)
    figures = {}
    for number, name in enumerate(names):
        p50, p95, p99, most = np.quantile(latency[f == number], (0.5, 0.95, 0.99, 1.0)).tolist()
        figures[name] = {
            "p50": round(p50, 3),
            "p95": round(p95, 3),
            "p99": round(p99, 3),
            "max": round(most, 3),
        }
    return figures


def _quantile_series(clients: History, bucket_ms: int) -> dict[str, Any]:
    """The median and the 99th percentile of ok operations, bucket by bucket."""
    _, count = _buckets(clients, bucket_ms)
    ok = clients.where(type="ok")
    buckets, _ = _buckets(ok, bucket_ms)
    order = np.lexsort((_latency_ms(ok), buckets))
    latency = _latency_ms(ok)[order]
    bounds = np.searchsorted(buckets[order], np.arange(count + 1))
    series: dict[str, list[float | None]] = {"p50": [], "p99": []}
    for start, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        for name, quantile in (("p50", 0.5), ("p99", 0.99)):
            # The nearest rank is enough for a plot, and the bucket is sorted already.
            rank = start + int(quantile * (end - start - 1) + 0.5)
            series[name].append(round(float(latency[rank]), 3) if end > start else None)
    return {"bucket_ms": bucket_ms, **series}


def _counted(clients: History) -> Bools:
    """The operations that say something about availability: all but those that may have been refused rightly."""
    refusable = [clients.code(name) for name in REFUSABLE]
    refused = (clients.column("type") == FAIL_CODE) & np.isin(clients.column("f"), refusable)
    counted: Bools = ~refused
    return counted


def _availability_by_node(clients: History) -> dict[str, float]:
    counted = _counted(clients)
    node = clients.column("node")[counted]
    is_ok = clients.column("type")[counted] == OK_CODE
    shares = {}
    for code in np.unique(node[node >= 0]).tolist():
        shares[clients.names[code]] = round(float(is_ok[node == code].mean()), 4)
    return dict(sorted(shares.items()))


def _around_faults(clients: History, faults: list[FaultTime]) -> list[dict[str, Any]]:
    """The share of ok operations among those invoked before, during and after each fault (``None``: none)."""
    counted = _counted(clients)
    invoked_ns = clients.column("invoke_ns")[counted]
    is_ok = clients.column("type")[counted] == OK_CODE
    completed_ns = clients.column("complete_ns")[counted]
    summed = np.concatenate(([0], np.cumsum(is_ok)))

    def share(from_ns: int, to_ns: int) -> float | None:
        start, end = np.searchsorted(invoked_ns, (from_ns, to_ns)).tolist()
        return round(float(summed[end] - summed[start]) / (end - start), 4) if end > start else None

    end_ns = _end_ns(clients) + 1
    around = []
    for fault in faults:
        healed_ns = end_ns if fault.healed_ns is None else fault.healed_ns
        took = (
            None
            if fault.healed_ns is None
            else recovery_ns(invoked_ns[is_ok], completed_ns[is_ok], healed_ns)
        )
        around.append(
            {
                "fault": fault.id,
                "kind": fault.kind,
                "nodes": list(fault.nodes),
                "before": share(fault.started_ns - _AROUND_NS, fault.started_ns),
                "during": share(fault.started_ns, healed_ns),
                "after": share(healed_ns, healed_ns + _AROUND_NS) if fault.healed_ns is not None else None,
                "recovery_ms": None if took is None else round(took / _MILLISECOND_NS, 3),
            }
        )
    return around
