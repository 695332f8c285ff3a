"""The directory that the nodes of a target share: it outlives every one of them, and ends with the run."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from relay_target import RelayTarget, Run, ask_when_up, deployed, specification

from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.backends.docker.engine import connect
from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.capabilities import Kill
from foreshock.harness.cluster import Cluster, Node, capability
from foreshock.harness.runtime import Runtime


class SharingTarget(RelayTarget):
    """Nodes that store their value where all of them see it."""

    shared_directory = True

    def command(self, node: Node) -> Sequence[str]:
        assert node.shared_directory is not None
        *command, _data, peers = super().command(node)
        return [*command, node.shared_directory, peers]


async def check_sharing(cluster: Cluster) -> None:
    """What one node has stored another one loads, also after all of them were dead at once."""
    n1, n2 = cluster.nodes
    assert await ask_when_up(n1, do="store", value="ours") == "stored"
    assert await ask_when_up(n2, do="load") == "ours"
    kill = capability(cluster, Kill)  # type: ignore[type-abstract]
    assert kill is not None
    both = frozenset({"n1", "n2"})
    await kill.kill(both)
    await kill.start(both)
    assert await ask_when_up(n2, do="load") == "ours"


def test_processes_share_a_directory_of_the_run_which_is_removed_with_it(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = ProcessBackend().cluster(specification(tmp_path, SharingTarget, nodes=2), runtime)
        async with deployed(cluster):
            await check_sharing(cluster)
            assert {node.shared_directory for node in cluster.nodes} == {
                str(tmp_path / "data" / "shared.directory")
            }

    run(main)
    assert not (tmp_path / "data").exists()


def test_a_target_that_does_not_ask_for_it_gets_none(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = ProcessBackend().cluster(specification(tmp_path, nodes=1), runtime)
        async with deployed(cluster):
            assert cluster.nodes[0].shared_directory is None
            assert not (tmp_path / "data" / "shared.directory").exists()

    run(main)


@pytest.mark.docker
def test_containers_share_memory_of_their_host_which_is_removed_with_the_run(
    run: Run, tmp_path: Path
) -> None:
    spec = specification(tmp_path, SharingTarget, nodes=2)
    with contextlib.closing(connect()) as client:

        async def main(runtime: Runtime) -> None:
            cluster = DockerBackend().cluster(spec, runtime)
            async with deployed(cluster):
                (volume,) = client.volumes(filters={"name": f"foreshock-{spec.run}-shared"})["Volumes"]
                assert volume["Options"]["type"] == "tmpfs"
                await check_sharing(cluster)

        run(main)
        assert not client.volumes(filters={"label": f"foreshock.run={spec.run}"})["Volumes"]
