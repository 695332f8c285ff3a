"""Zones and clusters against the oracle and against the search."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.checkers.differential import small_histories, wrong_clusters, wrong_zones
from tests.checkers.oracle import is_linearizable
from tests.checkers.random_histories import (
    columns_of_entries,
    legal_register_history,
    limits,
    mutated,
)

from foreshock.checkers import core, problem, search
from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, Entry, relax
from foreshock.checkers.fast_paths import Finding, clusters, zones
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.harness.model import UNKNOWN
from foreshock.harness.verdict import Verdict


def by_clusters(*histories: list[Entry]) -> list[Decision]:
    """What the clusters decide of each history; none where they do not apply."""
    found = clusters.decide_by_clusters(columns_of_entries(dict(enumerate(histories))), range(len(histories)))
    return [found[key].decision if key in found else Decision.NOT_APPLICABLE for key in range(len(histories))]


def suspects_suffice(
    histories: Sequence[list[Entry]], suspects: Mapping[int, Sequence[int]], most: int
) -> bool:
    """Whether the suspects of each key are illegal by themselves, and no more than so many."""
    columns = columns_of_entries(dict(enumerate(histories)))
    for key, rows in suspects.items():
        whole = columns.entries(columns.rows_by_key[key])
        numbers = {int(columns.index[row]) for row in rows}
        keep = [offset for offset, entry in enumerate(whole) if entry.number in numbers]
        relaxed = relax(whole, keep, [e.f == "read" for e in whole])
        if len(keep) > most or search.search(relaxed, CasRegister(), limits()).verdict is Verdict.VALID:
            return False
    return True


def test_zones_agree_with_the_oracle() -> None:
    histories = small_histories(1, 2500, cas=0)
    found = zones.decide_by_zones(columns_of_entries(dict(enumerate(histories)))).decisions
    assert {found.count(decision) > 50 for decision in Decision} == {True}
    assert wrong_zones(zones.decide_by_zones, histories) == 0


def test_clusters_agree_with_the_oracle() -> None:
    histories = small_histories(2, 1500, cas=0.5) + small_histories(3, 500, cas=0)
    found = by_clusters(*histories)
    assert {found.count(decision) > 50 for decision in Decision} == {True}
    assert wrong_clusters(clusters.decide_by_clusters, histories) == 0


def test_fast_paths_agree_with_the_search_on_longer_histories() -> None:
    rng = random.Random(4)
    verdicts = set()
    for _ in range(60):
        history = legal_register_history(rng, 120, processes=6, cas=rng.choice([0, 0.5]))
        history = mutated(rng, history) if rng.random() < 0.6 else history
        searched = search.search(history, CasRegister(), limits()).verdict is Verdict.VALID
        verdicts.add(searched)
        assert (by_clusters(history) == [Decision.VALID]) == searched
        by_zones = zones.decide_by_zones(columns_of_entries({0: history})).decisions[0]
        if any(entry.f == "cas" for entry in history):
            assert by_zones is Decision.NOT_APPLICABLE
        else:
            assert (by_zones is Decision.VALID) == searched
    assert verdicts == {True, False}


def test_the_suspects_of_the_zones_are_illegal_by_themselves() -> None:
    histories = small_histories(5, 1200, cas=0)
    found = zones.decide_by_zones(columns_of_entries(dict(enumerate(histories))))
    assert suspects_suffice(histories, found.suspects, most=8)
    assert len(found.suspects) > 100


def test_the_suspects_of_the_clusters_are_illegal_by_themselves() -> None:
    histories = small_histories(6, 800, cas=0.7, crash=0.3) + small_histories(7, 800, cas=0.4)
    found = clusters.decide_by_clusters(columns_of_entries(dict(enumerate(histories))), range(len(histories)))
    suspects = {
        key: finding.suspects for key, finding in found.items() if finding.decision is Decision.INVALID
    }
    assert suspects_suffice(histories, suspects, most=9)
    assert len(suspects) > 300


def test_zones_that_touch_do_not_conflict() -> None:
    """Positions shared by several events, as imported histories with times only have them, count as concurrent."""
    touching = [
        Entry(0, 0, 1, "write", 1),
        Entry(1, 2, 3, "read", None, 1),
        Entry(2, 3, 3, "write", 2),
        Entry(3, 3, 4, "read", None, 2),
    ]
    assert is_linearizable(touching, Register())
    assert zones.decide_by_zones(columns_of_entries({"k": touching})).decisions == [Decision.VALID]
    assert by_clusters(touching) == [Decision.VALID]


@pytest.mark.parametrize("odd", ["text", True, 1.5, [1, 2], {"a": 1}, 1 << 70], ids=str)
def test_values_of_any_kind_are_told_apart(odd: Any) -> None:
    legal = [Entry(0, 0, 1, "write", odd), Entry(1, 2, 3, "write", 1), Entry(2, 4, 5, "read", None, 1)]
    stale = [*legal[:2], Entry(2, 4, 5, "read", None, odd)]
    found = zones.decide_by_zones(columns_of_entries({"legal": legal, "stale": stale}))
    assert found.decisions == [Decision.VALID, Decision.INVALID]
    assert by_clusters(legal, stale) == found.decisions


@pytest.mark.parametrize(
    "history",
    [
        [Entry(0, 0, 1, "write", 1), Entry(1, 2, 3, "write", 1)],
        [Entry(0, 0, 1, "write", None)],
        [Entry(0, 0, 1, "delete")],
    ],
    ids=["twice", "initial", "delete"],
)
def test_histories_without_distinct_values_are_left_to_the_search(history: list[Entry]) -> None:
    assert zones.decide_by_zones(columns_of_entries({0: history})).decisions == [Decision.NOT_APPLICABLE]
    assert by_clusters(history) == [Decision.NOT_APPLICABLE]


def test_a_cycle_of_compare_and_sets_is_illegal() -> None:
    cycle = [Entry(0, 0, 9, "cas", [2, 1]), Entry(1, 1, 8, "cas", [1, 2])]
    found = clusters.decide_by_clusters(columns_of_entries({0: cycle}), [0])
    assert found == {0: Finding(Decision.INVALID, (0, 1))}
    assert not is_linearizable(cycle, CasRegister())


def test_of_many_conflicts_the_clusters_tell_the_first() -> None:
    reads = [Entry(i, 2 * i, 2 * i + 1, "read", None, f"from nowhere {i}") for i in range(20)]
    found = clusters.decide_by_clusters(columns_of_entries({0: reads}), [0])
    assert found == {0: Finding(Decision.INVALID, (0,))}


def test_a_compare_and_set_of_one_value_to_itself_never_takes_effect() -> None:
    alone = [Entry(0, 0, 1, "cas", [1, 1])]
    assert by_clusters(alone) == [Decision.INVALID]
    assert by_clusters([Entry(0, 0, NEVER, "cas", [1, 1], UNKNOWN, True)]) == [Decision.VALID]
    assert by_clusters([Entry(1, 0, 1, "write", 1), *alone]) == [Decision.NOT_APPLICABLE]


def test_a_ring_of_crashed_compare_and_sets_that_one_found_is_illegal() -> None:
    """Each needs another one to have happened before; and two found what the first of them wrote."""
    ring = [
        Entry(0, 0, NEVER, "cas", [2, 1], UNKNOWN, True),
        Entry(1, 1, NEVER, "cas", [1, 2], UNKNOWN, True),
        Entry(2, 2, 3, "cas", [1, 3]),
    ]
    assert by_clusters(ring) == [Decision.INVALID]
    assert by_clusters(ring[:2]) == [Decision.VALID]


def test_compare_and_sets_of_what_is_no_pair_are_left_to_the_model() -> None:
    assert by_clusters([Entry(0, 0, 1, "cas", 3)]) == [Decision.NOT_APPLICABLE]
    assert by_clusters([Entry(0, 0, 1, "cas", [1, 2, 3])]) == [Decision.NOT_APPLICABLE]


def test_a_crashed_write_counts_only_if_its_value_was_seen() -> None:
    crashed = Entry(0, 0, NEVER, "write", 1, UNKNOWN, True)
    seen = [
        crashed,
        Entry(1, 1, 2, "write", 2),
        Entry(2, 3, 4, "read", None, 1),
        Entry(3, 5, 6, "read", None, 2),
    ]
    assert zones.decide_by_zones(
        columns_of_entries({0: seen, 1: [crashed, *seen[1:2], seen[3]]})
    ).decisions == [
        Decision.INVALID,
        Decision.VALID,
    ]


def test_leaving_updates_out_by_deleting_them_would_convict_legal_histories() -> None:
    """The unsound way to shrink, beside the sound one (``relax``)."""
    rng = random.Random(6)
    convicted = {"deleted": 0, "relaxed": 0}
    for history in small_histories(24, 600, cas=0.3):
        if not is_linearizable(history, CasRegister()):
            continue
        keep = [offset for offset in range(len(history)) if rng.random() < 0.6]
        relaxed = core.relax(history, keep, [entry.f == "read" for entry in history])
        convicted["relaxed"] += not is_linearizable(relaxed, CasRegister())
        convicted["deleted"] += not is_linearizable([history[offset] for offset in keep], CasRegister())
    assert convicted["relaxed"] == 0
    assert convicted["deleted"] > 50


def test_windows_are_the_same_from_a_checkpoint_as_from_the_start() -> None:
    history = legal_register_history(random.Random(9), 600, processes=12)
    ready = problem.Problem(history, CasRegister())
    forward, backward = problem.Windows(ready), problem.Windows(ready)
    expected = [list(forward.at(level)) for level in range(ready.levels)]
    assert [list(backward.at(level)) for level in reversed(range(ready.levels))] == expected[::-1]
    assert all(window[0] == level for level, window in enumerate(expected))


@pytest.mark.parametrize(
    "odd", ["text", True, 1.5, [1, 2], {"a": 1}, 1 << 61, -(1 << 62) - 1, 1 << 70], ids=str
)
def test_compare_and_sets_of_values_of_any_kind_are_told_apart(odd: Any) -> None:
    legal = [
        Entry(0, 0, 1, "cas", [None, odd]),
        Entry(1, 2, 3, "cas", [odd, 1]),
        Entry(2, 4, 5, "read", None, 1),
    ]
    stale = [*legal[:2], Entry(2, 4, 5, "read", None, odd)]
    nowhere = [legal[0], Entry(1, 2, 3, "cas", [[odd], 1])]
    assert by_clusters(legal, stale, nowhere) == [Decision.VALID, Decision.INVALID, Decision.INVALID]
