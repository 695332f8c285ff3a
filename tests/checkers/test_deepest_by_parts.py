"""Where every order of a key-value history ends, though its model looks ahead."""

from __future__ import annotations

import pytest
from tests.checkers.kv_histories import kv_histories
from tests.checkers.oracle import is_legal_order, is_linearizable
from tests.checkers.random_histories import limits

from foreshock.checkers import engines
from foreshock.checkers.entries import Entry, crash
from foreshock.checkers.models.kv import Kv
from foreshock.checkers.search import search
from foreshock.harness.verdict import Verdict


def first_impossible(history: list[Entry]) -> int:
    """The first return such that all that had happened by then is illegal: by definition."""
    order = sorted(
        (o for o, e in enumerate(history) if not e.crashed), key=lambda o: (history[o].ret, history[o].call)
    )
    for level, offset in enumerate(order):
        returned = set(order[: level + 1])
        begun = [o for o, e in enumerate(history) if e.call <= history[offset].ret]
        part = [history[o] if o in returned else crash(history[o]) for o in begun]
        if not is_linearizable(part, Kv()):
            return offset
    raise AssertionError("the history is legal")


def test_an_append_is_not_impossible_for_what_comes_later() -> None:
    texts = [("append", "ab"), ("append", "a"), ("delete", None), ("append", "ab")]
    history = [Entry(n, 2 * n, 2 * n + 1, f, text, None, False, 0) for n, (f, text) in enumerate(texts)]
    history.append(Entry(4, 8, 9, "get", None, "a", False, 0))
    found = engines.deepest_of(history, Kv(), limits(), None)
    assert found is not None
    assert found.impossible == 4
    assert found.states == ("ab",)
    assert found.prefix == (0, 1, 2, 3)


@pytest.mark.parametrize("seed", [41, 42])
def test_it_is_the_first_return_that_no_order_survives(seed: int) -> None:
    compared = 0
    for history in kv_histories(seed, 250):
        if search(history, Kv(), limits()).verdict is Verdict.VALID:
            continue
        found = engines.deepest_of(history, Kv(), limits(), None)
        assert found is not None
        compared += 1
        assert found.impossible == first_impossible(history)
        assert found.states
        part = [crash(e) if e.ret >= history[found.impossible].ret else e for e in history]
        assert is_legal_order(part, found.prefix, Kv())
    assert compared > 30
