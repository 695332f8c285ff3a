"""Partitions as iptables rules, as shell scripts for any :class:`~foreshock.harness.host.Host`.

All rules live in a chain of our own that the INPUT chain jumps to; no other rule is ever read or changed. A script
replaces the whole chain in one ``iptables-restore``, which the kernel applies at once or not at all.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

CHAIN: Final = "FORESHOCK"
"""The name of our chain in the filter table."""


def refuse(senders: Iterable[str], *, spared: tuple[str, int] | None = None) -> str:
    """The script that drops all that comes from the given addresses, in place of whatever was refused before.

    No senders: everything is heard again. ``spared`` is an address whose TCP connections to one port nothing of ours
    may cut, whoever is refused. Raises ``ValueError`` for what is not an IPv4 address.
    """
    addresses = sorted({ipaddress.IPv4Address(sender) for sender in senders})
    rules = [f"-A {CHAIN} -s {address}/32 -j DROP" for address in addresses]
    if spared is not None:
        source = ipaddress.IPv4Address(spared[0])
        rules.insert(0, f"-A {CHAIN} -s {source}/32 -p tcp -m tcp --dport {spared[1]} -j RETURN")
    # Naming the chain makes it when it is missing and empties it when it is there.
    table = "\n".join(["*filter", f":{CHAIN} - [0:0]", *rules, "COMMIT"])
    return (
        f"set -e\n"
        f"iptables-restore --wait 5 --noflush <<'RULES'\n{table}\nRULES\n"
        f"iptables -w 5 -C INPUT -j {CHAIN} 2>/dev/null || iptables -w 5 -I INPUT 1 -j {CHAIN}\n"
    )


def remove() -> str:
    """The script that takes our chain away altogether; harmless where it is not."""
    return (
        f"iptables -w 5 -n -L {CHAIN} >/dev/null 2>&1 || exit 0\n"
        f"set -e\n"
        f"while iptables -w 5 -C INPUT -j {CHAIN} 2>/dev/null; do iptables -w 5 -D INPUT -j {CHAIN}; done\n"
        f"iptables -w 5 -F {CHAIN}\n"
        f"iptables -w 5 -X {CHAIN}\n"
    )
