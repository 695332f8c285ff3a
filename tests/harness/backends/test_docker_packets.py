"""Packets between real containers: shaped, reset and restored, and the rules of others as they were."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

import msgspec
import pytest
from relay_target import Run, ask, deployed, specification

from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.backends.docker.cluster import DockerCluster
from foreshock.harness.capabilities import LinkReading, LinkShape, Shape
from foreshock.harness.runtime import Runtime
from foreshock.nemesis.packet_evidence import burst_for, unlike_before, unlike_shape

pytestmark = pytest.mark.docker

THERE, BACK, ELSEWHERE = ("n1", "n2"), ("n2", "n1"), ("n3", "n1")
LINKS = frozenset({THERE, BACK, ELSEWHERE})
SHAPES = (
    LinkShape(delay_us=200_000),
    LinkShape(delay_us=300_000, jitter_us=60_000, distribution="normal", loss_ppm=300_000),
    LinkShape(duplicate_ppm=400_000, corrupt_ppm=300_000),
    LinkShape(reorder_ppm=300_000, reorder_us=60_000),
    LinkShape(rate_bytes_per_s=32_000),
    LinkShape(loss_ppm=1_000_000),
)
ATTEMPTS = 10

# Opens a connection, and keeps it until somebody breaks it.
OPENER = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2]))).recv(1)"

# All that is set on a host and may be changed by a packet fault; counts of packets aside.
STATE = (
    "iptables-save | grep -v '^#' | sed 's/\\[.*\\]//'\n"
    "tc qdisc show\n"
    "grep -ls '[p]acket_shaper' /proc/[0-9]*/cmdline\n"
    "true\n"
)
NOT_OURS = (
    "iptables -t mangle -A OUTPUT -d 192.0.2.9/32 -j MARK --set-mark 5\n"
    "iptables -A INPUT -s 192.0.2.9/32 -j DROP\n"
)


async def state_of(cluster: DockerCluster) -> dict[str, str]:
    return {name: (await cluster.root(name).run(STATE)).stdout for name in cluster.node_names}


async def check_shapes(cluster: DockerCluster) -> None:
    """Each shape is on its link and on no other, and so it is when one takes the place of another."""
    for shape in SHAPES:
        burst = burst_for([shape])

        async def probe(
            count: int = burst.probes, interval_us: int = burst.interval_us
        ) -> dict[str, LinkReading]:
            found = await cluster.probe_links(LINKS, count=count, interval_us=interval_us)
            return {f"{sender}>{receiver}": reading for (sender, receiver), reading in found.items()}

        wrong: list[str | None] = ["not looked at"]
        for _ in range(ATTEMPTS):  # a busy machine may keep probes waiting, those before the fault as well
            await cluster.shape({})
            before = await probe()
            await cluster.shape({THERE: shape})
            now = await probe()
            wrong = [
                unlike_shape(shape, before["n1>n2"], now["n1>n2"], 0),
                *(unlike_before(before[link], now[link]) for link in ("n2>n1", "n3>n1")),
            ]
            if not any(wrong):
                break
        assert not any(wrong), (shape, wrong)


async def check_partitions_are_told_from_shapes(cluster: DockerCluster) -> None:
    await cluster.shape({THERE: LinkShape(loss_ppm=1_000_000)})
    await cluster.cut({"n1": frozenset({"n3"})})
    assert await cluster.heard(LINKS) == {THERE: True, BACK: True, ELSEWHERE: False}
    await cluster.cut({})
    await cluster.shape({})


async def check_names(cluster: DockerCluster) -> None:
    every = frozenset(cluster.node_names)
    assert all((await cluster.names_found(every)).values())
    await cluster.break_names(frozenset({"n2"}))
    assert await cluster.names_found(every) == {"n1": True, "n2": False, "n3": True}
    await cluster.break_names(frozenset())
    assert all((await cluster.names_found(every)).values())


async def check_reset(cluster: DockerCluster) -> None:
    n2, n3 = cluster.nodes[1].endpoint, cluster.host("n3")
    opener = f'python3 -c "{OPENER}" {cluster.address("n2")} {n2.port}'
    await n3.run(f"setsid {opener} </dev/null >/run/opener 2>&1 &")
    counts: list[int] = []
    ended = ""
    for _ in range(1_000):
        assert await cluster.reset_connections(frozenset({("n2", "n3")})) == {("n2", "n3"): 0}
        if not any(counts):
            counts.append((await cluster.reset_connections(frozenset({("n3", "n2")})))["n3", "n2"])
        ended = (await n3.run("tail -n 1 /run/opener")).stdout
        if "Connection" in ended:
            break
    assert counts[-1] == 1
    assert ended.startswith(("ConnectionAbortedError", "ConnectionResetError"))


async def check_undone_from_elsewhere(cluster: DockerCluster, untouched: dict[str, str]) -> None:
    """What ``foreshock heal`` does after the harness died: all is as it was, once and once more."""
    inverse = cluster.inverse("packet", frozenset(cluster.node_names))
    await cluster.shape({THERE: LinkShape(delay_us=1_000), BACK: LinkShape(rate_bytes_per_s=32_000)})
    await cluster.break_names(frozenset({"n3"}))
    assert await state_of(cluster) != untouched
    as_stored = msgspec.json.decode(msgspec.json.encode(inverse))
    for _ in range(2):
        said = await asyncio.to_thread(DockerBackend().heal, as_stored)
        assert said == "packet undone on n1, n2, n3"
        assert await state_of(cluster) == untouched


def test_packets_between_containers_are_shaped_and_all_is_as_it_was_afterwards(
    run: Run, tmp_path: Path
) -> None:
    spec = msgspec.structs.replace(specification(tmp_path, nodes=3), needs=frozenset({Shape}))

    async def main(runtime: Runtime) -> None:
        cluster = cast(DockerCluster, DockerBackend().cluster(spec, runtime))
        async with deployed(cluster):
            for name in cluster.node_names:
                assert (await cluster.root(name).run(NOT_OURS)).exit_code == 0
            untouched = await state_of(cluster)
            await check_shapes(cluster)
            await check_partitions_are_told_from_shapes(cluster)
            await check_names(cluster)
            await check_reset(cluster)
            assert await ask(cluster.nodes[0], do="pass", to="n2", text="through", timeout=20) == "noted"
            await check_undone_from_elsewhere(cluster, untouched)

    run(main)
