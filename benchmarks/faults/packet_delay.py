"""How far from what was asked the delay of packets is that NFQUEUE and our process bring about, at 5,000 a second.

One pod sends numbered datagrams to another at that rate. The receiver takes the time of each from the kernel, so what
is measured is the link and not who reads. Beside it, in the same run, stands the same link without a shape, before and
after. Where the kernel has netem, that is what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from typing import Any

import msgspec

from benchmarks.deploy import specification
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.backends.on_hosts.packet_disciplines import NETEM
from foreshock.harness.capabilities import LinkShape, Shape
from foreshock.harness.runtime import Runtime

AIM_US = 1_000
DELAYS_MS = (1, 10, 100)
RATE = 5_000
SECONDS = 3
LINK = ("n1", "n2")

RECEIVER = """
import os, socket, struct, sys
count, out = int(sys.argv[1]), sys.argv[2]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
udp.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS: when the kernel had it
udp.bind(("0.0.0.0", 7702))
open(out + ".ready", "w").close()
udp.settimeout(30)
late = []
try:
    while len(late) < count:
        data, ancillary, _, _ = udp.recvmsg(64, 64)
        udp.settimeout(5)
        seconds, ns = struct.unpack("qq", ancillary[0][2][:16])
        late.append((seconds * 10**9 + ns - struct.unpack("q", data[:8])[0]) // 1000)
except TimeoutError:
    pass
with open(out + ".new", "w") as file:
    file.write(" ".join(map(str, late)))
os.replace(out + ".new", out)
"""
SENDER = """
import select, socket, struct, sys, time
address, rate, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.setsockopt(socket.SOL_SOCKET, 32, 32 << 20)
began = time.monotonic_ns()
for number in range(count):
    due = began + number * 10**9 // rate
    while (left := due - time.monotonic_ns()) > 0:
        if left > 100_000:
            select.select([], [], [], (left - 60_000) / 1e9)
    udp.sendto(struct.pack("q", time.time_ns()) + bytes(192), (address, 7702))
print((time.monotonic_ns() - began) / 1e9)
"""


async def lateness_us(cluster: Any) -> tuple[list[int], float]:
    """How late each of the datagrams came, in order, and how many were sent a second."""
    sender, receiver = (cluster.host(name) for name in LINK)
    count = RATE * SECONDS
    await receiver.upload(RECEIVER.encode(), "/run/receiver.py")
    await sender.upload(SENDER.encode(), "/run/sender.py")
    receive = f"setsid python3 /run/receiver.py {count} /run/late </dev/null >/run/receiver.log 2>&1 &\n"
    waiting = "until [ -e /run/late.ready ]; do sleep 0.02; done"
    started = await receiver.run(f"rm -f /run/late /run/late.ready; {receive} {waiting}", timeout_ms=30_000)
    assert started.exit_code == 0, started.stderr
    sent = await sender.run(
        f"python3 /run/sender.py {cluster.address(LINK[1])} {RATE} {count}", timeout_ms=60_000
    )
    assert sent.exit_code == 0, sent.stderr
    took = await receiver.run("until [ -e /run/late ]; do sleep 0.02; done; cat /run/late", timeout_ms=60_000)
    late = sorted(map(int, took.stdout.split()))
    assert len(late) == count, f"{count - len(late)} of {count} datagrams are lost"
    return late, count / float(sent.stdout)


def percentile(ordered: list[int], percent: float) -> int:
    """The value below which so many percent lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


async def measure(runtime: Runtime, directory: str, repeat: int) -> list[dict[str, Any]]:
    """One row for each delay asked for, and for none."""
    spec = specification(directory, f"bench-{os.getpid()}")
    spec = msgspec.structs.replace(spec, node_names=LINK, needs=frozenset({Shape}))
    cluster: Any = DockerBackend().cluster(spec, runtime)
    rows = []
    try:
        await cluster.deploy()
        await cluster.find_packet_means()
        netem = all(NETEM in means for means in cluster.packet_means.values())
        for asked_ms in (0, *DELAYS_MS * repeat, 0):
            shapes = {LINK: LinkShape(delay_us=asked_ms * 1000)} if asked_ms else {}
            await cluster.shape(shapes)
            late, rate = await lateness_us(cluster)
            means = "netem" if netem else "NFQUEUE"
            rows.append(
                {
                    "means": means if asked_ms else "no shape",
                    "asked_us": asked_ms * 1000,
                    "sent_per_s": round(rate),
                    **{f"p{p:g}_us": percentile(late, p) for p in (1, 50, 90, 99, 99.9)},
                }
            )
        await cluster.shape({})
    finally:
        await cluster.teardown()
    return rows


def main() -> int:
    """Print a table, or JSON; exit status 1 when half of the packets, or 99 %, are further off than the aim."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    reason = DockerBackend().available()
    if reason is not None:
        print(f"left out: {reason}", file=sys.stderr)
        return 0
    runtime = AsyncioRuntime(1)
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as directory:
        rows: list[dict[str, Any]] = runtime.run(measure(runtime, directory, arguments.repeat))
    usual_us = min(row["p50_us"] for row in rows if not row["asked_us"])
    for row in rows:
        row["off_by_us"] = {p: row[f"{p}_us"] - usual_us - row["asked_us"] for p in ("p50", "p99")}
    off_us = max(abs(by) for row in rows if row["asked_us"] for by in row["off_by_us"].values())
    if arguments.json:
        print(json.dumps(rows, indent=1))
    else:
        print(
            f"{'means':9} {'asked':>9} {'sent/s':>7} {'p1':>8} {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8}  us"
        )
        for row in rows:
            numbers = " ".join(f"{row[f'{p}_us']:8}" for p in ("p1", "p50", "p90", "p99", "p99.9"))
            print(f"{row['means']:9} {row['asked_us']:9} {row['sent_per_s']:7} {numbers}")
        print(f"\nfurthest from what was asked, at p50 and p99: {off_us} us (aim: {AIM_US} us)")
    return int(off_us > AIM_US)


if __name__ == "__main__":
    sys.exit(main())
