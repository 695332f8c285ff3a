"""What both runtimes promise, held by one set of tests run against both."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import HarnessError
from foreshock.harness.runtime import (
    Cancelled,
    Connection,
    ConnectionClosed,
    ConnectionRefused,
    Runtime,
    TimeoutExpired,
)
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime

CANCELLED = (Cancelled, asyncio.CancelledError)
MS = 1_000_000

AnyRuntime = SimRuntime | AsyncioRuntime


@pytest.fixture(params=["sim", "asyncio"])
def runtime(request: pytest.FixtureRequest) -> AnyRuntime:
    return SimRuntime(1, SimKnobs()) if request.param == "sim" else AsyncioRuntime(1)


def check(port: Callable[[Runtime], Runtime], runtime: AnyRuntime) -> None:
    assert port(runtime) is runtime


def free_address() -> Endpoint:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Endpoint("127.0.0.1", probe.getsockname()[1])


async def forever(runtime: Runtime) -> None:
    await runtime.channel(1).get()


def test_each_satisfies_the_port(runtime: AnyRuntime) -> None:
    check(lambda port: port, runtime)


def test_run_returns_the_result_and_raises_the_exception(runtime: AnyRuntime) -> None:
    async def value() -> int:
        return 7

    async def fails() -> None:
        raise ValueError("told you")

    assert runtime.run(value()) == 7
    with pytest.raises(ValueError, match="told you"):
        runtime.run(fails())


def test_a_run_inside_a_run_is_refused(runtime: AnyRuntime) -> None:
    async def main() -> None:
        with pytest.raises(HarnessError, match="already running"):
            runtime.run(forever(runtime))

    runtime.run(main())


def test_a_sleep_lasts_at_least_as_long_as_asked(runtime: AnyRuntime) -> None:
    async def main() -> list[int]:
        passed = []
        for duration_ns in (1, 300_000, 2 * MS, 5_400_000):
            before = runtime.now()
            await runtime.sleep(duration_ns)
            passed.append(runtime.now() - before - duration_ns)
        return passed

    assert min(runtime.run(main())) >= 0


def test_a_sleep_of_zero_lets_the_others_run_first(runtime: AnyRuntime) -> None:
    async def main() -> list[str]:
        order: list[str] = []

        async def other() -> None:
            order.append("other")

        task = runtime.spawn(other(), name="other")
        await runtime.sleep(0)
        await runtime.sleep(0)
        order.append("main")
        assert task.done()
        return order

    assert runtime.run(main()) == ["other", "main"]


def test_wait_gives_the_result_or_the_exception_of_a_task(runtime: AnyRuntime) -> None:
    async def main() -> None:
        async def answer() -> int:
            await runtime.sleep(MS)
            return 42

        async def fails() -> None:
            raise KeyError("gone")

        task = runtime.spawn(answer(), name="answer")
        assert not task.done()
        assert await task.wait() == 42
        assert await task.wait() == 42
        with pytest.raises(KeyError):
            await runtime.spawn(fails(), name="fails").wait()

    runtime.run(main())


def test_a_task_that_fails_while_nobody_waits_ends_the_run(runtime: AnyRuntime) -> None:
    cleaned = []

    async def main() -> None:
        async def fails() -> None:
            await runtime.sleep(MS)
            raise ValueError("unseen")

        runtime.spawn(fails(), name="careless")
        try:
            await forever(runtime)
        finally:
            cleaned.append(True)

    with pytest.raises(ValueError, match="unseen") as caught:
        runtime.run(main())
    assert "careless" in caught.value.__notes__[0]
    assert cleaned == [True]


def test_a_failure_is_not_lost_when_its_waiter_is_cancelled_at_the_same_moment(runtime: AnyRuntime) -> None:
    async def main() -> None:
        gate = runtime.channel(1)

        async def fails() -> None:
            await gate.get()
            raise ValueError("nearly unseen")

        failing = runtime.spawn(fails(), name="failing")
        waiter = runtime.spawn(failing.wait(), name="waiter")
        await runtime.sleep(MS)
        gate.put(None)
        waiter.cancel()
        await forever(runtime)

    with pytest.raises(ValueError, match="nearly unseen"):
        runtime.run(main())


def test_cancel_stops_a_task_at_its_await_and_is_idempotent(runtime: AnyRuntime) -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def worker() -> None:
            try:
                await forever(runtime)
            except CANCELLED:
                seen.append("cancelled")
                raise
            finally:
                await runtime.sleep(0)
                seen.append("cleaned")

        task = runtime.spawn(worker(), name="worker")
        await runtime.sleep(0)
        task.cancel()
        task.cancel()
        with pytest.raises(CANCELLED):
            await task.wait()
        assert task.done()
        task.cancel()
        return seen

    assert runtime.run(main()) == ["cancelled", "cleaned"]


def test_cancelling_a_task_before_it_starts_runs_none_of_it(runtime: AnyRuntime) -> None:
    async def main() -> list[int]:
        ran: list[int] = []

        async def worker() -> None:
            ran.append(1)

        task = runtime.spawn(worker(), name="worker")
        task.cancel()
        with pytest.raises(CANCELLED):
            await task.wait()
        return ran

    assert runtime.run(main()) == []


def test_a_task_that_cancels_itself_stops_at_its_next_await(runtime: AnyRuntime) -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        tasks: list[Any] = []

        async def worker() -> None:
            await runtime.sleep(0)
            tasks[0].cancel()
            seen.append("still here")
            await runtime.sleep(0)
            seen.append("never")

        tasks.append(runtime.spawn(worker(), name="worker"))
        with pytest.raises(CANCELLED):
            await tasks[0].wait()
        return seen

    assert runtime.run(main()) == ["still here"]


def test_cancelling_the_waiter_leaves_the_task_running(runtime: AnyRuntime) -> None:
    async def main() -> int:
        async def slow() -> int:
            await runtime.sleep(20 * MS)
            return 5

        task = runtime.spawn(slow(), name="slow")
        with pytest.raises(TimeoutExpired):
            await runtime.timeout(task.wait(), MS)
        return await task.wait()

    assert runtime.run(main()) == 5


def test_every_task_is_cancelled_when_main_ends(runtime: AnyRuntime) -> None:
    seen = []

    async def main() -> None:
        async def background() -> None:
            try:
                await forever(runtime)
            finally:
                seen.append("stopped")

        runtime.spawn(background(), name="background")
        await runtime.sleep(0)

    runtime.run(main())
    assert seen == ["stopped"]


def test_an_exception_in_the_clean_up_of_a_task_is_not_lost(runtime: AnyRuntime) -> None:
    async def main() -> None:
        async def background() -> None:
            try:
                await forever(runtime)
            finally:
                raise ValueError("could not clean up")

        runtime.spawn(background(), name="background")
        await runtime.sleep(0)

    with pytest.raises(ValueError, match="could not clean up"):
        runtime.run(main())


def test_timeout_passes_results_and_exceptions_through(runtime: AnyRuntime) -> None:
    async def main() -> None:
        async def value() -> int:
            await runtime.sleep(MS)
            return 3

        async def fails() -> None:
            raise TimeoutError("an error of the operating system's, not ours")

        assert await runtime.timeout(value(), 10_000 * MS) == 3
        with pytest.raises(TimeoutError):
            await runtime.timeout(fails(), 10_000 * MS)

    runtime.run(main())


def test_timeout_cancels_what_takes_too_long(runtime: AnyRuntime) -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def slow() -> None:
            try:
                await forever(runtime)
            finally:
                seen.append("cleaned")

        before = runtime.now()
        with pytest.raises(TimeoutExpired):
            await runtime.timeout(slow(), 3 * MS)
        assert runtime.now() - before >= 2 * MS
        await runtime.sleep(0)
        return seen

    assert runtime.run(main()) == ["cleaned"]


def test_of_nested_timeouts_the_one_that_expired_is_raised_at_its_own_level(runtime: AnyRuntime) -> None:
    async def main() -> list[str]:
        seen: list[str] = []

        async def inner() -> None:
            try:
                await runtime.timeout(forever(runtime), 10_000 * MS)
            except TimeoutExpired:
                seen.append("inner")
                raise

        async def outer() -> None:
            with contextlib.suppress(TimeoutExpired):
                await runtime.timeout(forever(runtime), MS)
                seen.append("not reached")
            await runtime.sleep(0)
            seen.append("went on after an inner timeout")

        with pytest.raises(TimeoutExpired):
            await runtime.timeout(inner(), 2 * MS)
        await runtime.timeout(outer(), 10_000 * MS)
        return seen

    assert runtime.run(main()) == ["went on after an inner timeout"]


def test_a_cancellation_inside_a_timeout_stays_a_cancellation(runtime: AnyRuntime) -> None:
    async def main() -> None:
        async def worker() -> None:
            await runtime.timeout(forever(runtime), 10_000 * MS)

        task = runtime.spawn(worker(), name="worker")
        await runtime.sleep(0)
        task.cancel()
        with pytest.raises(CANCELLED):
            await task.wait()

    runtime.run(main())


def test_a_cancellation_outlives_a_timeout_that_passes_during_the_clean_up(runtime: AnyRuntime) -> None:
    async def main() -> None:
        async def cleans_up_slowly() -> None:
            try:
                await forever(runtime)
            finally:
                await runtime.sleep(60 * MS)

        async def worker() -> None:
            await runtime.timeout(cleans_up_slowly(), 30 * MS)

        task = runtime.spawn(worker(), name="worker")
        await runtime.sleep(0)
        task.cancel()
        with pytest.raises(CANCELLED):
            await task.wait()

    runtime.run(main())


def test_a_result_that_a_cancelled_body_still_returns_is_kept(runtime: AnyRuntime) -> None:
    async def main() -> str:
        async def stubborn() -> str:
            with contextlib.suppress(*CANCELLED):
                await forever(runtime)
            return "anyway"

        result = await runtime.timeout(stubborn(), MS)
        await runtime.sleep(MS)
        return result

    assert runtime.run(main()) == "anyway"


def test_a_channel_is_first_in_first_out_and_bounded(runtime: AnyRuntime) -> None:
    async def main() -> None:
        channel = runtime.channel(2)
        channel.put("a")
        channel.put("b")
        assert len(channel) == 2
        with pytest.raises(OverflowError, match="holds 2 items"):
            channel.put("c")
        assert [await channel.get(), await channel.get()] == ["a", "b"]

    runtime.run(main())


def test_no_item_is_lost_when_the_one_it_woke_is_cancelled(runtime: AnyRuntime) -> None:
    async def main() -> str:
        channel = runtime.channel(4)
        first = runtime.spawn(channel.get(), name="first")
        second = runtime.spawn(channel.get(), name="second")
        await runtime.sleep(0)
        channel.put("item")
        first.cancel()
        with pytest.raises(CANCELLED):
            await first.wait()
        return str(await second.wait())

    assert runtime.run(main()) == "item"


def test_select_takes_from_the_first_channel_that_has_an_item(runtime: AnyRuntime) -> None:
    async def main() -> None:
        left, right = runtime.channel(4), runtime.channel(4)
        right.put("r")
        assert await runtime.select([left, right]) == (1, "r")
        left.put("l")
        right.put("r2")
        assert await runtime.select([left, right]) == (0, "l")
        assert await runtime.select([left, right], 0) == (1, "r2")
        assert await runtime.select([left, right], 0) is None

    runtime.run(main())


def test_select_waits_for_an_item_or_until_its_time_is_up(runtime: AnyRuntime) -> None:
    async def main() -> None:
        left, right = runtime.channel(4), runtime.channel(4)

        async def later() -> None:
            await runtime.sleep(2 * MS)
            right.put("late")

        runtime.spawn(later(), name="later")
        assert await runtime.select([left, right], 10_000 * MS) == (1, "late")
        before = runtime.now()
        assert await runtime.select([left, right], 1_300_000) is None
        assert runtime.now() - before >= 1_300_000
        left.put("after a time-out nothing is stolen")
        assert len(left) == 1

    runtime.run(main())


def test_two_selectors_share_channels_without_losing_an_item(runtime: AnyRuntime) -> None:
    async def main() -> list[Any]:
        left, right = runtime.channel(4), runtime.channel(4)
        tasks = [runtime.spawn(runtime.select([left, right]), name=f"selector {i}") for i in range(2)]
        await runtime.sleep(0)
        left.put("l")
        right.put("r")
        return [await task.wait() for task in tasks]

    assert sorted(runtime.run(main())) == [(0, "l"), (1, "r")]


async def echo(connection: Connection) -> None:
    while True:
        await connection.send({"echo": await connection.receive()})


def test_a_connection_carries_messages_both_ways_in_order(runtime: AnyRuntime) -> None:
    async def main() -> None:
        address = free_address()
        close = await runtime.listen(address, echo)
        connection = await runtime.connect(address)
        for number in range(100):
            await connection.send({"n": number})
        for number in range(100):
            assert await connection.receive() == {"echo": {"n": number}}
        connection.close()
        connection.close()
        with pytest.raises(ConnectionClosed):
            await connection.send({})
        with pytest.raises(ConnectionClosed):
            await connection.receive()
        close()

    runtime.run(main())


def test_what_was_sent_before_a_close_still_arrives_and_then_the_end(runtime: AnyRuntime) -> None:
    async def main() -> None:
        address = free_address()

        async def serve(connection: Connection) -> None:
            await connection.send({"last": 1})

        await runtime.listen(address, serve)
        connection = await runtime.connect(address)
        assert await connection.receive() == {"last": 1}
        with pytest.raises(ConnectionClosed):
            await connection.receive()

    runtime.run(main())


def test_a_connection_to_nobody_is_refused(runtime: AnyRuntime) -> None:
    async def main() -> None:
        address = free_address()
        with pytest.raises(ConnectionRefused):
            await runtime.connect(address)
        close = await runtime.listen(address, echo)
        close()
        with pytest.raises(ConnectionRefused):
            await runtime.connect(address)

    runtime.run(main())


def test_an_address_that_is_taken_is_a_harness_error(runtime: AnyRuntime) -> None:
    async def main() -> None:
        address = free_address()
        await runtime.listen(address, echo)
        with pytest.raises(HarnessError):
            await runtime.listen(address, echo)

    runtime.run(main())


def test_a_server_that_raises_ends_the_run(runtime: AnyRuntime) -> None:
    async def main() -> None:
        address = free_address()

        async def serve(connection: Connection) -> None:
            await connection.receive()
            raise ValueError("a bug in a server of the harness")

        await runtime.listen(address, serve)
        connection = await runtime.connect(address)
        await connection.send({})
        await forever(runtime)

    with pytest.raises(ValueError, match="a bug in a server"):
        runtime.run(main())


def test_a_receive_that_timed_out_loses_no_message(runtime: AnyRuntime) -> None:
    async def main() -> None:
        address = free_address()

        async def serve(connection: Connection) -> None:
            await connection.receive()
            await connection.send({"late": True})
            await connection.receive()

        await runtime.listen(address, serve)
        connection = await runtime.connect(address)
        with pytest.raises(TimeoutExpired):
            await runtime.timeout(connection.receive(), MS)
        await connection.send({})
        assert await connection.receive() == {"late": True}

    runtime.run(main())


def test_call_gives_the_result_or_the_exception_of_a_blocking_function(runtime: AnyRuntime) -> None:
    def fails() -> None:
        raise OSError("no such device")

    async def main() -> None:
        assert await runtime.call(lambda: 6 * 7) == 42
        with pytest.raises(OSError, match="no such device"):
            await runtime.call(fails)

    runtime.run(main())


def test_a_named_stream_goes_on_where_it_was_and_depends_on_the_seed_alone(runtime: AnyRuntime) -> None:
    first = [runtime.random("clients").bits(32) for _ in range(3)]
    assert runtime.random("clients") is runtime.random("clients")
    other = SimRuntime(1) if isinstance(runtime, AsyncioRuntime) else AsyncioRuntime(1)
    assert [other.random("clients").bits(32) for _ in range(3)] == first
    assert AsyncioRuntime(2).random("clients").bits(32) != first[0]


def test_tens_of_thousands_of_items_pass_between_two_coroutines(runtime: AnyRuntime) -> None:
    async def main() -> int:
        requests, replies = runtime.channel(1), runtime.channel(1)

        async def server() -> None:
            while True:
                replies.put(await requests.get() + 1)

        runtime.spawn(server(), name="server")
        total = 0
        for _ in range(20_000):
            requests.put(total)
            found = await runtime.select([replies], 1_000 * MS)
            assert found is not None
            total = found[1]
        return total

    main_coroutine: Coroutine[Any, Any, int] = main()
    assert runtime.run(main_coroutine) == 20_000
