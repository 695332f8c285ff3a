"""Packet faults by the kernel's own queueing disciplines (``tc``), as shell scripts for any Host of Linux.

One hierarchy of ours hangs at the device by which the other nodes are reached, below a handle that is ours, with a
class for each link. A device to which somebody has given a discipline of their own is left alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Final

from foreshock.harness.backends.docker.pod_init import PORT as PROBE_PORT
from foreshock.harness.capabilities import RATE_QUEUE_MS, LinkShape

HANDLE: Final = "f05e"
NETEM: Final = "netem"
HTB: Final = "htb"

_PACKETS_MAX: Final = 16_384
_UNLIMITED: Final = "10gbit"
_QUEUE_BYTES_MIN: Final = 3_000
_UDP: Final = 17


def expressible(shape: LinkShape, means: frozenset[str]) -> bool:
    """Whether a kernel with these of :data:`NETEM` and :data:`HTB` can do all that the shape says."""
    if HTB not in means:
        return False
    if shape == LinkShape(rate_bytes_per_s=shape.rate_bytes_per_s):
        return True
    # What netem reorders by is the delay itself.
    return NETEM in means and not (shape.reorder_ppm and (shape.delay_us or shape.jitter_us))


def find_disciplines() -> str:
    """The script that prints which of :data:`NETEM` and :data:`HTB` the kernel has: it tries on the loopback device."""
    return "".join(
        f"if tc qdisc add dev lo root handle {HANDLE}: {kind} 2>/dev/null; then\n"
        f"  tc qdisc del dev lo root handle {HANDLE}:; echo {kind}\n"
        f"fi\n"
        for kind in (NETEM, HTB)
    )


def end_disciplines() -> str:
    """The script that takes our hierarchy away from every device that has it."""
    return (
        f"for device in $(tc qdisc show 2>/dev/null"
        f" | sed -n 's/^qdisc {HTB} {HANDLE}: dev \\([^ ]*\\) root.*/\\1/p'); do\n"
        f'  tc qdisc del dev "$device" root handle {HANDLE}:\n'
        f"done\n"
    )


def shape_in_kernel(shapes: Mapping[str, LinkShape]) -> str:
    """The script that shapes what goes to these addresses, in place of what was shaped before by this means."""
    if not shapes:
        return f"set -e\n{end_disciplines()}"
    ordered = sorted((ipaddress.IPv4Address(address), shape) for address, shape in shapes.items())
    addresses = " ".join(str(address) for address, _ in ordered)
    script = (
        f"set -e\n{end_disciplines()}"
        f'device=$(for address in {addresses}; do ip -o route get "$address"; done'
        f" | sed 's/.* dev \\([^ ]*\\).*/\\1/' | sort -u)\n"
        f'[ "$(echo "$device" | wc -w)" = 1 ]'
        f' || {{ echo "the nodes are not reached by one device:" $device >&2; exit 1; }}\n'
        f'tc qdisc show dev "$device" root | grep -q "^qdisc [a-z_]* 0:"'
        f' || {{ echo "the device $device has a queueing discipline of its own" >&2; exit 1; }}\n'
        f'tc qdisc add dev "$device" root handle {HANDLE}: {HTB}\n'
        f'tc filter add dev "$device" parent {HANDLE}: protocol ip prio 1 u32'
        f" match ip protocol {_UDP} 0xff match ip dport {PROBE_PORT} 0xffff flowid {HANDLE}:0\n"
    )
    return script + "".join(
        _class_of(number, str(address), shape) for number, (address, shape) in enumerate(ordered, start=1)
    )


def _class_of(number: int, address: str, shape: LinkShape) -> str:
    rate = f"{shape.rate_bytes_per_s}bps" if shape.rate_bytes_per_s else _UNLIMITED
    leaf = _netem(shape)
    if leaf is None:
        held_bytes = max(_QUEUE_BYTES_MIN, shape.rate_bytes_per_s * RATE_QUEUE_MS // 1000)
        leaf = f"bfifo limit {held_bytes}"
    return (
        f'tc class add dev "$device" parent {HANDLE}: classid {HANDLE}:{number:x} {HTB} rate {rate} quantum 60000\n'
        f'tc qdisc add dev "$device" parent {HANDLE}:{number:x} {leaf}\n'
        f'tc filter add dev "$device" parent {HANDLE}: protocol ip prio 2 u32'
        f" match ip dst {address}/32 flowid {HANDLE}:{number:x}\n"
    )


def _netem(shape: LinkShape) -> str | None:
    """The arguments of netem; ``None`` where nothing but the rate is to be shaped."""
    words: list[str] = []
    if shape.reorder_ppm:  # netem sends this many at once and delays the others
        words += ["delay", f"{shape.reorder_us}us", "reorder", _percent(1_000_000 - shape.reorder_ppm)]
    elif shape.delay_us or shape.jitter_us:
        words += ["delay", f"{shape.delay_us}us"]
        if shape.jitter_us:
            words.append(f"{shape.jitter_us}us")
            if shape.distribution != "uniform":
                words += ["distribution", shape.distribution]
    for word, chance_ppm in (
        ("loss", shape.loss_ppm),
        ("duplicate", shape.duplicate_ppm),
        ("corrupt", shape.corrupt_ppm),
    ):
        if chance_ppm:
            words += [word, _percent(chance_ppm)]
    return " ".join([NETEM, "limit", str(_PACKETS_MAX), *words]) if words else None


def _percent(ppm: int) -> str:
    return f"{ppm // 10_000}.{ppm % 10_000:04d}%"
