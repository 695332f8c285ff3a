"""Clients that stand still: nothing of them moves, the world and its clock go on, and all is noticed afterwards."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.capabilities import Stall
from foreshock.harness.cluster import Endpoint
from foreshock.harness.runtime import Runtime, TimeoutExpired
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.stalls import Stalls

MS = 1_000_000
ONLY = frozenset({0})
Story = Callable[[Runtime, Stalls], Coroutine[Any, Any, Any]]


def in_both(story: Story) -> list[Any]:
    """The story's outcome in virtual time and on the wall clock."""
    return [
        runtime.run(story(runtime, Stalls(runtime, 2)))
        for runtime in (SimRuntime(1, SimKnobs()), AsyncioRuntime(1))
    ]


def in_virtual_time(story: Story) -> Any:
    runtime = SimRuntime(1, SimKnobs())
    return runtime.run(story(runtime, Stalls(runtime, 2)))


def test_a_stalled_process_does_nothing_between_two_awaits_and_goes_on_where_it_was() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> list[str]:
        done: list[str] = []
        doorbell = runtime.channel(1)

        async def client() -> str:
            done.append("began")
            await doorbell.get()
            done.append("rung")
            await runtime.sleep(0)
            done.append("ended")
            return "result"

        task = runtime.spawn(stalls.held(0, client()), name="client")
        await runtime.sleep(0)
        await runtime.sleep(0)
        stalls.stall(ONLY, 10**15)
        doorbell.put(None)
        for _ in range(10):
            await runtime.sleep(0)
        done.append("released")
        stalls.release(ONLY)
        done.append(await task.wait())
        return done

    expected = ["began", "released", "rung", "ended", "result"]
    assert in_both(story) == [expected, expected]


def test_an_operation_that_is_given_to_a_stalled_process_does_not_begin() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> list[str]:
        done: list[str] = []

        async def client() -> None:
            done.append("began")

        stalls.stall(ONLY, 10**15)
        task = runtime.spawn(stalls.held(0, client()), name="client")
        for _ in range(5):
            await runtime.sleep(0)
        done.append("released")
        stalls.release_all()
        await task.wait()
        return done

    assert in_both(story) == [["released", "began"]] * 2


def test_what_a_client_spawns_and_serves_stands_still_as_well_and_other_processes_do_not() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> list[tuple[str, int]]:
        beats: list[tuple[str, int]] = []
        own, other = stalls.runtime(0), stalls.runtime(1)

        async def watchdog(port: Runtime, name: str) -> None:
            for _ in range(3):
                await port.sleep(10 * MS)
                beats.append((name, port.now() // MS))

        async def serve(connection: Any) -> None:
            await connection.receive()
            beats.append(("served", runtime.now() // MS))

        place = Endpoint("doctor", 1)
        await own.listen(place, serve)
        tasks = [own.spawn(watchdog(own, "own"), name="w"), other.spawn(watchdog(other, "other"), name="w")]
        await runtime.sleep(15 * MS)
        stalls.stall(ONLY, 50 * MS)
        connection = await other.connect(place)
        await connection.send({"how": "are you"})
        for task in tasks:
            await task.wait()
        return beats

    beats = in_virtual_time(story)
    assert [at for name, at in beats if name == "other"] == [10, 20, 30]
    assert [at for name, at in beats if name == "own"] == [10, 65, 75]
    assert [at for name, at in beats if name == "served"] == [65]


def test_time_outs_that_pass_in_a_stall_are_noticed_after_it_once_and_by_the_right_one() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> list[str]:
        noticed: list[str] = []

        async def inner(outer_first: bool) -> None:
            try:
                await runtime.timeout(runtime.sleep(10**13), (20 if outer_first else 5) * MS)
            except TimeoutExpired:
                noticed.append("inner")
            await runtime.sleep(10**13)

        async def client() -> str:
            for outer_first in (False, True):
                try:
                    await runtime.timeout(inner(outer_first), 10 * MS)
                except TimeoutExpired:
                    noticed.append("outer")
                await runtime.sleep(50 * MS)  # no late alarm may come in here
            return "sound"

        task = runtime.spawn(stalls.held(0, client()), name="client")
        for _ in range(2):
            await runtime.sleep(MS)
            stalls.stall(ONLY, 10**12)
            await runtime.sleep(40 * MS)
            assert noticed in ([], ["inner", "outer"], ["outer"])
            stalls.release(ONLY)
            await runtime.sleep(52 * MS)
        noticed.append(await task.wait())
        return noticed

    assert in_virtual_time(story) == ["inner", "outer", "outer", "sound"]


def test_asyncio_tells_a_stalled_client_of_its_time_out_after_the_stall() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> Any:
        async def client() -> str:
            try:
                await runtime.timeout(runtime.timeout(runtime.sleep(10**13), 2 * MS), MS)
            except TimeoutExpired:
                await runtime.sleep(0)
                return "timed out"
            return "not at all"

        task = runtime.spawn(stalls.held(0, client()), name="client")
        await runtime.sleep(0)
        stalls.stall(ONLY, 20 * MS)
        start_ns = runtime.now()
        return await task.wait(), runtime.now() - start_ns >= 20 * MS

    runtime = AsyncioRuntime(1)
    assert runtime.run(story(runtime, Stalls(runtime, 2))) == ("timed out", True)


def test_a_cancelled_client_ends_when_it_goes_on() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> bool:
        async def client() -> None:
            await runtime.sleep(10**13)

        task = runtime.spawn(stalls.held(0, client()), name="client")
        await runtime.sleep(0)
        stalls.stall(ONLY, 10**15)
        task.cancel()
        for _ in range(3):
            await runtime.sleep(0)
        assert not task.done()
        stalls.release(ONLY)
        for _ in range(5):
            await runtime.sleep(0)
        return task.done()

    assert in_both(story) == [True, True]


def test_a_stall_ends_by_itself_and_a_longer_one_over_it_lasts_longer() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> list[bool]:
        seen = []
        stalls.stall(ONLY, 10 * MS)
        await runtime.sleep(5 * MS)
        stalls.stall(ONLY, 20 * MS)
        for wait_ms in (6, 13, 2):
            await runtime.sleep(wait_ms * MS)
            seen.append(stalls.is_stalled(0))
        assert stalls.stood_still_ns(0) == 25 * MS
        assert stalls.stood_still_ns(1) == 0
        return seen

    assert in_virtual_time(story) == [True, True, False]


def test_a_run_that_fails_while_a_client_stands_still_ends() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> None:
        async def client() -> None:
            await runtime.sleep(10**13)

        runtime.spawn(stalls.held(0, client()), name="client")
        await runtime.sleep(0)
        stalls.stall(ONLY, 10**15)
        try:
            raise ValueError("a bug")
        finally:
            stalls.release_all()

    with pytest.raises(ValueError, match="a bug"):
        in_virtual_time(story)


def test_the_newest_process_of_a_thread_is_the_one_that_has_a_client() -> None:
    async def story(runtime: Runtime, stalls: Stalls) -> Any:
        for process in (0, 1, 2):
            stalls.runtime(process)
        assert isinstance(stalls, Stall)
        return stalls.processes()

    assert in_virtual_time(story) == (1, 2)
