"""Milliseconds from the decision to cut five containers in two until nothing is heard any more, and to heal them.

Observers in the pods, independent of what cuts, send each other a datagram a millisecond and note when they last heard
whom. *Decision* is the moment before the fault is written to the ledger. Beside it, in the same run, stand the same
rules set by one ``docker exec`` each, all pods at once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.deploy import HALVES, NODES, PAIRS, specification
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.ledger import FaultLedger
from foreshock.harness.runtime import Runtime

AIM_MS = 200.0
HELD_S = 0.5
CUT_PAIRS = frozenset((a, b) for a, b in PAIRS if a in HALVES[b])
OBSERVER = """
import json, os, select, socket, sys, time
me, stop, out = sys.argv[1], sys.argv[2], sys.argv[3]
peers = json.loads(sys.argv[4])
names = {address: name for name, address in peers.items()}
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("0.0.0.0", 7701))
udp.setblocking(False)
last, gaps, due, looked, ready = {}, [], time.monotonic_ns(), 0, False
while True:
    now = time.monotonic_ns()
    if now >= due:
        due = max(due + 1_000_000, now - 5_000_000)
        for address in names:
            try:
                udp.sendto(b".", (address, 7701))
            except OSError:
                pass
    if now - looked > 50_000_000:
        looked = now
        if not ready and len(last) == len(names):
            ready = True
            open(out + ".ready", "w").close()
        if os.path.exists(stop):
            break
    select.select([udp], [], [], max(0, due - time.monotonic_ns()) / 1e9)
    now = time.monotonic_ns()
    try:
        while True:
            _, (address, _) = udp.recvfrom(16)
            name = names.get(address)
            if name in last and now - last[name] > 100_000_000:
                gaps.append([name, last[name], now])
            last[name] = now
    except BlockingIOError:
        pass
with open(out + ".tmp", "w") as file:
    json.dump({"last": last, "gaps": gaps}, file)
os.replace(out + ".tmp", out)
"""

Cut = Callable[[], Awaitable[None]]


async def start_observers(cluster: Any) -> None:
    """One in each pod; returns when all hear all."""
    for name in NODES:
        peers = {other: cluster.address(other) for other in NODES if other != name}
        host = cluster.host(name)
        await host.upload(OBSERVER.encode(), "/run/observer.py")
        command = f"python3 /run/observer.py {name} /run/observer.stop /run/observed '{json.dumps(peers)}'"
        result = await host.run(
            f"rm -f /run/observer.stop; setsid {command} </dev/null >/run/observer.log 2>&1 &"
        )
        assert result.exit_code == 0, result.stderr
    for name in NODES:
        hears_all = "until [ -e /run/observed.ready ]; do sleep 0.02; done"
        assert (await cluster.host(name).run(hears_all, timeout_ms=60_000)).exit_code == 0


async def observed(cluster: Any) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Stop the observers; the silences of more than 100 ms over each (sender, receiver), from and until when (ns)."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for receiver in NODES:
            host = cluster.host(receiver)
            waiting = "touch /run/observer.stop; until [ -e /run/observed ]; do sleep 0.02; done"
            assert (await host.run(waiting)).exit_code == 0
            path = Path(scratch) / receiver
            await host.download("/run/observed", path)
            told = json.loads(path.read_text())
            assert set(told["last"]) == {name for name in NODES if name != receiver}, told["last"]
            for sender, began, ended in told["gaps"]:
                found.setdefault((sender, receiver), []).append((began, ended))
    return found


async def rounds(cut: Cut, heal: Cut, repeat: int) -> list[dict[str, int]]:
    """Cut and heal so often; the times (ns) at which each was decided and said to be done."""
    times = []
    for _ in range(repeat):
        moments = {"cut": time.monotonic_ns()}
        await cut()
        moments["cut done"] = time.monotonic_ns()
        await asyncio.sleep(HELD_S)
        moments["heal"] = time.monotonic_ns()
        await heal()
        moments["heal done"] = time.monotonic_ns()
        await asyncio.sleep(HELD_S)
        times.append(moments)
    return times


def effects_ms(
    silences: Mapping[tuple[str, str], list[tuple[int, int]]], moments: Mapping[str, int]
) -> tuple[float, float]:
    """How long after each decision the last cut pair fell silent, and the last of them was heard again."""
    fell_silent, heard_again = 0, 0
    for pair in CUT_PAIRS:
        mine = [(a, b) for a, b in silences.get(pair, ()) if moments["cut"] < b and a < moments["heal"] < b]
        shown = [
            ((a - moments["cut"]) // 10**6, (b - moments["cut"]) // 10**6) for a, b in silences.get(pair, ())
        ]
        assert len(mine) == 1, f"{pair} was not silent once from its cut to its healing: {shown} {moments}"
        fell_silent, heard_again = max(fell_silent, mine[0][0]), max(heard_again, mine[0][1])
    return (fell_silent - moments["cut"]) / 1e6, (heard_again - moments["heal"]) / 1e6


def exec_each(cluster: Any) -> tuple[Cut, Cut]:
    """The same rules by one ``docker exec`` each, all pods at once."""
    run = cluster.specification.run

    def in_pods(rules: Callable[[str], list[list[str]]]) -> None:
        def one(name: str) -> None:
            for rule in rules(name):
                subprocess.run(
                    ["docker", "exec", f"foreshock-{run}-{name}-pod", "iptables", "-w", *rule], check=True
                )

        with ThreadPoolExecutor(len(NODES)) as pool:
            list(pool.map(one, NODES))

    def each(verb: str) -> Callable[[str], list[list[str]]]:
        return lambda name: [
            [verb, "INPUT", "-s", cluster.address(sender), "-j", "DROP"] for sender in sorted(HALVES[name])
        ]

    async def cut() -> None:
        await asyncio.to_thread(in_pods, each("-A"))

    async def heal() -> None:
        await asyncio.to_thread(in_pods, each("-D"))

    return cut, heal


async def measure(runtime: Runtime, directory: str, repeat: int) -> dict[str, list[float]]:
    """The milliseconds of every round, by what was measured."""
    cluster: Any = DockerBackend().cluster(specification(directory, f"bench-{os.getpid()}"), runtime)
    ledger = FaultLedger(Path(directory) / "faults.jsonl", runtime.now)

    async def cut() -> None:
        inverse = cluster.inverse("partition", frozenset(NODES))
        ledger.planned("partition", frozenset(NODES), value={"kind": "halves"}, inverse=inverse)
        await cluster.cut(HALVES)

    async def heal() -> None:
        await cluster.cut({})

    try:
        await cluster.deploy()
        await start_observers(cluster)
        await asyncio.sleep(HELD_S)
        ours = await rounds(cut, heal, repeat)
        theirs = await rounds(*exec_each(cluster), repeat)
        silences = await observed(cluster)
    finally:
        ledger.close()
        await cluster.teardown()
    figures: dict[str, list[float]] = {}
    for name, times in (("one kept shell a pod", ours), ("one docker exec a rule", theirs)):
        for moments in times:
            in_force_ms, healed_ms = effects_ms(silences, moments)
            figures.setdefault(f"{name}: cut in force", []).append(in_force_ms)
            figures.setdefault(f"{name}: healed", []).append(healed_ms)
            done_ms = (moments["cut done"] - moments["cut"]) / 1e6
            figures.setdefault(f"{name}: cut said to be done", []).append(done_ms)
    return figures


def main() -> int:
    """Print the figures; 1 when ours miss the aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    reason = DockerBackend().available()
    if reason is not None:
        print(f"left out: {reason}", file=sys.stderr)
        return 0
    runtime = AsyncioRuntime(1)
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as directory:
        figures = runtime.run(measure(runtime, directory, arguments.repeat))
    if arguments.json:
        print(json.dumps(figures))
    else:
        print(f"{'ms after the decision, of ' + str(arguments.repeat):44} {'median':>8} {'worst':>8}")
        for name, values in figures.items():
            print(f"{name:44} {statistics.median(values):8.1f} {max(values):8.1f}")
    ours = [
        value for name, values in figures.items() if name.startswith("one kept shell") for value in values
    ]
    return int(max(ours) > AIM_MS)


if __name__ == "__main__":
    sys.exit(main())
