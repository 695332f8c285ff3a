"""The docker backend with real containers."""

from __future__ import annotations

import asyncio
import contextlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import docker
import pytest
from relay_target import (
    DeafTarget,
    ExitingTarget,
    RelayTarget,
    Run,
    ask,
    ask_when_up,
    deployed,
    specification,
)

from foreshock.harness import live_runs
from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.backends.docker.cluster import DockerCluster
from foreshock.harness.backends.docker.engine import connect
from foreshock.harness.backends.docker.images import ImageBuilder
from foreshock.harness.capabilities import Kill, Partition, Pause
from foreshock.harness.cluster import ClusterSpecification, Node, capability
from foreshock.harness.errors import DeployError, FaultError, HarnessError
from foreshock.harness.runtime import Runtime

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def client() -> Iterator[docker.APIClient]:
    with contextlib.closing(connect()) as client:
        yield client


def left_of(client: docker.APIClient, run: str) -> list[str]:
    """Everything in the engine that carries the run's label."""
    wanted = {"label": f"foreshock.run={run}"}
    return [
        *(each["Names"][0] for each in client.containers(all=True, filters=wanted)),
        *(each["Name"] for each in client.volumes(filters=wanted)["Volumes"] or []),
        *(each["Name"] for each in client.networks(filters=wanted)),
    ]


def made(spec: ClusterSpecification, runtime: Runtime) -> DockerCluster:
    return cast(DockerCluster, DockerBackend().cluster(spec, runtime))


async def check_partitions(cluster: DockerCluster) -> None:
    n1, n2 = cluster.nodes[:2]
    names = [node.name for node in cluster.nodes]
    pairs = frozenset((a, b) for a in names for b in names if a != b)
    assert all((await cluster.heard(pairs)).values())
    await cluster.cut({"n2": frozenset({"n1"})})
    assert [p for p, got in (await cluster.heard(pairs)).items() if not got] == [("n1", "n2")]
    assert await ask(n1, do="pass", to="n2", text="lost", timeout=0.3) == "failed: TimeoutError"
    assert await ask(n2, do="received") == []
    await cluster.cut({"n3": frozenset({"n4", "n5"})})
    cut = sorted(p for p, got in (await cluster.heard(pairs)).items() if not got)
    assert cut == [("n4", "n3"), ("n5", "n3")]
    with pytest.raises(FaultError, match="no node 'n9'"):
        await cluster.cut({"n1": frozenset({"n9"})})


async def check_kill_keeps_address_data_and_rules(cluster: DockerCluster) -> None:
    n3, nodes = cluster.nodes[2], frozenset({"n3"})
    assert await ask(n3, do="store", value="kept") == "stored"
    await cluster.kill(nodes)
    await cluster.kill(nodes)
    assert await cluster.running(frozenset({"n1", "n3"})) == {"n1": True, "n3": False}
    assert (await cluster.states())["n3"] == "killed"
    await cluster.start(nodes)
    await cluster.start(nodes)
    assert await ask_when_up(n3, do="load") == "kept"
    assert await cluster.heard(frozenset({("n4", "n3"), ("n1", "n3")})) == {
        ("n1", "n3"): True,
        ("n4", "n3"): False,
    }
    await cluster.cut({})
    assert await cluster.heard(frozenset({("n4", "n3")})) == {("n4", "n3"): True}


async def check_pause(cluster: DockerCluster) -> None:
    nodes = frozenset({"n4"})
    await cluster.pause(nodes)
    await cluster.pause(nodes)
    assert await cluster.paused(frozenset({"n4", "n5"})) == {"n4": True, "n5": False}
    assert (await cluster.states())["n4"] == "paused"
    await cluster.resume(nodes)
    await cluster.resume(nodes)
    assert await cluster.paused(nodes) == {"n4": False}
    await cluster.pause(nodes)
    await cluster.kill(nodes)
    assert await cluster.running(nodes) == {"n4": False}
    await cluster.pause(nodes)
    await cluster.resume(nodes)
    await cluster.start(nodes)
    await cluster.pause(nodes, "signal")
    assert await cluster.paused(nodes) == {"n4": True}
    assert (await cluster.states())["n4"] == "running"  # to the engine it runs
    await cluster.resume(nodes)
    assert await cluster.paused(nodes) == {"n4": False}
    with pytest.raises(FaultError, match="cannot be paused by 'trickery' here"):
        await cluster.pause(nodes, "trickery")
    await cluster.pause(nodes)  # and teardown takes away what is frozen


async def check_starvation(cluster: DockerCluster) -> None:
    nodes = frozenset({"n2"})
    before = await cluster.starved(nodes)
    assert set(before["n2"]) == {"files"}
    undo = cluster.inverse("starve", nodes)
    await cluster.starve("cpu", {"n2": 7})
    await cluster.starve("files", {"n2": 1})
    await cluster.starve("memory", {"n2": 110})
    short = (await cluster.starved(nodes))["n2"]
    assert short["cpu"] == 7_000
    assert 4 <= short["files"] < before["n2"]["files"]
    assert 6 << 20 <= short["memory"] < 64 << 20
    # The connection takes the last descriptor, and none is left for the file.
    assert await ask(cluster.nodes[1], do="store", value="x") == "failed: OSError"
    await cluster.kill(nodes)
    assert set((await cluster.starved(nodes))["n2"]) == {
        "cpu",
        "memory",
    }  # what is the container's outlives a process
    await cluster.feed(nodes)
    await cluster.start(nodes)
    assert await cluster.starved(nodes) == before
    await cluster.starved(nodes)
    await cluster.starve("cpu", {"n2": 5})
    await cluster.starve("files", {"n2": 3})
    again = cluster.inverse("starve", nodes)
    assert (
        DockerBackend().heal(undo) == "fed n2, starve undone on n2"
    )  # of a process that is gone, and no harm to it
    assert (await cluster.starved(nodes))["n2"].keys() == {"files"}
    assert "starve undone" in DockerBackend().heal(again)
    assert await cluster.starved(nodes) == before


async def check_host(cluster: DockerCluster, scratch: Path) -> None:
    host = cluster.host("n1")
    result = await host.run("echo out; printf err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err")
    assert (await host.run("echo 'open; $(")).exit_code != 0
    assert (await host.run("seq 100000 | tail -n 1")).stdout == "100000\n"
    with pytest.raises(HarnessError, match=r"did not end within 0.2 s"):
        await host.run("sleep 5", timeout_ms=200)
    assert (await host.run("echo again")).stdout == "again\n"
    await host.upload(b"0123456789", "/run/note", mode=0o600)
    assert (await host.run("stat -c %a /run/note")).stdout == "600\n"
    await host.download("/run/note", scratch / "note", limit_bytes=4)
    assert (scratch / "note").read_bytes() == b"6789"
    with pytest.raises(HarnessError, match="cannot be fetched from the pod of node n1"):
        await host.download("/run/absent", scratch / "note")


def test_five_nodes_live_through_every_fault_and_leave_nothing(
    run: Run, tmp_path: Path, client: docker.APIClient
) -> None:
    spec = specification(tmp_path, nodes=5)

    async def main(runtime: Runtime) -> None:
        async with deployed(made(spec, runtime)) as cluster:
            for kind in (Kill, Pause, Partition):
                assert capability(cluster, kind) is cluster
            assert await ask(cluster.nodes[0], do="pass", to="n2", text="hi", timeout=5) == "noted"
            assert await ask(cluster.nodes[1], do="received") == ["hi"]
            await ask(cluster.nodes[1], do="forget")
            await check_partitions(cluster)
            await check_kill_keeps_address_data_and_rules(cluster)
            await check_pause(cluster)
            await check_starvation(cluster)
            await check_host(cluster, tmp_path)
            await cluster.fetch_logs(tmp_path / "nodes")
            assert [each.run for each in live_runs.registered_runs()] == [spec.run]
            assert [done for done in DockerBackend().clean(None) if spec.run in done] == []
        await cluster.teardown()

    run(main)
    log = (tmp_path / "nodes" / "n1" / "node.log").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z hello from n1\n", log)
    assert (tmp_path / "nodes" / "n3" / "node.log").read_text().count("hello from n3") == 2
    assert left_of(client, spec.run) == []
    assert live_runs.registered_runs() == []


def test_where_containers_cannot_be_reached_their_ports_are_published_on_loopback(
    run: Run, tmp_path: Path, client: docker.APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.harness.backends.docker.cluster.reaches_containers", lambda _: False)
    spec = specification(tmp_path, nodes=2)

    async def main(runtime: Runtime) -> None:
        async with deployed(made(spec, runtime)) as cluster:
            n1, n2 = cluster.nodes
            assert n1.endpoint.host == n2.endpoint.host == "127.0.0.1"
            assert n1.endpoint.port != n2.endpoint.port
            assert n1.peers["n2"].port == n2.listen.port == RelayTarget.port
            assert await ask(n1, do="pass", to="n2", text="hi", timeout=5) == "noted"
            assert await ask(n2, do="received") == ["hi"]

    run(main)
    assert left_of(client, spec.run) == []


@pytest.fixture
def stranger(client: docker.APIClient, own_state_directory: Path) -> Iterator[str]:
    """A container with rules of its own, on a network of its own, that is none of ours."""
    import threading

    image = ImageBuilder(client, threading.Event()).ensure(())
    network = client.create_network(f"stranger-{own_state_directory.name}")["Id"]
    container = client.create_container(
        image, host_config=client.create_host_config(network_mode=network, cap_add=["NET_ADMIN"])
    )["Id"]
    try:
        client.start(container)
        inside(client, container, "iptables -A INPUT -s 192.0.2.7 -j DROP && iptables -N OTHERS")
        yield container
    finally:
        client.remove_container(container, force=True)
        client.remove_network(network)


def inside(client: docker.APIClient, container: str, script: str) -> str:
    execution = client.exec_create(container, ["sh", "-c", script])
    output = bytes(client.exec_start(execution["Id"])).decode()
    assert client.exec_inspect(execution["Id"])["ExitCode"] == 0, output
    return output


def snapshot(client: docker.APIClient, container: str) -> tuple[object, ...]:
    details = client.inspect_container(container)
    return (
        details["State"]["StartedAt"],
        details["State"]["Status"],
        {name: each["IPAddress"] for name, each in details["NetworkSettings"]["Networks"].items()},
        inside(client, container, "iptables -S"),
    )


HARNESS = """
import os, signal, sys
from pathlib import Path
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.docker import DockerBackend
import json
sys.path.insert(0, sys.argv[1])
from relay_target import specification

runtime = AsyncioRuntime(1)

async def main():
    cluster = DockerBackend().cluster(specification(Path(sys.argv[2]), nodes=2), runtime)
    await cluster.deploy()
    await cluster.cut({"n2": frozenset({"n1"})})
    await cluster.pause(frozenset({"n1"}))
    await cluster.kill(frozenset({"n2"}))
    faults = [("partition", {"n1", "n2"}), ("pause", {"n1"}), ("kill", {"n2"})]
    print(json.dumps([cluster.inverse(fault, frozenset(nodes)) for fault, nodes in faults]), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

runtime.run(main())
"""


def test_after_kill_9_of_the_harness_its_faults_are_healed_and_its_containers_cleaned_and_no_others(
    tmp_path: Path, client: docker.APIClient, stranger: str
) -> None:
    import json

    before = snapshot(client, stranger)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HARNESS), str(Path(__file__).parent), str(tmp_path)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=120,
    )
    assert done.returncode == -9
    [dead] = live_runs.dead_runs()
    inverses = json.loads(done.stdout)
    backend = DockerBackend()
    assert [backend.heal(inverse) for inverse in inverses] == [
        "all is heard again by n1, n2",
        "resumed n1",
        "started n2",
    ]
    assert "FORESHOCK" not in inside(client, f"foreshock-{dead.run}-n2-pod", "iptables -S")
    assert [backend.heal(inverse) for inverse in inverses[1:]] == [
        "nothing to do: no node is paused",
        "nothing to do: no node is down",
    ]
    removed = [done for done in backend.clean(None) if dead.run in done]
    assert len(removed) == 2 * (2 + 2) + 1  # pods and nodes, their volumes, the network
    assert left_of(client, dead.run) == []
    assert [done for done in backend.clean(None) if dead.run in done] == []
    assert backend.heal(inverses[0]) == "nothing to do: no pod is left"
    assert live_runs.registered_runs() == []
    assert snapshot(client, stranger) == before


def test_a_deployment_that_is_given_up_in_the_middle_leaves_nothing(
    run: Run, tmp_path: Path, client: docker.APIClient
) -> None:
    spec = specification(tmp_path, nodes=3)

    async def main(runtime: Runtime) -> None:
        cluster = DockerBackend().cluster(spec, runtime)
        deployment = asyncio.ensure_future(cluster.deploy())
        while not left_of(client, spec.run):
            await asyncio.sleep(0.01)
            assert not deployment.done()
        deployment.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deployment
        await cluster.fetch_logs(tmp_path / "nodes")
        await cluster.teardown()

    run(main)
    assert left_of(client, spec.run) == []


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            ExitingTarget,
            r"^node n1 ended at its start with exit status 7; its log ends: .*the disk is upside down",
        ),
        (DeafTarget, r"^node n1 was not ready within 1 s; its log ends: waiting for nothing$"),
    ],
)
def test_a_node_that_does_not_get_healthy_is_one_sentence_with_its_last_words(
    run: Run, tmp_path: Path, client: docker.APIClient, target: type[RelayTarget], sentence: str
) -> None:
    spec = specification(tmp_path, target, nodes=1, ready_ms=1000)

    async def main(runtime: Runtime) -> None:
        with pytest.raises(DeployError, match=sentence):
            async with deployed(made(spec, runtime)):
                raise AssertionError("it must not become healthy")

    run(main)
    assert left_of(client, spec.run) == []


class NoSuchPackage(RelayTarget):
    packages = ("no-such-package-anywhere",)


class NoSuchCommand(RelayTarget):
    def command(self, node: Node) -> list[str]:
        return ["no-such-command-here"]


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        (
            NoSuchPackage,
            r"^the image with no-such-package-anywhere could not be built: .* are in harness.log\)$",
        ),
        (NoSuchCommand, r"^node n1 cannot be started by \['no-such-command-here'\]: .*not found"),
    ],
)
def test_an_image_that_does_not_build_and_a_command_that_is_not_there_are_one_sentence(
    run: Run, tmp_path: Path, client: docker.APIClient, target: type[RelayTarget], sentence: str
) -> None:
    spec = specification(tmp_path, target, nodes=1)

    async def main(runtime: Runtime) -> None:
        with pytest.raises(DeployError, match=sentence):
            async with deployed(made(spec, runtime)):
                raise AssertionError("it must not be deployed")

    run(main)
    assert left_of(client, spec.run) == []
