"""Fixtures of the backends' tests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.runtime import Runtime

sys.path.append(str(Path(__file__).parent))  # for relay_target, the target that these tests share


@pytest.fixture
def run() -> Callable[[Callable[[Runtime], Any]], Any]:
    """Runs ``main(runtime)`` to its end on the wall clock."""

    def run_main(main: Callable[[Runtime], Any]) -> Any:
        runtime = AsyncioRuntime(1)
        return runtime.run(main(runtime))

    return run_main
