"""Connections: FIFO, break whole when a node dies, stay half-open over a partition."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.simulation.programs import MS, SECOND, Town

from foreshock.harness.cluster import Endpoint
from foreshock.harness.runtime import Connection, ConnectionClosed, ConnectionRefused, TimeoutExpired
from foreshock.harness.simulation.knobs import SimKnobs

N1 = Endpoint("n1", 7000)
CUT = {"n2": frozenset({"n1"})}
BOTH_CUT = {"n2": frozenset({"n1"}), "n1": frozenset({"n2"})}


def echo(town: Town, name: str) -> None:
    machine = town.machine(name)
    town.programs[name].react["message"] = lambda number, message: machine.write(number, message)


def test_a_connection_between_programs_opens_carries_and_closes() -> None:
    town = Town("n1", "n2")
    numbers: list[int] = []

    def open_and_write() -> None:
        echo(town, "n2")
        numbers.append(town.machine("n1").connect("n2"))
        for message in range(3):
            town.machine("n1").write(numbers[0], message)

    town.run(open_and_write, 100 * MS, lambda: town.machine("n1").close(numbers[0]), 100 * MS)
    number = numbers[0]
    assert town.kinds("n2", "open", "message", "close") == [
        ("open", 1, "n1", True),
        *(("message", 1, message) for message in range(3)),
        ("close", 1),
    ]
    assert town.kinds("n1", "open", "message", "close") == [
        ("open", number, "n2", False),
        *(("message", number, message) for message in range(3)),
    ]


@pytest.mark.parametrize("destination", ["n2", "nobody"])
def test_a_connection_that_cannot_be_opened_is_closed(destination: str) -> None:
    town = Town("n1", "n2")
    numbers: list[int] = []
    town.run(
        lambda: town.world.kill("n2"),
        lambda: numbers.append(town.machine("n1").connect(destination)),
        100 * MS,
        lambda: town.machine("n1").write(numbers[0], "into the void"),
    )
    assert town.kinds("n1") == [("start",), ("close", numbers[0])]


STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "wait", "cut", "heal", "pause", "resume"]), st.integers(1, 12)),
    max_size=30,
)


@given(STEPS, st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_messages_arrive_in_order_whatever_partitions_and_pauses_do(
    steps: list[tuple[str, int]], seed: int
) -> None:
    knobs = SimKnobs(connection_retry_ns=3 * MS, connection_timeout_ns=20 * MS, latency_mean_ns=2 * MS)
    town = Town("n1", "n2", seed=seed, knobs=knobs)
    sent: list[int] = []
    numbers: list[int] = []

    def write(count: int) -> None:
        for _ in range(count):
            town.machine("n1").write(numbers[0], len(sent))
            sent.append(len(sent))

    actions = {
        "write": write,
        "cut": lambda _: town.world.cut(BOTH_CUT),
        "heal": lambda _: town.world.cut({}),
        "pause": lambda _: town.world.pause("n2"),
        "resume": lambda _: town.world.resume("n2"),
    }
    script: list[Any] = [lambda: numbers.append(town.machine("n1").connect("n2")), 50 * MS]
    for kind, amount in steps:
        script.append(
            amount * MS if kind == "wait" else lambda kind=kind, amount=amount: actions[kind](amount)
        )
    town.run(*script, lambda: town.world.cut({}), lambda: town.world.resume("n2"), SECOND)
    received = [message for _, _, message in town.kinds("n2", "message")]
    broken = ("close", 1) in town.kinds("n2")
    assert received == sent[: len(received)]
    assert broken or received == sent
    assert broken == (("close", numbers[0]) in town.kinds("n1"))
    if broken:
        assert town.kinds("n2")[-1] == ("close", 1)


def test_nothing_crosses_a_cut_until_it_heals_and_then_it_goes_on_in_order() -> None:
    town = Town("n1", "n2", knobs=SimKnobs(connection_retry_ns=10 * MS))
    numbers: list[int] = []

    def write(message: int) -> Any:
        return lambda: town.machine("n1").write(numbers[0], message)

    town.run(
        lambda: numbers.append(town.machine("n1").connect("n2")),
        100 * MS,
        write(1),
        lambda: town.world.cut(CUT),
        100 * MS,
        write(2),
        lambda: town.machine("n2").write(1, "the other way is open"),
        100 * MS,
        lambda: town.world.cut({}),
        write(3),
        100 * MS,
    )
    messages = [event for event in town.events["n2"] if event[1] == "message"]
    assert [message for *_, message in messages] == [1, 2, 3]
    assert messages[0][0] == 310 * MS
    assert town.kinds("n1", "message") == [("message", numbers[0], "the other way is open")]


def test_a_connection_half_open_for_too_long_breaks_whole() -> None:
    town = Town("n1", "n2", knobs=SimKnobs(connection_timeout_ns=SECOND))
    town.run(
        lambda: town.machine("n1").connect("n2"),
        100 * MS,
        lambda: town.world.cut(CUT),
        lambda: town.machine("n1").write(1, "held"),
        2 * SECOND,
    )
    assert town.kinds("n1", "close") == [("close", 1)]
    assert town.kinds("n2", "close", "message") == [], "the receiver cannot know yet"


def test_the_receiver_learns_of_a_broken_connection_when_the_partition_heals() -> None:
    town = Town("n1", "n2", knobs=SimKnobs(connection_timeout_ns=SECOND))
    town.run(
        lambda: town.machine("n1").connect("n2"),
        100 * MS,
        lambda: town.world.cut(CUT),
        lambda: town.machine("n1").write(1, "held"),
        2 * SECOND,
        lambda: town.world.cut({}),
        SECOND,
    )
    assert town.kinds("n2", "close", "message") == [("close", 1)]


def test_an_idle_connection_survives_a_partition() -> None:
    town = Town("n1", "n2", knobs=SimKnobs(connection_timeout_ns=SECOND))
    town.run(
        lambda: town.machine("n1").connect("n2"),
        100 * MS,
        lambda: town.world.cut(BOTH_CUT),
        10 * SECOND,
        lambda: town.world.cut({}),
        lambda: town.machine("n1").write(1, "still there"),
        SECOND,
    )
    assert town.kinds("n2", "message", "close") == [("message", 1, "still there")]


def test_a_kill_breaks_connections_behind_a_partition_only_once_it_heals() -> None:
    town = Town("n1", "n2")
    before: list[Any] = []
    town.run(
        lambda: town.machine("n1").connect("n2"),
        100 * MS,
        lambda: town.world.cut(CUT),
        lambda: town.world.kill("n1"),
        SECOND,
        lambda: before.extend(town.kinds("n2", "close")),
        lambda: town.world.cut({}),
        SECOND,
    )
    assert before == []
    assert town.kinds("n2", "close") == [("close", 1)]


def test_a_client_talks_to_a_program_in_order_and_no_partition_stops_it() -> None:
    town = Town("n1", "n2")
    received: list[Any] = []

    async def client() -> None:
        echo(town, "n1")
        town.world.cut(BOTH_CUT)
        connection = await town.runtime.connect(N1)
        for number in range(200):
            await connection.send({"n": number})
        received.extend([await connection.receive() for _ in range(200)])
        connection.close()
        await town.runtime.sleep(100 * MS)

    town.run(client)
    assert received == [{"n": number} for number in range(200)]
    assert town.kinds("n1", "open", "close") == [("open", 1, "client/1", True), ("close", 1)]


def test_a_client_gets_what_was_sent_before_the_node_was_killed_and_then_the_end() -> None:
    town = Town("n1")

    async def client() -> None:
        connection = await town.runtime.connect(N1)
        town.machine("n1").write(1, {"last": "words"})
        town.world.kill("n1")
        assert await connection.receive() == {"last": "words"}
        with pytest.raises(ConnectionClosed, match="n1 went down"):
            await connection.receive()
        with pytest.raises(ConnectionClosed):
            await connection.send({})
        with pytest.raises(ConnectionRefused, match="nothing runs there"):
            await town.runtime.connect(N1)
        town.world.start("n1")
        (await town.runtime.connect(N1)).close()

    town.run(client)


def test_a_program_that_closes_ends_the_clients_stream() -> None:
    town = Town("n1")

    async def client() -> None:
        town.programs["n1"].react["message"] = lambda number, _: town.machine("n1").close(number)
        connection = await town.runtime.connect(N1)
        await connection.send({})
        with pytest.raises(ConnectionClosed, match="n1 closed the connection"):
            await connection.receive()

    town.run(client)


def test_a_paused_node_accepts_as_its_kernel_would_but_answers_only_later() -> None:
    town = Town("n1")

    async def client() -> None:
        echo(town, "n1")
        town.world.pause("n1")
        connection = await town.runtime.connect(N1)
        await connection.send({"n": 1})
        with pytest.raises(TimeoutExpired):
            await town.runtime.timeout(connection.receive(), SECOND)
        town.world.resume("n1")
        assert await connection.receive() == {"n": 1}

    town.run(client)


def test_a_client_that_gives_up_connecting_leaves_nothing_open() -> None:
    town = Town("n1", knobs=SimKnobs(latency_min_ns=10 * MS))

    async def client() -> None:
        with pytest.raises(TimeoutExpired):
            await town.runtime.timeout(town.runtime.connect(N1), 15 * MS)
        await town.runtime.sleep(SECOND)
        assert town.machine("n1").ends == {}

    town.run(client)
    assert town.kinds("n1", "open", "close") == [("open", 1, "client/1", True), ("close", 1)]


def test_a_program_may_connect_to_a_server_of_the_harness() -> None:
    town = Town("n1")

    async def serve(connection: Connection) -> None:
        await connection.send({"you said": await connection.receive()})

    async def main() -> None:
        await town.runtime.listen(Endpoint("origin", 1), serve)
        number = town.machine("n1").connect("origin")
        town.machine("n1").write(number, "hello")
        await town.runtime.sleep(SECOND)

    town.run(main)
    assert town.kinds("n1", "open", "message", "close") == [
        ("open", 1, "origin", False),
        ("message", 1, {"you said": "hello"}),
        ("close", 1),
    ]
