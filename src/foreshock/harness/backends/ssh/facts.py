"""What a host is like, and whether a test may be run there: asked once, before anything is changed on it."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from foreshock.harness.backends.ssh.node_scripts import BOOT
from foreshock.harness.backends.ssh.places import Place
from foreshock.harness.errors import DeployError

PYTHON_MIN: Final = (3, 11)
PACKET_PROGRAMS: Final = ("iptables", "iptables-restore")
_ALWAYS: Final = ("setsid", "grep", "sed", "cut")


class Facts(msgspec.Struct, frozen=True):
    """What a host says of itself."""

    boot: str
    user_id: int
    system: str
    python: str
    """``3.11``, or empty where there is none."""
    connection: tuple[str, int, str, int]
    """Where our connection comes from and where it arrives, as the host sees it: address, port, address, port."""
    gateways: frozenset[str]
    missing_programs: tuple[str, ...]
    missing_packages: tuple[str, ...]


def facts_script(programs: Sequence[str], packages: Sequence[str]) -> str:
    """Prints what :func:`read_facts` reads. A program may be a path with a ``*`` in it."""
    wanted = shlex.join(dict.fromkeys((*_ALWAYS, *programs)))
    lines = [
        BOOT,
        'echo "boot $boot"',
        'echo "user $(id -u)"',
        'echo "system $(uname -s)"',
        'echo "python $(python3 -c \'import sys; print("%d.%d" % sys.version_info[:2])\' 2>/dev/null)"',
        'echo "connection $SSH_CONNECTION"',
        "for gateway in $(ip -4 route show default 2>/dev/null | sed -n 's/.* via \\([0-9.]*\\).*/\\1/p')",
        'do echo "gateway $gateway"; done',
        f'for program in {wanted}; do command -v $program >/dev/null || echo "program $program"; done',
    ]
    if packages:
        asked = "dpkg-query -W -f '${Status}' \"$package\" 2>/dev/null"
        lines += [
            f"command -v dpkg-query >/dev/null && for package in {shlex.join(packages)}",
            f'do case $({asked}) in *" installed") ;; *) echo "package $package";; esac; done',
        ]
    return "\n".join([*lines, "true"]) + "\n"


def read_facts(text: str, place: Place) -> Facts:
    """The facts from the script's output; raises ``DeployError``."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        found.setdefault(key, []).append(value.strip())

    def one(key: str) -> str:
        return next(iter(found.get(key, [])), "")

    words = one("connection").split()
    try:
        connection = (_plain(words[0]), int(words[1]), _plain(words[2]), int(words[3]))
        user_id = int(one("user"))
    except (IndexError, ValueError) as error:
        raise DeployError(
            f"the host of node {place.node} ({place.shown}) does not say who we are: is its sshd a usual one?"
        ) from error
    return Facts(
        boot=one("boot"),
        user_id=user_id,
        system=one("system"),
        python=one("python"),
        connection=connection,
        gateways=frozenset(found.get("gateway", [])),
        missing_programs=tuple(found.get("program", [])),
        missing_packages=tuple(found.get("package", [])),
    )


def _plain(address: str) -> str:
    """An IPv4 address that came in an IPv6 socket, as an IPv4 address."""
    return address.removeprefix("::ffff:")


def check_host(facts: Facts, place: Place) -> None:
    """Raises ``DeployError``, with the command that mends it, where a node cannot run."""
    where = f"the host of node {place.node} ({place.shown})"
    if facts.system != "Linux":
        raise DeployError(f"{where} runs {facts.system or 'something unknown'}, and nodes need Linux")
    if not facts.python:
        raise DeployError(f"{where} has no python3: install it (sudo apt install python3)")
    if tuple(int(part) for part in facts.python.split(".")) < PYTHON_MIN:
        wanted = ".".join(map(str, PYTHON_MIN))
        raise DeployError(
            f"python3 of {where} is {facts.python}, and nodes need {wanted} or newer: install that as python3"
        )
    if facts.missing_packages:
        packages = " ".join(facts.missing_packages)
        raise DeployError(f"{where} lacks what the target needs: install it (sudo apt install {packages})")
    if facts.missing_programs:
        programs = ", ".join(facts.missing_programs)
        packages = " ".join(dict.fromkeys(map(_package_of, facts.missing_programs)))
        raise DeployError(f"{where} lacks {programs}: install it (sudo apt install {packages})")


def _package_of(program: str) -> str:
    return {"iptables-restore": "iptables", "setsid": "util-linux", "cut": "coreutils"}.get(program, program)


def addresses_of(facts: Mapping[str, Facts], given: Mapping[str, str]) -> dict[str, str]:
    """By which address each node is reached: the one given, else the one that our connection arrives at.

    Raises ``DeployError`` for what is no IPv4 address, and for two nodes at one.
    """
    found: dict[str, str] = {}
    for name, fact in facts.items():
        address = given.get(name, fact.connection[2])
        option = f"(-o ssh.addresses={name}=ADDRESS)"
        try:
            parsed = ipaddress.IPv4Address(address)
        except ValueError:
            raise DeployError(
                f"node {name} is at {address}, which is no IPv4 address: say by which one it is reached {option}"
            ) from None
        if parsed.is_loopback and len(facts) > 1:
            raise DeployError(
                f"node {name} is at {address}, where no other node reaches it: say by which address they do {option}"
            )
        other = next((node for node, at in found.items() if at == address), None)
        if other is not None:
            raise DeployError(
                f"the nodes {other} and {name} are both at {address}: say by which addresses they are reached {option}"
            )
        found[name] = address
    return found


def check_guard(facts: Mapping[str, Facts], addresses: Mapping[str, str]) -> None:
    """Refuse a test whose packet faults would cut off the harness itself; raises ``DeployError``.

    Faults work on what comes from the addresses of nodes. So the harness must not come from one, and no host may have
    one as its gateway.
    """
    node_at = {address: name for name, address in addresses.items()}
    for name, fact in facts.items():
        source = fact.connection[0]
        node = node_at.get(source)
        if node is not None and (node != name or len(addresses) > 1):
            raise DeployError(
                f"our connection to the host of node {name} comes from {source}, the address of node {node}: a fault "
                f"that cuts {node} off would cut off the harness, so run it on a machine that carries no node"
            )
        for gateway in sorted(fact.gateways & set(node_at)):
            raise DeployError(
                f"node {node_at[gateway]} ({gateway}) is the default gateway of the host of node {name}: a fault that "
                "cuts it off would cut off that host, so take another host for it"
            )
