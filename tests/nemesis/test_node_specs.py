from __future__ import annotations

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.harness.errors import UsageError
from foreshock.harness.options import Options, parse_options
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.kill import KillOptions
from foreshock.nemesis.node_specs import NODE_SPECS, pick_nodes
from foreshock.nemesis.partition import PartitionOptions
from foreshock.nemesis.pause import PauseOptions

counts = st.integers(min_value=1, max_value=13)
seeds = st.integers(min_value=0, max_value=1000)


def pick(spec: str, count: int, seed: int, primaries: frozenset[str] = frozenset()) -> frozenset[str]:
    nodes = [f"n{i}" for i in range(count)]
    picked = pick_nodes(spec, nodes, primaries, RandomStream(seed, "pick"))
    assert picked <= set(nodes)
    return picked


@given(counts, seeds, st.sampled_from(sorted(NODE_SPECS)))
def test_every_spec_picks_at_least_one_node(count: int, seed: int, spec: str) -> None:
    assert pick(spec, count, seed)


@given(counts.filter(lambda count: count > 2), seeds)
def test_the_sizes_are_as_their_names_say(count: int, seed: int) -> None:
    assert len(pick("one", count, seed)) == 1
    assert len(pick("minority", count, seed)) < count / 2
    assert len(pick("minority-third", count, seed)) < count / 3 or count <= 3
    assert len(pick("majority", count, seed)) == count // 2 + 1
    assert len(pick("all", count, seed)) == count


def test_primaries_are_those_that_lead_among_the_candidates() -> None:
    assert pick("primaries", 5, 1, frozenset({"n2", "n4", "gone"})) == {"n2", "n4"}
    assert len(pick("primaries", 5, 1, frozenset({"gone"}))) == 1


def test_nothing_is_picked_from_no_candidates() -> None:
    assert pick_nodes("all", [], frozenset(), RandomStream(1, "pick")) == frozenset()


@pytest.mark.parametrize(
    ("options", "given", "said"),
    [
        (KillOptions, {"targets": "one,primarys"}, "did you mean 'primaries'"),
        (PauseOptions, {"targets": " , "}, "targets is empty"),
        (PartitionOptions, {"kinds": "onewau"}, "did you mean 'one-way'"),
    ],
)
def test_a_wrong_name_in_an_option_is_a_usage_error_that_names_the_nearest(
    options: type[Options], given: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        parse_options(options, given, owner="the nemesis")


def test_options_say_their_defaults_in_full() -> None:
    kinds = "one,minority,majority,halves,ring,bridge,one-way,isolate-primary"
    assert msgspec.to_builtins(PartitionOptions()) == {"kinds": kinds}
