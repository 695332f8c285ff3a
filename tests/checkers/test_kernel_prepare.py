"""What the kernels make ready for the search, worked out once more in the plainest way."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from tests.checkers.random_histories import (
    columns_of_entries,
    random_register_history,
)
from tests.checkers.test_search_bounds import Bare

from foreshock.checkers.encoding import Encoded, encode_entries, encode_keys
from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.kernel_search import Prepared
from foreshock.checkers.kernels import layout
from foreshock.checkers.kernels.layout import READ, SWAP, WRITE
from foreshock.checkers.models.register import CasRegister
from foreshock.harness.model import UNKNOWN


def random_histories(seed: int, count: int, updates: int = 6, reads: int = 5) -> list[list[Entry]]:
    rng = random.Random(seed)
    return [
        random_register_history(
            rng,
            updates=updates,
            reads=reads,
            cas=rng.choice([0, 0.6]),
            crash=rng.choice([0, 0.3, 0.6]),
            distinct=rng.random() < 0.5,
            ties=rng.random() < 0.5,
        )
        for _ in range(count)
    ]


def busy_history(rng: random.Random, cas: float, crash: float, count: int = 11) -> list[Entry]:
    """Much at once, of few values, so that nearly all of it is ambiguous."""
    values = [None, *range(rng.choice([1, 2, 3]))]
    history = []
    for number in range(count):
        call = rng.randrange(9)
        ret = call + rng.randrange(1, 9)
        crashed = rng.random() < crash
        f, value, result = "read", None, rng.choice(values)
        if rng.random() < cas:
            f, value, result = "cas", [rng.choice(values), rng.choice(values)], None
        elif rng.random() < 0.5:
            f, value, result = "write", rng.choice(values), None
        if crashed:
            result = UNKNOWN
        position = NEVER if crashed else 2 * ret + 1
        history.append(Entry(number, 2 * call, position, f, value, result, crashed, number))
    return history


class Plainly:
    """The operations of one key that matter, as :class:`Prepared` should have them."""

    def __init__(self, encoded: Encoded, key: int, *, exact: bool) -> None:
        rows = range(int(encoded.starts[key]), int(encoded.starts[key + 1]))
        self.by_value = encoded.by_value
        e = encoded
        self.operations = list(
            zip(
                *(
                    [int(column[row]) for row in rows]
                    for column in (e.code, e.first, e.second, e.call, e.ret)
                ),
                *([bool(column[row]) for row in rows] for column in (e.crashed, e.is_read)),
                [int(e.horizon[row]) for row in rows],
                strict=True,
            )
        )
        self.observed = {
            first
            for code, first, _, _, _, crashed, _, _ in self.operations
            if code == SWAP or (code == READ and not crashed)
        }
        self.returns = [ret for _, _, _, _, ret, crashed, _, _ in self.operations if not crashed]
        self.levels = len(self.returns)
        latest = self._latest()
        self.place: list[int] = []
        self.does: list[tuple[int, int, int]] = []
        self.begin: list[int] = []
        self.end: list[int] = []
        self.is_read: list[bool] = []
        for place, (code, first, second, call, _, crashed, is_read, horizon) in enumerate(self.operations):
            written = first if code == WRITE else second
            if self.by_value:
                horizon = latest.get(written, -NEVER)
                if code != READ and written not in self.observed and not exact:
                    first, second = (
                        (encoded.unobserved, second) if code == WRITE else (first, encoded.unobserved)
                    )
            begin = sum(ret < call for ret in self.returns)
            end = sum(ret <= horizon for ret in self.returns) if crashed else self.levels
            if crashed and (is_read or begin >= end):
                continue
            self.place.append(place)
            self.does.append((code, first, second))
            self.begin.append(begin)
            self.end.append(end)
            self.is_read.append(is_read)

    def _latest(self) -> dict[int, int]:
        """The last position at which each value can be noticed."""
        latest: dict[int, int] = {}
        for code, first, _, _, ret, crashed, _, _ in self.operations:
            if code in (READ, SWAP) and not crashed:
                latest[first] = max(ret, latest.get(first, ret))
        for _ in self.operations:
            for code, first, second, _, _, crashed, _, _ in self.operations:
                if code == SWAP and crashed and second in latest:
                    latest[first] = max(latest[second], latest.get(first, latest[second]))
        return latest

    def pending(self, level: int) -> list[int]:
        """Completed and crashed ones that are pending at a level."""
        return [
            o
            for o, (begin, end) in enumerate(zip(self.begin, self.end, strict=True))
            if begin <= level and (o >= level if o < self.levels else end > level)
        ]

    def observers(self, value: int) -> list[int]:
        """Those that returned and have to observe a value, by when they become pending."""
        found = [o for o in range(self.levels) if self.does[o][0] != WRITE and self.does[o][1] == value]
        return sorted(found, key=lambda o: self.begin[o])

    def needed(self, o: int) -> int:
        """The last level at which somebody becomes pending who brings in time what an operation observes."""
        value = self.does[o][1]
        return max(
            (
                begin
                for begin, (code, first, second) in zip(self.begin, self.does, strict=True)
                if begin <= o and ((code == WRITE and first == value) or (code == SWAP and second == value))
            ),
            default=-1,
        )


def compare(prepared: Prepared, key: int, *, exact: bool = False) -> None:
    plainly = Plainly(prepared.encoded, key, exact=exact)
    made = prepared.operations(key)
    kept, levels = len(plainly.does), plainly.levels
    assert made.sizes[[layout.LEVELS, layout.KEPT]].tolist() == [levels, kept]
    start = prepared.starts[key]
    assert prepared.made.place[start : start + kept].tolist() == plainly.place
    compare_windows(plainly, made)
    does = made.each[:, [layout.CODE, layout.FIRST, layout.SECOND]].tolist()
    kinds = made.each[:, layout.KIND].tolist()
    if not plainly.by_value:
        assert does == [list(each) for each in plainly.does]
        assert kinds == [first for _, first, _ in plainly.does]
        assert made.sizes[layout.KINDS] == max(kinds, default=-1) + 1
        assert made.each[:, layout.JOINS_HOW].tolist() == [
            layout.READS if is_read else layout.NEVER_JOINS for is_read in plainly.is_read
        ]
        return
    first_value = 2 * start + 3 * key
    token = prepared.made.token[first_value : first_value + int(made.sizes[layout.VALUES])].tolist()
    assert len(set(token)) == len(token)
    assert token[0] == prepared.encoded.initial
    assert token[1] == prepared.encoded.unobserved
    assert [
        (code, token[first], token[second] if code == SWAP else second) for code, first, second in does
    ] == plainly.does
    assert sorted(set(kinds)) == list(range(int(made.sizes[layout.KINDS])))
    assert len(set(zip(kinds, plainly.does, strict=True))) == len(set(kinds)) == len(set(plainly.does))
    compare_values(plainly, made, token, exact=exact)


def compare_windows(plainly: Plainly, made: layout.Operations) -> None:
    kept, levels = len(plainly.does), plainly.levels
    crashed = range(levels, kept)
    entering = sorted(range(kept), key=lambda o: plainly.begin[o])
    expiring = sorted((o for o in crashed if plainly.end[o] < levels), key=lambda o: plainly.end[o])
    assert made.listed[:, layout.ENTERING].tolist() == entering
    assert made.listed[: len(expiring), layout.EXPIRING].tolist() == expiring
    assert made.levels.tolist() == [
        [
            sum(begin < level for begin in plainly.begin),
            sum(plainly.end[o] < level for o in expiring),
        ]
        for level in range(levels + 1)
    ]
    slots = made.each[:, layout.SLOT].tolist()
    most = [0, 0]
    for level in range(levels):
        pending = plainly.pending(level)
        for row in (layout.COMPLETED, layout.CRASHED):
            owned = [slots[o] for o in pending if (o >= levels) == row]
            assert len(set(owned)) == len(owned)
            most[row] = max(most[row], len(owned))
            assert all(0 <= slot < made.sizes[layout.COMPLETED_SLOTS + row] for slot in owned)
    assert made.sizes[[layout.COMPLETED_SLOTS, layout.CRASHED_SLOTS]].tolist() == most
    words = [max(1, -(-most[0] // 64)), -(-most[1] // 64)]
    assert made.sizes[[layout.MASK_WORDS, layout.USED_WORDS]].tolist() == words


def compare_values(plainly: Plainly, made: layout.Operations, token: list[int], *, exact: bool) -> None:
    levels = plainly.levels
    needs = [-1] * len(plainly.does)
    for number, value in enumerate(token):
        observers = plainly.observers(value)
        begins = [plainly.begin[o] for o in observers]
        needed = [plainly.needed(o) for o in observers]
        for o, level in zip(observers, needed, strict=True):
            needs[o] = level
        low, high = made.values[[number, number + 1], layout.OBSERVERS_FROM].tolist()
        listed = made.observers[low:high].tolist()
        assert listed == [[begin, min(needed[place:])] for place, begin in enumerate(begins)]
        useful = [levels + 1 if exact else -1]
        for o, (code, first, _) in enumerate(plainly.does):
            if code == READ and first == value:
                useful.append(plainly.begin[o])
            if code == SWAP and first == value:
                useful.append(o + 1 if o < levels else plainly.end[o])
        assert made.values[number, layout.USEFUL_LAST] == max(useful)
    assert made.each[:, layout.NEEDS].tolist() == needs
    assert made.sizes[layout.SWAPS] == sum(code == SWAP for code, _, _ in plainly.does)
    how = {READ: layout.READS, SWAP: layout.NEVER_JOINS}
    assert made.each[:, layout.JOINS_HOW].tolist() == [
        how.get(code, layout.JOINS if first == token[1] else layout.NEVER_JOINS)
        for code, first, _ in plainly.does
    ]


@pytest.mark.parametrize("exact", [False, True])
def test_many_registers_are_made_ready_as_the_definitions_say(exact: bool) -> None:
    rng = random.Random(20)
    histories = random_histories(21, 120)
    histories += [busy_history(rng, rng.choice([0.2, 0.6, 1.0]), rng.random(), 25) for _ in range(30)]
    columns = columns_of_entries(dict(enumerate(histories)))
    prepared = Prepared(encode_keys(columns, range(len(histories)), CasRegister()), exact=exact)
    for key in range(len(histories)):
        compare(prepared, key, exact=exact)


def test_keys_that_are_the_same_are_made_ready_the_same() -> None:
    for history in random_histories(23, 20):
        columns = columns_of_entries(dict(enumerate([history] * 4)))
        prepared = Prepared(encode_keys(columns, range(4), CasRegister()))
        for key in range(4):
            compare(prepared, key)
            assert prepared.operations(key).each.tolist() == prepared.operations(0).each.tolist()


def test_nothing_is_read_that_nobody_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    def poisoned(shape: Any, dtype: Any) -> Any:
        return np.full(shape, 1 << 29, dtype=dtype)

    histories = random_histories(24, 60)
    columns = columns_of_entries(dict(enumerate(histories)))
    encoded = encode_keys(columns, range(len(histories)), CasRegister())
    with monkeypatch.context() as patched:
        patched.setattr(np, "empty", poisoned)
        prepared = Prepared(encoded)
    for key in range(len(histories)):
        compare(prepared, key)


def test_what_is_looked_up_is_made_ready_as_the_definitions_say() -> None:
    for history in random_histories(22, 120):
        compare(Prepared(encode_entries(history, Bare())), 0)


def at_once(completed: int, crashed: int) -> list[Entry]:
    """Writes of as many values, all at the same time, and a read of the last after all."""
    history = [Entry(n, 0, 10 + n, "write", n, process=n) for n in range(completed)]
    history += [
        Entry(n, 0, NEVER, "write", n % 3, None, True, n) for n in range(completed, completed + crashed)
    ]
    last = completed + crashed
    return [*history, Entry(last, 900, 901, "read", None, 1, process=last)]


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128])
def test_masks_have_as_many_words_as_they_need(count: int) -> None:
    for history in (at_once(count, 1), at_once(1, count)):
        for model in (CasRegister(), Bare()):
            compare(Prepared(encode_entries(history, model)), 0)


@pytest.mark.parametrize(("links", "is_found_out"), [(1, True), (63, True), (64, False), (70, False)])
def test_how_long_a_chain_of_crashed_swaps_matters_is_found_out_up_to_a_bound(
    links: int, is_found_out: bool
) -> None:
    """Each link is of use as long as the next; found out one link a round where they come in this order."""
    chain = [Entry(n, n, NEVER, "cas", [n, n + 1], UNKNOWN, True, n) for n in range(links)]
    reads = [
        Entry(links + n, 500 + 2 * n, 501 + 2 * n, "read", None, value, process=links + n)
        for n, value in enumerate([links, 900, 901])
    ]
    expiring = encoded_expiring([*chain, *reads])
    assert expiring == (links if is_found_out else 0)
    backwards = [entry._replace(call=links - entry.call) for entry in chain]
    assert encoded_expiring([*backwards, *reads]) == links


def encoded_expiring(history: list[Entry]) -> int:
    """How many crashed operations stop to matter before the last level."""
    columns = columns_of_entries({0: history})
    made = Prepared(encode_keys(columns, [0], CasRegister())).operations(0)
    return int(made.levels[-1, layout.EXPIRING])
