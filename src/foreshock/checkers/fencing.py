"""Fencing tokens: every grant of a lock carries a greater one than all before, and the resource never goes back.

Two rules for each lock, in the order of events (Kleppmann, How to do distributed locking, 2016):

* if one grant's ``acquire`` returned before another's was called, its token is less; no two grants share a token. A
  re-entrant lock that its holder acquires once more is the same grant, and bears the same token;
* of the tokens that the guarded resource accepted (ok ``use``), none is less than one that it accepted before, be it
  before in the order of events or in the resource's own order, which its counter shows. Readers share their lock, so
  among them any order is right: a reader must only not be older than a writer before it, and a writer than anybody.
  The holders of a semaphore come in any order at all.

One sweep over the events: O(n log n). Large histories are looked at as columns (``bearers.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from foreshock.checkers.bearers import ON_GRANTS, ON_USES, BearerColumns, Bearers, bearers_of
from foreshock.checkers.lock_columns import COLUMNS_FROM
from foreshock.checkers.nothing_to_judge import nothing_to_judge
from foreshock.checkers.rows import PERMIT, READ, REENTRANT, counts_of, lock_label, mode_of, rows_of, token_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

_BROKEN_MAX: Final = 20
_METHOD: Final = "token order"


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
        if nothing := nothing_to_judge(history, ("acquire", "use"), _METHOD):
            return nothing
        bearers = bearers_of(history) if len(history) > COLUMNS_FROM else None
        found = _find_in_rows(history) if bearers is None else _find_in_columns(bearers)
        counterexamples = tuple(_counterexample(history, key, breach) for key, breach in found.breaches)
        if found.broken:
            verdict, reason = Verdict.INVALID, counterexamples[0].reason
        elif found.grants or found.uses:
            verdict = Verdict.VALID
            reason = f"the tokens of {found.grants} grants grow, and {found.uses} uses never went back to an older one"
        else:
            verdict, reason = Verdict.VALID, "no grant came with a token, so there is nothing to judge"
        return CheckResult(
            verdict=verdict,
            reason=reason,
            method=_METHOD,
            details={"grants": found.grants, "uses": found.uses, "broken_locks": found.broken},
            counterexamples=counterexamples,
        )


class _Found(NamedTuple):
    """How many bear a token, which locks are broken, and of the first of these how."""

    grants: int
    uses: int
    broken: list[Any]
    breaches: list[tuple[Any, Breach]]


def _find_in_rows(history: History) -> _Found:
    """Find broken locks row by row: for small histories, and for numbers that columns cannot hold."""
    grants, uses = _bearers(history)
    breaches = [
        (key, breach)
        for key in dict.fromkeys((*grants, *uses))
        if (breach := _first_breach(grants.get(key, []), uses.get(key, []))) is not None
    ]
    granted, used = (sum(map(len, column.values())) for column in (grants, uses))
    return _Found(granted, used, [key for key, _ in breaches], breaches[:_BROKEN_MAX])


def _find_in_columns(bearers: Bearers) -> _Found:
    """Find the same by columns; only the two that show a breach become objects."""
    grants, uses = bearers.grants, bearers.uses
    rules = [*((grants, *rule) for rule in ON_GRANTS), *((uses, *rule) for rule in ON_USES)]
    laters = [find(columns) for columns, find, _ in rules]
    late = set().union(*laters)
    broken = [lock for lock in bearers.locks() if lock in late] if late else []
    breaches = []
    for lock in broken[:_BROKEN_MAX]:
        number = next(number for number, later in enumerate(laters) if lock in later)
        columns, _, pair = rules[number]
        later = laters[number][lock]
        earlier, last = (_bearer(columns, place) for place in (pair(columns, later), later))
        breaches.append(Breach(earlier, last, _REASONS[number](last.token, earlier.token)))
    names = bearers.names_of(broken)
    return _Found(len(grants), len(uses), names, list(zip(names, breaches, strict=False)))


def _bearer(columns: BearerColumns, place: int) -> Bearer:
    return Bearer(int(columns.token[place]), int(columns.call[place]), int(columns.ret[place]))


def _granted_twice(token: int, _: int) -> str:
    return f"token {token} was granted twice"


def _granted_after(token: int, other: int) -> str:
    return f"token {token} was granted after token {other}"


def _accepted_after(token: int, other: int) -> str:
    return f"token {token} was accepted by the resource after token {other}"


_REASONS: Final = (_granted_twice, _granted_after, _accepted_after, _accepted_after)
"""What each of the rules says, in their order."""


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
        or out_of_order(grants, lambda before, after: before < after, _granted_after)
        or out_of_order(uses, lambda before, after: before <= after, _accepted_after)
        or _against_the_counter(uses)
    )


def out_of_order(
    bearers: Iterable[Bearer], in_order: Callable[[int, int], bool], reason: Callable[[int, int], str]
) -> Breach | None:
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
            return Breach(before, bearer, reason(bearer.token, before.token))
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
            return Breach(seen[grant.token], grant, _granted_twice(grant.token, grant.token))
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
            return Breach(before, use, _accepted_after(use.token, before.token))
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
