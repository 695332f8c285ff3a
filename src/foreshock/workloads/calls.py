"""Calling a client's method, whichever kind it is."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from foreshock.harness.runtime import Runtime


async def call(runtime: Runtime, method: Callable[..., Any], *arguments: Any) -> Any:
    """Await an asynchronous method; run a blocking one in a thread of the runtime."""
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    return await runtime.call(partial(method, *arguments))
