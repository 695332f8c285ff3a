"""Fixtures of the backends' tests."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.runtime import Runtime

sys.path.append(str(Path(__file__).parent))  # for relay_target and proxied, which these tests share

from proxied import Proxied


@pytest.fixture
def run() -> Callable[[Callable[[Runtime], Any]], Any]:
    """Runs ``main(runtime)`` to its end on the wall clock."""

    def run_main(main: Callable[[Runtime], Any]) -> Any:
        runtime = AsyncioRuntime(1)
        return runtime.run(main(runtime))

    return run_main


@pytest.fixture
def proxied() -> Iterator[Proxied]:
    """A link proxy of its own."""
    proxied = Proxied()
    yield proxied
    proxied.close()


@pytest.fixture(scope="module")
def _one_proxy() -> Iterator[Proxied]:
    proxied = Proxied()
    yield proxied
    proxied.close()


@pytest.fixture
def shared(_one_proxy: Proxied) -> Proxied:
    """The link proxy of the whole module, with nothing in force and no connection of an earlier test."""
    _one_proxy.start_afresh()
    return _one_proxy
