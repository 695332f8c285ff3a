"""Clocks of nodes in containers, by the shim that their image has."""

from __future__ import annotations

from pathlib import Path

import pytest
from clocked_target import check_clocks, clocked
from relay_target import Run, deployed

from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.capabilities import Clock
from foreshock.harness.runtime import Runtime

pytestmark = pytest.mark.docker


def test_clocks_in_containers_are_skewed_seen_so_and_healed(run: Run, tmp_path: Path) -> None:
    backend = DockerBackend()
    assert Clock in backend.offers()

    async def main(runtime: Runtime) -> None:
        cluster = backend.cluster(clocked(tmp_path), runtime)
        async with deployed(cluster):
            await check_clocks(cluster, backend)

    run(main)
