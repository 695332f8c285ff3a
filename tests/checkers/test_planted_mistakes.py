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
from foreshock.checkers.fast_paths import clusters, zones
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
        "backward zones that may touch the end",
        zones,
        "high[backward[possible]] <",
        "high[backward[possible]] <=",
    ),
    Mistake(
        "backward zones never conflict", zones, "np.flatnonzero(inside)]", "np.flatnonzero(inside & False)]"
    ),
    Mistake("reads before their write", zones, "(from_nowhere | too_early)", "(from_nowhere)"),
    Mistake("reads from nowhere", zones, "(from_nowhere | too_early)", "(too_early)"),
    Mistake("the initial value is written late", zones, "np.where(initial, _BEFORE_ALL, ret_min)", "ret_min"),
    Mistake("values need not be distinct", zones, "groups.writes > np", "groups.writes > 9 + np"),
]
CLUSTERS = [
    Mistake(
        "closed clusters", clusters, "if other.ret_min < one.call_max", "if other.ret_min <= one.call_max"
    ),
    Mistake(
        "order of reads inside a cluster",
        clusters,
        "if late_update or value.ret_min <",
        "if late_update and 0 <",
    ),
    Mistake(
        "order of updates inside a cluster",
        clusters,
        "late_update = value.ret < cluster.call_max",
        "late_update = False",
    ),
    Mistake("crashed updates all count", clusters, "if not v.crashed or v.read_first is not None", "if True"),
    Mistake(
        "crashed updates never count",
        clusters,
        "if not v.crashed or v.read_first is not None",
        "if not v.crashed",
    ),
    Mistake("cycles are fine", clusters, "if chained < len(certain)", "if False"),
    Mistake(
        "backward clusters that may touch",
        clusters,
        "bisect_left(lows, cluster.call_max) - 1",
        "bisect_left(lows, cluster.call_max + 1) - 1",
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
        return small_histories(22, 2000, cas=0.5)
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
        except (IndexError, KeyError, RecursionError):
            return True
    return False


@pytest.mark.parametrize("mistake", ZONES, ids=lambda mistake: mistake.name)
def test_a_mistake_in_the_zones_is_found(mistake: Mistake) -> None:
    assert is_found(wrong_zones, mutant(mistake).decide_by_zones, "zones")


@pytest.mark.parametrize("mistake", CLUSTERS, ids=lambda mistake: mistake.name)
def test_a_mistake_in_the_clusters_is_found(mistake: Mistake) -> None:
    assert is_found(wrong_clusters, mutant(mistake).decide_by_clusters, "clusters")


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
