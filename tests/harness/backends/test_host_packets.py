"""Packet faults over hosts that write down their scripts, and probes over real sockets of this machine."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.harness.backends import link_probes
from foreshock.harness.backends.docker import pod_init
from foreshock.harness.backends.on_hosts.packets import HostPackets
from foreshock.harness.capabilities import LinkShape
from foreshock.harness.errors import FaultError
from foreshock.harness.host import HostResult

SLOW = LinkShape(delay_us=50_000)
NARROW = LinkShape(rate_bytes_per_s=32_000)
PROBE_PORT = 29_599
LISTENING = "LISTEN 0 128 0.0.0.0:7000 0.0.0.0:*\n"


class FakeHost:
    """Writes down scripts, and answers with the first answer whose key is in the script."""

    def __init__(self, name: str, answers: dict[str, list[str]]) -> None:
        self.name = name
        self.answers = answers
        self.scripts: list[str] = []
        self.files: dict[str, bytes] = {}

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        assert timeout_ms >= 1_000
        self.scripts.append(script)
        for key, said in self.answers.items():
            if key in script and said:
                answer = said.pop(0) if len(said) > 1 else said[0]
                failed = answer.startswith("error: ")
                return HostResult(
                    exit_code=int(failed),
                    stdout="" if failed else answer,
                    stderr=answer.removeprefix("error: ") if failed else "",
                )
        return HostResult(exit_code=0, stdout="", stderr="")

    async def upload(self, data: bytes, remote_path: str, *, mode: int = 0o644) -> None:
        assert mode == 0o644
        self.files[remote_path] = data

    async def download(self, remote_path: str, local_path: Path, *, limit_bytes: int = 64 << 20) -> None:
        raise NotImplementedError

    def took(self) -> list[str]:
        """The scripts since this was asked last."""
        scripts, self.scripts = self.scripts, []
        return scripts


class FakeCluster(HostPackets):
    """Three nodes on such hosts."""

    def __init__(self, means: str = "htb ss nfqueue", **answers: list[str]) -> None:
        self.hosts = {
            f"n{number}": FakeHost(
                f"n{number}",
                {"FORESHOCK-TRIAL": [f"{means} tried"], **{k: list(v) for k, v in answers.items()}},
            )
            for number in (1, 2, 3)
        }

    @property
    def node_names(self) -> tuple[str, ...]:
        return tuple(self.hosts)

    def host(self, name: str) -> FakeHost:
        if name not in self.hosts:
            raise FaultError(f"there is no node {name!r}")
        return self.hosts[name]

    def address(self, name: str) -> str:
        return f"10.0.0.{name[1:]}"

    def control_directory(self, name: str) -> str:
        return f"/control/{name}"

    async def process_on_host(self, name: str) -> int | None:
        raise NotImplementedError


def ready(cluster: FakeCluster) -> FakeCluster:
    asyncio.run(cluster.find_packet_means())
    for host in cluster.hosts.values():
        host.took()
    return cluster


def test_on_a_host_where_all_was_undone_behind_its_back_the_same_shape_is_put_anew() -> None:
    cluster = ready(FakeCluster())
    links = {("n1", "n2"): NARROW, ("n2", "n1"): NARROW}
    asyncio.run(cluster.shape(links))
    n1, n2, _ = cluster.hosts.values()
    (first,), _ = n1.took(), n2.took()
    cluster.note_undone("n1")
    asyncio.run(cluster.shape(links))
    assert n1.took() == [first]
    assert not n2.took()


@pytest.mark.parametrize(
    ("means", "kinds"),
    [
        ("netem htb ss nfqueue", "delay loss duplicate reorder corrupt rate reset names"),
        ("ss nfqueue", "delay loss duplicate reorder corrupt rate reset names"),
        ("netem htb", "delay loss duplicate reorder corrupt rate names"),
        ("htb ss", "rate reset names"),
        ("", "names"),
    ],
)
def test_what_hosts_can_carry_is_found_by_trying(means: str, kinds: str) -> None:
    cluster = FakeCluster(means)
    assert cluster.shape_kinds() == frozenset()
    assert ready(cluster).shape_kinds() == frozenset(kinds.split())


def test_a_shape_is_put_on_its_sender_by_the_kernel_where_it_can_and_else_by_our_process() -> None:
    cluster = ready(FakeCluster())
    asyncio.run(cluster.shape({("n1", "n2"): SLOW, ("n1", "n3"): NARROW, ("n2", "n1"): NARROW}))
    n1, n2, n3 = cluster.hosts.values()
    assert "/control/n1/packets/packet_shaper.py" in n1.files
    assert not n2.files
    made, script = n1.took()
    assert made == "mkdir -p '/control/n1/packets'"
    assert "htb rate 32000bps" in script
    assert "-d 10.0.0.2/32 -j NFQUEUE" in script
    assert "-d 10.0.0.3/32 -j NFQUEUE" not in script
    assert script.index('"10.0.0.2": {"delay_us": 50000}') < script.index(
        "-j NFQUEUE"
    )  # it knows before it is asked
    (script,) = n2.took()
    assert "NFQUEUE" not in script
    assert not n3.took()
    asyncio.run(cluster.shape({}))
    (script,) = n1.took()
    assert "-j NFQUEUE" not in script
    assert script.index("FORESHOCK-OUT - [0:0]") < script.index(
        '"links": {}'
    )  # nothing new comes when it lets go
    assert "tc qdisc del" in script
    assert len(n2.took()) == 1
    assert not n3.took()
    asyncio.run(cluster.shape({}))
    assert not n1.took()


def test_where_all_is_lost_no_process_of_ours_is_asked() -> None:
    cluster = ready(FakeCluster())
    asyncio.run(cluster.shape({("n1", "n2"): LinkShape(loss_ppm=1_000_000, delay_us=5)}))
    (script,) = cluster.hosts["n1"].took()
    assert "-d 10.0.0.2/32 -j NFQUEUE --queue-num 3846\n" in script  # no bypass, and nobody reads it
    assert "packet_shaper" not in script
    assert not cluster.hosts["n1"].files
    asyncio.run(cluster.shape({}))
    assert "3846" not in cluster.hosts["n1"].took()[0]


def test_with_netem_no_process_of_ours_is_needed() -> None:
    cluster = ready(FakeCluster("netem htb ss nfqueue"))
    asyncio.run(cluster.shape({("n1", "n2"): SLOW}))
    (script,) = cluster.hosts["n1"].took()
    assert "netem limit 16384 delay 50000us" in script
    assert "NFQUEUE" not in script
    assert not cluster.hosts["n1"].files


def test_a_host_that_cannot_is_a_fault_error_that_says_what_is_missing() -> None:
    cluster = ready(FakeCluster("htb ss"))
    with pytest.raises(FaultError, match="on the host of node n1: its kernel lacks netem and NFQUEUE"):
        asyncio.run(cluster.shape({("n1", "n2"): SLOW}))
    with pytest.raises(FaultError, match="no node 'n9'"):
        asyncio.run(cluster.shape({("n1", "n9"): NARROW}))


def test_a_script_that_failed_half_way_is_run_again_when_all_is_ended() -> None:
    cluster = ready(FakeCluster(**{"htb rate": ["error: first\nlast words"]}))
    with pytest.raises(FaultError, match=r"on the host of node n1: last words$"):
        asyncio.run(cluster.shape({("n1", "n2"): NARROW}))
    cluster.hosts["n1"].took()
    asyncio.run(cluster.shape({}))
    (script,) = cluster.hosts["n1"].took()
    assert "tc qdisc del" in script


def connections(*ends: str) -> str:
    lines = [f"0 0 {local} {remote}\n" for local, remote in (each.split(" ") for each in ends)]
    return f"{LISTENING}--\n{''.join(lines)}"


def test_connections_that_the_sender_opened_are_reset_and_are_gone_then() -> None:
    before = connections(
        "10.0.0.1:40000 10.0.0.2:7000",
        "[::ffff:10.0.0.1]:40001 [::ffff:10.0.0.2]:7000",
        "10.0.0.1:7000 10.0.0.2:50000",  # opened by n2
        "10.0.0.1:40002 10.0.0.3:7000",
        "127.0.0.1:40003 127.0.0.1:9000",
        "[::1]:40004 [::1]:9000",
    )
    cluster = ready(FakeCluster(**{"ss -Htn": [before, connections("10.0.0.1:40002 10.0.0.3:7000")]}))
    assert asyncio.run(cluster.reset_connections(frozenset({("n1", "n2")}))) == {("n1", "n2"): 2}
    _, kill, _ = cluster.hosts["n1"].took()
    assert kill.splitlines() == [
        f"ss -K -tn src 10.0.0.1 sport = :{port} dst 10.0.0.2 dport = :7000 >/dev/null 2>&1 || true"
        for port in (40000, 40001)
    ]


def test_where_the_kernel_cannot_reset_them_their_packets_are_refused_until_they_are_gone() -> None:
    there, gone = connections("10.0.0.1:40000 10.0.0.2:7000"), connections()
    cluster = ready(FakeCluster(**{"ss -Htn": [there, there, there, gone]}))
    assert asyncio.run(cluster.reset_connections(frozenset({("n1", "n2")}))) == {("n1", "n2"): 1}
    scripts = cluster.hosts["n1"].took()
    refused = [number for number, script in enumerate(scripts) if "--reject-with tcp-reset" in script]
    assert len(refused) == 1
    assert "FORESHOCK-RESET" in scripts[-1]
    assert "REJECT" not in scripts[-1]


def test_connections_that_stay_are_a_fault_error_and_refused_no_longer() -> None:
    cluster = ready(FakeCluster(**{"ss -Htn": [connections("10.0.0.1:40000 10.0.0.2:7000")]}))
    with pytest.raises(FaultError, match=r"still there although they were reset: 10\.0\.0\.1:40000 to"):
        asyncio.run(cluster.reset_connections(frozenset({("n1", "n2")})))
    assert "REJECT" not in cluster.hosts["n1"].took()[-1]


def test_names_are_broken_on_some_hosts_and_mended_on_those_alone() -> None:
    cluster = ready(FakeCluster(**{"in-addr": ["found\n"]}))
    asyncio.run(cluster.break_names(frozenset({"n1", "n2"})))
    assert [len(host.took()) for host in cluster.hosts.values()] == [1, 1, 0]
    asyncio.run(cluster.break_names(frozenset({"n2"})))
    (mended,) = cluster.hosts["n1"].took()
    assert "DROP" not in mended
    assert "DROP" in cluster.hosts["n2"].took()[0]
    assert asyncio.run(cluster.names_found(frozenset({"n3"}))) == {"n3": True}
    cluster.hosts["n3"].answers["in-addr"] = ["\n"]
    assert asyncio.run(cluster.names_found(frozenset({"n3"}))) == {"n3": False}


def test_only_packet_faults_are_undone_here() -> None:
    cluster = FakeCluster()
    assert "/control/n1/packets/process" in (cluster.undo_script("packet", "n1") or "")
    assert cluster.undo_script("tide", "n1") is None


# --- probes over real sockets ---------------------------------------------------------------------------------


class LocalHost(FakeHost):
    """Runs scripts on this machine."""

    async def run(self, script: str, *, timeout_ms: int = 10_000) -> HostResult:
        process = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        stdout, stderr = await asyncio.wait_for(process.communicate(), timeout_ms / 1000)
        return HostResult(exit_code=process.returncode or 0, stdout=stdout.decode(), stderr=stderr.decode())


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[Path]:
    """The directory of a probe's process, on a port of its own."""
    directory = tmp_path / "probe"
    arguments = [sys.executable, "-IS", pod_init.__file__, str(directory), str(PROBE_PORT)]
    process = subprocess.Popen(arguments)
    try:
        while not (directory / "commands").exists():
            assert process.poll() is None
        yield directory
    finally:
        process.kill()
        process.wait(30)


def test_a_burst_is_counted_and_timed_by_whom_it_reaches(probe: Path) -> None:
    host = LocalHost("n1", {})
    addresses = {"n1": "127.0.0.1"}

    async def read_twice() -> None:
        for _ in range(2):
            readings = await link_probes.read(
                {"n1": host},
                addresses,
                frozenset({("n1", "n1")}),
                count=150,
                interval_us=200,
                wait_ms=2_000,
                directory=str(probe),
            )
            (reading,) = readings.values()
            assert (reading.sent, reading.arrived, reading.duplicates, reading.corrupted) == (150, 150, 0, 0)
            assert 0 < reading.delay_us[0] <= reading.delay_us[1] <= reading.delay_us[2]
        assert await link_probes.heard(
            {"n1": host}, addresses, frozenset({("n1", "n1")}), directory=str(probe)
        )

    asyncio.run(read_twice())


def test_where_the_probes_process_is_gone_no_script_waits_for_it_for_ever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "commands")
    (tmp_path / "heard").touch()
    script = link_probes._script("send x 127.0.0.1\\n", "x", str(tmp_path), 50)
    assert subprocess.run(["/bin/sh", "-c", script], timeout=60, check=False).returncode == 9


def test_what_does_not_arrive_is_lost_when_the_time_is_up(probe: Path) -> None:
    host = LocalHost("n1", {})

    async def read() -> None:
        readings = await link_probes.read(
            {"n1": host, "n2": host},
            {"n1": "127.0.0.1", "n2": "127.0.0.2"},  # nobody sends from there
            frozenset({("n2", "n1")}),
            count=50,
            interval_us=100,
            wait_ms=50,
            directory=str(probe),
        )
        (reading,) = readings.values()
        assert (reading.sent, reading.arrived, reading.delay_us) == (50, 0, (0, 0, 0))

    asyncio.run(read())


def test_what_was_heard_last_is_there_also_when_there_is_too_much_to_keep(tmp_path: Path) -> None:
    path = tmp_path / "heard"
    journal = pod_init._Journal(str(path))
    lengths = []
    for number in range(20_000):
        journal.say(b"word of round %d" % number)
        if number % 100 == 0:
            lines = path.read_text().splitlines()
            lengths.append(len(lines))
            assert lines == [f"word of round {each}" for each in range(number + 1 - len(lines), number + 1)]
            assert len(lines) > min(number, 5_000)
    assert path.stat().st_size <= 256 << 10
    assert sorted(lengths) != lengths  # it was shortened
    assert [each.name for each in tmp_path.iterdir()] == ["heard"]


def test_bursts_tell_doubled_overtaken_and_corrupted_probes_apart(tmp_path: Path) -> None:
    path = tmp_path / "heard"
    bursts = pod_init._Bursts(0, pod_init._Journal(str(path)))
    identity = bytes(range(8))

    def datagram(number: int, flip: int | None = None) -> bytes:
        head = pod_init._HEADER.pack(b"FSHK", identity, number, 1_000) + pod_init._PADDING
        whole = bytearray(head + pod_init._CHECKSUM.pack(zlib.crc32(head)))
        if flip is not None:
            whole[flip] ^= 1
        return bytes(whole)

    for number, flip in ((0, None), (2, None), (1, None), (2, None), (3, 5), (4, 190), (5, 0)):
        bursts._note(datagram(number, flip), "10.0.0.1", 3_001_000)
    bursts._note(b"stray", "10.0.0.1", 0)
    bursts.command(["report", identity.hex(), "9", "0", "10.0.0.1", "10.0.0.2"])
    bursts.step()
    said = path.read_text().splitlines()
    assert said == [
        f"{identity.hex()}:10.0.0.1 6 1 1 3 3000 3000 3000",
        f"{identity.hex()}:10.0.0.2 0 0 0 0 0 0 0",
        f"{identity.hex()}.told",
    ]
