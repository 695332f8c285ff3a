"""Datagrams: delay, loss, duplication, reordering, and cuts."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.simulation.programs import MS, SECOND, Town

from foreshock.harness.errors import HarnessError
from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.knobs import SimKnobs


def deaf(**grudge: str) -> dict[str, frozenset[str]]:
    return {name: frozenset(senders.split()) for name, senders in grudge.items()}


def flood(town: Town, count: int) -> Any:
    def send() -> None:
        for number in range(count):
            town.machine("n1").send("n2", number)

    return send


def test_datagrams_take_the_latency_that_the_knobs_say() -> None:
    town = Town("n1", "n2", knobs=SimKnobs(latency_min_ns=3 * MS, latency_mean_ns=MS))
    town.run(flood(town, 2000), SECOND)
    times = [time for time, kind, *_ in town.events["n2"] if kind == "datagram"]
    assert len(times) == 2000
    assert min(times) >= 3 * MS
    assert 3_700_000 < sum(times) // 2000 < 4_300_000
    order = [message for _, _, message in town.kinds("n2", "datagram")]
    assert order != sorted(order), "jitter alone already reorders"


@pytest.mark.parametrize(
    ("knobs", "least", "most"),
    [
        (SimKnobs(loss_ppm=1_000_000), 0, 0),
        (SimKnobs(loss_ppm=200_000), 7_700, 8_300),
        (SimKnobs(duplication_ppm=1_000_000), 20_000, 20_000),
        (SimKnobs(loss_ppm=100_000, duplication_ppm=100_000), 9_600, 10_400),
        (SimKnobs(reorder_ppm=1_000_000), 10_000, 10_000),
    ],
)
def test_loss_and_duplication_come_as_often_as_the_knobs_say(knobs: SimKnobs, least: int, most: int) -> None:
    town = Town("n1", "n2", knobs=knobs)
    town.run(flood(town, 10_000), SECOND)
    assert least <= len(town.kinds("n2", "datagram")) <= most


def test_a_reordered_datagram_is_overtaken() -> None:
    town = Town(
        "n1",
        "n2",
        knobs=SimKnobs(latency_mean_ns=0, reorder_ppm=10_000, reorder_delay_ns=50 * MS),
    )
    town.run(flood(town, 2000), SECOND)
    order = [message for _, _, message in town.kinds("n2", "datagram")]
    late = sum(1 for one, next_one in pairwise(order) if next_one < one)
    assert sorted(order) == list(range(2000))
    assert 5 < late < 40


def test_a_datagram_to_nobody_is_lost() -> None:
    town = Town("n1")
    town.run(lambda: town.machine("n1").send("n7", "hello"), SECOND)
    assert town.kinds("n1") == [("start",)]


def test_a_cut_is_one_way_and_takes_what_is_in_flight() -> None:
    town = Town("n1", "n2")

    def both() -> None:
        town.machine("n1").send("n2", "to n2")
        town.machine("n2").send("n1", "to n1")

    town.run(both, lambda: town.world.cut(deaf(n2="n1")), 100 * MS, both, 100 * MS)
    assert town.kinds("n2", "datagram") == []
    assert town.kinds("n1", "datagram") == [("datagram", "n2", "to n1")] * 2


CUTS = st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")))


@given(st.lists(st.tuples(CUTS, st.integers(1, 10)), min_size=1, max_size=8), st.integers(0, 1000))
@settings(max_examples=80, deadline=None)
def test_no_datagram_crosses_a_cut_and_every_one_arrives_elsewhere(
    cuts: list[tuple[set[tuple[str, str]], int]], seed: int
) -> None:
    town = Town("a", "b", "c", seed=seed, knobs=SimKnobs(duplication_ppm=100_000, reorder_ppm=100_000))
    links = [(sender, receiver) for sender in "abc" for receiver in "abc" if sender != receiver]
    in_force: dict[int, set[tuple[str, str]]] = {}

    def cut(pairs: set[tuple[str, str]]) -> None:
        in_force[town.runtime.now()] = pairs
        town.world.cut({name: frozenset(s for s, r in pairs if r == name) for name in "abc"})
        for sender, receiver in links:
            town.machine(sender).send(receiver, "message")

    script: list[Any] = []
    for pairs, wait_ms in cuts:
        script += [lambda pairs=pairs: cut(pairs), wait_ms * MS]
    town.run(*script, SECOND)
    for receiver in "abc":
        for time, kind, *details in town.events[receiver]:
            latest = max((at for at in in_force if at < time), default=-1)
            assert kind == "start" or (details[0], receiver) not in in_force[latest]
    for sender, receiver in links:
        if not any((sender, receiver) in pairs for pairs, _ in cuts):
            heard = town.kinds(receiver).count(("datagram", sender, "message"))
            assert heard >= len(cuts)


@pytest.mark.parametrize("loss_ppm", [0, 250_000])
def test_heard_tells_cut_pairs_from_uncut_ones_even_over_a_lossy_network(loss_ppm: int) -> None:
    town = Town("n1", "n2", "n3", knobs=SimKnobs(loss_ppm=loss_ppm))
    pairs = frozenset((a, b) for a in town.events for b in town.events if a != b)
    answers: list[dict[tuple[str, str], bool]] = []

    async def ask() -> None:
        answers.append(await town.world.heard(pairs))

    town.run(ask, lambda: town.world.cut(deaf(n2="n1 n3", n3="n2")), ask, lambda: town.world.cut({}), ask)
    cut = {("n1", "n2"), ("n3", "n2"), ("n2", "n3")}
    assert answers == [
        dict.fromkeys(pairs, True),
        {pair: pair not in cut for pair in pairs},
        dict.fromkeys(pairs, True),
    ]


def test_the_machine_of_a_dead_or_paused_node_still_hears() -> None:
    town = Town("n1", "n2", "n3")
    answers: list[dict[tuple[str, str], bool]] = []

    async def ask() -> None:
        town.world.kill("n2")
        town.world.pause("n3")
        answers.append(await town.world.heard(frozenset({("n1", "n2"), ("n3", "n1")})))

    town.run(ask)
    assert answers == [{("n1", "n2"): True, ("n3", "n1"): True}]
    assert town.kinds("n2") == [("start",)]


def test_a_grudge_or_a_probe_of_an_unknown_node_is_an_error() -> None:
    town = Town("n1")
    with pytest.raises(HarnessError, match="no simulated node 'n9'"):
        town.world.cut(deaf(n9="n1"))
    with pytest.raises(HarnessError, match="no simulated node 'n9'"):
        town.run(lambda: town.world.heard(frozenset({("n1", "n9")})))


def test_seeds_draw_calm_lossy_and_slow_worlds() -> None:
    drawn = [SimKnobs.draw(RandomStream(seed, "knobs")) for seed in range(200)]
    assert any(knobs.loss_ppm == 0 for knobs in drawn)
    assert any(knobs.loss_ppm > 10_000 for knobs in drawn)
    assert any(knobs.latency_min_ns >= MS for knobs in drawn)
    assert any(knobs.sync_min_ns >= MS for knobs in drawn)
    assert any(knobs.sync_stall_ppm for knobs in drawn)
    assert SimKnobs.draw(RandomStream(7, "knobs")) == SimKnobs.draw(RandomStream(7, "knobs"))
