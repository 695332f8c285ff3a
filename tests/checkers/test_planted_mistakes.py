"""Mistakes planted in the text of our own rules: the comparison with the oracle finds each of them."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.checkers.differential import (
    Histories,
    small_histories,
    wrong_clusters,
    wrong_searches,
    wrong_zones,
)

from foreshock.checkers import entries, search
from foreshock.checkers.fast_paths import chains, clusters, zones
from foreshock.checkers.models import register
from foreshock.harness.model import UNKNOWN


class Mistake(NamedTuple):
    """A piece of a module's text, and what a careless author might have written for it."""

    name: str
    module: types.ModuleType
    right: str
    wrong: str


ZONES = [
    Mistake("closed forward zones", zones, "low[forward[1:]] < high", "low[forward[1:]] <= high"),
    Mistake("backward zones that may touch the start", zones, 'side="left") - 1', 'side="right") - 1'),
    Mistake(
        "backward zones that may touch the end", zones, "high[backward] < high", "high[backward] <= high"
    ),
    Mistake("backward zones never conflict", zones, "backward[inside]", "backward[inside][:0]"),
    Mistake("reads before their write", zones, "(from_nowhere | too_early)", "(from_nowhere)"),
    Mistake("reads from nowhere", zones, "(from_nowhere | too_early)", "(too_early)"),
    Mistake("the initial value is written late", zones, "np.where(initial, _BEFORE_ALL, ret_min)", "ret_min"),
    Mistake("values need not be distinct", zones, "groups.writes > np", "groups.writes > 9 + np"),
    Mistake("one stretch for all keys", zones, "base = key * (end + 2) + 1", "base = 0 * key + 1"),
]
CLUSTERS = [
    Mistake("what follows may be early", chains, "(late_update | late_read)", "(late_update)"),
    Mistake("updates may be early", chains, "(late_update | late_read)", "(late_read)"),
    Mistake("a read before its own update", chains, "np.maximum(before, measured.call[chained])", "before"),
    Mistake("a tie inside a cluster is an order", chains, "[chained] < before", "[chained] <= before"),
    Mistake("all clusters are one", chains, "number[clusters.starts[1:]] = 1", "pass"),
    Mistake("all crashed updates count", chains, "|= ~columns.crashed[rows]", "|= True"),
    Mistake(
        "only what returned counts", chains, "values.initial | (read_ret != NEVER)", "values.initial | False"
    ),
    Mistake("what a certain one found need not be", chains, "certain[new] = True", "new = new[:0]"),
    Mistake("values from nowhere", chains, "len(nowhere)", "False and len(nowhere)"),
    Mistake(
        "reads from nowhere", chains, "in verdicts.first_of(values.key[read]", "in [] and (values.key[read]"
    ),
    Mistake("two may find one value", chains, "swaps[1:]] == values", "swaps[1:]] < values"),
    Mistake(
        "rings are fine", chains, "in verdicts.first_of(values.key[open_values]", "in [] and (values.key"
    ),
    Mistake("chains are in any order", chains, "distance[chained], ", ""),
    Mistake("pointers go one step", chains, "up[open_values] = up[over]", "pass"),
    Mistake("the initial value may come late", chains, "ret[values.initial] = _BEFORE_ALL", "pass"),
    Mistake(
        "values may come twice", clusters, "> np.where(is_initial, 0, 1)", "> np.where(is_initial, 0, 9)"
    ),
    Mistake("absent may be written", clusters, "> np.where(is_initial, 0, 1)", "> 1"),
    Mistake("crashed reads count", clusters, "& ~columns.crashed[reads]", ""),
    Mistake(
        "what is found is what is written", clusters, "before[swapped] = found", "before[found] = swapped"
    ),
]
SEARCH = [
    Mistake("crashed updates are never noticed", search, "if next_state == state:", "if True:"),
    Mistake("the memo forgets the state", search, "(mask << 32 | state)", "(mask << 32)"),
    Mistake("the memo forgets who is linearized", search, "(mask << 32 | state)", "(state)"),
    Mistake("the memo forgets where it is", search, "<< self._level_bits) | level", "<< self._level_bits)"),
    Mistake("used up crashed operations do not matter", search, "if other & used == other", "if True"),
    Mistake("slots are not freed", search, "mask ^= bits[level]", "mask |= bits[level]"),
    Mistake("updates are linearized like reads", search, "[o for o in new if problem.is_read[o]]", "list(new)"),
    Mistake("only the next to return is tried", search, "(completed, state)", "(completed[:1], state)"),
    Mistake("crashed operations are never tried", search, "(unused, state)", "([], state)"),
]  # fmt: skip


SPENT_TOO_SOON = [
    entries.Entry(0, 0, entries.NEVER, "cas", [None, 1], UNKNOWN, True),
    entries.Entry(1, 1, entries.NEVER, "write", 1, UNKNOWN, True),
    entries.Entry(2, 2, 3, "read", None, 1),
    entries.Entry(3, 4, 5, "write", 2),
    entries.Entry(4, 6, 7, "read", None, 1),
]
"""Legal, but only if the crashed compare-and-set is spent on the first read, and the write kept for the second."""


ABSENT_AGAIN = [
    entries.Entry(0, 0, 1, "write", 1),
    entries.Entry(1, 2, 3, "write", None),
    entries.Entry(2, 4, 5, "read", None, None),
]


def mutant(mistake: Mistake) -> Any:
    """The module with the mistake in it."""
    module = mistake.module
    source = Path(str(module.__file__)).read_text()
    assert source.count(mistake.right) == 1, f"{mistake.right!r} must be in {module.__name__} exactly once"
    changed = types.ModuleType(f"{module.__name__}_with_a_mistake")
    sys.modules[changed.__name__] = changed  # dataclasses look their module up there
    try:
        exec(
            compile(source.replace(mistake.right, mistake.wrong), str(module.__file__), "exec"),
            changed.__dict__,
        )
    finally:
        del sys.modules[changed.__name__]
    return changed


@cache
def histories(kind: str) -> Histories:
    if kind == "zones":
        return small_histories(21, 1200, cas=0)
    if kind == "clusters":
        return [ABSENT_AGAIN, *small_histories(22, 2000, cas=0.5)]
    return [
        SPENT_TOO_SOON,
        *small_histories(23, 700, cas=0.4, distinct=0.3),
        *small_histories(25, 700, cas=0.7, distinct=0.1, crash=0.4),
    ]


def is_found(wrong: Callable[[Any, Histories], int], decide: Any, kind: str) -> bool:
    """Whether some history tells; looked at in parts, since most mistakes show soon. A crash tells as well."""
    every = histories(kind)
    for start in range(0, len(every), 100):
        try:
            if wrong(decide, every[start : start + 100]):
                return True
        except (IndexError, KeyError, RecursionError, ValueError, TypeError):
            return True
    return False


@pytest.mark.parametrize("mistake", ZONES, ids=lambda mistake: mistake.name)
def test_a_mistake_in_the_zones_is_found(mistake: Mistake) -> None:
    assert is_found(wrong_zones, mutant(mistake).decide_by_zones, "zones")


@pytest.mark.parametrize("mistake", CLUSTERS, ids=lambda mistake: mistake.name)
def test_a_mistake_in_the_clusters_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = mutant(mistake)
    if mistake.module is chains:
        monkeypatch.setattr(clusters, "conflicts_of", wrong.conflicts_of)
        wrong = clusters
    assert is_found(wrong_clusters, wrong.decide_by_clusters, "clusters")


@pytest.mark.parametrize("mistake", SEARCH, ids=lambda mistake: mistake.name)
def test_a_mistake_in_the_search_is_found(mistake: Mistake) -> None:
    assert is_found(wrong_searches, mutant(mistake).search, "search")


def test_without_a_mistake_nothing_is_found() -> None:
    assert not is_found(wrong_zones, zones.decide_by_zones, "zones")
    assert not is_found(wrong_clusters, clusters.decide_by_clusters, "clusters")
    assert not is_found(wrong_searches, search.search, "search")


def test_a_model_that_forgets_who_observes_crashed_writes_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def never_useful(self: register.Register, history: list[entries.Entry]) -> list[int]:
        return [entries.UNNOTICED] * len(history)

    monkeypatch.setattr(register.Register, "useful_until", never_useful)
    assert is_found(wrong_searches, search.search, "search")
