from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.harness.capabilities import Grudge
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.grudges import SHAPES, components, majority, pairs

SYMMETRIC = sorted(set(SHAPES) - {"one-way"})
node_lists = st.integers(min_value=2, max_value=12).map(lambda count: tuple(f"n{i}" for i in range(count)))
seeds = st.integers(min_value=0, max_value=10_000)


def hears(nodes: Sequence[str], grudge: Grudge, node: str) -> set[str]:
    """Whom the node hears, itself included."""
    return set(nodes) - grudge.get(node, frozenset())


def groups(nodes: Sequence[str], grudge: Grudge) -> list[set[str]]:
    """The groups of a partition whose links are symmetric and transitive."""
    found: list[set[str]] = []
    for node in nodes:
        group = hears(nodes, grudge, node)
        if group not in found:
            found.append(group)
    assert sum(map(len, found)) == len(nodes)
    return found


def make(kind: str, nodes: Sequence[str], seed: int, primaries: frozenset[str] = frozenset()) -> Grudge:
    return SHAPES[kind](nodes, primaries, RandomStream(seed, "grudge"))


@given(node_lists, seeds, st.sampled_from(sorted(SHAPES)))
def test_a_grudge_names_only_the_nodes_and_never_cuts_a_node_from_itself(
    nodes: tuple[str, ...], seed: int, kind: str
) -> None:
    grudge = make(kind, nodes, seed)
    assert set(grudge) <= set(nodes)
    for receiver, senders in grudge.items():
        assert senders
        assert senders <= set(nodes) - {receiver}


@given(node_lists, seeds, st.sampled_from(SYMMETRIC))
def test_every_kind_but_one_way_is_symmetric(nodes: tuple[str, ...], seed: int, kind: str) -> None:
    cut = pairs(make(kind, nodes, seed))
    assert cut == {(receiver, sender) for sender, receiver in cut}


@given(node_lists, seeds)
def test_one_way_cuts_no_link_in_both_directions(nodes: tuple[str, ...], seed: int) -> None:
    cut = pairs(make("one-way", nodes, seed, frozenset(nodes[:1])))
    assert cut
    assert not cut & {(receiver, sender) for sender, receiver in cut}


@given(node_lists, seeds)
def test_one_leaves_a_single_node_alone(nodes: tuple[str, ...], seed: int) -> None:
    assert sorted(map(len, groups(nodes, make("one", nodes, seed)))) == sorted([1, len(nodes) - 1])


@given(node_lists.filter(lambda nodes: len(nodes) > 2), seeds)
def test_minority_splits_off_fewer_than_half_in_one_group(nodes: tuple[str, ...], seed: int) -> None:
    small, large = sorted(groups(nodes, make("minority", nodes, seed)), key=len)
    assert len(small) < len(nodes) / 2
    assert len(large) >= majority(len(nodes))


@given(node_lists.filter(lambda nodes: len(nodes) > 2), seeds)
def test_majority_keeps_the_quorum_and_scatters_the_rest(nodes: tuple[str, ...], seed: int) -> None:
    *alone, together = sorted(groups(nodes, make("majority", nodes, seed)), key=len)
    assert len(together) == majority(len(nodes))
    assert all(len(group) == 1 for group in alone)


@given(node_lists, seeds)
def test_halves_are_as_equal_as_can_be(nodes: tuple[str, ...], seed: int) -> None:
    first, second = groups(nodes, make("halves", nodes, seed))
    assert abs(len(first) - len(second)) <= 1


@given(node_lists.filter(lambda nodes: len(nodes) > 2), seeds)
def test_in_a_ring_each_node_hears_a_majority_and_something_is_cut(nodes: tuple[str, ...], seed: int) -> None:
    grudge = make("ring", nodes, seed)
    assert grudge
    for node in nodes:
        assert len(hears(nodes, grudge, node)) >= majority(len(nodes))


@given(st.integers(min_value=4, max_value=12), seeds)
def test_in_a_ring_no_two_nodes_hear_the_same_majority(count: int, seed: int) -> None:
    nodes = tuple(f"n{i}" for i in range(count))
    heard = [frozenset(hears(nodes, make("ring", nodes, seed), node)) for node in nodes]
    assert len(set(heard)) == count


@given(node_lists.filter(lambda nodes: len(nodes) > 2), seeds)
def test_one_node_bridges_two_groups_that_cannot_hear_each_other(nodes: tuple[str, ...], seed: int) -> None:
    grudge = make("bridge", nodes, seed)
    bridges = [node for node in nodes if hears(nodes, grudge, node) == set(nodes)]
    assert len(bridges) == 1
    sides = {frozenset(hears(nodes, grudge, node) - set(bridges)) for node in nodes if node not in bridges}
    assert len(sides) == 2
    assert not frozenset.intersection(*sides)


@given(node_lists, seeds, st.data())
def test_isolate_primary_leaves_a_primary_alone(
    nodes: tuple[str, ...], seed: int, data: st.DataObject
) -> None:
    primary = data.draw(st.sampled_from(nodes))
    grudge = make("isolate-primary", nodes, seed, frozenset({primary}))
    assert hears(nodes, grudge, primary) == {primary}


@given(node_lists, seeds)
def test_isolate_primary_takes_any_node_when_nobody_leads(nodes: tuple[str, ...], seed: int) -> None:
    assert 1 in map(len, groups(nodes, make("isolate-primary", nodes, seed)))


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_a_single_node_cannot_be_partitioned(kind: str) -> None:
    assert make(kind, ("n1",), 3) == {}


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_equal_seeds_give_equal_grudges(kind: str) -> None:
    nodes = tuple(f"n{i}" for i in range(7))
    assert make(kind, nodes, 11) == make(kind, nodes, 11)


def test_components_of_one_group_cut_nothing() -> None:
    assert components([["n1", "n2"]]) == {}
