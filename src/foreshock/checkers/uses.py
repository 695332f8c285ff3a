"""Uses of guarded counters as columns: what ``checkers/guarded_resource.py`` finds row by row, for all keys at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import Bools, Ints
from foreshock.checkers.lock_columns import (
    NOTHING,
    ODD,
    first_by_key,
    greatest_before,
    number_of,
    numbers_in,
    on_one_line,
    parts_of,
    places_in,
    repeated,
)
from foreshock.checkers.rows import PERMIT, READ, counts_of, mode_in, permits_in
from foreshock.harness.history import History, Row
from foreshock.harness.history_columns import INFO_CODE, OK_CODE


@dataclass(frozen=True)
class UseColumns:
    """The ok uses of a history of clients that felt a count, in the order of their calls, and what else it tells.

    ``key`` counts the resources, ``rows`` has a row in which each comes. ``crashed_key`` and ``crashed_call`` are those
    of the uses that crashed and may have written. ``met`` has for each resource the row of the first use that met
    somebody who should not have been there, in the order of these rows.
    """

    clients: History
    rows: Ints
    key: Ints
    seen: Ints
    wrote: Ints
    call: Ints
    ret: Ints
    reads: Bools
    crashed_key: Ints
    crashed_call: Ints
    met: dict[int, int]

    def __len__(self) -> int:
        return len(self.key)

    def names_of(self, keys: Sequence[int]) -> list[Any]:
        """What the history calls some resources."""
        return self.clients.values("key", self.rows[np.asarray(keys, dtype=np.int64)])

    def resources(self) -> list[int]:
        """The resources in the order of their first uses."""
        found, first = np.unique(self.key, return_index=True)
        in_order: list[int] = found[np.argsort(first)].tolist()
        return in_order

    def row(self, resource: int) -> Row:
        """The use of a resource that met somebody."""
        return self.clients[self.met[resource]]


def uses_of(history: History) -> UseColumns | None:
    """All uses; ``None`` where some count is none that columns can hold."""
    clients = history.clients()
    f, kind = clients.column("f"), clients.column("type")
    used = np.flatnonzero((f == clients.code("use")) & (kind == OK_CODE))
    crashed = np.flatnonzero((f == clients.code("use")) & (kind == INFO_CODE))
    del f, kind
    seen, wrote, reads, met = _felt(clients, used)
    if (seen == ODD).any() or (wrote == ODD).any():
        return None
    _, rows, key = np.unique(clients.payloads("key"), return_index=True, return_inverse=True)
    key = key.reshape(-1)
    crashed = crashed[_may_have_written(clients, crashed)]
    felt = np.flatnonzero((seen != NOTHING) & (wrote != NOTHING))
    intruders = used[met]
    used = used[felt]
    return UseColumns(
        clients=clients,
        rows=rows,
        key=key[used],
        seen=seen[felt],
        wrote=wrote[felt],
        call=clients.column("invoke_index")[used],
        ret=clients.column("complete_index")[used],
        reads=reads[felt],
        crashed_key=key[crashed],
        crashed_call=clients.column("invoke_index")[crashed],
        met=_by_row(first_by_key(key, intruders)),
    )


def _by_row(rows: dict[int, int]) -> dict[int, int]:
    return dict(sorted(rows.items(), key=lambda item: item[1]))


def _felt(clients: History, used: Ints) -> tuple[Ints, Ints, Bools, Ints]:
    """Of each use what it saw and wrote, and whether it is a reader's; and the places of those that met somebody."""
    seen, wrote = (np.empty(len(used), dtype=np.int64) for _ in range(2))
    reads = np.empty(len(used), dtype=np.bool_)
    met = []
    done = 0
    for part in parts_of(used):
        values, results = clients.values("value", part), clients.values("result", part)
        stretch = slice(done, done + len(part))
        plain = None if any(type(value) is dict and "mode" in value for value in values) else _plain(results)
        if plain is not None:
            (seen[stretch], wrote[stretch]), reads[stretch] = plain, False
            done += len(part)
            continue
        modes = [mode_in(value) for value in values]
        both = [_counts(result, mode) for result, mode in zip(results, modes, strict=True)]
        seen[stretch] = [number_of(counts[0]) for counts in both]
        wrote[stretch] = [number_of(counts[1]) for counts in both]
        reads[stretch] = [mode == READ for mode in modes]
        met += [
            done + place
            for place, mode in enumerate(modes)
            if mode in (READ, PERMIT) and has_met(mode, values[place], results[place])
        ]
        done += len(part)
    return seen, wrote, reads, np.array(met, dtype=np.int64)


def _plain(results: list[Any]) -> tuple[Ints, Ints] | None:
    """What uses in no mode saw and wrote, where all of them tell it; ``None`` where some do not."""
    seen, wrote = numbers_in(results, "seen"), numbers_in(results, "wrote")
    return None if seen is None or wrote is None else (seen, wrote)


_NO_COUNTS: Final = (None, None)


def _counts(result: Any, mode: str) -> tuple[Any, Any]:
    if type(result) is not dict:
        return _NO_COUNTS
    if mode == READ:
        return result.get("seen"), result.get("seen")
    return counts_of(result) or _NO_COUNTS


def has_met(mode: str, value: Any, result: Any) -> bool:
    """Whether a use met a writer, reading, or one too many of those who share a semaphore."""
    if type(result) is not dict:
        return False
    if mode == READ:
        return bool(result.get("seen") != result.get("again"))
    inside = result.get("inside")
    return mode == PERMIT and isinstance(inside, int) and inside > permits_in(value)


def _may_have_written(clients: History, crashed: Ints) -> Ints:
    """The places of those that neither merely read nor share a semaphore."""
    told: list[bool] = []
    for part in parts_of(crashed):
        told += [mode_in(value) not in (READ, PERMIT) for value in clients.values("value", part)]
    places: Ints = np.flatnonzero(told)
    return places


# --- rules --------------------------------------------------------------------------------------------------------


def seen_twice(uses: UseColumns) -> dict[int, int]:
    """For each resource the first use that saw what a use before it saw; readers do not count."""
    writers = np.flatnonzero(~uses.reads)
    (place,) = on_one_line((uses.key[writers], uses.seen[writers]))
    order = np.argsort(place, kind="stable")
    return first_by_key(uses.key, np.sort(writers[order[repeated(place[order])]]))


def went_back(uses: UseColumns) -> dict[int, int]:
    """For each resource the first use that saw less than what had been written when it was called."""
    seen, wrote = on_one_line((uses.key, uses.seen), (uses.key, uses.wrote))
    calls, returns = on_one_line((uses.key, uses.call), (uses.key, uses.ret))
    return first_by_key(uses.key, np.flatnonzero(greatest_before(calls, returns, wrote) > seen))


def from_nowhere(uses: UseColumns, start: int) -> dict[int, int]:
    """For each resource the use of the least count that too few uses were called to have written."""
    count = int(uses.key.max(initial=-1)) + 1
    seen, wrote = on_one_line((uses.key, uses.seen), (uses.key, uses.wrote))
    writers = np.flatnonzero(~uses.reads)
    writers = writers[np.argsort(wrote[writers], kind="stable")]
    writers = writers[~repeated(wrote[writers])]
    below = np.concatenate(([0], np.cumsum(np.bincount(uses.key[writers], minlength=count))))
    missing = uses.seen - start - (places_in(wrote[writers], seen, "right") - below[uses.key])
    del wrote, writers
    late = missing > _crashed_before(uses)
    late |= uses.seen < start
    places = np.flatnonzero(late)
    return first_by_key(uses.key, places[np.argsort(uses.seen[places], kind="stable")])


def _crashed_before(uses: UseColumns) -> Ints:
    """How many uses of the same resource that crashed were called before each use returned."""
    if not len(uses.crashed_key):
        return np.zeros(len(uses), dtype=np.int64)
    count = int(max(uses.key.max(initial=-1), uses.crashed_key.max())) + 1
    returns, calls = on_one_line((uses.key, uses.ret), (uses.crashed_key, uses.crashed_call))
    below = np.concatenate(([0], np.cumsum(np.bincount(uses.crashed_key, minlength=count))))
    called: Ints = places_in(np.sort(calls), returns, "left") - below[uses.key]
    return called


def same_seen(uses: UseColumns, later: int) -> int:
    """The first use that saw the same."""
    same = (uses.key == uses.key[later]) & (uses.seen == uses.seen[later]) & ~uses.reads
    return int(np.flatnonzero(same)[0])


def greatest_written(uses: UseColumns, later: int) -> int:
    """Of those that had returned when one was called, the one with the greatest count; of equal ones the first."""
    returned = np.flatnonzero((uses.key == uses.key[later]) & (uses.ret < uses.call[later]))
    returned = returned[np.argsort(uses.ret[returned], kind="stable")]
    return int(returned[np.argmax(uses.wrote[returned])])
