"""How old was what a read of a cache returned: for each get how long, and by how many updates, it was overwritten.

Only what is certain counts. An update takes effect between its call and its return; one whose span ends before that of
another begins comes before it. What a get saw is the update that wrote its value; where several may have written it
(absence, above all), the latest. Its age is the time from when an update that certainly came later had certainly
happened until the get was called, and how many such updates had returned by then. That is what the checker
``staleness`` measures; here it is measured for runs whose checkers ask for something else, or that have no verdict.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

import numpy as np

from foreshock.harness.history import NONE_PAYLOAD
from foreshock.reports.columns import FAIL, INFO, OK, Columns, Integers
from foreshock.reports.lock_beliefs import rows_of

GET, PUT, DELETE = "get", "put", "delete"
NEVER = (1 << 62) - 1
PAIRS_MAX = 20_000_000
"""Counting versions looks at each update between what a get saw and the get: at most at so many in all."""


class Ages(NamedTuple):
    """The gets that returned what somebody may have written, by their positions, with their ages; and the others."""

    position: Integers
    age_ns: Integers
    age_versions: Integers
    unknown: int
    """How many gets returned what nobody had written."""
    uncounted: int
    """How many gets have no age in versions (-1), since there was too much to count."""


class _Updates(NamedTuple):
    """Updates of keys; the absence that every key has at first is one that ended before everything."""

    key: Integers
    group: Integers
    call: Integers
    ret: Integers
    ret_ns: Integers


def is_cache_history(columns: Columns) -> bool:
    """Whether keys are put and got in a history."""
    return GET in columns.f_names and PUT in columns.f_names


def read_ages(columns: Columns) -> Ages:
    """The ages of what all ok gets of a history returned."""
    gets = rows_of(columns, GET)
    gets = gets[(columns.outcome[gets] == OK) & columns.completed[gets]]
    updates, get_key, get_group = _updates(columns, gets)
    call, ret = columns.invoke_index[gets], columns.complete_index[gets]
    until = _seen_until(updates, get_group, ret, columns.complete_ns[gets])
    known = until > -2
    position, call, until, key = gets[known], call[known], until[known], get_key[known]
    certain = np.flatnonzero(updates.ret < NEVER)
    certain = certain[np.lexsort((updates.call[certain], updates.key[certain]))]
    width = int(max(columns.invoke_index.max(initial=0), columns.complete_index.max(initial=0))) + 3
    line = updates.key[certain] * width + updates.call[certain] + 1
    stops = np.searchsorted(updates.key[certain], key, side="right")
    first = np.searchsorted(line, key * width + np.minimum(until, width - 2) + 1, side="right")
    overwritten = _least_from(updates.ret_ns[certain], updates.key[certain])
    found = first < stops
    age_ns = np.zeros(len(position), dtype=np.int64)
    age_ns[found] = np.maximum(columns.invoke_ns[position[found]] - overwritten[first[found]], 0)
    last = np.searchsorted(line, key * width + call + 1, side="left")
    versions, uncounted = _versions(updates.ret[certain], first, np.maximum(last, first), call)
    return Ages(position, age_ns, versions, int(np.count_nonzero(~known)), uncounted)


def _updates(columns: Columns, gets: Integers) -> tuple[_Updates, Integers, Integers]:
    """The updates, and for the gets their keys and what they returned as numbers that are equal where those are."""
    rows = rows_of(columns, PUT, DELETE)
    rows = rows[columns.outcome[rows] != FAIL]
    keys = columns.rows.payloads("key")
    names, coded = np.unique(np.concatenate((keys[rows], keys[gets])), return_inverse=True)
    coded = coded.reshape(-1)
    count = len(names)
    key, get_key = np.concatenate((np.arange(count), coded[: len(rows)])), coded[len(rows) :]
    deletes = columns.f[rows] == (columns.f_names.index(DELETE) if DELETE in columns.f_names else -1)
    wrote = np.where(deletes, NONE_PAYLOAD, _tokens(columns, "value", rows))
    token = np.concatenate((np.full(count, NONE_PAYLOAD), wrote, _tokens(columns, "result", gets)))
    group = _pairs(np.concatenate((key, get_key)), token)
    open_ = (columns.outcome[rows] == INFO) | ~columns.completed[rows]
    before = np.full(count, -1, dtype=np.int64)
    return (
        _Updates(
            key=key,
            group=group[: len(key)],
            call=np.concatenate((before, columns.invoke_index[rows])),
            ret=np.concatenate((before, np.where(open_, NEVER, columns.complete_index[rows]))),
            ret_ns=np.concatenate((before, np.where(open_, NEVER, columns.complete_ns[rows]))),
        ),
        get_key,
        group[len(key) :],
    )


def _tokens(columns: Columns, column: str, rows: Integers) -> Integers:
    """Values as numbers that are equal where the values are: of what is no small integer, 60 bits of a digest."""
    payloads = columns.rows.payloads(column)[rows].astype(np.int64)
    odd = np.flatnonzero(payloads < NONE_PAYLOAD)
    for place, value in zip(odd.tolist(), columns.values(column, rows[odd]), strict=True):
        digest = blake2b(repr(value).encode(errors="surrogatepass"), digest_size=8).digest()
        payloads[place] = NONE_PAYLOAD - 1 - (int.from_bytes(digest, "big") >> 4)
    return payloads


def _pairs(key: Integers, token: Integers) -> Integers:
    """Numbers that are equal where both are."""
    order = np.lexsort((token, key))
    changed = np.ones(len(order), dtype=np.int64)
    changed[1:] = (np.diff(key[order]) != 0) | (np.diff(token[order]) != 0)
    numbers = np.empty(len(order), dtype=np.int64)
    numbers[order] = np.cumsum(changed) - 1
    return numbers


def _seen_until(updates: _Updates, group: Integers, ret: Integers, ret_ns: Integers) -> Integers:
    """For each get by when what it saw had certainly taken effect (an index); -2 where nobody wrote that.

    A get that can have seen one update alone proves that it happened before the get returned: noted in ``updates``.
    """
    order = np.lexsort((updates.call, updates.group))
    width = int(max(updates.call.max(initial=0), ret.max(initial=0))) + 3
    line = updates.group[order] * width + updates.call[order] + 1
    first = np.searchsorted(updates.group[order], group)
    stop = np.searchsorted(line, group * width + ret + 1, side="left")
    sole = np.flatnonzero(stop - first == 1)
    proven = order[first[sole]]
    np.minimum.at(updates.ret, proven, ret[sole])
    np.minimum.at(updates.ret_ns, proven, ret_ns[sole])
    # The latest end of those that were called before the get returned: they stand first in their group.
    ends = np.minimum(updates.ret[order], width - 2)
    base = updates.group[order] * width
    latest = np.maximum.accumulate(base + ends) - base
    known = stop > first
    until = np.full(len(group), -2, dtype=np.int64)
    until[known] = latest[stop[known] - 1]
    return np.where(until >= width - 2, NEVER, until)


def _least_from(ret_ns: Integers, key: Integers) -> Integers:
    """For each update the least return among it and those after it of its key; sorted by key."""
    times, rank = np.unique(ret_ns, return_inverse=True)
    offset = key * (len(times) + 1)
    least = np.minimum.accumulate((rank.reshape(-1) + offset)[::-1])[::-1] - offset
    found: Integers = times[least] if len(times) else ret_ns
    return found


def _versions(ret: Integers, first: Integers, last: Integers, call: Integers) -> tuple[Integers, int]:
    """How many of the updates ``first`` to ``last`` had returned before each call; and how many gets were too much."""
    sizes = last - first
    versions = np.zeros(len(first), dtype=np.int64)
    wanted = np.flatnonzero(sizes > 0)
    wanted = wanted[np.argsort(sizes[wanted], kind="stable")]
    counted = wanted[np.cumsum(sizes[wanted]) <= PAIRS_MAX]
    versions[wanted[len(counted) :]] = -1
    some = sizes[counted]
    starts = np.cumsum(some) - some
    pairs = np.repeat(first[counted] - starts, some) + np.arange(int(some.sum()))
    before = ret[pairs] < np.repeat(call[counted], some)
    totals = np.concatenate(([0], np.cumsum(before)))
    versions[counted] = totals[starts + some] - totals[starts]
    return versions, len(wanted) - len(counted)
