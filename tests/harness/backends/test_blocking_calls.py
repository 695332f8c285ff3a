"""Blocking calls in threads, and those that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading

import pytest

from foreshock.harness.backends.blocking_calls import BlockingCalls


def test_calls_that_were_given_up_are_waited_for_and_not_kept_for_ever() -> None:
    async def main() -> None:
        calls = BlockingCalls("tried", 2)
        go_on = threading.Event()
        given_up = [asyncio.create_task(calls.call(lambda: go_on.wait(60))) for _ in range(50)]
        await asyncio.sleep(0)
        for task in given_up:
            task.cancel()
        assert (await asyncio.gather(*given_up, return_exceptions=True)).count(True) == 0
        assert not await calls.all_ended(0)
        go_on.set()
        async with asyncio.timeout(60):
            while len(calls._in_flight) > 1:
                assert await calls.call(lambda: "answered") == "answered"
        assert await calls.all_ended(60)
        calls.close()

    asyncio.run(main())


def test_what_a_call_raises_is_raised_also_what_no_future_takes() -> None:
    async def main() -> None:
        calls = BlockingCalls("tried", 1)
        async with asyncio.timeout(60):
            with pytest.raises(ZeroDivisionError):
                await calls.call(lambda: 1 // 0)
            with pytest.raises(RuntimeError, match="the call raised StopIteration"):
                await calls.call(lambda: next(iter(())))
        calls.close()

    asyncio.run(main())
