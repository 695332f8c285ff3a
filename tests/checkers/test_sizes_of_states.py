from __future__ import annotations

import time
from typing import Any

import pytest

from foreshock.checkers.encoding import encode_entries
from foreshock.checkers.entries import Entry
from foreshock.checkers.kernel_search import KernelSearch, Prepared
from foreshock.checkers.search import Limits, Search
from foreshock.checkers.sizes_of_states import StateSizes, deep_size
from foreshock.harness.verdict import Verdict


def test_parts_count_and_shared_parts_count_once() -> None:
    part = tuple(range(1000, 2000))
    assert deep_size((part,)) > 1000 * 28
    assert deep_size((part, part)) < deep_size((part,)) + 100
    assert deep_size(tuple((n,) for n in range(10_000)), most=10) < 1_000_000


def test_states_that_were_not_looked_at_are_taken_to_be_alike() -> None:
    sizes = StateSizes()
    assert sizes.bytes_used == 0
    for n in range(1000):
        sizes.note((n, tuple(range(5000, 6000))))
    assert 30_000_000 < sizes.bytes_used < 60_000_000


class Nested:
    """States that are small by themselves and large by their parts."""

    name = "nested"

    def initial(self) -> Any:
        return ((),)

    def is_read(self, f: str) -> bool:
        return False

    def step(self, state: Any, f: str, value: Any, result: Any) -> Any:
        return ((value, *state[0]),)

    def describe(self, f: str, value: Any, result: Any) -> str:
        return f


@pytest.mark.parametrize("compiled", [False, True])
def test_no_search_takes_much_more_than_it_may_for_the_states_of_a_model(compiled: bool) -> None:
    history = [Entry(n, 0, 1000 + n, "f", 10**40 + n, None, False, n) for n in range(400)]
    limits = Limits(time.monotonic_ns() + 60 * 10**9, 1 << 20)
    search: Any = (
        KernelSearch(Prepared(encode_entries(history, Nested()))) if compiled else Search(history, Nested())
    )
    result = search.run(limits)
    assert (result.verdict, result.stopped) == (Verdict.UNKNOWN, "its memory limit was reached")
    assert search.bytes_used < 3 << 20
