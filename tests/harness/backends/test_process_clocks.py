"""Clocks of nodes that are processes of this machine."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from clocked_target import ClockedTarget, check_clocks, clocked
from relay_target import Run, deployed

from foreshock.harness.backends.on_hosts import clock_tools
from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.capabilities import Clock
from foreshock.harness.errors import UsageError
from foreshock.harness.runtime import Runtime


def test_clocks_of_processes_are_skewed_seen_so_and_healed(run: Run, tmp_path: Path) -> None:
    backend = ProcessBackend()
    assert Clock in backend.offers()

    async def main(runtime: Runtime) -> None:
        cluster = backend.cluster(clocked(tmp_path), runtime)
        async with deployed(cluster):
            await check_clocks(cluster, backend)

    run(main)


def test_without_a_compiler_a_test_that_skews_such_clocks_is_refused_before_anything_is_deployed(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    async def main(runtime: Runtime) -> None:
        spec = clocked(tmp_path)
        with pytest.raises(UsageError, match=r"no C compiler here: install one .sudo apt install gcc"):
            ProcessBackend().cluster(spec, runtime)
        ProcessBackend().cluster(msgspec.structs.replace(spec, needs=frozenset()), runtime)
        monkeypatch.setattr(ClockedTarget, "clock", "port")
        ProcessBackend().cluster(spec, runtime)
        monkeypatch.setattr(clock_tools.sys, "platform", "darwin")
        monkeypatch.setattr(ClockedTarget, "clock", "preload")
        with pytest.raises(UsageError, match="on Linux alone: use --backend docker"):
            ProcessBackend().cluster(spec, runtime)

    run(main)
