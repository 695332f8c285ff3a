"""Doing something to many nodes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TypeVar

T = TypeVar("T")


async def run_all(steps: Sequence[Awaitable[None]]) -> None:
    """Await all steps at once; the first error ends the others and is raised by itself."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def try_all(steps: Sequence[Awaitable[T]]) -> list[T]:
    """Await all steps at once, each to its own end; then the first error, if any, is raised."""
    results = await asyncio.gather(*steps, return_exceptions=True)
    done: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done
