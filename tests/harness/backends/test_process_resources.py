"""Nodes that are processes of this machine, starved, frozen and upgraded."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from relay_target import RelayTarget, Run, ask, ask_when_up, deployed, specification

from foreshock.harness.backends.on_hosts import control_groups
from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.backends.process.cluster import ProcessCluster
from foreshock.harness.backends.process.mechanisms import resource_mechanisms
from foreshock.harness.backends.process_identity import processes_of_run
from foreshock.harness.capabilities import Pause, Starve, Upgrade
from foreshock.harness.cluster import Node
from foreshock.harness.errors import FaultError
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime


class TwoVersions(RelayTarget):
    """Each version says which one it is."""

    versions = ("1", "2")

    def command(self, node: Node) -> Sequence[str]:
        return [*super().command(node), str(node.version)]

    def files(self) -> Mapping[str, bytes]:
        program = super().files()["relay.py"].decode()
        return {"relay.py": program.replace('return "noted"', "return sys.argv[6]").encode()}


def make(tmp_path: Path, runtime: Runtime, **changes: Any) -> ProcessCluster:
    spec = msgspec.structs.replace(specification(tmp_path, nodes=2), **changes)
    return cast(ProcessCluster, ProcessBackend().cluster(spec, runtime))


def test_descriptors_run_out_and_come_back_to_exactly_what_they_were(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(tmp_path, runtime)
        async with deployed(cluster):
            assert "files" in cluster.starve_kinds()
            nodes = frozenset({"n1"})
            before = await cluster.starved(nodes)
            undo = cluster.inverse("starve", nodes)
            await nobody_is_connected(cluster)
            await cluster.starve("files", {"n1": 1})
            assert (await cluster.starved(nodes))["n1"]["files"] < 32
            assert await ask(cluster.nodes[0], do="store", value="x") == "failed: OSError"
            await cluster.feed(nodes)
            assert await cluster.starved(nodes) == before
            assert await ask(cluster.nodes[0], do="store", value="x") == "stored"
            await cluster.starve("files", {"n1": 1})
            said = await asyncio.to_thread(ProcessBackend().heal, undo)  # as another process would
            assert said == "starve undone on n1"
            assert await cluster.starved(nodes) == before
            await cluster.kill(nodes)
            assert await cluster.starved(nodes) == {"n1": {}}
            await cluster.starve("files", {"n1": 1})
            await cluster.start(nodes)
            await cluster.starve("files", {"n1": 1})  # another process than the one that the inverse is about
            assert await cluster.starved(nodes) == before
            assert await asyncio.to_thread(ProcessBackend().heal, undo) == "starve undone on n1"
            with pytest.raises(FaultError, match="cannot be starved of 'sleep' here"):
                await cluster.starve("sleep", {"n1": 1})

    run(main)


def test_without_control_groups_nodes_are_stopped_by_signal_and_starved_of_files_alone(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_groups, "usable", lambda: False)

    async def main(runtime: Runtime) -> None:
        cluster = make(tmp_path, runtime, needs=frozenset({Pause, Starve}))
        assert cluster.pause_means() == ("signal",)
        assert cluster.starve_kinds() == {"files"}

    run(main)
    assert set(resource_mechanisms()) == {"starve/files", "upgrade"}


@pytest.mark.skipif(not control_groups.usable(), reason="this machine lets us make no control groups")
def test_a_node_in_a_group_of_its_own_is_starved_frozen_killed_frozen_and_leaves_no_group(
    run: Run, tmp_path: Path
) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(tmp_path, runtime, needs=frozenset({Pause, Starve}))
        async with deployed(cluster):
            nodes = frozenset({"n2"})
            before = await cluster.starved(nodes)
            await cluster.starve("cpu", {"n2": 8})
            await cluster.starve("memory", {"n2": 120})
            short = (await cluster.starved(nodes))["n2"]
            assert short["cpu"] == 8_000
            assert 8 << 20 <= short["memory"] < 256 << 20
            await cluster.kill(nodes)
            await cluster.start(nodes)  # within the same group, and as short as before
            assert {"cpu", "memory"} < set((await cluster.starved(nodes))["n2"])
            await cluster.feed(nodes)
            assert await cluster.starved(nodes) == before
            await cluster.pause(nodes, "freezer")
            await until_paused(cluster, nodes)
            undo = cluster.inverse("pause", nodes)
            assert "pause undone on n2" in await asyncio.to_thread(ProcessBackend().heal, undo)
            assert await cluster.paused(nodes) == {"n2": False}
            await cluster.pause(nodes, "freezer")
            await cluster.kill(nodes)
            assert await cluster.running(nodes) == {"n2": False}
        groups.append(control_groups.group_of_run(cluster.specification.run))

    groups: list[str] = []
    run(main)
    assert not list(Path(control_groups.ROOT).glob(f"*/{groups[0]}"))


@pytest.mark.skipif(not control_groups.usable(), reason="this machine lets us make no control groups")
def test_what_is_frozen_is_cleaned_up_too(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(tmp_path, runtime, needs=frozenset({Pause}))
        async with deployed(cluster):
            await cluster.pause(frozenset({"n1", "n2"}), "freezer")
            await until_paused(cluster, frozenset({"n1", "n2"}))
            said = await asyncio.to_thread(ProcessBackend().clean, cluster.specification.run)
            assert any("removed the control group" in line for line in said)
            assert processes_of_run(cluster.specification.run) == []

    run(main)


async def nobody_is_connected(cluster: ProcessCluster) -> None:
    """Wait until n1 has taken and closed every connection so far: it has its three streams and its socket then."""
    await ask(
        cluster.nodes[0], do="load"
    )  # connections are taken in order, so those before it were taken too
    pid = await cluster.process_on_host("n1")
    deadline = time.monotonic() + 20
    while len(os.listdir(f"/proc/{pid}/fd")) > 4:  # noqa: PTH208
        assert time.monotonic() < deadline, "a connection is still open"
        await asyncio.sleep(0.01)


async def until_paused(cluster: ProcessCluster, nodes: frozenset[str]) -> None:
    for _ in range(1000):
        if all((await cluster.paused(nodes)).values()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("the freezer does not freeze")


def test_an_upgraded_node_runs_the_other_version_on_the_same_data(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(tmp_path, runtime, target=TwoVersions(Options(), seed=1), needs=frozenset({Upgrade}))
        async with deployed(cluster):
            both = frozenset({"n1", "n2"})
            assert await cluster.versions(both) == {"n1": "1", "n2": "1"}
            assert await ask(cluster.nodes[1], do="store", value="kept") == "stored"
            await cluster.upgrade(frozenset({"n2"}), "2")
            assert await cluster.versions(both) == {"n1": "1", "n2": "2"}
            assert [node.version for node in cluster.nodes] == ["1", "2"]
            assert await ask_when_up(cluster.nodes[1], do="note", text="which?") == "2"
            assert await ask(cluster.nodes[1], do="load") == "kept"
            assert await ask(cluster.nodes[0], do="pass", to="n2", text="mixed", timeout=5) == "2"
            with pytest.raises(FaultError, match="the target has no version '3'"):
                await cluster.upgrade(both, "3")

    run(main)
