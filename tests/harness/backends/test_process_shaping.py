"""Packets between real processes: shaped by the link proxies, seen by probes, ended by their inverse."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import cast

import pytest
from relay_target import Run, ask, deployed, specification

from foreshock.harness.backends.process import ProcessBackend
from foreshock.harness.backends.process.cluster import ProcessCluster
from foreshock.harness.backends.process.link_observations import Probing, established
from foreshock.harness.capabilities import LinkShape, Shape
from foreshock.harness.cluster import capability
from foreshock.harness.errors import FaultError
from foreshock.harness.packet_fates import HEADER_BYTES
from foreshock.harness.runtime import Runtime

THERE, BACK = ("n1", "n2"), ("n2", "n1")
LINKS = frozenset({THERE, BACK})
DELAY_US = 50_000


async def probes_show_shapes_cuts_and_nothing_else(cluster: ProcessCluster) -> None:
    clean = await cluster.probe_links(LINKS, count=30, interval_us=500)
    assert {(reading.sent, reading.arrived) for reading in clean.values()} == {(30, 30)}
    assert {(reading.duplicates, reading.overtaken, reading.corrupted) for reading in clean.values()} == {
        (0, 0, 0)
    }
    await cluster.shape({THERE: LinkShape(delay_us=DELAY_US, loss_ppm=500_000)})
    readings = await cluster.probe_links(LINKS, count=100, interval_us=0)
    assert 10 < readings[THERE].arrived < 90
    assert readings[THERE].delay_us[0] >= DELAY_US
    assert readings[BACK].arrived == 100
    assert readings[BACK].delay_us[0] < DELAY_US
    assert all((await cluster.heard(LINKS)).values()), "a shape is no cut"
    await cluster.cut({"n2": frozenset({"n1"})})
    readings = await cluster.probe_links(LINKS, count=10, interval_us=0)
    assert (readings[THERE].arrived, readings[BACK].arrived) == (0, 10)
    await cluster.cut({})


async def messages_of_nodes_are_delayed_until_the_fault_is_healed(
    cluster: ProcessCluster, backend: ProcessBackend
) -> None:
    n1 = cluster.nodes[0]
    loop = asyncio.get_running_loop()
    await cluster.shape({BACK: LinkShape(delay_us=4 * DELAY_US)})
    began = loop.time()
    assert await ask(n1, do="pass", to="n2", text="answered late", timeout=10) == "noted"
    assert loop.time() - began >= 4 * DELAY_US / 1e6
    inverse = cluster.inverse("packet", frozenset({"n1", "n2"}))
    assert "no link is shaped" in await asyncio.to_thread(backend.heal, inverse)
    reading = (await cluster.probe_links(frozenset({BACK}), count=20, interval_us=500))[BACK]
    assert reading.delay_us[0] < DELAY_US


async def resets_break_what_the_sender_opened(cluster: ProcessCluster) -> None:
    link = cluster.nodes[0].peers["n2"]
    await cluster.reset_connections(LINKS)  # what the messages before have left may be closing still
    with socket.create_connection((link.host, link.port), timeout=10) as opened:
        assert opened.getsockname()[1] in established(link.port)
        assert await cluster.reset_connections(LINKS) == {THERE: 1, BACK: 0}
        assert opened.getsockname()[1] not in established(link.port)
        with pytest.raises(ConnectionResetError):
            opened.recv(1)
    assert await cluster.reset_connections(frozenset({THERE})) == {THERE: 0}


async def what_cannot_be_carried_is_refused(cluster: ProcessCluster) -> None:
    for shape in (LinkShape(duplicate_ppm=1), LinkShape(reorder_ppm=1), LinkShape(corrupt_ppm=1)):
        with pytest.raises(
            FaultError, match="from n1 to n2: packets cannot be doubled, reordered or corrupted"
        ):
            await cluster.shape({THERE: shape})
    with pytest.raises(FaultError, match="there is no link from 'n1' to 'n9'"):
        await cluster.shape({("n1", "n9"): LinkShape(delay_us=1)})
    with pytest.raises(FaultError, match="there is no link from 'n9' to 'n1'"):
        await cluster.probe_links(frozenset({("n9", "n1")}), count=1, interval_us=0)
    with pytest.raises(FaultError, match="there is no link from 'n1' to 'n1'"):
        await cluster.reset_connections(frozenset({("n1", "n1")}))
    with pytest.raises(FaultError, match="names cannot be broken"):
        await cluster.break_names(frozenset({"n1"}))
    await cluster.break_names(frozenset())
    with pytest.raises(FaultError, match="n1 have no resolver of their own"):
        await cluster.names_found(frozenset({"n1"}))


def test_links_are_shaped_reset_and_probed(run: Run, tmp_path: Path) -> None:
    async def main(runtime: Runtime) -> None:
        backend = ProcessBackend()
        cluster = cast(ProcessCluster, backend.cluster(specification(tmp_path, nodes=2), runtime))
        assert capability(cluster, Shape) is cluster  # type: ignore[type-abstract]
        offered = {kind for kind in backend.mechanisms() if kind.startswith("packet/")}
        assert offered == {f"packet/{kind}" for kind in cluster.shape_kinds()}
        async with deployed(cluster):
            await probes_show_shapes_cuts_and_nothing_else(cluster)
            await messages_of_nodes_are_delayed_until_the_fault_is_healed(cluster, backend)
            await resets_break_what_the_sender_opened(cluster)
            await what_cannot_be_carried_is_refused(cluster)

    run(main)


def silent_port() -> socket.socket:
    silent = socket.socket(type=socket.SOCK_DGRAM)
    silent.bind(("127.0.0.1", 0))
    return silent


def test_a_relay_that_says_nothing_is_not_waited_for_for_ever() -> None:
    with silent_port() as silent:
        probing = Probing({THERE: silent.getsockname()[1]}, count=3, interval_us=0, timeout_s=0.1)
        with pytest.raises(TimeoutError):
            probing.run()
        assert len(silent.recv(1_000)) + HEADER_BYTES == 228


def test_a_relay_that_is_gone_is_noticed_too() -> None:
    with silent_port() as silent:
        port = silent.getsockname()[1]
    with pytest.raises(TimeoutError):
        Probing({THERE: port}, count=3, interval_us=0, timeout_s=0.1).run()


def test_probing_that_nobody_waits_for_any_more_ends() -> None:
    with silent_port() as silent:
        probing = Probing({THERE: silent.getsockname()[1]}, count=100_000, interval_us=1_000, timeout_s=600)
        thread = threading.Thread(target=probing.run)
        thread.start()
        assert silent.recv(1_000)
        probing.stop()
        thread.join(10)
        assert not thread.is_alive()
