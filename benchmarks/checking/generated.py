"""Legal histories of any size, made as columns: no object an operation, so that ten million take seconds.

Every operation gets a moment at which it takes effect, between its call and its return; what a read returns and what
a compare-and-set finds follows from the order of these moments. Equal arguments give equal histories.
"""

from __future__ import annotations

import random
from array import array
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.harness.history import History
from foreshock.harness.history_columns import COLUMN_NAMES, INFO_CODE, OK_CODE, Columns, NameTable
from foreshock.harness.history_values import NONE_PAYLOAD, ValueTable

NS_PER_EVENT = 10_000

Ints = npt.NDArray[np.int64]


class _Times(NamedTuple):
    """Of each operation: its process, and when it is called, takes effect and returns, in no unit."""

    process: Ints
    call: npt.NDArray[np.float64]
    effect: npt.NDArray[np.float64]
    ret: npt.NDArray[np.float64]


def register_history(
    count: int,
    *,
    keys: int,
    processes: int = 50,
    cas: float = 0.0,
    values: int | None = None,
    crashed: float = 0.0,
    seed: int = 1,
) -> History:
    """Registers that are read, written and compared-and-set.

    Half of the operations read. ``cas`` is the share of compare-and-sets, all of which succeed. ``values``: how many
    different ones are written (default: each update writes its own). ``crashed``: the share of operations whose end
    nobody heard of; half of these took effect.
    """
    rng = np.random.default_rng(seed)
    lost = rng.random(count) < crashed
    times = _times(rng, count, processes, lost)
    key = rng.integers(0, keys, count)
    kind = np.digitize(rng.random(count), [0.5, 0.5 + cas])  # 0 read, 1 cas, 2 write
    written = np.arange(1, count + 1) if values is None else rng.integers(1, values + 1, count)
    happened = ~lost | (rng.random(count) < 0.5)
    found = _found(key, times.effect, written, (kind > 0) & happened)
    table = ValueTable()
    value = np.where(kind == 0, NONE_PAYLOAD, written)
    pairs = np.flatnonzero(kind == 1)
    value[pairs] = _texts(table, [b"[%s,%d]" % (_json(a), b) for a, b in _both(found, written, pairs)])
    result = np.where((kind == 0) & ~lost, found, NONE_PAYLOAD)
    return _history(times, lost, table, ["read", "cas", "write"], f=kind, key=key, value=value, result=result)


def lock_history(
    count: int, *, keys: int, processes: int = 50, named: bool = False, seed: int = 1
) -> History:
    """Locks that many want at once: who waits gets the lock in turn, with a token greater than the one before.

    With ``named``, each release names the token that it gives back.
    """
    rng = random.Random(seed)
    columns = _LockRun(keys, processes).run(rng, count)
    table = ValueTable()
    f = np.frombuffer(columns.f, dtype=np.int64)
    token = np.frombuffer(columns.token, dtype=np.int64)
    result = np.full(count, NONE_PAYLOAD)
    result[f == 0] = _texts(table, [b'{"token":%d,"ttl_ms":null}' % t for t in token[f == 0].tolist()])
    call, ret = (np.frombuffer(a, dtype=np.int64).astype(np.float64) for a in (columns.call, columns.ret))
    times = _Times(np.frombuffer(columns.process, dtype=np.int64), call, call, ret)
    return _history(
        times,
        np.zeros(count, dtype=np.bool_),
        table,
        ["acquire", "release"],
        f=f,
        key=np.frombuffer(columns.key, dtype=np.int64),
        value=np.where(f == 1, token if named else NONE_PAYLOAD, 0),
        result=result,
    )


def use_history(
    count: int, *, keys: int, processes: int = 50, crashed: float = 0.0, seed: int = 1
) -> History:
    """Uses of guarded counters, under grants that last for three uses each.

    ``crashed``: the share of uses whose end nobody heard of; half of these took effect.
    """
    rng = np.random.default_rng(seed)
    lost = rng.random(count) < crashed
    times = _times(rng, count, processes, lost)
    key = rng.integers(0, keys, count)
    happened = ~lost | (rng.random(count) < 0.5)
    order = np.lexsort((times.effect, key))
    before = np.cumsum(happened[order]) - happened[order]
    start = np.searchsorted(key[order], key[order], side="left")
    seen = np.empty(count, dtype=np.int64)
    seen[order] = before - before[start]
    table = ValueTable()
    value = _texts(table, [b'{"token":%d,"until_ns":null}' % token for token in (seen // 3).tolist()])
    result = np.full(count, NONE_PAYLOAD)
    told = np.flatnonzero(~lost)
    result[told] = _texts(table, [b'{"seen":%d,"wrote":%d}' % (n, n + 1) for n in seen[told].tolist()])
    return _history(
        times,
        lost,
        table,
        ["use"],
        f=np.zeros(count, dtype=np.int64),
        key=key,
        value=value,
        result=result,
    )


def _times(rng: np.random.Generator, count: int, processes: int, lost: npt.NDArray[np.bool_]) -> _Times:
    """Each process does one operation after the other, all of them at random speeds; a lost one ends its name."""
    rounds = -(-count // processes)
    steps = rng.exponential(size=(processes, rounds, 3))
    moments = np.cumsum(steps.reshape(processes, -1), axis=1).reshape(-1, 3)[: processes * rounds]
    worker = np.repeat(np.arange(processes), rounds)
    chosen = np.sort(rng.permutation(len(moments))[:count]) if len(moments) > count else slice(None)
    worker, moments = worker[chosen], moments[chosen]
    before = np.cumsum(lost) - lost
    first = np.searchsorted(worker, np.arange(processes))
    process = worker + processes * (before - before[first][worker])
    return _Times(process, moments[:, 0], moments[:, 1], moments[:, 2])


def _found(key: Ints, effect: npt.NDArray[np.float64], written: Ints, updates: npt.NDArray[np.bool_]) -> Ints:
    """What each operation finds: the value of the last update of its key before it."""
    order = np.lexsort((effect, key))
    places = np.arange(len(order))
    last = np.maximum.accumulate(np.where(updates[order], places, -1))
    before = np.concatenate(([-1], last[:-1]))
    start = np.searchsorted(key[order], key[order], side="left")
    found = np.empty(len(order), dtype=np.int64)
    found[order] = np.where(before >= start, written[order][before], NONE_PAYLOAD)
    return found


def _both(found: Ints, written: Ints, rows: Ints) -> Any:
    return zip(found[rows].tolist(), written[rows].tolist(), strict=True)


def _json(payload: int) -> bytes:
    return b"null" if payload == NONE_PAYLOAD else b"%d" % payload


def _texts(table: ValueTable, texts: list[bytes]) -> Ints:
    """The payloads of texts, each stored once for every time that it comes."""
    first = len(table.texts)
    table.texts += texts
    return NONE_PAYLOAD - 1 - np.arange(first, first + len(texts))


def _history(
    times: _Times,
    lost: npt.NDArray[np.bool_],
    table: ValueTable,
    operations: list[str],
    **columns: Ints,
) -> History:
    """Number the events in the order of time, and put the rows into the order of their calls."""
    count = len(times.call)
    order = np.argsort(np.concatenate((times.call, times.ret)), kind="stable")
    index = np.empty(2 * count, dtype=np.int64)
    index[order] = np.arange(2 * count)
    by_call = np.argsort(index[:count])
    names = NameTable()
    codes = np.array([names[name] for name in operations])
    node, timed_out = names["n1"], names["timed out"]
    arrays: dict[str, Any] = {
        "invoke_index": index[:count],
        "invoke_ns": index[:count] * NS_PER_EVENT,
        "process": times.process.astype(np.int32),
        "node": np.full(count, node, dtype=np.int16),
        "complete_index": index[count:],
        "complete_ns": index[count:] * NS_PER_EVENT,
        "error": np.where(lost, timed_out, -1).astype(np.int16),
        "type": np.where(lost, INFO_CODE, OK_CODE).astype(np.int8),
        "attempts": np.ones(count, dtype=np.int16),
        **columns,
        "f": codes[columns["f"]].astype(np.int16),
    }
    if 2 * count < 1 << 31:
        for name in ("invoke_index", "complete_index"):
            arrays[name] = arrays[name].astype(np.int32)
    return History(Columns({name: arrays[name][by_call] for name in COLUMN_NAMES}, names, table))


class _LockRun:
    """Processes that take locks, hold them and give them back; one event a step."""

    def __init__(self, keys: int, processes: int) -> None:
        self.call, self.ret, self.process = array("q"), array("q"), array("q")
        self.key, self.f, self.token = array("q"), array("q"), array("q")
        self._holder: list[int | None] = [None] * keys
        self._waiting: list[list[int]] = [[] for _ in range(keys)]
        self._row = [-1] * processes
        self._runnable = list(range(processes))
        self._holds: list[int | None] = [None] * processes
        self._given = [-1] * processes
        self._event = self._acquires = self._tokens = 0

    def run(self, rng: random.Random, count: int) -> _LockRun:
        """Make ``count`` operations; all of them return."""
        draw, runnable = rng.random, self._runnable
        keys = len(self._holder)
        while runnable:
            place = int(draw() * len(runnable))
            process = runnable[place]
            if self._row[process] >= 0:
                self._end(process)
            elif self._holds[process] is not None:
                self._begin(process, self._holds[process], 1)
            # An acquire is begun only where its release still fits in.
            elif len(self.call) + self._owed() + 2 <= count:
                key = int(draw() * keys)
                self._begin(process, key, 0)
                if self._holder[key] is not None:
                    self._waiting[key].append(process)
                    runnable[place] = runnable[-1]
                    runnable.pop()
                else:
                    self._holder[key] = process
            else:
                runnable[place] = runnable[-1]
                runnable.pop()
        return self

    def _owed(self) -> int:
        """How many releases are still to come for the acquires so far."""
        return 2 * self._acquires - len(self.call)

    def _begin(self, process: int, key: Any, f: int) -> None:
        self._row[process] = len(self.call)
        self._acquires += f == 0
        self.call.append(self._event)
        self.ret.append(-1)
        self.process.append(process)
        self.key.append(key)
        self.f.append(f)
        self.token.append(-1)
        self._event += 1

    def _end(self, process: int) -> None:
        row, self._row[process] = self._row[process], -1
        self.ret[row] = self._event
        self._event += 1
        key = self.key[row]
        if self.f[row] == 0:
            self.token[row] = self._tokens = self._tokens + 1
            self._holds[process] = key
            self._given[process] = self._tokens
            return
        self._holds[process] = None
        self.token[row] = self._given[process]
        waiting = self._waiting[key]
        self._holder[key] = next_one = waiting.pop(0) if waiting else None
        if next_one is not None:
            self._runnable.append(next_one)
