"""Liveness after healing: once all faults are gone, the system serves again.

Linearizability and mutual exclusion are kept by a system that never answers, so this is judged too. The final phase
is everything invoked after the last fault was healed (the whole test, when there was none). If operations were
invoked in it and not one was ok, the system did not recover, and that is ``invalid``: the test gave it a healed
cluster and all the time of the final phase. The same holds for a system that served, and
then, with no fault on, answered nothing to the end of the test. If nothing was invoked in it, or a fault was never
healed, or nothing succeeded before the faults either, nothing is known.

Nor is silence a proof where it has another explanation. A lock that a lost client holds is nobody else's before its
lease runs out; and operations that are given up after less than a second say little of a system that would have
answered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np

from foreshock.checkers.fault_times import Bools, FaultTime, Ints, fault_times, recovery_ns
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.history_columns import OK_CODE
from foreshock.harness.verdict import Verdict

_SHOWN_MAX: Final = 5
_METHOD: Final = "final phase"
_SILENCE_NS_MIN: Final = 10_000_000_000
_SILENCE_OPERATIONS_MIN: Final = 20
"""A system without faults that fails so many operations, for so long, to the very end, has stopped serving."""
_ANSWER_MS_MIN: Final = 1_000
"""What an operation must be given before its failure says something of the system."""


class LivenessChecker(Checker):
    """Judges whether operations succeed after the last fault was healed.

    ``operations`` limits it to operations of these names. With ``every_key``, each key that was asked for in the final
    phase, after its first success, must have had a success in it too. ``operation_timeout_ms`` is what an operation
    was given at most.
    """

    name = "liveness"
    judges_the_end = True

    def __init__(
        self,
        *,
        operations: Collection[str] | None = None,
        every_key: bool = False,
        operation_timeout_ms: int = _ANSWER_MS_MIN,
    ) -> None:
        self._operations = None if operations is None else frozenset(operations)
        self._every_key = every_key
        self._operation_timeout_ms = operation_timeout_ms

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide, and report how long the system took to recover from each fault."""
        clients = history.clients()
        if self._operations is not None:
            clients = clients.where(f=self._operations)
        faults = fault_times(context.faults)
        recoveries = _recoveries(clients, faults)
        unhealed = [fault for fault in faults if fault.healed_ns is None]
        healed_ns = max((fault.healed_ns or 0 for fault in faults), default=0)
        invoked_ns, is_ok = clients.column("invoke_ns"), clients.column("type") == OK_CODE
        final = invoked_ns >= healed_ns
        details: dict[str, Any] = {
            "final_phase": {
                "from_ns": healed_ns,
                "operations": int(final.sum()),
                "ok": int((final & is_ok).sum()),
            },
            "recovery": recoveries,
        }
        if unhealed:
            reason = f"the fault {unhealed[0].kind!r} was never healed, so nothing is known of the time after"
            return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, method=_METHOD, details=details)
        if not final.any():
            reason = (
                "no operation was invoked after the last fault was healed"
                if faults
                else "nothing was invoked"
            )
            return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, method=_METHOD, details=details)
        if not is_ok.any():
            reason = f"none of {len(clients)} operations ever succeeded, so the system may never have served"
            return CheckResult(verdict=Verdict.UNKNOWN, reason=reason, method=_METHOD, details=details)
        accused = self._accused(clients, final, is_ok, healed_ns, details)
        if accused is None:
            return CheckResult(
                verdict=Verdict.VALID, reason=_recovered(faults, recoveries), method=_METHOD, details=details
            )
        rows, reason, since_ns = accused
        doubt = self._doubt(clients, _last_ns(clients) - since_ns)
        if doubt is not None:
            return CheckResult(
                verdict=Verdict.UNKNOWN, reason=f"{reason}; but {doubt}", method=_METHOD, details=details
            )
        return _convicted(rows, reason, details)

    def _accused(
        self, clients: History, final: Bools, is_ok: Bools, healed_ns: int, details: dict[str, Any]
    ) -> tuple[Sequence[Row], str, int] | None:
        """The rows that speak against the system, in which sentence, and since when; ``None`` where none do."""
        dead = _first_on_dead_keys(clients, final, is_ok) if self._every_key else []
        if dead or not (final & is_ok).any():
            rows, reason = _did_not_recover(clients, np.flatnonzero(final), dead, healed_ns, details)
            return rows, reason, healed_ns
        silent = _failed_to_the_end(clients, final, is_ok)
        if not len(silent):
            return None
        since_ns = int(clients.column("invoke_ns")[silent[0]])
        reason = (
            f"the system stopped serving while no fault was on: none of the {len(silent)} operations of the last "
            f"{(_last_ns(clients) - since_ns) / 1e9:.1f} s succeeded"
        )
        return [clients[row] for row in silent[:_SHOWN_MAX].tolist()], reason, since_ns

    def _doubt(self, clients: History, silence_ns: int) -> str | None:
        """Why so long a silence proves nothing, if it does not."""
        if self._operation_timeout_ms < _ANSWER_MS_MIN:
            return (
                f"an operation was given {self._operation_timeout_ms} ms at most, which says little: give it "
                f"{_ANSWER_MS_MIN} or more with --operation-timeout-ms"
            )
        lease_ms = _longest_lease_ms(clients)
        if lease_ms and silence_ns < _SILENCE_NS_MIN + lease_ms * 1_000_000:
            return f"a grant lasts {lease_ms / 1000:g} s, and a client that was lost may have held one until then"
        return None


def _recoveries(clients: History, faults: Sequence[FaultTime]) -> list[dict[str, Any]]:
    is_ok = clients.column("type") == OK_CODE
    invoked_ns, completed_ns = clients.column("invoke_ns")[is_ok], clients.column("complete_ns")[is_ok]
    recoveries = []
    for fault in faults:
        took = None if fault.healed_ns is None else recovery_ns(invoked_ns, completed_ns, fault.healed_ns)
        recoveries.append(
            {"fault": fault.id, "kind": fault.kind, "recovery_ms": None if took is None else took / 1e6}
        )
    return recoveries


def _recovered(faults: Sequence[FaultTime], recoveries: Sequence[dict[str, Any]]) -> str:
    if not faults:
        return "operations succeed, and there was no fault to recover from"
    took = [recovery["recovery_ms"] for recovery in recoveries if recovery["recovery_ms"] is not None]
    return f"operations succeeded after every fault was healed, within {max(took, default=0.0) / 1000:.2f} s at most"


def _first_on_dead_keys(clients: History, final: Bools, is_ok: Bools) -> list[int]:
    """The first rows of the keys without a success in the final phase that were asked for once the system served.

    What failed before the first success of the final phase says only that the system had not recovered by then.
    """
    answered = final & is_ok
    if not answered.any():
        return []
    keys = clients.payloads("key")
    asked = final & (clients.column("invoke_ns") >= clients.column("complete_ns")[answered].min())
    dead = np.setdiff1d(keys[asked], keys[answered])
    rows = np.flatnonzero(final)
    found, first = np.unique(keys[rows], return_index=True)
    return sorted(rows[first[np.isin(found, dead)]].tolist())


def _failed_to_the_end(clients: History, final: Bools, is_ok: Bools) -> Ints:
    """The rows after the last success, if they are many and go on for long; of operations that ever succeeded.

    What a target cannot do at all says nothing: its client answers with ``Definite`` from first to last.
    """
    names, invoked_ns = clients.column("f"), clients.column("invoke_ns")
    can = np.isin(names, np.unique(names[is_ok]))
    rows: Ints = np.flatnonzero(final & can & (invoked_ns > clients.column("complete_ns")[is_ok].max()))
    if len(rows) < _SILENCE_OPERATIONS_MIN or _last_ns(clients) - invoked_ns[rows[0]] < _SILENCE_NS_MIN:
        return rows[:0]
    return rows


def _last_ns(clients: History) -> int:
    return max(int(clients.column(name).max()) for name in ("invoke_ns", "complete_ns"))


def _longest_lease_ms(clients: History) -> int:
    """For how long the longest grant lasts without renewal; 0 where operations grant nothing that ends by itself."""
    results = clients.values("result")
    return max((result.get("ttl_ms") or 0 for result in results if isinstance(result, dict)), default=0)


def _did_not_recover(
    clients: History, final: Ints, dead: list[int], healed_ns: int, details: dict[str, Any]
) -> tuple[Sequence[Row], str]:
    """``final`` are the rows of the final phase; ``dead`` the first ones on keys without success, if that is asked."""
    found = [clients[row] for row in (dead or final.tolist())[:_SHOWN_MAX]]
    what = f"none of {len(final)} operations"
    if dead:
        details["dead_keys"] = [row.key for row in found]
        what = f"no operation on {len(dead)} of the keys ({', '.join(repr(row.key) for row in found)})"
    reason = (
        f"the system did not recover within {(_last_ns(clients) - healed_ns) / 1e9:.1f} s: {what} that was invoked "
        "after the last healing succeeded"
    )
    return found, reason


def _convicted(found: Sequence[Row], reason: str, details: dict[str, Any]) -> CheckResult:
    counterexample = Counterexample(
        key=found[0].key,
        reason=reason,
        core=tuple(row.invoke_index for row in found),
        operations=tuple({**row._asdict(), "type": str(row.type), "label": row.f} for row in found),
    )
    return CheckResult(
        verdict=Verdict.INVALID,
        reason=reason,
        method=_METHOD,
        details=details,
        counterexamples=(counterexample,),
    )
