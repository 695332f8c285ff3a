"""The process backend with real processes on loopback."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import cast

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
from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.backends.process import cluster as process_cluster
from foreshock.harness.backends.process.child import Child
from foreshock.harness.backends.process.cluster import ProcessCluster
from foreshock.harness.backends.process.ports import PortReservations
from foreshock.harness.backends.process_identity import alive, processes_of_run
from foreshock.harness.capabilities import Kill, Partition, Pause, Shape
from foreshock.harness.cluster import ClusterSpecification, Node, capability
from foreshock.harness.errors import DeployError, FaultError, HarnessError, UsageError
from foreshock.harness.runtime import Runtime


def make(
    spec: ClusterSpecification, runtime: Runtime, backend: ProcessBackend | None = None
) -> ProcessCluster:
    return cast(ProcessCluster, (backend or ProcessBackend()).cluster(spec, runtime))


def test_the_cluster_is_all_that_the_backend_offers(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        for kind in ProcessBackend().offers():
            assert capability(cluster, kind) is cluster
        assert ProcessBackend().offers() >= {Kill, Pause, Partition, Shape}

    run(main)


def test_nodes_reach_each_other_over_links_and_teardown_leaves_only_logs(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        await cluster.deploy()
        n1, n2, _ = cluster.nodes
        assert await ask(n1, do="pass", to="n2", text="hi", timeout=5) == "noted"
        assert await ask(n2, do="received") == ["hi"]
        assert processes_of_run(cluster.specification.run) != []
        await cluster.fetch_logs(tmp_path / "nodes")
        await cluster.fetch_logs(tmp_path / "elsewhere")
        await cluster.teardown()
        await cluster.teardown()
        assert processes_of_run(cluster.specification.run) == []
        assert live_runs.registered_runs() == []

    run(main)
    assert (tmp_path / "nodes/n1/node.log").read_text() == "hello from n1\n"
    assert (tmp_path / "elsewhere/n2/node.log").read_text() == "hello from n2\n"
    assert not (tmp_path / "data").exists()


def test_a_one_way_cut_drops_one_direction_only_and_heals(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        async with deployed(cluster):
            n1, n2, _ = cluster.nodes
            names = [node.name for node in cluster.nodes]
            pairs = frozenset((a, b) for a in names for b in names if a != b)
            assert all((await cluster.heard(pairs)).values())
            await cluster.cut({"n2": frozenset({"n1"})})
            assert [p for p, got in (await cluster.heard(pairs)).items() if not got] == [("n1", "n2")]
            assert await ask(n1, do="pass", to="n2", text="lost", timeout=0.2) == "failed: TimeoutError"
            assert await ask(n2, do="received") == []
            assert await ask(n2, do="pass", to="n1", text="one way", timeout=0.2) == "failed: TimeoutError"
            for _ in range(1000):  # it is on its way still when nobody waits for the answer any more
                if received := await ask(n1, do="received"):
                    break
                await asyncio.sleep(0.01)
            assert received == ["one way"]
            await cluster.cut({"n3": frozenset({"n1"})})
            assert [p for p, got in (await cluster.heard(pairs)).items() if not got] == [("n1", "n3")]
            await cluster.cut({})
            assert all((await cluster.heard(pairs)).values())
            with pytest.raises(FaultError, match="no node 'n9'"):
                await cluster.cut({"n9": frozenset({"n1"})})

    run(main)


def test_a_killed_node_starts_again_on_its_data_and_address_and_the_cut_stays(
    run: Run, tmp_path: Path
) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        async with deployed(cluster):
            n3 = cluster.nodes[2]
            nodes = frozenset({"n3"})
            assert await ask(n3, do="store", value="kept") == "stored"
            await cluster.cut({"n3": frozenset({"n1"})})
            await cluster.kill(nodes)
            await cluster.kill(nodes)
            assert await cluster.running(frozenset({"n1", "n3"})) == {"n1": True, "n3": False}
            assert (await cluster.states())["n3"] == "killed"
            await cluster.start(nodes)
            await cluster.start(nodes)
            assert await cluster.running(nodes) == {"n3": True}
            assert await ask_when_up(n3, do="load") == "kept"
            assert await cluster.heard(frozenset({("n1", "n3"), ("n2", "n3")})) == {
                ("n1", "n3"): False,
                ("n2", "n3"): True,
            }

    run(main)


def test_a_paused_node_is_stopped_until_resumed_and_can_be_killed_while_stopped(
    run: Run, tmp_path: Path
) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        async with deployed(cluster):
            nodes = frozenset({"n2"})
            await cluster.pause(nodes)
            assert await cluster.paused(frozenset({"n1", "n2"})) == {"n1": False, "n2": True}
            assert (await cluster.states())["n2"] == "paused"
            await cluster.resume(nodes)
            assert await cluster.paused(nodes) == {"n2": False}
            assert await ask(cluster.nodes[1], do="load") is None
            await cluster.pause(nodes)
            await cluster.kill(nodes)
            assert await cluster.running(nodes) == {"n2": False}
            await cluster.pause(nodes)
            await cluster.resume(nodes)

    run(main)


def test_a_node_that_ends_by_itself_is_lost(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        async with deployed(cluster):
            [victim] = [p for name, p in live_runs.registered_runs()[0].processes.items() if name == "n1"]
            os.kill(victim.pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitid, os.P_PID, victim.pid, os.WEXITED | os.WNOWAIT)
            assert await cluster.running(frozenset({"n1"})) == {"n1": False}
            assert (await cluster.states())["n1"] == "lost"

    run(main)


@pytest.mark.parametrize(
    ("target", "ready_ms", "sentence"),
    [
        (
            ExitingTarget,
            20_000,
            r"^node n\d ended at its start with exit status 7; its log ends: starting \| the disk is upside down$",
        ),
        (DeafTarget, 2_000, r"^node n\d was not ready within 2 s; its log ends: waiting for nothing$"),
    ],
)
def test_a_node_that_does_not_get_healthy_is_one_sentence_with_its_last_words(
    run: Run, tmp_path: Path, target: type[RelayTarget], ready_ms: int, sentence: str
) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path, target, ready_ms=ready_ms), runtime)
        with pytest.raises(DeployError, match=sentence):
            await cluster.deploy()
        await cluster.teardown()
        assert processes_of_run(cluster.specification.run) == []

    run(main)


class MissingCommand(RelayTarget):
    def command(self, node: Node) -> list[str]:
        return ["no-such-program-here"]


class MissingBinary(RelayTarget):
    binaries = ("no-such-program-here",)


def test_a_command_that_cannot_be_run_is_a_deploy_error(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path, MissingCommand), runtime)
        with pytest.raises(DeployError, match=r"node n1 cannot be started by .*no-such-program-here"):
            await cluster.deploy()
        await cluster.teardown()

    run(main)


def test_a_missing_program_is_said_before_anything_is_deployed(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        with pytest.raises(UsageError, match="'no-such-program-here' is not on the PATH"):
            make(specification(tmp_path, MissingBinary), runtime)

    run(main)


def test_a_port_that_was_taken_meanwhile_costs_another_attempt(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = socket.create_server(("127.0.0.1", 0))
    real = PortReservations.reserve
    given: list[tuple[int, ...]] = []

    def reserve(self: PortReservations, count: int) -> tuple[int, ...]:
        ports = real(self, count)
        if not given:
            ports = (taken.getsockname()[1], *ports[1:])
        given.append(ports)
        return ports

    monkeypatch.setattr(process_cluster.PortReservations, "reserve", reserve)

    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        await cluster.deploy()
        assert [node.listen.port for node in cluster.nodes] == list(given[1])
        assert await ask(cluster.nodes[0], do="load") is None
        await cluster.teardown()

    run(main)
    assert len(given) == 2
    taken.close()


def test_faults_are_healed_by_their_inverse_while_the_harness_lives(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        backend = ProcessBackend()
        cluster = make(specification(tmp_path), runtime, backend)
        with pytest.raises(HarnessError, match="before the cluster is deployed"):
            cluster.nodes  # noqa: B018
        async with deployed(cluster):
            await cluster.cut({"n2": frozenset({"n1"})})
            await cluster.pause(frozenset({"n2"}))
            await cluster.kill(frozenset({"n3"}))
            for fault, nodes in (("partition", {"n2"}), ("pause", {"n2"}), ("kill", {"n3"})):
                inverse = cluster.inverse(fault, frozenset(nodes))
                assert inverse["backend"] == "process"
                await runtime.call(lambda inverse=inverse: backend.heal(inverse))
            assert await cluster.heard(frozenset({("n1", "n2")})) == {("n1", "n2"): True}
            assert await cluster.states() == dict.fromkeys(("n1", "n2", "n3"), "running")

    run(main)


HARNESS = """
import asyncio, json, os, signal, sys
from pathlib import Path
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.process import ProcessBackend
sys.path.insert(0, sys.argv[1])
from relay_target import specification

runtime = AsyncioRuntime(1)

async def main():
    cluster = ProcessBackend().cluster(specification(Path(sys.argv[2])), runtime)
    await cluster.deploy()
    await cluster.pause(frozenset({"n1"}))
    print(json.dumps(cluster.inverse("pause", frozenset({"n1"}))), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

runtime.run(main())
"""


def test_after_kill_9_of_the_harness_the_pause_is_healed_and_clean_ends_what_is_left(tmp_path: Path) -> None:
    import json

    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(HARNESS), str(Path(__file__).parent), str(tmp_path)],
        stdout=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    assert done.returncode == -signal.SIGKILL
    [dead] = live_runs.dead_runs()
    proxy = dead.processes["link-proxy"]
    for _ in range(500):
        if not alive(proxy):
            break
        subprocess.run(["sleep", "0.01"], check=True)
    assert alive(proxy) is False, "the link proxy outlived its harness"
    assert [alive(dead.processes[name]) for name in ("n1", "n2", "n3")] == [True] * 3
    inverse = json.loads(done.stdout)
    assert ProcessBackend().heal(inverse) == "resumed n1"
    assert ProcessBackend().heal(inverse) == "nothing to do: no node is stopped"
    removed = ProcessBackend().clean(None)
    assert [line.split(" (")[0] for line in removed] == [
        *(f"run {dead.run}: ended n{i}" for i in (1, 2, 3)),
        f"run {dead.run}: removed the data of its nodes",
    ]
    assert processes_of_run(dead.run) == []
    assert ProcessBackend().clean(None) == []
    assert live_runs.registered_runs() == []


def test_a_run_that_lives_is_cleaned_only_by_its_name(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        async with deployed(cluster):
            assert ProcessBackend().clean(None) == []
            assert ProcessBackend().clean("another") == []
            assert await cluster.running(frozenset({"n1"})) == {"n1": True}
            assert len(ProcessBackend().clean(cluster.specification.run)) >= 3
            assert await cluster.running(frozenset({"n1"})) == {"n1": False}

    run(main)


class ForkingTarget(RelayTarget):
    """Leaves a process behind in a session of its own."""

    def command(self, node: Node) -> list[str]:
        relay = " ".join(f"'{word}'" for word in super().command(node))
        return ["sh", "-c", f"setsid sleep 600 & exec {relay}"]


def test_a_stranger_that_has_the_pid_of_a_node_that_ended_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signalled: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _signal: signalled.append(group))
    child = Child("n1", tmp_path / "n1", tmp_path / "n1.log")
    child.prepare({})
    child.start([sys.executable, "-c", ""], os.environ)
    process = cast("subprocess.Popen[bytes]", child._process)
    process.wait()
    child.sweep()
    assert signalled == [process.pid]
    process.pid = os.getpid()  # as if the system had come round to the number again
    child.sweep()
    assert len(signalled) == 1


def test_teardown_also_ends_what_a_node_put_into_another_session(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path, ForkingTarget), runtime)
        await cluster.deploy()
        assert len(processes_of_run(cluster.specification.run)) >= 6
        await cluster.teardown()
        assert processes_of_run(cluster.specification.run) == []

    run(main)


def test_a_script_on_the_host_is_bounded_and_its_files_are_whole(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        cluster = make(specification(tmp_path), runtime)
        async with deployed(cluster):
            host = cluster.host("n1")
            result = await host.run("echo out; echo err >&2; exit 3")
            assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")
            with pytest.raises(HarnessError, match=r"a script on node n1 did not end within 0.1 s"):
                await host.run("sleep 600", timeout_ms=100)
            await host.upload(b"0123456789", "note")
            await host.download("note", tmp_path / "note", limit_bytes=4)
            assert (tmp_path / "note").read_bytes() == b"6789"
            with pytest.raises(HarnessError, match="absent cannot be copied"):
                await host.download("absent", tmp_path / "note")

    run(main)
