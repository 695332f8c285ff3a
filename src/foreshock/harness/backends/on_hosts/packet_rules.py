"""Packet faults as shell scripts, for any :class:`~foreshock.harness.host.Host` of Linux.

All rules live in chains of our own, all queueing disciplines below a handle of our own; no other rule or discipline is
ever changed. A script replaces a whole chain at once.
"""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from foreshock.harness.backends.docker.pod_init import PORT as PROBE_PORT
from foreshock.harness.backends.on_hosts.packet_disciplines import end_disciplines, find_disciplines
from foreshock.harness.backends.on_hosts.packet_shaper import MARK, QUEUE
from foreshock.harness.capabilities import LinkShape

OUT: Final = "FORESHOCK-OUT"
"""Our chain of packets that leave, in the mangle table."""
NAMES: Final = "FORESHOCK-NAMES"
"""Our chain of answers of name servers, in the mangle table."""
RESET: Final = "FORESHOCK-RESET"
"""Our chain of packets of connections that are being reset, in the filter table."""

NOBODYS_QUEUE: Final = QUEUE + 1
"""A queue that nobody reads: netfilter loses what is put into it."""
_TRIAL: Final = "FORESHOCK-TRIAL"
NFQUEUE: Final = "nfqueue"
SS: Final = "ss"
TRIED: Final = "tried"
"""The last word of :func:`find_means`."""

_CHAINS: Final = (
    ("mangle", "OUTPUT", OUT),
    ("mangle", "INPUT", NAMES),
    ("filter", "INPUT", RESET),
    ("filter", "OUTPUT", RESET),
)
_POLL_S: Final = "0.01"
_STARTING_POLLS: Final = 1_500


def _replace(table: str, hooks: Iterable[str], chain: str, rules: Iterable[str]) -> str:
    """The script that makes these rules the whole of our chain, and lets the hooks jump to it."""
    text = "\n".join([f"*{table}", f":{chain} - [0:0]", *(f"-A {chain} {rule}" for rule in rules), "COMMIT"])
    jumps = "".join(
        f"iptables -w 5 -t {table} -C {hook} -j {chain} 2>/dev/null"
        f" || iptables -w 5 -t {table} -I {hook} 1 -j {chain}\n"
        for hook in hooks
    )
    return f"iptables-restore --wait 5 --noflush <<'RULES'\n{text}\nRULES\n{jumps}"


def _remove(chains: Iterable[tuple[str, str, str]]) -> str:
    """The script that takes these chains of ours (table, hook, chain) away; harmless where they are not."""
    lines = "\n".join(" ".join(chain) for chain in chains)
    return (
        f"while read -r table hook chain; do\n"
        f'  rules() {{ iptables -w 5 -t "$table" "$@"; }}\n'
        f'  rules -n -L "$chain" >/dev/null 2>&1 || continue\n'
        f'  while rules -C "$hook" -j "$chain" 2>/dev/null; do rules -D "$hook" -j "$chain" || exit 1; done\n'
        f'  rules -F "$chain" || exit 1\n'
        f'  rules -X "$chain" 2>/dev/null || true\n'  # another hook may still have it
        f"done <<'CHAINS'\n{lines}\nCHAINS\n"
    )


def _addresses(given: Iterable[str]) -> list[str]:
    return [str(address) for address in sorted({ipaddress.IPv4Address(each) for each in given})]


def queue(receivers: Iterable[str], silenced: Iterable[str] = ()) -> str:
    """The script that hands all that goes to these addresses to the shaper, in place of what it was handed before.

    What goes to ``silenced`` is handed to nobody: it is lost, and its sender is told nothing, as DROP would tell it.
    What the shaper sends anew passes, and so do the probes of partitions: they tell what is cut, not what is slow.
    """
    wanted, lost = _addresses(receivers), _addresses(silenced)
    rules = []
    if wanted or lost:
        rules = [
            f"-m mark --mark {MARK:#x} -j RETURN",
            f"-p udp -m udp --dport {PROBE_PORT} -j RETURN",
            *(f"-d {address}/32 -j NFQUEUE --queue-num {NOBODYS_QUEUE}" for address in lost),
            *(f"-d {address}/32 -j NFQUEUE --queue-num {QUEUE} --queue-bypass" for address in wanted),
        ]
    return "set -e\n" + _replace("mangle", ["OUTPUT"], OUT, rules)


def break_names() -> str:
    """The script that lets no answer of a name server in; what is sent to one is never refused, only in vain."""
    rules = [f"-p {protocol} -m {protocol} --sport 53 -j DROP" for protocol in ("udp", "tcp")]
    return "set -e\n" + _replace("mangle", ["INPUT"], NAMES, rules)


def mend_names() -> str:
    """The script that lets them in again."""
    return _remove([("mangle", "INPUT", NAMES)])


def look_up(address: str) -> str:
    """The script that asks the first name server for the name of an address, and prints ``found`` when it answers."""
    reverse = [*reversed(str(ipaddress.IPv4Address(address)).split(".")), "in-addr", "arpa"]
    return f"python3 - {' '.join(reverse)} <<'PROGRAM'\n{_LOOK_UP}PROGRAM\n"


# Any answer will do, also that there is no such name: then somebody has answered.
_LOOK_UP: Final = """\
import os, socket, struct, sys
with open("/etc/resolv.conf") as file:
    servers = [line.split()[1] for line in file if line.split()[:1] == ["nameserver"] and len(line.split()) > 1]
for attempt in range(3 if servers else 0):
    family = socket.AF_INET6 if ":" in servers[0] else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.4)
        identity = os.urandom(2)
        labels = b"".join(bytes([len(label)]) + label.encode() for label in sys.argv[1:])
        question = identity + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, 12, 1)
        try:
            udp.sendto(question, (servers[0], 53))
            answered = udp.recv(2048)[:2] == identity
        except OSError:
            answered = False
    if answered:
        print("found")
        break
"""


def list_connections() -> str:
    """The script that prints where somebody listens, a line ``--``, and the established connections (TCP, ``ss``)."""
    return "set -e\nss -Hltn\necho --\nss -Htn state established\n"


def kill_connections(connections: Iterable[tuple[str, str]]) -> str:
    """The script that has the kernel reset connections, each the two ends as :func:`list_connections` prints them."""
    commands = []
    for local, remote in connections:
        (source, source_port), (destination, port) = _end_of(local), _end_of(remote)
        commands.append(
            f"ss -K -tn src {source} sport = :{source_port} dst {destination} dport = :{port} >/dev/null 2>&1 || true\n"
        )
    return "".join(commands)


def refuse_connections(connections: Iterable[tuple[str, str]]) -> str:
    """The script that answers every packet of these connections with a reset, until :func:`stop_refusing`."""
    rules = []
    for local, remote in connections:
        here, there = _end_of(local), _end_of(remote)
        for (source, source_port), (destination, port) in ((here, there), (there, here)):
            packets = f"-s {source}/32 -d {destination}/32 -p tcp -m tcp --sport {source_port} --dport {port}"
            rules.append(f"{packets} -j REJECT --reject-with tcp-reset")
    return "set -e\n" + _replace("filter", ["INPUT", "OUTPUT"], RESET, rules)


def stop_refusing() -> str:
    """The script that ends that."""
    return _remove([("filter", "INPUT", RESET), ("filter", "OUTPUT", RESET)])


def address_of(end: str) -> str:
    """The IPv4 address in one end of a connection; what has none is given back as it is."""
    address = end.rpartition(":")[0].strip("[]")
    return address.removeprefix("::ffff:")


def _end_of(text: str) -> tuple[str, int]:
    """Address and port of one end, which may be written as IPv6 has IPv4 addresses."""
    return str(ipaddress.IPv4Address(address_of(text))), int(text.rpartition(":")[2])


def find_means() -> str:
    """The script that prints by what packets can be shaped here: ``netem``, ``htb``, ``nfqueue``, ``ss``."""
    return (
        f"{find_disciplines()}"
        f"if iptables -w 5 -t mangle -N {_TRIAL} 2>/dev/null; then\n"
        f"  iptables -w 5 -t mangle -A {_TRIAL} -j NFQUEUE --queue-num {QUEUE} --queue-bypass 2>/dev/null"
        f" && command -v python3 >/dev/null && echo {NFQUEUE}\n"
        f"  iptables -w 5 -t mangle -F {_TRIAL}; iptables -w 5 -t mangle -X {_TRIAL}\n"
        f"fi\n"
        f"command -v ss >/dev/null && echo {SS}\n"
        f"echo {TRIED}\n"
    )


def undo(directory: str) -> str:
    """The script that ends every packet fault on the host, and the shaper whose directory this is. Idempotent."""
    return f"{_remove(_CHAINS)}{end_disciplines()}{_end(directory)}"


def _alive(directory: str) -> str:
    """A shell function ``shaper`` that prints the pid of the shaper where it lives, by pid and start time."""
    path = shlex.quote(f"{directory}/process")
    return (
        "shaper() {\n"
        f"  read -r pid started 2>/dev/null < {path} || return 1\n"
        '  [ "$(sed "s/.*) //" "/proc/$pid/stat" 2>/dev/null | cut -d" " -f20)" = "$started" ] || return 1\n'
        '  echo "$pid"\n'
        "}\n"
    )


def _end(directory: str) -> str:
    links = shlex.quote(f"{directory}/links")
    nothing = shlex.quote(json.dumps({"generation": 0, "links": {}}))
    return (
        f"{_alive(directory)}"
        # One that is just starting has not said yet who it is; it does so before it reads what it is to do.
        f"[ ! -e {links} ] || {{ printf '%s\\n' {nothing} > {links}.new && mv {links}.new {links}; }} || exit 1\n"
        f"if pid=$(shaper); then\n"
        f'  kill -TERM "$pid" 2>/dev/null || true\n'
        f"  polls=0\n"
        f"  while shaper >/dev/null; do\n"
        f"    polls=$((polls + 1))\n"
        f'    [ $polls -lt 300 ] || {{ kill -KILL "$pid" 2>/dev/null || true; break; }}\n'
        f"    sleep {_POLL_S}\n"
        f"  done\n"
        f"fi\n"
        f"rm -f {shlex.quote(f'{directory}/process')}\n"
    )


def shape_in_user_space(directory: str, shapes: Mapping[str, LinkShape], generation: int) -> str:
    """The script that has the shaper shape what goes to these addresses, and starts it where it does not run.

    No shapes: it is let go. It ends once all is sent that it holds. Exit status 1 says why on the error stream.
    """
    wanted: dict[str, Any] = {address: msgspec.to_builtins(shapes[address]) for address in _addresses(shapes)}
    links = shlex.quote(json.dumps({"generation": generation, "links": wanted}))
    where = shlex.quote(directory)
    start = f"setsid python3 {where}/packet_shaper.py {where} </dev/null >{where}/log 2>&1 &\n  pid=$!\n"
    return (
        f"{_alive(directory)}"
        f"printf '%s\\n' {links} > {where}/links.new && mv {where}/links.new {where}/links || exit 1\n"
        f"if pid=$(shaper); then\n"
        f'  kill -HUP "$pid"\n'
        f"else\n"
        f"  {start if wanted else 'exit 0'}\n"
        f"fi\n"
        f"polls=0\n"
        f'until [ "$(cat {where}/applied 2>/dev/null)" = {generation} ]; do\n'
        f"  polls=$((polls + 1))\n"
        f'  kill -0 "$pid" 2>/dev/null && [ $polls -lt {_STARTING_POLLS} ]'
        f" || {{ tail -n 1 {where}/log >&2; exit 1; }}\n"
        f"  sleep {_POLL_S}\n"
        f"done\n"
    )
