"""Fencing tokens: every grant of a lock carries a greater one than all before, and the resource never goes back.

Two rules for each lock, in the order of events (Kleppmann, How to do distributed locking, 2016):

* if one grant's ``acquire`` returned before another's was called, its token is less; no two grants share a token. A
  re-entrant lock that its holder acquires once more is the same grant, and bears the same token;
* of the tokens that the guarded resource accepted (ok ``use``), none is less than one that it accepted before, be it
  before in the order of events or in the resource's own order, which its counter shows. Readers share their lock, so
  among them any order is right: a reader must only not be older than a writer before it, and a writer than anybody.
  The holders of a semaphore come in any order at all.

One sweep over the events: O(n log n).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.rows import PERMIT, READ, REENTRANT, counts_of, lock_label, mode_of, rows_of, token_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_BROKEN_MAX: Final = 20


class Bearer(NamedTuple):
    """An operation that bears a token: a grant, or a use that the resource accepted."""

    token: int
    call: int
    ret: int
    seen: int | None = None
    reads: bool = False
    """Whether it is the use of a reader, who shares the lock with others."""


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
    held: dict[tuple[Any, int], list[int]] = {}  # token and depth of re-entrant locks, by lock and process
    for row in history.clients().where(f=("acquire", "use", "release")):
        if _goes_deeper(row, held) or row.type is not OperationType.OK or row.f == "release":
            continue
        token = token_of(row.result if row.f == "acquire" else row.value)
        if token is None or (row.f == "use" and mode_of(row) == PERMIT):
            continue
        if row.f == "acquire":
            grants.setdefault(row.key, []).append(Bearer(token, row.invoke_index, row.complete_index))
        else:
            use = Bearer(token, row.invoke_index, row.complete_index, _seen(row), mode_of(row) == READ)
            uses.setdefault(row.key, []).append(use)
    return grants, uses


def _goes_deeper(row: Row, held: dict[tuple[Any, int], list[int]]) -> bool:
    """Whether a process acquires a re-entrant lock that it holds; keeps count of who does."""
    place = (row.key, row.process)
    if row.f == "release":
        if place in held and (row.type is OperationType.FAIL or held[place][1] == 1):
            del held[place]
        elif place in held:
            held[place][1] -= 1
        return False
    if row.f != "acquire" or row.type is not OperationType.OK or mode_of(row) != REENTRANT:
        return False
    token = token_of(row.result)
    if place in held and held[place][0] == token:
        held[place][1] += 1
        return True
    if token is not None:
        held[place] = [token, 1]
    return False


def _seen(row: Row) -> int | None:
    seen = row.result.get("seen") if mode_of(row) == READ and isinstance(row.result, Mapping) else None
    counts = counts_of(row.result)
    return seen if isinstance(seen, int) else counts[0] if counts else None


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
    newest = _Newest()
    for bearer in sorted(by_return, key=lambda bearer: bearer.call):
        while returned < len(by_return) and by_return[returned].ret < bearer.call:
            newest.note(by_return[returned])
            returned += 1
        before = newest.of(bearer)
        if before is not None and not in_order(before.token, bearer.token):
            return Breach(before, bearer, f"token {bearer.token} {what} token {before.token}")
    return None


class _Newest:
    """The greatest token so far: of all, and of those that do not merely read."""

    def __init__(self) -> None:
        self._all: Bearer | None = None
        self._writers: Bearer | None = None

    def note(self, bearer: Bearer) -> None:
        """Another token was accepted."""
        if self._all is None or bearer.token > self._all.token:
            self._all = bearer
        if not bearer.reads and (self._writers is None or bearer.token > self._writers.token):
            self._writers = bearer

    def of(self, bearer: Bearer) -> Bearer | None:
        """The one that this one must not be older than."""
        return self._writers if bearer.reads else self._all


def _same_token(grants: Iterable[Bearer]) -> Breach | None:
    seen: dict[int, Bearer] = {}
    for grant in grants:
        if grant.token in seen:
            return Breach(seen[grant.token], grant, f"token {grant.token} was granted twice")
        seen[grant.token] = grant
    return None


def _against_the_counter(uses: Iterable[Bearer]) -> Breach | None:
    # Who saw a count came after the writer who left it there, and readers of it before the writer who went on.
    counted = sorted(
        (use for use in uses if use.seen is not None), key=lambda use: (use.seen, not use.reads, use.token)
    )
    newest = _Newest()
    for use in counted:
        before = newest.of(use)
        if before is not None and use.token < before.token:
            reason = f"token {use.token} was accepted by the resource after token {before.token}"
            return Breach(before, use, reason)
        newest.note(use)
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
