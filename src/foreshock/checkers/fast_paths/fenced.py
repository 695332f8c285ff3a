"""Locks with fencing tokens, decided for all keys at once in O(n log n).

Tokens grow from grant to grant, so the order of all grants is known, and a release that names its token is known to
follow that grant and to come before the next one. So the whole order is forced, and it remains to ask whether it
agrees with the order of events: no operation may return before one is called that must come earlier. The details:

* two ok grants, or two ok releases, of one token are illegal, and so is a token below 0;
* an ok release whose token nobody was seen to get takes an acquire that crashed, for that must have got it. Those
  differ only by when they were called, so the first of them goes to the first such token;
* a grant that is not the last must be released. If no ok release names its token, the first called of the crashed
  ones that do must have happened. All other crashed operations may be left out: leaving out both, or an unreleased
  grant at the end, changes nothing for the others.

Where no release names a token, grants are in the order of their tokens, and any release can follow any of them.
Each grant gets the window in which that order lets it be: from the latest call of those up to it to the earliest
return of those from it on. Both ends grow with the tokens, so any schedule within these windows can be sorted into
that order, and one permit is left to be shared: the depth of the hold cores decides as in ``holds.py``, or else
the schedule of ``balance.py``. An acquire that crashed leaves no token behind there. A key where some releases name a
token and some do not is left to the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.balance import events_of, first_out_of_bounds
from foreshock.checkers.fast_paths.base import Finding, at_once
from foreshock.checkers.fast_paths.lines import COMPILED_FROM, SUSPECTS_MAX, depths_of, line_of, wanted_rows
from foreshock.checkers.lock_columns import NOTHING, first_by_key, numbers_in, on_one_line, parts_of, repeated
from foreshock.checkers.models.lock import ACQUIRE, RELEASE
from foreshock.harness.history_values import INTEGER_LIMIT

METHOD: Final = "token order"
_NO_TOKEN: Final = ABSENT
_STRANGE: Final = ABSENT - 1


class _Operations(NamedTuple):
    """The operations on the keys that are decided here, in the order of their calls.

    ``row`` counts into the columns; ``call`` and ``ret`` are on one line for all keys; ``token`` is ``_NO_TOKEN`` where
    none is known. The other functions name operations by their places here.
    """

    row: Ints
    key: Ints
    call: Ints
    ret: Ints
    is_acquire: Bools
    crashed: Bools
    token: Ints

    def of_keys(self, chosen: Bools) -> _Operations:
        """Those of some keys."""
        at = np.flatnonzero(chosen[self.key])
        lists = (self.row[at], self.key[at], self.call[at], self.ret[at])
        return _Operations(*lists, self.is_acquire[at], self.crashed[at], self.token[at])


class _Conflicts:
    """What showed first of each key that it is illegal: the rows."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[int, ...]] = {}

    def add(self, operations: _Operations, *groups: Ints) -> None:
        """Note groups of operations that are in conflict: those at the same position of all arrays (-1: nobody)."""
        for places in np.stack(groups, axis=1).tolist() if len(groups[0]) else ():
            self.note(operations, places)

    def note(self, operations: _Operations, places: Sequence[int]) -> None:
        """Note the operations of one conflict, if it is the first of its key."""
        key = int(operations.key[places[0]])
        if key not in self.rows:
            self.rows[key] = tuple(sorted({int(operations.row[place]) for place in places if place >= 0}))


def _grants(operations: _Operations, conflicts: _Conflicts) -> Ints:
    """The ok acquires by key and token; notes those whose token is impossible."""
    granted = np.flatnonzero(operations.is_acquire & ~operations.crashed & (operations.token != _NO_TOKEN))
    granted = _by_token(operations, granted)
    twice = np.flatnonzero(_same_token(operations, granted))
    conflicts.add(operations, granted[twice - 1], granted[twice])
    conflicts.add(operations, granted[operations.token[granted] < 0])
    return granted


def _ends(operations: _Operations, conflicts: _Conflicts) -> Ints:
    """By key and token the release that counts: the ok one, or the first called of those that crashed."""
    releases = np.flatnonzero(~operations.is_acquire & (operations.token != _NO_TOKEN))
    releases = _by_token(operations, np.concatenate([releases[c] for c in _ok_first(operations, releases)]))
    again = _same_token(operations, releases)
    twice = np.flatnonzero(again & ~operations.crashed[releases])
    conflicts.add(operations, releases[twice - 1], releases[twice])
    ends: Ints = releases[~again]
    return ends


def _ok_first(operations: _Operations, places: Ints) -> tuple[Ints, Ints]:
    crashed = operations.crashed[places]
    return np.flatnonzero(~crashed), np.flatnonzero(crashed)


def _by_token(operations: _Operations, places: Ints) -> Ints:
    """Operations by key and token; equal ones stay in their order."""
    (line,) = on_one_line((operations.key[places], operations.token[places]))
    by_token: Ints = places[np.argsort(line, kind="stable")]
    return by_token


def _same_token(operations: _Operations, places: Ints) -> Bools:
    """Which of operations that are sorted by token have the key and the token of the one before."""
    return repeated(operations.key[places]) & repeated(operations.token[places])


def _grant_of(operations: _Operations, ends: Ints, grants: Ints) -> Ints:
    """For each end the place among the grants of the one with its token; -1 without."""
    if not len(grants):
        return np.full(len(ends), -1, dtype=np.int64)
    line, granted = on_one_line(*((operations.key[o], operations.token[o]) for o in (ends, grants)))
    place = np.minimum(np.searchsorted(granted, line), len(grants) - 1)
    grant: Ints = np.where(granted[place] == line, place, -1)
    return grant


def _forced_order(operations: _Operations, keys: int, conflicts: _Conflicts) -> Ints:
    """Every operation that must have happened, key by key, in the one order that there can be."""
    grants, ends = _grants(operations, conflicts), _ends(operations, conflicts)
    token = operations.token.copy()
    grants = np.concatenate((grants, _of_unseen(operations, grants, ends, token, keys, conflicts)))
    operations = operations._replace(token=token)
    grants = _by_token(operations, grants)
    grant = _grant_of(operations, ends, grants)
    # A grant has a place of its own in the order, and the place after it is for its end.
    end_of = np.full(len(grants), -1, dtype=np.int64)
    end_of[grant[grant >= 0]] = ends[grant >= 0]
    has_next = np.zeros(len(grants), dtype=np.bool_)
    has_next[:-1] = operations.key[grants[1:]] == operations.key[grants[:-1]]
    unended = np.flatnonzero(has_next & (end_of < 0))
    conflicts.add(operations, grants[unended], grants[unended + 1], end_of[unended + 1])
    # The last end may have crashed, and need not have happened; but what never returned is in nobody's way there.
    order = np.stack((grants, end_of), axis=1).reshape(-1)
    return order[order >= 0]


def _of_unseen(
    operations: _Operations, grants: Ints, ends: Ints, token: Ints, keys: int, conflicts: _Conflicts
) -> Ints:
    """Crashed acquires for the tokens that were released and never seen; they get these into ``token``."""
    unseen = ends[(_grant_of(operations, ends, grants) < 0) & ~operations.crashed[ends]]
    lost = np.flatnonzero(operations.is_acquire & operations.crashed)
    lost = lost[np.argsort(operations.key[lost], kind="stable")]
    wanted = np.bincount(operations.key[unseen], minlength=keys)
    there = np.bincount(operations.key[lost], minlength=keys)
    impossible = wanted > there
    impossible[operations.key[unseen[operations.token[unseen] < 0]]] = True
    sorted_keys = [(group, operations.key[group]) for group in (lost, unseen)]
    for key in np.flatnonzero(impossible).tolist():
        groups = (group[slice(*np.searchsorted(of, (key, key + 1)))] for group, of in sorted_keys)
        conflicts.note(operations, [place for group in groups for place in group.tolist()])
    # The first called of those of a key goes to the first of its tokens, and so on.
    ranks = [
        np.arange(len(places)) - (np.cumsum(counts) - counts)[operations.key[places]]
        for places, counts in ((unseen, wanted), (lost, there))
    ]
    given = unseen[ranks[0] < there[operations.key[unseen]]]
    taken = lost[ranks[1] < wanted[operations.key[lost]]]
    token[taken] = operations.token[given]
    return taken


def _check_order(operations: _Operations, order: Ints, conflicts: _Conflicts) -> None:
    """Note where an operation returned before one was called that must come earlier."""
    latest = np.maximum.accumulate(operations.call[order])
    late = np.flatnonzero(operations.ret[order[1:]] < latest[:-1]) + 1
    conflicts.add(operations, order[np.searchsorted(latest, latest[late - 1])], order[late])


def _decide_named(operations: _Operations, keys: int, conflicts: _Conflicts) -> None:
    _check_order(operations, _forced_order(operations, keys, conflicts), conflicts)


def _decide_unnamed(operations: _Operations, conflicts: _Conflicts) -> None:
    grants = _grants(operations, conflicts)
    _check_order(operations, grants, conflicts)
    latest = np.minimum.accumulate(operations.ret[grants][::-1])[::-1]
    moment = operations.call.copy()
    moment[grants] = latest
    certain = np.flatnonzero(~(operations.is_acquire & operations.crashed))
    moment, rises = moment[certain], operations.is_acquire[certain]
    keys = operations.key if len(certain) == len(operations.key) else operations.key[certain]
    order, depth = depths_of(keys, moment, rises)
    del keys, moment
    order = certain[order]
    deep, negative = order[depth > 1], np.unique(operations.key[order[depth < 0]])
    del certain, rises, order, depth
    if not len(deep) and not len(negative):
        return
    places_of = _grouped(operations)
    for key, last in first_by_key(operations.key, deep).items():
        _note_last(operations, places_of(key), last, conflicts)
    schedule = _scheduling(len(operations.key))
    call, ret = operations.call.copy(), operations.ret.copy()
    call[grants], ret[grants] = np.maximum.accumulate(call[grants]), latest
    for key in negative.tolist():
        if key not in conflicts.rows:
            places = places_of(key)
            events = events_of(call[places], ret[places], operations.crashed[places])
            found = schedule(*events, operations.is_acquire[places])
            if found >= 0:
                _note_last(operations, places, int(places[found]), conflicts)


def _grouped(operations: _Operations) -> Callable[[int], Ints]:
    """Gives the places of all operations on a key."""
    order = np.argsort(operations.key, kind="stable")
    key = operations.key[order]
    return lambda wanted: order[slice(*np.searchsorted(key, (wanted, wanted + 1)).tolist())]


def _note_last(operations: _Operations, places: Ints, last: int, conflicts: _Conflicts) -> None:
    """Note an operation that could not have returned, with what was known of its lock by then, the latest of it."""
    known = places[operations.call[places] <= operations.ret[last]]
    conflicts.note(operations, [last, *known[-SUSPECTS_MAX:].tolist()])


def _scheduling(count: int) -> Callable[[Ints, Bools, Ints, Bools], int]:
    """The schedule of ``balance.py`` with one permit, compiled where so many operations are worth it."""
    if count > COMPILED_FROM:
        from foreshock.checkers.kernels import monitors

        return lambda owners, is_return, deadline, rises: int(
            monitors.first_out_of_bounds(owners, is_return, rises, deadline, 1)
        )
    return lambda owners, is_return, deadline, rises: first_out_of_bounds(
        owners.tolist(), is_return.tolist(), rises.tolist(), deadline.tolist(), 1
    )


def _tokens(columns: OperationColumns, rows: Ints) -> Ints:
    """By row the token of an ok acquire or a release, ``_NO_TOKEN`` or, if it is no number, ``_STRANGE``."""
    is_acquire = columns.f_in((ACQUIRE,))[rows]
    tokens: Ints = np.where(is_acquire, columns.result[rows], columns.value[rows])
    tokens[is_acquire & columns.crashed[rows]] = _NO_TOKEN
    tokens[~is_acquire & (tokens < ABSENT)] = _STRANGE
    for part in parts_of(np.flatnonzero(is_acquire & (tokens < ABSENT))):
        results = columns.values_of("result", rows[part])
        told = numbers_in(results, "token")
        tokens[part] = [_token(result) for result in results] if told is None else told
        tokens[part[tokens[part] == NOTHING]] = _STRANGE
    tokens[is_acquire & ~columns.crashed[rows] & (tokens == _NO_TOKEN)] = _STRANGE
    return tokens


def _token(result: Any) -> int:
    token = result.get("token") if isinstance(result, Mapping) else None
    return token if type(token) is int and abs(token) < INTEGER_LIMIT else _STRANGE


def _operations(columns: OperationColumns, keys: Sequence[int]) -> tuple[Bools, _Operations]:
    """Which keys have nothing but what is understood here, and their operations."""
    asked, rows = wanted_rows(columns, keys)
    is_acquire = columns.f_in((ACQUIRE,))
    asked[columns.key[rows[(~is_acquire & ~columns.f_in((RELEASE,)) | columns.failed)[rows]]]] = False
    rows = rows[asked[columns.key[rows]]]
    token = _tokens(columns, rows)
    key = columns.key[rows]
    asked[key[token == _STRANGE]] = False
    is_named = ~is_acquire[rows] & (token != _NO_TOKEN)
    unnamed = ~is_acquire[rows] & (token == _NO_TOKEN)
    asked[np.intersect1d(key[is_named], key[unnamed])] = False
    known = asked[key]
    if not known.all():
        rows, key, token = rows[known], key[known], token[known]
    line = line_of(columns)
    call, ret = (line.on(key, position[rows]) for position in (line.call, line.ret))
    return asked, _Operations(rows, key, call, ret, is_acquire[rows], columns.crashed[rows], token)


def _decide(columns: OperationColumns, keys: Sequence[int]) -> dict[int, Finding]:
    asked, operations = _operations(columns, keys)
    named = np.zeros(len(asked), dtype=np.bool_)
    named[operations.key[~operations.is_acquire & (operations.token != _NO_TOKEN)]] = True
    conflicts = _Conflicts()
    if named.all():
        _decide_named(operations, len(asked), conflicts)
    elif not named.any():
        _decide_unnamed(operations, conflicts)
    else:
        _decide_named(operations.of_keys(named), len(asked), conflicts)
        _decide_unnamed(operations.of_keys(~named), conflicts)
    return {
        key: Finding(Decision.INVALID, conflicts.rows[key])
        if key in conflicts.rows
        else Finding(Decision.VALID)
        for key in keys
        if asked[key]
    }


FENCED: Final = at_once(METHOD, _decide)
