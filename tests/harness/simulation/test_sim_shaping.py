"""Shapes of links: datagrams meet them, connections come late and in order, probes show them, resets break."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.simulation.programs import MS, SECOND, Town

from foreshock.harness.capabilities import LinkReading, LinkShape
from foreshock.harness.errors import HarnessError
from foreshock.harness.packet_fates import RETRANSMISSION_NS
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.network import PARTS_MAX, encoded_bytes

THERE = ("n1", "n2")
BACK = ("n2", "n1")
STILL = SimKnobs(latency_min_ns=MS, latency_mean_ns=0)
"""A network in which everything takes exactly a millisecond."""
MANY = 4_000

CHANCES = st.sampled_from([0, 50_000, 500_000])
SHAPES = st.builds(
    LinkShape,
    delay_us=st.integers(0, 30_000),
    jitter_us=st.integers(0, 30_000),
    distribution=st.sampled_from(["uniform", "normal", "pareto"]),
    loss_ppm=st.sampled_from([0, 50_000, 500_000, 1_000_000]),
    duplicate_ppm=CHANCES,
    reorder_ppm=CHANCES,
    reorder_us=st.integers(0, 50_000),
    corrupt_ppm=CHANCES,
    rate_bytes_per_s=st.sampled_from([0, 2_000, 100_000]),
)


def flood(town: Town, count: int = MANY, message: Any = None) -> Any:
    def send() -> None:
        for number in range(count):
            town.machine("n1").send("n2", number if message is None else message)

    return send


def arrivals(town: Town, name: str = "n2", kind: str = "datagram") -> list[tuple[int, Any]]:
    return [(event[0], event[-1]) for event in town.events[name] if event[1] == kind]


def shaped(town: Town, **links: Any) -> Any:
    return lambda: town.world.shape({THERE: LinkShape(**links)})


@pytest.mark.parametrize(
    ("shape", "least", "most"),
    [
        (LinkShape(loss_ppm=1_000_000), 0, 0),
        (LinkShape(loss_ppm=250_000), 2_850, 3_150),
        (LinkShape(corrupt_ppm=250_000), 2_850, 3_150),
        (LinkShape(duplicate_ppm=1_000_000), 2 * MANY, 2 * MANY),
        (LinkShape(duplicate_ppm=250_000), 4_850, 5_150),
        (LinkShape(delay_us=1), MANY, MANY),
    ],
)
def test_datagrams_are_lost_thrown_away_and_doubled_as_often_as_the_shape_says(
    shape: LinkShape, least: int, most: int
) -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(lambda: town.world.shape({THERE: shape}), flood(town), SECOND)
    assert least <= len(arrivals(town)) <= most


def test_a_delay_is_exact_one_way_and_on_its_link_only() -> None:
    town = Town("n1", "n2", "n3", knobs=STILL)

    def send() -> None:
        for sender, receiver in (THERE, BACK, ("n1", "n3")):
            town.machine(sender).send(receiver, sender)

    town.run(shaped(town, delay_us=5_000), send, SECOND)
    assert arrivals(town) == [(6 * MS, "n1")]
    assert arrivals(town, "n1") == [(MS, "n2")]
    assert arrivals(town, "n3") == [(MS, "n1")]


def test_jitter_spreads_delays_and_lets_datagrams_overtake_each_other() -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(shaped(town, delay_us=10_000, jitter_us=4_000), flood(town), SECOND)
    times = [time for time, _ in arrivals(town)]
    assert 7 * MS <= min(times) < 8 * MS < 14 * MS < max(times) <= 15 * MS
    assert sorted(arrivals(town), key=lambda arrival: arrival[1]) != arrivals(town)


def test_a_reordered_datagram_comes_so_much_later() -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(shaped(town, reorder_ppm=100_000, reorder_us=3_000), flood(town), SECOND)
    times = [time for time, _ in arrivals(town)]
    assert set(times) == {MS, 4 * MS}
    assert 300 < times.count(4 * MS) < 500


def test_a_rate_passes_so_much_a_second_and_a_full_queue_loses_the_rest() -> None:
    town = Town("n1", "n2", knobs=STILL)
    message = b"x" * 972  # with what a packet carries beside it, 1,000 bytes
    town.run(shaped(town, rate_bytes_per_s=100_000), flood(town, 1_000, message), 3 * SECOND)
    times = [time for time, _ in arrivals(town)]
    assert [later - time for time, later in pairwise(times)] == [10 * MS] * (len(times) - 1)
    assert 100 <= len(times) <= 102


def test_a_shape_that_ends_lets_what_is_on_its_way_come_when_it_comes() -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(
        shaped(town, delay_us=50_000),
        flood(town, 1, "late"),
        10 * MS,
        flood(town, 1, "in time to be shaped no more"),
        lambda: town.world.shape({}),
        flood(town, 1, "unshaped"),
        SECOND,
    )
    assert arrivals(town) == [
        (11 * MS, "in time to be shaped no more"),
        (11 * MS, "unshaped"),
        (51 * MS, "late"),
    ]


def test_a_cut_wins_over_a_shape_and_takes_what_is_on_its_way() -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(
        shaped(town, delay_us=20_000, duplicate_ppm=1_000_000),
        flood(town, 1),
        10 * MS,
        lambda: town.world.cut({"n2": frozenset({"n1"})}),
        flood(town, 1),
        SECOND,
    )
    assert arrivals(town) == []


def test_shapes_replace_each_other_and_a_node_added_later_has_none() -> None:
    town = Town("n1", "n2", knobs=STILL)

    def replace() -> None:
        town.world.shape({BACK: LinkShape(loss_ppm=1_000_000)})
        town.events["n3"] = []
        town.world.add("n3", town.make)

    def send() -> None:
        for sender, receiver in (THERE, BACK, ("n1", "n3"), ("n2", "n3")):
            town.machine(sender).send(receiver, sender)

    town.run(shaped(town, loss_ppm=1_000_000), replace, send, SECOND)
    assert arrivals(town) == [(MS, "n1")]
    assert arrivals(town, "n1") == []
    assert arrivals(town, "n3") == [(MS, "n1"), (MS, "n2")]


# --- connections ----------------------------------------------------------------------------------------------


class Step(NamedTuple):
    """One step of a script: what, how much, and which shape where it is one."""

    kind: str
    amount: int
    shape: LinkShape


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["write", "write", "wait", "shape", "unshape", "cut", "heal", "pause", "resume"]),
        st.integers(1, 12),
        SHAPES,
    ),
    max_size=30,
)


@given(STEPS, st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_under_any_shapes_messages_arrive_in_order_and_none_is_lost(steps: list[Step], seed: int) -> None:
    knobs = SimKnobs(connection_retry_ns=3 * MS, connection_timeout_ns=60 * SECOND, latency_mean_ns=2 * MS)
    town = Town("n1", "n2", seed=seed, knobs=knobs)
    sent: list[int] = []

    def write(step: Step) -> None:
        for _ in range(step.amount):
            town.machine("n1").write(1, len(sent))
            sent.append(len(sent))

    actions = {
        "write": write,
        "shape": lambda step: town.world.shape({THERE: step.shape, BACK: step.shape}),
        "unshape": lambda _: town.world.shape({}),
        "cut": lambda _: town.world.cut({"n2": frozenset({"n1"})}),
        "heal": lambda _: town.world.cut({}),
        "pause": lambda _: town.world.pause("n2"),
        "resume": lambda _: town.world.resume("n2"),
    }
    script = [
        step.amount * MS if step.kind == "wait" else lambda step=step: actions[step.kind](step)
        for step in steps
    ]
    town.run(
        lambda: town.machine("n1").connect("n2"),
        50 * MS,
        *script,
        lambda: town.world.cut({}),
        lambda: town.world.shape({}),
        lambda: town.world.resume("n2"),
        100 * SECOND,
    )
    assert [message for _, _, message in town.kinds("n2", "message")] == sent
    assert town.kinds("n1", "close") == town.kinds("n2", "close") == []


def written(town: Town, *messages: Any) -> Any:
    def write() -> None:
        for message in messages:
            town.machine("n1").write(1, message)

    return write


def connected(town: Town) -> list[Any]:
    return [lambda: town.machine("n1").connect("n2"), 10 * MS]


def test_a_message_takes_the_delay_longer_and_none_overtakes_it() -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(
        *connected(town),
        shaped(town, delay_us=30_000),
        written(town, "first"),
        10 * MS,
        lambda: town.world.shape({}),
        written(town, "second"),
        SECOND,
    )
    assert arrivals(town, kind="message") == [(41 * MS, "first"), (41 * MS, "second")]


def test_a_lost_packet_costs_a_stream_a_retransmission_and_all_behind_it_wait() -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(*connected(town), shaped(town, loss_ppm=200_000), written(town, *range(50)), 60 * SECOND)
    times = [time for time, _ in arrivals(town, kind="message")]
    assert [message for _, message in arrivals(town, kind="message")] == list(range(50))
    assert times == sorted(times)
    assert times[-1] - 11 * MS in {RETRANSMISSION_NS * (2**losses - 1) for losses in range(1, 7)}


def test_a_rate_paces_a_connection_and_neighbours_share_it() -> None:
    town = Town("n1", "n2", knobs=STILL)
    message = b"x" * 971
    town.run(
        *connected(town),
        lambda: town.machine("n1").connect("n2"),
        10 * MS,
        shaped(town, rate_bytes_per_s=100_000),
        written(town, *[message] * 5),
        lambda: town.machine("n1").write(2, message),
        SECOND,
    )
    by_number = [(event[0] - 21 * MS, event[2]) for event in town.events["n2"] if event[1] == "message"]
    assert by_number == [(10 * MS, 1), (20 * MS, 2), *((each * MS, 1) for each in (30, 40, 50, 60))]


def test_a_link_that_loses_everything_is_half_open_until_its_sender_gives_up() -> None:
    town = Town("n1", "n2", knobs=SimKnobs(connection_timeout_ns=SECOND, connection_retry_ns=10 * MS))
    town.run(
        *connected(town),
        shaped(town, loss_ppm=1_000_000),
        written(town, "held"),
        lambda: town.machine("n2").write(1, "the other way is open"),
        500 * MS,
        lambda: town.world.shape({}),
        SECOND,
        shaped(town, loss_ppm=1_000_000),
        written(town, "never"),
        2 * SECOND,
    )
    assert town.kinds("n1", "message", "close") == [("message", 1, "the other way is open"), ("close", 1)]
    assert town.kinds("n2", "message", "close") == [("message", 1, "held")]


def test_a_reset_breaks_both_ends_at_once_and_what_is_under_way_is_lost() -> None:
    town = Town("n1", "n2", "n3", knobs=STILL)
    counts: list[Mapping[tuple[str, str], int]] = []

    def reset() -> None:
        counts.append(town.world.reset_connections(frozenset({THERE, ("n3", "n2"), BACK})))

    town.run(
        *connected(town),
        lambda: town.machine("n1").connect("n2"),
        lambda: town.machine("n1").connect("n3"),
        10 * MS,
        written(town, "under way"),
        reset,
        MS // 2,
        reset,
        SECOND,
    )
    assert counts[0] == {THERE: 2, ("n3", "n2"): 0, BACK: 0}
    assert set(counts[1].values()) == {0}
    closed = [event for name in ("n1", "n2") for event in town.events[name] if event[1] == "close"]
    assert closed == [(20 * MS, "close", 1), (20 * MS, "close", 2)] * 2
    assert town.kinds("n2", "message") == town.kinds("n3", "close") == []


def test_a_reset_reaches_a_paused_program_when_it_goes_on_and_a_dead_one_never() -> None:
    town = Town("n1", "n2", knobs=STILL)
    town.run(
        *connected(town),
        lambda: town.world.pause("n1"),
        lambda: town.world.reset_connections(frozenset({THERE})),
        lambda: town.world.kill("n2"),
        100 * MS,
        lambda: town.world.resume("n1"),
        SECOND,
    )
    assert [event for event in town.events["n1"] if event[1] == "close"] == [(110 * MS, "close", 1)]
    assert town.kinds("n2", "close") == []


# --- probes -------------------------------------------------------------------------------------------------


def probed(
    town: Town, *links: tuple[str, str], count: int = 1_000
) -> list[Mapping[tuple[str, str], LinkReading]]:
    """What probes show under nothing, under a shape of the first link, under a cut beside it, and under nothing."""
    readings = []

    async def probe() -> None:
        readings.append(await town.world.probe_links(frozenset(links), count=count, interval_ns=MS))

    shape = LinkShape(
        delay_us=20_000,
        loss_ppm=100_000,
        duplicate_ppm=100_000,
        reorder_ppm=100_000,
        reorder_us=9_500,
        corrupt_ppm=100_000,
    )
    town.run(
        probe,
        lambda: town.world.shape({links[0]: shape}),
        probe,
        lambda: town.world.cut({links[0][1]: frozenset({links[0][0]})}),
        probe,
        lambda: town.world.cut({}),
        lambda: town.world.shape({}),
        probe,
    )
    return readings


def test_probes_show_a_shape_and_a_cut_and_nothing_where_there_is_none() -> None:
    stormy = SimKnobs(
        latency_min_ns=2 * MS, latency_mean_ns=5 * MS, loss_ppm=200_000, duplication_ppm=200_000
    )
    clean = LinkReading(
        sent=1_000, arrived=1_000, duplicates=0, overtaken=0, corrupted=0, delay_us=(2_000,) * 3
    )
    first, under_shape, under_cut, last = probed(Town("n1", "n2", knobs=stormy), THERE, BACK)
    assert first == last == {THERE: clean, BACK: clean}
    reading = under_shape[THERE]
    assert under_shape[BACK] == under_cut[BACK] == clean
    assert 860 < reading.arrived < 940
    assert 60 < reading.duplicates < 120
    assert 60 < reading.corrupted < 120
    assert 60 < reading.overtaken < 130
    assert reading.delay_us == (22_000, 22_000, 31_500)
    assert under_cut[THERE] == LinkReading(1_000, 0, 0, 0, 0, (0, 0, 0))


def test_probes_over_a_rate_queue_up_and_a_paused_nodes_machine_answers() -> None:
    town = Town("n1", "n2", knobs=STILL)
    readings: list[LinkReading] = []

    async def probe() -> None:
        found = await town.world.probe_links(frozenset({THERE}), count=100, interval_ns=MS)
        readings.append(found[THERE])

    town.run(lambda: town.world.pause("n2"), shaped(town, rate_bytes_per_s=22_800), probe)
    # One leaves every 10 ms, and one comes every ms: each waits for 9 ms more than the one before.
    assert readings == [LinkReading(100, 100, 0, 0, 0, (11_000, 11_000 + 49 * 9_000, 11_000 + 99 * 9_000))]


# --- determinism, errors ------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.sampled_from([THERE, BACK, ("n1", "n3"), ("n3", "n1")]), SHAPES), st.integers(0, 100)
)
@settings(max_examples=20, deadline=None)
def test_a_seed_gives_one_course_of_events_whatever_the_shapes(
    shapes: dict[tuple[str, str], LinkShape], seed: int
) -> None:
    def course() -> dict[str, list[tuple[Any, ...]]]:
        town = Town("n1", "n2", "n3", seed=seed)
        town.run(
            *connected(town),
            lambda: town.world.shape(shapes),
            flood(town, 30),
            written(town, *range(30)),
            100 * MS,
            lambda: town.world.reset_connections(frozenset(shapes)),
            lambda: town.world.shape({}),
            SECOND,
        )
        return town.events

    assert course() == course()


def test_while_no_shape_is_in_force_nothing_is_drawn_and_nothing_differs() -> None:
    def course(*, shape: bool) -> list[tuple[int, Any]]:
        town = Town(
            "n1", "n2", knobs=SimKnobs(loss_ppm=100_000, duplication_ppm=100_000, reorder_ppm=100_000)
        )
        if shape:
            town.run(lambda: town.world.shape({BACK: LinkShape(loss_ppm=500_000)}), flood(town), SECOND)
        else:
            town.run(lambda: town.world.shape({}), flood(town), SECOND)
        return arrivals(town)

    assert course(shape=True) == course(shape=False)


def test_links_of_nobody_are_an_error() -> None:
    town = Town("n1")
    for link in (("n1", "n9"), ("n9", "n1")):
        with pytest.raises(HarnessError, match="no simulated node 'n9'"):
            town.world.shape({link: LinkShape()})
        with pytest.raises(HarnessError, match="no simulated node 'n9'"):
            town.world.reset_connections(frozenset({link}))
        with pytest.raises(HarnessError, match="no simulated node 'n9'"):
            town.run(lambda link=link: town.world.probe_links(frozenset({link}), count=1, interval_ns=1))
    with pytest.raises(HarnessError, match="no link from 'n1' to itself"):
        town.world.shape({("n1", "n1"): LinkShape()})


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self) -> None:
        self.left = "12345"
        self.right = [1, 2.5, None]


class Plain:
    def __init__(self) -> None:
        self.body = b"123"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("four", 4),
        (b"five5", 5),
        (7, 8),
        (None, 8),
        ({"key": "value"}, 8),
        ([("a", b"bc"), {"d"}, 1], 12),
        (Slotted(), 8 + 5 + 24),
        (Plain(), 8 + 3),
    ],
)
def test_messages_are_as_long_as_what_is_in_them(message: Any, expected: int) -> None:
    assert encoded_bytes(message) == expected


def test_a_message_that_holds_itself_has_a_length_too() -> None:
    endless: list[Any] = ["x" * 100]
    endless.append(endless)
    assert encoded_bytes(endless) <= 100 * PARTS_MAX
