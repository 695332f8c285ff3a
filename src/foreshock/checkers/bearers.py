"""Operations that bear fencing tokens as columns: what ``checkers/fencing.py`` finds row by row, for all keys at once.

One sort a rule. A rule compares an operation with the greatest token among those that come before it; on a line on
which each lock has a stretch of its own, that is one running maximum for all locks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import Bools, Ints
from foreshock.checkers.lock_columns import (
    MODES,
    NOTHING,
    ODD,
    asked_modes,
    first_by_key,
    greatest_before,
    number_of,
    numbers_in,
    on_one_line,
    parts_of,
    repeated,
)
from foreshock.checkers.rows import PERMIT, READ, REENTRANT, counts_of, mode_in
from foreshock.harness.history import History
from foreshock.harness.history_columns import FAIL_CODE, OK_CODE


@dataclass(frozen=True)
class BearerColumns:
    """Grants, or accepted uses, in the order of their calls.

    ``key`` counts the locks. ``seen`` is the count that a use saw (``NOTHING``: it tells none), ``reads`` whether it is
    that of a reader.
    """

    key: Ints
    token: Ints
    call: Ints
    ret: Ints
    seen: Ints
    reads: Bools

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True)
class Bearers:
    """All that bears a token in a history of clients, and for each lock a row in which it comes."""

    clients: History
    rows: Ints
    grants: BearerColumns
    uses: BearerColumns

    def names_of(self, locks: Sequence[int]) -> list[Any]:
        """What the history calls some locks."""
        return self.clients.values("key", self.rows[np.asarray(locks, dtype=np.int64)])

    def locks(self) -> list[int]:
        """The locks in the order in which their first grant comes up, then those that were only used."""
        keys = np.concatenate((self.grants.key, self.uses.key))
        found, first = np.unique(keys, return_index=True)
        in_order: list[int] = found[np.argsort(first)].tolist()
        return in_order


def bearers_of(history: History) -> Bearers | None:
    """All grants and accepted uses; ``None`` where some number is none that columns can hold."""
    clients = history.clients()
    f, is_ok = clients.column("f"), clients.column("type") == OK_CODE
    acquires = np.flatnonzero((f == clients.code("acquire")) & is_ok)
    used = np.flatnonzero((f == clients.code("use")) & is_ok)
    releases = np.flatnonzero(f == clients.code("release"))
    del f, is_ok
    token = _tokens(clients, acquires)
    told, seen, reads = _told_by_uses(clients, used)
    if any((column == ODD).any() for column in (token, told, seen)):
        return None
    _, rows, key = np.unique(clients.payloads("key"), return_index=True, return_inverse=True)
    key = key.reshape(-1)
    again = _goes_deeper(clients, key, acquires, token, releases)
    del releases
    granted = np.flatnonzero((token != NOTHING) & ~again)
    grants = _columns(clients, key, acquires[granted], token[granted])
    del granted, acquires, again
    bearing = np.flatnonzero(told != NOTHING)
    uses = _columns(clients, key, used[bearing], told[bearing], seen[bearing], reads[bearing])
    return Bearers(clients, rows, grants, uses)


def _columns(
    clients: History, key: Ints, rows: Ints, token: Ints, seen: Ints | None = None, reads: Bools | None = None
) -> BearerColumns:
    return BearerColumns(
        key=key[rows],
        token=token,
        call=clients.column("invoke_index")[rows],
        ret=clients.column("complete_index")[rows],
        seen=np.empty(0, dtype=np.int64) if seen is None else seen,
        reads=np.zeros(len(rows), dtype=np.bool_) if reads is None else reads,
    )


def _tokens(clients: History, acquires: Ints) -> Ints:
    """The token of each grant, ``NOTHING`` without."""
    tokens = np.empty(len(acquires), dtype=np.int64)
    done = 0
    for part in parts_of(acquires):
        results = clients.values("result", part)
        told = numbers_in(results, "token")
        tokens[done : done + len(part)] = list(map(_token, results)) if told is None else told
        done += len(part)
    return tokens


def _token(value: Any) -> int:
    token = value.get("token") if type(value) is dict else None
    return number_of(token) if type(token) is int else NOTHING


def _told_by_uses(clients: History, used: Ints) -> tuple[Ints, Ints, Bools]:
    """Of each use the token that it bears, the count that it saw (``NOTHING`` without), and whether it reads."""
    token, seen = (np.empty(len(used), dtype=np.int64) for _ in range(2))
    reads = np.zeros(len(used), dtype=np.bool_)
    done = 0
    for part in parts_of(used):
        stretch = slice(done, done + len(part))
        values, results = clients.values("value", part), clients.values("result", part)
        plain = _told_by_plain_uses(values, results)
        if plain is None:
            told = map(_told_by_use, values, results)
            token[stretch], seen[stretch], reads[stretch] = zip(*told, strict=True)
        else:
            token[stretch], seen[stretch] = plain
        done += len(part)
    return token, seen, reads


def _told_by_plain_uses(values: list[Any], results: list[Any]) -> tuple[Ints, Ints] | None:
    """The same of uses in no mode that all tell what they saw and wrote; ``None`` where some are others."""
    token, seen, wrote = (
        numbers_in(values, "token"),
        numbers_in(results, "seen"),
        numbers_in(results, "wrote"),
    )
    if token is None or seen is None or wrote is None or any("mode" in value for value in values):
        return None
    seen[(wrote == NOTHING) | (token == NOTHING)] = NOTHING
    return token, seen


_TELLS_NOTHING: Final = (NOTHING, NOTHING, False)


def _told_by_use(value: Any, result: Any) -> tuple[int, int, bool]:
    token = _token(value)
    mode = mode_in(value)
    # The holders of a semaphore come in any order, so their tokens say nothing.
    if token == NOTHING or mode == PERMIT:
        return _TELLS_NOTHING
    seen = result.get("seen") if mode == READ and type(result) is dict else None
    if not isinstance(seen, int):
        counts = counts_of(result)
        seen = counts[0] if counts else None
    return token, number_of(seen), mode == READ


def _goes_deeper(clients: History, key: Ints, acquires: Ints, token: Ints, releases: Ints) -> Bools:
    """Which grants are of a re-entrant lock that its process holds."""
    modes = list(MODES)
    mode, _ = asked_modes(clients, acquires, modes)
    reentrant = np.flatnonzero(mode == modes.index(REENTRANT))
    deeper = np.zeros(len(acquires), dtype=np.bool_)
    if not len(reentrant):
        return deeper
    # Only they and the releases of their locks move anything.
    locks = np.zeros(int(key.max()) + 1, dtype=np.bool_)
    locks[key[acquires[reentrant]]] = True
    releases = releases[locks[key[releases]]]
    rows = np.concatenate((acquires[reentrant], releases))
    number = np.concatenate((reentrant, np.full(len(releases), -1)))
    order = np.argsort(rows, kind="stable")
    rows, number = rows[order], number[order]
    (place,) = on_one_line((key[rows], clients.column("process")[rows]))
    failed = clients.column("type")[rows] == FAIL_CODE
    held: dict[int, list[int]] = {}
    for part in parts_of(np.arange(len(rows))):
        columns = (place[part], number[part], token[number[part]], failed[part])
        for where, grant, told, has_failed in zip(*(column.tolist() for column in columns), strict=True):
            if grant < 0:
                _give_back(held, where, has_failed)
            elif where in held and held[where][0] == told:
                held[where][1] += 1
                deeper[grant] = True
            elif told != NOTHING:
                held[where] = [told, 1]
    return deeper


def _give_back(held: dict[int, list[int]], where: int, has_failed: bool) -> None:
    if where in held and (has_failed or held[where][1] == 1):
        del held[where]
    elif where in held:
        held[where][1] -= 1


# --- rules --------------------------------------------------------------------------------------------------------


def granted_twice(grants: BearerColumns) -> dict[int, int]:
    """For each lock the first grant whose token was granted before."""
    (place,) = on_one_line((grants.key, grants.token))
    order = np.argsort(place, kind="stable")
    return first_by_key(grants.key, np.sort(order[repeated(place[order])]))


def granted_late(grants: BearerColumns) -> dict[int, int]:
    """For each lock the first grant that was called after one with no lesser token had returned."""
    (token,) = on_one_line((grants.key, grants.token))
    calls, returns = on_one_line((grants.key, grants.call), (grants.key, grants.ret))
    return first_by_key(grants.key, np.flatnonzero(greatest_before(calls, returns, token) >= token))


def used_late(uses: BearerColumns) -> dict[int, int]:
    """For each lock the first use that was called after one that it must not be older than had returned."""
    (token,) = on_one_line((uses.key, uses.token))
    calls, returns = on_one_line((uses.key, uses.call), (uses.key, uses.ret))
    late = np.empty(len(uses), dtype=np.bool_)
    for reads in (False, True):
        mine = uses.reads == reads
        # Readers share the lock, so one must not be older than a writer.
        others = ~uses.reads if reads else np.ones(len(uses), dtype=np.bool_)
        late[mine] = greatest_before(calls[mine], returns[others], token[others]) > token[mine]
    return first_by_key(uses.key, np.flatnonzero(late))


def _counted(uses: BearerColumns) -> Ints:
    """The uses that saw a count, in the resource's own order: readers of a count before the writer who went on."""
    counted = np.flatnonzero(uses.seen != NOTHING)
    columns = (uses.token, ~uses.reads, uses.seen, uses.key)
    order: Ints = counted[np.lexsort([column[counted] for column in columns])]
    return order


def used_against_the_counter(uses: BearerColumns) -> dict[int, int]:
    """For each lock the first use, by the count that it saw, that is older than one that must have come before it."""
    order = _counted(uses)
    (token,) = on_one_line((uses.key[order], uses.token[order]))
    reads = uses.reads[order]
    newest = [np.maximum.accumulate(column) for column in (token, np.where(reads, -1, token))]
    before = np.where(reads[1:], newest[1][:-1], newest[0][:-1])
    return first_by_key(uses.key, order[1:][token[1:] < before])


# --- the other one of a pair --------------------------------------------------------------------------------------


def _newest(columns: BearerColumns, candidates: Ints) -> int:
    """The first of some operations that bears the greatest token."""
    return int(candidates[np.argmax(columns.token[candidates])])


def _of_lock(columns: BearerColumns, later: int, candidates: Ints) -> Ints:
    """Those of some operations that are of the same lock and that this one must not be older than."""
    mine: Ints = candidates[columns.key[candidates] == columns.key[later]]
    return mine[~columns.reads[mine]] if columns.reads[later] else mine


def same_token(grants: BearerColumns, later: int) -> int:
    """The first grant with the same token."""
    same = (grants.key == grants.key[later]) & (grants.token == grants.token[later])
    return int(np.flatnonzero(same)[0])


def newest_returned(columns: BearerColumns, later: int) -> int:
    """The one with the greatest token of those that had returned; of equal ones the first that did."""
    returned = _of_lock(columns, later, np.flatnonzero(columns.ret < columns.call[later]))
    return _newest(columns, returned[np.argsort(columns.ret[returned], kind="stable")])


def newest_counted(uses: BearerColumns, later: int) -> int:
    """The one with the greatest token of those that saw less, or the same and come before it."""
    order = _counted(uses)
    return _newest(uses, _of_lock(uses, later, order[: int(np.flatnonzero(order == later)[0])]))


Find = Callable[[BearerColumns], dict[int, int]]
Pair = Callable[[BearerColumns, int], int]
ON_GRANTS: Final[Sequence[tuple[Find, Pair]]] = (
    (granted_twice, same_token),
    (granted_late, newest_returned),
)
"""The rules for grants, the first to be asked first, each with who it names as the earlier one."""
ON_USES: Final[Sequence[tuple[Find, Pair]]] = (
    (used_late, newest_returned),
    (used_against_the_counter, newest_counted),
)
