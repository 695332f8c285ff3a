"""The ssh backend with real sshd: five hosts, each a container with a daemon, keys and users of its own."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import paramiko
import pytest
import ssh_hosts
from relay_target import ExitingTarget, RelayTarget, Run, ask, ask_when_up, deployed, specification
from ssh_hosts import ORDINARY_USER, SshHosts
from tests.commands import foreshock

from foreshock.harness import live_runs
from foreshock.harness.backends.ssh import SshBackend, watch
from foreshock.harness.backends.ssh.cluster import SshCluster
from foreshock.harness.backends.ssh.options import SshOptions
from foreshock.harness.capabilities import Kill, Partition, Pause
from foreshock.harness.cluster import ClusterSpecification, capability
from foreshock.harness.errors import DeployError, FaultError, HarnessError, PartlyDone
from foreshock.harness.ledger import read_ledger
from foreshock.harness.runtime import Runtime

pytestmark = pytest.mark.docker

FAULTS = frozenset({Kill, Pause, Partition})


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHosts]:
    with ssh_hosts.started(tmp_path_factory.mktemp("ssh")) as started:
        yield started


@pytest.fixture(scope="module")
def at_first(hosts: SshHosts) -> dict[str, str]:
    return {name: traces(hosts, name) for name in hosts.names}


@pytest.fixture(autouse=True)
def as_it_was(hosts: SshHosts, at_first: dict[str, str]) -> Iterator[None]:
    """Whatever a test does, its hosts become as they were at first: processes, rules, files."""
    yield
    # What was told to end may still be ending; what is really left stays.
    deadline = time.monotonic() + 20
    while (after := {name: traces(hosts, name) for name in hosts.names}) != at_first:
        assert time.monotonic() < deadline, (at_first, after)
        time.sleep(0.05)


def traces(hosts: SshHosts, name: str) -> str:
    return hosts.sh(
        name,
        "iptables -S; ls -A /var/tmp; ls -A /home/ann;"
        " ps -eo args= | grep -Ev '^(sshd|ps -eo|grep|/bin/sh -c iptables)' || true",
    )


def spec_of(
    at: SshHosts,
    directory: Path,
    *,
    target: type[RelayTarget] = RelayTarget,
    nodes: int = 3,
    **options: Any,
) -> ClusterSpecification:
    spec = specification(directory, target, nodes=nodes)
    chosen = SshOptions(**{**at.options, **options})
    return msgspec.structs.replace(spec, needs=FAULTS, options=chosen)


def made(spec: ClusterSpecification, runtime: Runtime) -> SshCluster:
    cluster = SshBackend().cluster(spec, runtime)
    assert isinstance(cluster, SshCluster)
    return cluster


async def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not seen():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def check_partitions(cluster: SshCluster, hosts: SshHosts) -> None:
    names = cluster.node_names
    every = frozenset((a, b) for a in names for b in names if a != b)
    assert all((await cluster.heard(every)).values())
    await cluster.cut({"n2": frozenset({"n1"}), "n3": frozenset({"n4", "n5"})})
    silent = [pair for pair, arrived in (await cluster.heard(every)).items() if not arrived]
    assert silent == [("n1", "n2"), ("n4", "n3"), ("n5", "n3")]
    rules = hosts.sh("n2", "iptables -S FORESHOCK").splitlines()
    assert "--dport 22 -j RETURN" in rules[1], "our own connection is spared before anything is dropped"
    assert await ask(cluster.nodes[0], do="pass", to="n2", text="lost", timeout=0.3) == "failed: TimeoutError"
    with pytest.raises(FaultError, match="no node 'n9'"):
        await cluster.cut({"n1": frozenset({"n9"})})


async def check_kill_keeps_data_and_rules(cluster: SshCluster) -> None:
    n3, nodes = cluster.nodes[2], frozenset({"n3"})
    assert await ask(n3, do="store", value="kept") == "stored"
    for _ in range(2):
        await cluster.kill(nodes)
    assert await cluster.running(frozenset({"n1", "n3"})) == {"n1": True, "n3": False}
    assert (await cluster.states())["n3"] == "killed"
    for _ in range(2):
        await cluster.start(nodes)
    assert await ask_when_up(n3, do="load") == "kept"
    assert await cluster.heard(frozenset({("n4", "n3"), ("n1", "n3")})) == {
        ("n1", "n3"): True,
        ("n4", "n3"): False,
    }
    await cluster.cut({})
    assert await cluster.heard(frozenset({("n4", "n3")})) == {("n4", "n3"): True}


async def check_pause(cluster: SshCluster) -> None:
    nodes = frozenset({"n4"})
    for _ in range(2):
        await cluster.pause(nodes)
    assert await cluster.paused(frozenset({"n4", "n5"})) == {"n4": True, "n5": False}
    assert (await cluster.states())["n4"] == "paused"
    for _ in range(2):
        await cluster.resume(nodes)
    assert await cluster.paused(nodes) == {"n4": False}
    await cluster.pause(nodes)
    await cluster.kill(nodes)
    assert await cluster.running(nodes) == {"n4": False}
    await cluster.start(nodes)
    await cluster.pause(nodes)  # and teardown takes away what stands


async def check_host(cluster: SshCluster, scratch: Path) -> None:
    host = cluster.host("n1")
    result = await host.run("echo out; printf err >&2; exit 3")
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err")
    assert (await host.run("echo 'open; $(")).exit_code != 0
    assert (await host.run("seq 100000 | tail -n 1")).stdout == "100000\n"
    with pytest.raises(HarnessError, match=r"did not end within 0.2 s"):
        await host.run("sleep 5", timeout_ms=200)
    assert (await host.run("echo again")).stdout == "again\n"
    note = f"{cluster.control_directory('n1')}/note"
    await host.upload(b"0123456789", note, mode=0o600)
    assert (await host.run(f"stat -c %a {note}")).stdout == "600\n"
    await host.download(note, scratch / "note", limit_bytes=4)
    assert (scratch / "note").read_bytes() == b"6789"
    with pytest.raises(HarnessError, match="cannot be fetched on the host of node n1: No such file"):
        await host.download("/run/absent", scratch / "note")


def test_five_hosts_live_through_every_fault_and_leave_nothing(
    run: Run, tmp_path: Path, hosts: SshHosts
) -> None:
    spec = spec_of(hosts, tmp_path, nodes=5)

    async def main(runtime: Runtime) -> None:
        async with deployed(made(spec, runtime)) as cluster:
            for kind in FAULTS:
                assert capability(cluster, kind) is not None
            assert set((await cluster.states()).values()) == {"running"}
            entry = live_runs.find_run(spec.run)
            assert entry is not None
            assert "PRIVATE" not in json.dumps(msgspec.to_builtins(entry))
            folder = f"/var/tmp/foreshock/{spec.run}/n1"
            assert hosts.sh("n1", f"stat -c %a {folder}/environment {folder}/..").split() == ["600", "700"]
            await check_host(cluster, tmp_path)
            await check_partitions(cluster, hosts)
            await check_kill_keeps_data_and_rules(cluster)
            await check_pause(cluster)
            await cluster.fetch_logs(tmp_path / "nodes")
        assert live_runs.find_run(spec.run) is None
        assert "hello from n5" in (tmp_path / "nodes/n5/node.log").read_text()
        await cluster.teardown()

    run(main)


def test_a_lost_connection_and_a_host_that_starts_anew_are_found_told_and_healed(
    run: Run, tmp_path: Path, hosts: SshHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BEAT_S", 0.1)
    spec = spec_of(hosts, tmp_path)

    async def main(runtime: Runtime) -> None:
        cluster = made(spec, runtime)
        try:
            await cluster.deploy()
            await cluster.cut({"n1": frozenset({"n2"}), "n2": frozenset({"n1"})})
            await cluster.pause(frozenset({"n1"}))
            hosts.sh("n1", "kill $(ps -eo pid=,args= | awk '/sshd(-session)?: root@notty/ {print $1}')")
            await until(lambda: bool(cluster.incidents))
            assert hosts.sh("n1", "iptables -S | grep -c FORESHOCK || true") == "0\n"
            assert hosts.sh("n2", "iptables -S | grep -c DROP") == "1\n"
            assert await cluster.paused(frozenset({"n1"})) == {"n1": False}
            assert (await cluster.states())["n1"] == "running"
            hosts.reboot("n3")
            await until(lambda: len(cluster.incidents) == 2)
            assert await cluster.states() == {"n1": "running", "n2": "running", "n3": "lost"}
            await cluster.start(frozenset({"n3"}))
            assert await ask_when_up(cluster.nodes[2], do="load") is None
            assert await cluster.heard(frozenset({("n1", "n3"), ("n2", "n1")})) == {
                ("n1", "n3"): True,
                ("n2", "n1"): True,
            }
        finally:
            with pytest.raises(HarnessError) as told:
                await cluster.teardown()
        assert "the host of node n1 was out of reach in mid-test" in str(told.value)
        assert "what was in force there was undone" in str(told.value)
        assert "the host of node n3 was started anew in mid-test" in str(told.value)
        assert live_runs.find_run(spec.run) is None

    run(main)


def test_another_process_heals_and_cleans_and_says_which_host_it_cannot_reach(
    run: Run, tmp_path: Path, hosts: SshHosts
) -> None:
    spec = spec_of(hosts, tmp_path)
    door = "INPUT -p tcp --dport 22 --syn -j REJECT --reject-with tcp-reset"

    async def leave_it() -> tuple[Any, Any]:
        """What a harness that was killed leaves behind."""
        cluster = made(spec, runtime_of["it"])
        await cluster.deploy()
        every = frozenset(cluster.node_names)
        cut = dict(cluster.inverse("partition", every))
        stopped = dict(cluster.inverse("pause", every))
        await cluster.cut({"n1": frozenset({"n2", "n3"})})
        await cluster.pause(every)
        await cluster.stop_watching()
        await cluster.fleet.close()
        return cut, stopped

    runtime_of: dict[str, Runtime] = {}

    async def main(runtime: Runtime) -> tuple[Any, Any]:
        runtime_of["it"] = runtime
        return await leave_it()

    cut, stopped = (json.loads(json.dumps(inverse)) for inverse in run(main))
    backend = SshBackend()
    shown = [*backend.healing_commands(cut), *backend.cleaning_commands(spec.run)[spec.run]]
    assert {command.where.split()[0] for command in shown} == {"n1", "n2", "n3"}
    with pytest.raises(FaultError, match="has no node 'n9', so its host is left alone"):
        backend.heal({**cut, "scripts": {"n9": "true"}})
    hosts.sh("n3", f"iptables -I {door}")
    try:
        with pytest.raises(
            FaultError, match=r"node n3 .* cannot be reached: Connection refused \(undone on n1, n2\)"
        ):
            backend.heal(cut)
        with pytest.raises(PartlyDone, match=r"is not cleaned: the host of node n3 .* cannot be") as partly:
            backend.clean(spec.run)
    finally:
        hosts.sh("n3", f"iptables -D {door}")
    assert any("removed /var/tmp/foreshock" in line and "host of n1" in line for line in partly.value.done)
    assert live_runs.find_run(spec.run) is not None
    for _ in range(2):
        assert backend.heal(cut) == "partition undone on n1, n2, n3"
        assert backend.heal(stopped) == "pause undone on n1, n2, n3"
    assert "R" in hosts.sh("n3", "ps -eo stat=,args= | grep relay.py | grep -v grep").replace("S", "R")
    done = backend.clean(spec.run)
    assert {line.rpartition(" ")[2] for line in done} == {"n3"}
    assert backend.clean(spec.run) == []
    assert backend.heal(cut) == "nothing to do: nothing of the run is left on its hosts"


def test_an_ordinary_user_needs_sudo_for_packets_alone(
    run: Run, tmp_path: Path, hosts: SshHosts, caplog: pytest.LogCaptureFixture
) -> None:
    at = {name: f"{ORDINARY_USER}@{name}" for name in ("n1", "n2")}
    spec = spec_of(hosts, tmp_path, nodes=2, hosts=at)
    caplog.set_level(logging.WARNING, logger="foreshock.ssh")
    logging.getLogger("foreshock").addHandler(caplog.handler)

    async def main(runtime: Runtime) -> None:
        async with deployed(made(spec, runtime)) as cluster:
            assert hosts.sh("n1", "ps -eo user=,args= | grep relay.py | grep -v grep").startswith("ann ")
            await cluster.cut({"n1": frozenset({"n2"})})
            pairs = frozenset({("n1", "n2"), ("n2", "n1")})
            assert await cluster.heard(pairs) == {("n1", "n2"): True, ("n2", "n1"): False}

    try:
        run(main)
    finally:
        logging.getLogger("foreshock").removeHandler(caplog.handler)
    assert "sudo is used on the hosts of n1, n2, for: partition" in caplog.text
    for change, complaint in (
        ({"sudo": "never"}, "the user ann is not root, and ssh.sudo is never"),
        ({"hosts": at}, r"does not let the user ann run commands as root without a password \(.*sudo"),
    ):
        if "hosts" in change:
            hosts.sh("n1", "mv /etc/sudoers.d/ann /ann")
        try:
            refused = spec_of(hosts, tmp_path, nodes=2, **{"hosts": at, **change})
            with pytest.raises(DeployError, match=complaint):
                run(lambda runtime, spec=refused: deploy_in_vain(spec, runtime))
        finally:
            hosts.sh("n1", "mv /ann /etc/sudoers.d/ann 2>/dev/null")


async def deploy_in_vain(spec: ClusterSpecification, runtime: Runtime) -> None:
    async with deployed(made(spec, runtime)):
        raise AssertionError("it was deployed")


def test_a_host_that_is_not_the_one_that_is_known_stops_the_test(
    run: Run, tmp_path: Path, hosts: SshHosts
) -> None:
    lines = hosts.known_hosts.read_text().splitlines()
    other = paramiko.ECDSAKey.generate()
    known = tmp_path / "known_hosts"
    at = hosts.addresses["n2"]
    changed = f"{at} {other.get_name()} {other.get_base64()}"
    for second, complaint in (
        (
            changed,
            rf"the key of the host of node n2 .* has changed: .*{re.escape(other.fingerprint)} is known",
        ),
        ("", r"the key of the host of node n2 .* is not known: .*ssh-keyscan -p 22"),
    ):
        known.write_text("\n".join([lines[0], second, *lines[2:]]) + "\n")
        with pytest.raises(DeployError, match=complaint):
            run(lambda runtime: deploy_in_vain(spec_of(hosts, tmp_path, known_hosts=str(known)), runtime))


def test_hosts_that_cannot_carry_a_node_are_told_before_anything_is_there(
    run: Run, tmp_path: Path, hosts: SshHosts
) -> None:
    class Needy(RelayTarget):
        packages = ("cowsay",)

    stranger = tmp_path / "stranger"
    paramiko.ECDSAKey.generate().write_private_key_file(str(stranger))
    config = tmp_path / "config"
    config.write_text(hosts.config.read_text().replace(str(hosts.identity), str(stranger)))
    hosts.sh("n2", "mv /usr/bin/python3 /usr/bin/python3.away")
    try:
        with pytest.raises(
            DeployError, match=r"node n2 .* has no python3: install it \(sudo apt install python3"
        ):
            run(lambda runtime: deploy_in_vain(spec_of(hosts, tmp_path), runtime))
    finally:
        hosts.sh("n2", "mv /usr/bin/python3.away /usr/bin/python3")
    with pytest.raises(
        DeployError, match=r"lacks what the target needs: install it \(sudo apt install cowsay"
    ):
        run(lambda runtime: deploy_in_vain(spec_of(hosts, tmp_path, target=Needy), runtime))
    with pytest.raises(
        DeployError, match="lets nobody in with the keys that are here: put a key of yours there"
    ):
        run(lambda runtime: deploy_in_vain(spec_of(hosts, tmp_path, config=str(config)), runtime))
    with pytest.raises(
        DeployError, match=r"node n. ended at its start with exit status 7; its log ends: .*upside"
    ):
        run(lambda runtime: deploy_in_vain(spec_of(hosts, tmp_path, target=ExitingTarget), runtime))
    taken = "/var/tmp/foreshock/claim"
    hosts.sh("n3", f"mkdir /var/tmp/foreshock; echo another-run > {taken}")
    try:
        with pytest.raises(DeployError, match="node n3 carries the run another-run already"):
            run(lambda runtime: deploy_in_vain(spec_of(hosts, tmp_path), runtime))
        assert hosts.sh("n3", f"cat {taken}") == "another-run\n"
    finally:
        hosts.sh("n3", "rm -r /var/tmp/foreshock")


SCHEDULE = """
[[fault]]
at = 0.1
do = "skew-clocks"
value = "jump"

[[fault]]
at = 0.2
do = "start-partition"
value = "one"

[[fault]]
at = 0.3
do = "kill"
value = "one"
"""


def test_raft_is_valid_on_hosts_under_faults_of_every_kind(tmp_path: Path, hosts: SshHosts) -> None:
    schedule = tmp_path / "schedule.toml"
    schedule.write_text(SCHEDULE)
    words = ["test", "--target", "raft", "--schedule", str(schedule), "--backend", "ssh", "--json"]
    words += ["--nodes", "n1,n2,n3", "--time-limit", "4", "--seed", "5", "--store", str(tmp_path / "store")]
    words += [word for key, value in hosts.options.items() for word in ("-o", f"ssh.{key}={value}")]
    done = foreshock(*words)
    assert (done.code, done.document["verdict"], done.document["harness_errors"]) == (0, "valid", []), (
        done.err
    )
    faults = read_ledger(next((tmp_path / "store").glob("*/*/faults.jsonl")))
    assert "clock" in {fault.kind for fault in faults}, "what was due first has come, however slow all is"
    assert all(fault.verified_ns is not None for fault in faults)
    assert not [fault for fault in faults if fault.is_open or fault.failure]
    assert len(list((tmp_path / "store").glob("*/*/nodes/n*/node.log"))) == 3
