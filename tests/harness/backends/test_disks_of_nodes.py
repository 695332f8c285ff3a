"""Disks of nodes that fail, and power that is cut, on the backends that have hosts: one small cluster each."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from relay_target import RelayTarget, Run, ask, ask_when_up, deployed, specification

from foreshock.harness import live_runs
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.backends.docker.cluster import DockerCluster
from foreshock.harness.backends.mounts import mounts_below
from foreshock.harness.backends.on_hosts.disk_kinds import layer_mechanisms, reason_no_layer
from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.backends.process.cluster import ProcessCluster
from foreshock.harness.backends.process_identity import alive
from foreshock.harness.capabilities import Disk, DiskFault, PowerCut
from foreshock.harness.cluster import Node
from foreshock.harness.errors import FaultError
from foreshock.harness.runtime import Runtime

EVERY = frozenset({"n1", "n2"})
ENTERS_ADMIN = 1 << 21
"""CAP_SYS_ADMIN in a mask of capabilities."""


class FailingTarget(RelayTarget):
    """A node that says which error its disk met."""

    def files(self) -> dict[str, bytes]:
        program = super().files()["relay.py"].decode()
        return {"relay.py": program.replace("type(error).__name__", "str(error.errno)").encode()}


def made(backend: Any, directory: Path, runtime: Runtime) -> Any:
    asked = specification(directory, FailingTarget, nodes=2)
    return backend.cluster(msgspec.structs.replace(asked, needs=frozenset({Disk, PowerCut})), runtime)


async def disks_fail_and_are_mended(cluster: Any, node: Node) -> None:
    assert await ask_when_up(node, do="store", value="kept") == "stored"
    for kind, number in (("read-only", errno.EROFS), ("failing-sync", errno.EIO)):
        await cluster.break_disks({"n1": DiskFault(kind=kind)})
        seen = await cluster.read_disks(EVERY)
        assert errno.errorcode[number] in (seen["n1"].write, seen["n1"].sync)
        assert (seen["n2"].write, seen["n2"].sync, seen["n2"].intact) == ("ok", "ok", True)
        assert await ask(node, do="store", value=kind) == f"failed: {number}"
        await cluster.mend_disks(frozenset({"n1"}))
    await cluster.break_disks({"n1": DiskFault(kind="bit-flip", seed=7)})
    script = cluster.undo_script("disk", "n1")
    assert not (await cluster.read_disks(frozenset({"n1"})))["n1"].intact
    for _ in range(2):  # whoever heals may come twice
        assert (await cluster.host("n1").run(script)).exit_code == 0
    assert (await cluster.read_disks(frozenset({"n1"})))["n1"].intact
    with pytest.raises(FaultError, match="there is no node 'n7'"):
        await cluster.break_disks({"n7": DiskFault(kind="full")})


async def power_takes_what_was_not_synced(cluster: Any, node: Node) -> None:
    assert await ask(node, do="store", value="synced") == "stored"
    host, data = cluster.host("n1"), node.data_directory
    assert (await host.run(f"printf unsynced > {data}/other")).exit_code == 0
    await cluster.cut_power(EVERY)
    assert await cluster.running(EVERY) == dict.fromkeys(EVERY, False)
    assert await cluster.unsynced_lost(EVERY) == dict.fromkeys(EVERY, True)
    left = (await host.run(f"cat {data}/other")).stdout
    assert "unsynced".startswith(left)
    assert left != "unsynced"  # the seed of the cluster has it so
    await cluster.start(EVERY)
    assert await ask_when_up(node, do="load") == "synced"


async def the_observation_sees_a_cut_that_takes_nothing(cluster: Any) -> None:
    cluster._cuts = 0
    token = cluster._tokens["n1"]
    host, data = cluster.host("n1"), cluster.nodes[0].data_directory
    assert (await host.run(f"printf %s {token} 1<>{data}/.foreshock-unsynced")).exit_code == 0
    assert await cluster.unsynced_lost(frozenset({"n1"})) == {"n1": False}


@pytest.mark.docker
def test_disks_fail_and_lose_their_power_in_containers_and_the_node_has_no_privilege_more(
    run: Run, tmp_path: Path
) -> None:
    async def main(runtime: Runtime) -> None:
        async with deployed(made(DockerBackend(), tmp_path, runtime)) as each:
            cluster = cast(DockerCluster, each)
            node = cluster.nodes[0]
            await disks_fail_and_are_mended(cluster, node)
            await power_takes_what_was_not_synced(cluster, node)
            await the_observation_sees_a_cut_that_takes_nothing(cluster)
            pid = await cluster.process_on_host("n1")
            status = (await cluster.host("n1").run(f"cat /proc/{pid}/status")).stdout
            for mask in re.findall(r"^Cap(?:Bnd|Prm|Eff):\s*([0-9a-f]+)$", status, re.MULTILINE):
                assert not int(mask, 16) & ENTERS_ADMIN
            await cluster.fetch_logs(tmp_path / "nodes")
            assert (tmp_path / "nodes" / "n1" / "node.log").read_text().count("hello from n1") == 2

    run(main)


def test_disks_fail_and_lose_their_power_in_processes_and_nothing_stays_mounted(tmp_path: Path) -> None:
    reason = reason_no_layer()
    if reason is not None:
        pytest.skip(reason)

    async def main(runtime: Runtime) -> None:
        async with deployed(made(ProcessBackend(), tmp_path, runtime)) as each:
            cluster = cast(ProcessCluster, each)
            node = cluster.nodes[0]
            assert len(mounts_below(tmp_path)) == 2
            registered = live_runs.find_run(cluster.specification.run)
            assert registered is not None
            layer = registered.processes["n1.disk"]
            assert alive(layer)
            await disks_fail_and_are_mended(cluster, node)
            await power_takes_what_was_not_synced(cluster, node)
            await the_observation_sees_a_cut_that_takes_nothing(cluster)
        assert mounts_below(tmp_path) == []
        assert not alive(layer)

    runtime = AsyncioRuntime(1)
    runtime.run(main(runtime))
    assert not (tmp_path / "data").exists()


def test_where_there_is_no_fuse_the_reason_says_how_to_mend_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert "modprobe fuse" in str(reason_no_layer())
    assert not ProcessBackend().offers() & {Disk, PowerCut}
    assert not set(ProcessBackend().mechanisms()) & set(layer_mechanisms())
