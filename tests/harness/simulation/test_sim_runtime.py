"""What only the runtime in virtual time does: its clock, its limits, its errors."""

from __future__ import annotations

import os
import signal
import time

import pytest
from tests.harness.simulation.programs import SECOND, Town

from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import HarnessError
from foreshock.harness.runtime import Cancelled
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime


def test_virtual_time_is_exact_and_costs_nothing() -> None:
    runtime = SimRuntime(1)

    async def main() -> None:
        await runtime.sleep(365 * 24 * 3600 * SECOND + 1)

    before = time.monotonic()
    runtime.run(main())
    assert runtime.now() == 365 * 24 * 3600 * SECOND + 1
    assert time.monotonic() - before < 5


def test_what_is_due_at_the_same_time_happens_in_the_order_in_which_it_was_asked_for() -> None:
    runtime = SimRuntime(1)
    order: list[int] = []

    async def sleeper(number: int) -> None:
        await runtime.sleep(SECOND)
        order.append(number)

    async def main() -> None:
        for task in [runtime.spawn(sleeper(number), name=f"sleeper {number}") for number in range(50)]:
            await task.wait()

    runtime.run(main())
    assert order == list(range(50))


def test_a_deadlock_is_an_error_that_says_who_waits_and_where() -> None:
    runtime = SimRuntime(1)

    async def consumer() -> None:
        await runtime.channel(1).get()

    async def main() -> None:
        await runtime.spawn(consumer(), name="the consumer").wait()

    with pytest.raises(HarnessError) as caught:
        runtime.run(main())
    text = str(caught.value)
    assert "deadlock" in text
    assert "'the consumer' waits in" in text
    assert "consumer, test_sim_runtime.py:" in text


def test_the_task_that_ran_last_before_a_deadlock_cleans_up_too() -> None:
    runtime = SimRuntime(1)
    cleaned: list[str] = []

    async def main() -> None:
        try:
            await runtime.channel(1).get()
        finally:
            cleaned.append("main")

    with pytest.raises(HarnessError, match="deadlock"):
        runtime.run(main())
    assert cleaned == ["main"]


def test_the_task_that_ran_last_can_be_cancelled_by_a_program() -> None:
    town = Town("n1")
    ended: list[int] = []

    async def main() -> None:
        async def waiter() -> None:
            try:
                await town.runtime.sleep(10 * SECOND)
            finally:
                ended.append(town.runtime.now())

        task = town.runtime.spawn(waiter(), name="waiter")
        town.programs["n1"].react["timer"] = lambda token: task.cancel()
        town.machine("n1").set_timer(SECOND, "t")
        with pytest.raises(Cancelled):
            await task.wait()

    town.run(main)
    assert ended == [SECOND]


def test_too_many_events_are_an_error() -> None:
    runtime = SimRuntime(1, events_max=10_000)

    async def main() -> None:
        while True:
            await runtime.sleep(0)

    with pytest.raises(HarnessError, match=r"limit of 10000 events at 0 ns: 'main' waits"):
        runtime.run(main())
    assert 10_000 <= runtime.world.events <= 15_000


def test_too_much_virtual_time_is_an_error() -> None:
    runtime = SimRuntime(1, time_max_ns=SECOND)

    async def main() -> None:
        while True:
            await runtime.sleep(1_000_000)

    with pytest.raises(HarnessError, match="virtual time"):
        runtime.run(main())


def test_a_task_that_does_not_stop_is_named() -> None:
    runtime = SimRuntime(1)

    async def stubborn() -> None:
        while True:
            try:
                await runtime.channel(1).get()
            except Cancelled:
                continue

    async def main() -> None:
        runtime.spawn(stubborn(), name="the stubborn one")
        await runtime.sleep(0)

    with pytest.raises(HarnessError, match="'the stubborn one'"):
        runtime.run(main())


def test_clean_up_may_still_talk_to_the_cluster() -> None:
    town = Town("n1")
    replies: list[object] = []

    async def client() -> None:
        connection = await town.runtime.connect(Endpoint("n1", 1))
        try:
            await town.runtime.channel(1).get()
        finally:
            await connection.send({"bye": 1})
            replies.append(await connection.receive())

    async def main() -> None:
        town.programs["n1"].react["message"] = lambda number, message: town.machine("n1").write(
            number, message
        )
        town.runtime.spawn(client(), name="client")
        await town.runtime.sleep(SECOND)

    town.run(main)
    assert replies == [{"bye": 1}]


def test_a_run_may_be_followed_by_another_in_the_same_world() -> None:
    town = Town("n1")
    town.run(lambda: town.machine("n1").set_timer(SECOND, "t"))
    town.run(2 * SECOND)
    assert town.kinds("n1") == [("start",), ("timer", "t")]


def test_knobs_come_from_the_seed_unless_they_are_given() -> None:
    assert SimRuntime(5).knobs == SimRuntime(5).knobs
    assert len({str(SimRuntime(seed).knobs) for seed in range(10)}) == 10
    assert SimRuntime(5, SimKnobs()).knobs == SimKnobs()


@pytest.mark.parametrize("early", [True, False])
def test_interrupts_are_called_back_between_events_and_the_old_handlers_come_back(early: bool) -> None:
    runtime = SimRuntime(1, events_max=1_000_000)
    interrupts: list[int] = []
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]

    async def main() -> None:
        if not early:
            runtime.on_interrupt(lambda: interrupts.append(runtime.now()))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
            seen = len(interrupts)
            while len(interrupts) == seen:
                await runtime.sleep(1)

    if early:
        runtime.on_interrupt(lambda: interrupts.append(runtime.now()))
    runtime.run(main())
    assert len(interrupts) == 3
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_run_that_was_refused_leaves_the_signals_to_the_one_that_runs() -> None:
    runtime = SimRuntime(1)
    before = signal.getsignal(signal.SIGTERM)
    runtime.on_interrupt(lambda: None)

    async def nothing() -> None:
        return

    async def main() -> None:
        caught = signal.getsignal(signal.SIGTERM)
        assert caught != before
        with pytest.raises(HarnessError, match="already running"):
            runtime.run(nothing())
        assert signal.getsignal(signal.SIGTERM) == caught

    runtime.run(main())
    assert signal.getsignal(signal.SIGTERM) == before


def test_an_interrupt_that_nobody_asked_for_ends_the_run_and_still_cleans_up() -> None:
    runtime = SimRuntime(1)
    cleaned: list[bool] = []

    async def other() -> None:
        try:
            await runtime.channel(1).get()
        finally:
            cleaned.append(True)

    async def main() -> None:
        runtime.spawn(other(), name="other")
        while True:
            await runtime.sleep(1)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        runtime.run(main())
    assert cleaned == [True]
