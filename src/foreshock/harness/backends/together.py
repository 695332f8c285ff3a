"""Doing something to many nodes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from foreshock.harness.errors import HarnessError, PartlyDone

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


def each_cleaned(runs: Iterable[str], clean: Callable[[str], list[str]]) -> list[str]:
    """Clean up after each run and say what was done; raises :class:`PartlyDone` when one or more could not be."""
    done: list[str] = []
    errors: list[str] = []
    for run in runs:
        try:
            done += clean(run)
        except HarnessError as error:
            errors.append(f"run {run} is not cleaned: {error}")
    if errors:
        raise PartlyDone(done, errors)
    return done
