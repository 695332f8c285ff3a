"""What a checker answers about a history in which nothing is of its kind: that it does not know."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreshock.harness.checker import CheckResult
from foreshock.harness.history import History
from foreshock.harness.verdict import Verdict


def nothing_to_judge(history: History, operations: Sequence[str], method: str) -> CheckResult | None:
    """Unknown, where no client ever asked for one of these operations; ``None`` where one did, whatever came of it."""
    codes = [history.code(name) for name in operations]
    asked = np.isin(history.column("f"), codes) & (history.column("process") >= 0)
    if asked.any():
        return None
    words = f"{', '.join(operations[:-1])} or {operations[-1]}" if len(operations) > 1 else operations[0]
    reason = f"nothing here to judge: the history has no operation {words}"
    return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, method=method)
