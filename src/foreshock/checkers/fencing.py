"""Fencing tokens: every grant of a lock carries a greater one than all before, and the resource never goes back.

Two rules for each lock, in the order of events (Kleppmann, How to do distributed locking, 2016):

* if one grant's ``acquire`` returned before another's was called, its token is less; no two grants share a token;
* of the tokens that the guarded resource accepted (ok ``use``), none is less than one that it accepted before, be it
  before in the order of events or in the resource's own order, which its counter shows.

One sweep over the events: O(n log n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.rows import counts_of, lock_label, rows_of, token_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_BROKEN_MAX: Final = 20


class Bearer(NamedTuple):
    """An operation that bears a token: a grant, or a use that the resource accepted."""

    token: int
    call: int
    ret: int
    seen: int | None = None


class Breach(NamedTuple):
    """Two operations whose tokens are in the wrong order, the earlier one first."""

    earlier: Bearer
    later: Bearer
    reason: str


class FencingChecker(Checker):
    """Judges the tokens of ok ``acquire`` and ok ``use`` operations, with the lock's name as the key."""

    name = "fencing"

    def check(self, history: History, context: CheckContext) -> CheckResult:  # noqa: ARG002
        """Invalid when a token is out of order; valid, and saying so, when no operation bears a token."""
        grants, uses = _bearers(history)
        breaches = [
            (key, breach)
            for key in dict.fromkeys((*grants, *uses))
            if (breach := _first_breach(grants.get(key, []), uses.get(key, []))) is not None
        ]
        counterexamples = tuple(
            _counterexample(history, key, breach) for key, breach in breaches[:_BROKEN_MAX]
        )
        count = sum(map(len, grants.values()))
        if breaches:
            verdict, reason = Verdict.INVALID, counterexamples[0].reason
        elif count or uses:
            used = sum(map(len, uses.values()))
            verdict = Verdict.VALID
            reason = f"the tokens of {count} grants grow, and {used} uses never went back to an older one"
        else:
            verdict, reason = Verdict.VALID, "no grant came with a token, so there is nothing to judge"
        return CheckResult(
            verdict=verdict,
            reason=reason,
            method="token order",
            details={
                "grants": count,
                "uses": sum(map(len, uses.values())),
                "broken_locks": [k for k, _ in breaches],
            },
            counterexamples=counterexamples,
        )


def _bearers(history: History) -> tuple[dict[Any, list[Bearer]], dict[Any, list[Bearer]]]:
    """Grants and accepted uses by lock, each in the order of their calls."""
    grants: dict[Any, list[Bearer]] = {}
    uses: dict[Any, list[Bearer]] = {}
    for row in history.clients().where(f=("acquire", "use"), type=OperationType.OK):
        token = token_of(row.result if row.f == "acquire" else row.value)
        if token is None:
            continue
        counts = counts_of(row.result) if row.f == "use" else None
        bearer = Bearer(token, row.invoke_index, row.complete_index, counts[0] if counts else None)
        (grants if row.f == "acquire" else uses).setdefault(row.key, []).append(bearer)
    return grants, uses


def _first_breach(grants: Sequence[Bearer], uses: Sequence[Bearer]) -> Breach | None:
    return (
        _same_token(grants)
        or out_of_order(grants, lambda before, after: before < after, "was granted after")
        or out_of_order(uses, lambda before, after: before <= after, "was accepted by the resource after")
        or _against_the_counter(uses)
    )


def out_of_order(bearers: Iterable[Bearer], in_order: Callable[[int, int], bool], what: str) -> Breach | None:
    """The first operation whose token is not in order after that of one that returned before it was called."""
    by_return = sorted(bearers, key=lambda bearer: bearer.ret)
    returned = 0
    greatest: Bearer | None = None
    for bearer in sorted(by_return, key=lambda bearer: bearer.call):
        while returned < len(by_return) and by_return[returned].ret < bearer.call:
            if greatest is None or by_return[returned].token > greatest.token:
                greatest = by_return[returned]
            returned += 1
        if greatest is not None and not in_order(greatest.token, bearer.token):
            return Breach(greatest, bearer, f"token {bearer.token} {what} token {greatest.token}")
    return None


def _same_token(grants: Iterable[Bearer]) -> Breach | None:
    seen: dict[int, Bearer] = {}
    for grant in grants:
        if grant.token in seen:
            return Breach(seen[grant.token], grant, f"token {grant.token} was granted twice")
        seen[grant.token] = grant
    return None


def _against_the_counter(uses: Iterable[Bearer]) -> Breach | None:
    counted = sorted((use for use in uses if use.seen is not None), key=lambda use: (use.seen, use.token))
    newest: Bearer | None = None
    for use in counted:
        if newest is not None and use.token < newest.token:
            return Breach(
                newest, use, f"token {use.token} was accepted by the resource after token {newest.token}"
            )
        newest = use
    return None


def _counterexample(history: History, key: Any, breach: Breach) -> Counterexample:
    numbers = (breach.earlier.call, breach.later.call)
    return Counterexample(
        key=key,
        reason=f"lock {key!r}: {breach.reason}",
        core=tuple(sorted(numbers)),
        impossible=breach.later.call,
        states=(f"newest token {breach.earlier.token}",),
        needed={str(breach.later.call): f"a token above {breach.earlier.token}"},
        operations=rows_of(history, numbers, lock_label),
    )
