"""Real servers: hostile connections, strangers among peers, and every way in which a node can fail to run."""

from __future__ import annotations

import collections
import json
import re
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.__main__ import main
from foreshock.targets.reference.node.knob_help import knob_help
from foreshock.targets.reference.node.machine import NodeKnobs
from foreshock.targets.reference.node.programs import PROGRAMS, load_program

MakeRealCluster = Callable[..., Any]
DEADLINE_SECONDS = 240


def until_up(cluster: Any, name: str) -> Any:
    """A connection to a node that has just been started; a refused one is tried again, within the deadline."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            client = cluster.raw(name)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, cluster.log(name)
            time.sleep(0.02)  # there is nothing to await: the process has yet to open its port
        else:
            return client


def until_leads(client: Any) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not client.ask(type="status")["leading"]:
        assert time.monotonic() < deadline


def until_logged(cluster: Any, name: str, needle: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while needle not in cluster.log(name):
        assert time.monotonic() < deadline, cluster.log(name)
        time.sleep(0.02)  # the log is a file: there is nothing to await


def ended(cluster: Any, name: str) -> int:
    code: int = cluster.processes[name].wait(DEADLINE_SECONDS)
    return code


def test_hostile_connections_never_end_a_node(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster()
    good = until_up(cluster, "n1")
    until_leads(good)
    rng = RandomStream(1, "hostile")
    request = json.dumps({"body": {"type": "write", "key": "k", "value": 1, "msg_id": 1}}).encode() + b"\n"
    hello = b'{"src": "n2", "dest": "n1", "body": {"type": "hello", "version": 1, "cluster": "test"}}\n'
    for number in range(150):
        data = bytearray(
            rng.choice((request, hello, request * 3, b"\n\n\r\n", b"\x00" * 50, b"{" * 2000 + b"\n"))
        )
        for _ in range(rng.below(6)):
            data[rng.below(len(data))] = rng.below(256)
        bad = cluster.raw("n1")
        bad.send(bytes(data))
        if number % 3 == 0:
            bad.socket.shutdown(socket.SHUT_WR)
        if number % 3 == 1:
            bad.socket.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
            )  # a reset, not an end
        bad.close()
    assert good.ask(type="write", key="k", value=2)["type"] == "write_ok"
    good.close()
    assert "Traceback" not in cluster.log("n1")


def test_a_line_without_end_is_cut_off_with_a_sentence(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster()
    client = until_up(cluster, "n1")
    for _ in range(17):
        try:
            client.send(b"x" * 65_536)
        except ConnectionError:
            break
    reply = client.line()
    assert reply is None or "at most" in reply["text"]
    assert client.line() is None
    client.close()
    assert until_up(cluster, "n1").ask(type="status")["type"] == "status_ok"


def test_a_broken_line_is_answered_and_the_connection_lives(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster()
    client = until_up(cluster, "n1")
    client.send(b"garbage\n[]\n")
    assert [client.line()["code"] for _ in range(2)] == [12, 12]
    assert client.ask(type="status")["type"] == "status_ok"
    client.close()


def test_a_client_that_does_not_read_is_not_read_from(make_real_cluster: MakeRealCluster) -> None:
    """Its requests stay in its own socket, and others are served."""
    cluster = make_real_cluster()
    greedy = until_up(cluster, "n1")
    greedy.socket.settimeout(1)
    lines = b'{"body": {"type": "status"}}\n' * 4_000_000
    with pytest.raises(TimeoutError):
        greedy.send(lines)
    other = cluster.raw("n1")
    assert other.ask(type="status")["type"] == "status_ok"
    other.close()
    greedy.close()


def resident_mib(cluster: Any, name: str) -> float:
    status = Path(f"/proc/{cluster.processes[name].pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def test_a_client_that_floods_is_slowed_and_starves_nobody(make_real_cluster: MakeRealCluster) -> None:
    """Thousands of writes at once, and no reply read: the node takes a few hundred at a time, and serves others."""
    cluster = make_real_cluster()
    flooder = until_up(cluster, "n1")
    until_leads(flooder)
    before_mib = resident_mib(cluster, "n1")
    count, value = 12_000, "x" * 500
    lines = b"".join(
        json.dumps({"body": {"type": "write", "key": "k", "value": value, "msg_id": i}}).encode() + b"\n"
        for i in range(count)
    )
    sending = threading.Thread(target=flooder.send, args=(lines,))
    sending.start()
    other = cluster.raw("n1")
    for value_ in range(20):
        assert other.ask(type="write", key="mine", value=value_)["type"] == "write_ok"
    assert resident_mib(cluster, "n1") - before_mib < 40
    replies = [flooder.line() for _ in range(count)]
    sending.join()
    assert [reply["in_reply_to"] for reply in replies] == list(range(count)), (
        "none was refused, none was lost"
    )
    assert {reply["type"] for reply in replies} == {"write_ok"}
    assert other.ask(type="read", key="mine")["value"] == 19
    other.close()
    flooder.close()


def test_peers_of_another_cluster_are_turned_away_with_a_sentence_at_both_ends(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster(2, start=False)
    cluster.start("n1")
    cluster.start("n2", extra=("--cluster", "other"))
    until_logged(cluster, "n1", "n1 turned away the peer 'n2': it belongs to the cluster 'other'")
    until_logged(cluster, "n2", "n2 was turned away by its peer n1: n1 turned away")


def test_a_raft_message_that_makes_no_sense_costs_a_peer_its_connection(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster(2, start=False)
    cluster.start("n1")
    peer = until_up(cluster, "n1")
    peer.send(
        b'{"src": "n2", "dest": "n1", "body": {"type": "hello", "version": 2, "cluster": "test",'
        b' "program": "raft"}}\n'
    )
    assert peer.line()["type"] == "hello_ok"
    peer.send(b'{"src": "n2", "dest": "n1", "body": {"type": "protocol", "message": ["append", {}]}}\n')
    assert "makes no sense" in peer.line()["text"]
    assert peer.line() is None
    peer.close()
    until_logged(cluster, "n1", "n1 closes the connection of its peer n2")
    assert until_up(cluster, "n1").ask(type="status")["type"] == "status_ok"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_node_with_grace(make_real_cluster: MakeRealCluster, number: signal.Signals) -> None:
    cluster = make_real_cluster()
    until_up(cluster, "n1").close()
    cluster.signal("n1", number)
    assert ended(cluster, "n1") == 0
    assert "n1 stops: was told to stop" in cluster.log("n1")


def test_a_port_that_is_taken_is_said_in_a_sentence(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster(start=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", cluster.nodes[0].endpoint.port))
        taken.listen()
        cluster.start("n1")
        assert ended(cluster, "n1") == 3
    assert re.search(r"n1 fails: cannot listen at 127.0.0.1:\d+: ", cluster.log("n1"))


def test_a_data_directory_that_cannot_be_made_is_said_in_a_sentence(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster(start=False)
    (cluster.directory / "file").write_text("")
    cluster.start("n1", extra=("--data", str(cluster.directory / "file" / "data")))
    assert ended(cluster, "n1") == 5
    assert "n1 fails: the disk refused" in cluster.log("n1")


def test_a_data_directory_of_a_running_node_is_not_shared(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster(2, start=False)
    cluster.start("n1")
    until_up(cluster, "n1").close()
    cluster.start("n2", extra=("--data", cluster.nodes[0].data_directory))
    assert ended(cluster, "n2") == 4
    assert "is in use by another node" in cluster.log("n2")


def test_a_corrupt_log_is_refused_with_its_place(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster()
    client = until_up(cluster, "n1")
    until_leads(client)
    for value in range(5):
        client.ask(type="write", key="k", value=value)
    client.close()
    cluster.kill("n1")
    path = cluster.directory / "n1" / "log"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    cluster.start("n1")
    assert ended(cluster, "n1") == 4
    assert re.search(r"n1 fails: the file log of this node cannot be used: at byte \d+", cluster.log("n1"))


def test_a_torn_tail_is_cut_and_what_was_acknowledged_is_there(make_real_cluster: MakeRealCluster) -> None:
    cluster = make_real_cluster()
    client = until_up(cluster, "n1")
    until_leads(client)
    client.ask(type="write", key="k", value=7)
    client.close()
    cluster.kill("n1")
    with open(cluster.directory / "n1" / "log", "ab") as file:
        file.write(b"99 0123")
    cluster.start("n1")
    client = until_up(cluster, "n1")
    until_leads(client)
    assert client.ask(type="read", key="k")["value"] == 7
    client.close()


def test_a_disk_that_is_full_ends_the_node_before_it_promises_anything(
    make_real_cluster: MakeRealCluster,
) -> None:
    cluster = make_real_cluster()
    client = until_up(cluster, "n1")
    until_leads(client)
    assert client.ask(type="write", key="k", value="kept")["type"] == "write_ok"
    resource.prlimit(cluster.processes["n1"].pid, resource.RLIMIT_FSIZE, (4096, 4096))
    client.send(json.dumps({"body": {"type": "write", "key": "k", "value": "x" * 9000}}).encode() + b"\n")
    assert client.line() is None
    assert ended(cluster, "n1") == 5
    assert "n1 fails: the disk" in cluster.log("n1")
    cluster.start("n1")
    client = until_up(cluster, "n1")
    until_leads(client)
    assert client.ask(type="read", key="k")["value"] == "kept"
    client.close()


@pytest.mark.parametrize(
    ("arguments", "needle"),
    [
        (("--peer", "n1=127.0.0.1:1"), "is this node itself"),
        (("--peer", "n2"), "must be NAME=HOST:PORT"),
        (("--listen", "7000"), "'7000' is no address"),
        (("--set", "hartbeat_ms=5"), "there is no knob 'hartbeat_ms'; did you mean heartbeat_ms?"),
        (("--set", "heartbeat_ms=fast"), "heartbeat_ms is 'fast', but must be a whole number"),
        (("--set", "heartbeat_ms=299"), "heartbeat_ms (299) must be at most half"),
        (("--bug", "raft/nonsense"), "there is no planted bug 'raft/nonsense'"),
        (("--bug", "../x"), "there is no planted bug"),
        (("--members", "n1,n9"), "--members names 'n9'"),
    ],
)
def test_a_wrong_command_line_is_answered_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], needle: str
) -> None:
    base = ["--name", "n1", "--listen", "127.0.0.1:1", "--data", str(tmp_path / "data")]
    with pytest.raises(SystemExit) as exit_:
        main([*base, *arguments])
    assert exit_.value.code == 2
    assert needle in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_the_help_tells_every_knob_of_a_program_with_its_default_and_what_it_is_for(
    program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--program", program, "--help"])
    assert exit_.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    for knobs in (load_program(program).knobs, NodeKnobs):
        for name, default in knobs._field_defaults.items():
            shown = str(default).lower() if isinstance(default, bool) else default
            assert re.search(rf"--set {name}={re.escape(str(shown))} [^-]", said), name


def test_help_for_a_program_that_does_not_exist_still_comes(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["--help", "--program", "nonsense"], ["--help", "--program"]):
        with pytest.raises(SystemExit):
            main(arguments)
        assert "heartbeat_ms=60" in capsys.readouterr().out


def test_without_sources_the_knobs_are_told_without_what_they_are_for() -> None:
    knobs = collections.namedtuple("knobs", ["speed_ms"], defaults=[7])
    assert knob_help("knobs:", knobs) == "knobs:\n  --set speed_ms=7"
