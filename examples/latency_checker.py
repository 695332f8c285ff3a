"""A checker of your own in one file: it fails a test whose operations took too long.

    foreshock test --target raft --nemesis kill --backend sim --checker examples/latency_checker.py:Latency

It judges beside the checkers of the workload. What its constructor takes are its options.
"""

from __future__ import annotations

import numpy as np

from foreshock.checkers.rows import rows_of
from foreshock.harness import CheckContext, Checker, CheckResult, Counterexample, History, UsageError, Verdict

SHOWN_MAX = 5


class Latency(Checker):
    """Of all operations that succeeded, a share (``quantile``, 0 to 1) must have taken ``limit_ms`` at most."""

    name = "latency"

    def __init__(self, limit_ms: float = 1000.0, quantile: float = 0.99) -> None:
        if not 0 <= quantile <= 1:
            raise UsageError(f"quantile={quantile} is no share: give a number from 0 to 1, such as 0.99")
        self._limit_ms = limit_ms
        self._quantile = quantile

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Columns are arrays, one entry an operation: this is quick for millions of them."""
        done = history.clients().where(type="ok")
        if not len(done):
            return CheckResult(verdict=Verdict.UNKNOWN, reason="no operation succeeded")
        took_ms = (done.column("complete_ns") - done.column("invoke_ns")) / 1e6
        seen_ms = float(np.quantile(took_ms, self._quantile, method="inverted_cdf"))  # one that was measured
        reason = f"{self._quantile * 100:g}% of {len(done)} operations took {seen_ms:.1f} ms at most"
        details = {"quantile_ms": round(seen_ms, 3), "limit_ms": self._limit_ms}
        if seen_ms <= self._limit_ms:
            return CheckResult(verdict=Verdict.VALID, reason=reason, details=details)
        slowest = [int(position) for position in np.argsort(-took_ms)[:SHOWN_MAX]]
        core = tuple(sorted(done[position].invoke_index for position in slowest))
        reason += f", and {self._limit_ms:g} ms is the limit"
        example = Counterexample(
            key=None,
            reason=reason,
            core=core,
            operations=rows_of(history, core, lambda row: f"{row.f} {row.key}"),
        )
        return CheckResult(
            verdict=Verdict.INVALID, reason=reason, details=details, counterexamples=(example,)
        )
