"""Registers with compare-and-set whose written values are distinct, decided for all keys at once in O(n log n).

See ``chains.py`` for what is decided. Here the operations are brought into that form: which value each update writes
and finds, and which each read returned. The initial value is ``None`` (absent).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.base import Finding, at_once
from foreshock.checkers.fast_paths.chains import NOBODY, Values, conflicts_of
from foreshock.checkers.models.register import CAS, READS, WRITES

METHOD: Final = "clusters"


def decide_by_clusters(columns: OperationColumns, keys: Collection[int]) -> dict[int, Finding]:
    """Decide the keys whose every update writes a value that no other one writes, and none ``None``."""
    applicable = np.zeros(len(columns.keys), dtype=np.bool_)
    applicable[list(keys)] = True
    is_read, is_write, is_cas = columns.f_in(READS), columns.f_in(WRITES), columns.f_in({CAS})
    applicable[columns.key[~(is_read | is_write | is_cas)]] = False
    swaps = np.flatnonzero(is_cas & applicable[columns.key])
    old, new, is_pair = columns.pair_tokens(swaps)
    applicable[columns.key[swaps[~is_pair]]] = False
    values = _values(
        columns, applicable, np.flatnonzero(is_read), np.flatnonzero(is_write), swaps, (old, new)
    )
    conflicts: Mapping[int, Sequence[int]] = conflicts_of(columns, values) if len(values.key) else {}
    return {
        key: Finding(Decision.INVALID, tuple(conflicts[key])) if key in conflicts else Finding(Decision.VALID)
        for key in np.flatnonzero(applicable).tolist()
    }


def _values(
    columns: OperationColumns,
    applicable: Bools,
    reads: Ints,
    writes: Ints,
    swaps: Ints,
    pairs: tuple[Ints, Ints],
) -> Values:
    """The values of the applicable keys; ``applicable`` loses those whose values are not distinct."""
    reads = reads[applicable[columns.key[reads]] & ~columns.crashed[reads]]
    writes = writes[applicable[columns.key[writes]]]
    taken = applicable[columns.key[swaps]]
    swaps, old, new = swaps[taken], pairs[0][taken], pairs[1][taken]
    initial = np.flatnonzero(applicable)
    rows = np.concatenate((reads, writes, swaps, swaps))
    key = np.concatenate((columns.key[rows], initial))
    absent = np.full(len(initial), ABSENT, dtype=np.int64)
    token = np.concatenate(
        (columns.tokens("result", reads), columns.tokens("value", writes), new, old, absent)
    )
    place, value_key, is_initial = _places(key, token)
    bounds = np.cumsum([len(reads), len(writes), len(swaps), len(swaps)])
    read_value, written, swapped, found, _ = np.split(place, bounds)
    updates = np.concatenate((written, swapped))
    many = np.bincount(updates, minlength=len(value_key)) > np.where(is_initial, 0, 1)
    applicable[value_key[many]] = False
    update = np.full(len(value_key), NOBODY, dtype=np.int64)
    update[updates] = np.concatenate((writes, swaps))
    before = np.full(len(value_key), NOBODY, dtype=np.int64)
    before[swapped] = found
    return _without(Values(value_key, is_initial, update, before, reads, read_value), applicable)


def _places(key: Ints, token: Ints) -> tuple[Ints, Ints, Bools]:
    """For each pair of a key and a token the place of its value; for each value its key, and if it is absent."""
    order = np.lexsort((token, key))
    key, token = key[order], token[order]
    is_first = np.ones(len(order), dtype=np.bool_)
    is_first[1:] = (key[1:] != key[:-1]) | (token[1:] != token[:-1])
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.cumsum(is_first) - 1
    return place, key[is_first], token[is_first] == ABSENT


def _without(values: Values, applicable: Bools) -> Values:
    """The same values but for those of keys that are not applicable."""
    kept = applicable[values.key]
    if kept.all():
        return values
    place = np.cumsum(kept) - 1
    # A value and the one before it are of one key.
    before = np.where(values.before == NOBODY, NOBODY, place[values.before])
    reads = kept[values.read_value]
    return Values(
        values.key[kept],
        values.initial[kept],
        values.update[kept],
        before[kept],
        values.read_row[reads],
        place[values.read_value[reads]],
    )


CLUSTERS: Final = at_once(METHOD, decide_by_clusters)
