"""Where each node's host is and how to get in: from the options and the user's ssh configuration.

What is found here is the list of the hosts that may be touched. A connection is opened to a :class:`Place` and to
nothing else, and a place is made only for a node that the user named.
"""

from __future__ import annotations

import getpass
import re
import shlex
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import paramiko

from foreshock.harness.backends.ssh.options import SshOptions
from foreshock.harness.errors import UsageError
from foreshock.harness.options import nearest
from foreshock.harness.text_files import read_text

SSH_PORT: Final = 22
_USER_KNOWN_HOSTS: Final = "~/.ssh/known_hosts"
_SYSTEM_KNOWN_HOSTS: Final = "/etc/ssh/ssh_known_hosts"
_PLACE: Final = re.compile(r"(?:(?P<user>[^@]+)@)?(?P<host>\[[^]]+\]|[^@:]+)(?::(?P<port>\d{1,5}))?")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """The host of one node: all that is needed to get in from another process, and no secret."""

    node: str
    hostname: str
    port: int
    user: str
    key_name: str
    """The name under which its host key is known, together with :attr:`key_port`."""
    key_port: int = SSH_PORT
    identities: tuple[str, ...] = ()
    """Files of private keys; none: the usual ones."""
    only_identities: bool = False
    proxy: str | None = None
    """The command through which the host is reached, where it is not reached directly."""
    known_hosts: tuple[str, ...]
    sudo: str = "auto"
    connect_timeout_ms: int = 10_000

    @property
    def known_as(self) -> str:
        """As files of known host keys have it."""
        return self.key_name if self.key_port == SSH_PORT else f"[{self.key_name}]:{self.key_port}"

    @property
    def shown(self) -> str:
        """As a person would write it: ``root@10.0.0.1:22``."""
        return f"{self.user}@{self.hostname}:{self.port}"


def places_of(options: SshOptions, nodes: Sequence[str]) -> dict[str, Place]:
    """The place of each node; raises :class:`UsageError` for what cannot be understood."""
    given = options.places()
    for what, names in (("hosts", given), ("addresses", options.reached_at())):
        for name in names:
            if name not in nodes:
                raise UsageError(f"ssh.{what} names {name!r}, which is no node{nearest(name, nodes)}")
    config = _read_config(options.config)
    found = {node: _place(node, given.get(node, node), options, config) for node in nodes}
    taken: dict[tuple[str, int], str] = {}
    for node, place in found.items():
        other = taken.setdefault((place.hostname, place.port), node)
        if other != node:
            raise UsageError(
                f"the nodes {other} and {node} are on one host ({place.hostname}:{place.port}): "
                "each node needs a host of its own"
            )
    return found


def check_named(options: SshOptions, places: Mapping[str, Place]) -> None:
    """Raise :class:`UsageError` for a node whose host nobody named: its own name is no host that could be reached.

    What ``ssh.hosts`` names is not looked up: its host is known, and may only be away for a while.
    """
    for node, place in places.items():
        if node in options.places() or place.hostname != node or place.proxy is not None:
            continue
        try:
            socket.getaddrinfo(place.hostname, place.port)
        except OSError:
            raise UsageError(unknown(place)) from None


def unknown(place: Place) -> str:
    """The sentence for a node whose host is not known."""
    return (
        f"node {place.node}: the ssh configuration has no such host, and no address is found for "
        f"{place.hostname!r}: say where it is (-o ssh.hosts={place.node}=USER@ADDRESS)"
    )


def _read_config(path: str) -> paramiko.SSHConfig:
    file = Path(path).expanduser()
    if not file.exists():
        if path == SshOptions().config:
            return paramiko.SSHConfig()
        raise UsageError(f"ssh.config: there is no file {path!r}")
    try:
        return paramiko.SSHConfig.from_text(read_text(file, "ssh.config:"))
    except (paramiko.SSHException, ValueError) as error:
        raise UsageError(f"ssh.config: {path!r} cannot be understood: {error}") from None


def _place(node: str, written: str, options: SshOptions, config: paramiko.SSHConfig) -> Place:
    match = _PLACE.fullmatch(written)
    if match is None:
        raise UsageError(f"ssh.hosts: {written!r} is no place of node {node}: write USER@HOST:PORT, or HOST")
    alias = match["host"].strip("[]")
    try:
        known = config.lookup(alias)
    except Exception as error:
        raise UsageError(f"ssh.config: the host {alias!r} cannot be looked up: {error}") from error
    hostname = str(known.get("hostname", alias))
    port = int(match["port"] or known.get("port") or options.port)
    if not 0 < port < 1 << 16:
        raise UsageError(f"the port {port} of node {node} is out of bounds: 1 to 65535")
    name = str(known.get("hostkeyalias", hostname))
    identities = [options.identity] if options.identity else []
    identities += known.get("identityfile", [])
    for file in identities[:1] if options.identity else []:
        if not Path(file).expanduser().is_file():
            raise UsageError(f"ssh.identity: there is no file {file!r}")
    return Place(
        node=node,
        hostname=hostname,
        port=port,
        user=str(match["user"] or known.get("user") or options.user or getpass.getuser()),
        key_name=name,
        key_port=SSH_PORT if "hostkeyalias" in known else port,
        identities=tuple(str(Path(file).expanduser()) for file in identities),
        only_identities=known.get("identitiesonly", "no") == "yes",
        proxy=_proxy(known, hostname, port, options.config),
        known_hosts=_known_hosts(options, known),
        sudo=options.sudo,
        connect_timeout_ms=options.connect_timeout_ms,
    )


def _known_hosts(options: SshOptions, known: paramiko.SSHConfigDict) -> tuple[str, ...]:
    """The files of known host keys, the first one being where another key is to be added."""
    if options.known_hosts is not None:
        file = Path(options.known_hosts).expanduser()
        if not file.is_file():
            raise UsageError(f"ssh.known_hosts: there is no file {options.known_hosts!r}")
        return (str(file.resolve()),)
    of_user = str(known.get("userknownhostsfile", _USER_KNOWN_HOSTS)).split()
    of_system = str(known.get("globalknownhostsfile", _SYSTEM_KNOWN_HOSTS)).split()
    return tuple(str(Path(file).expanduser()) for file in (*of_user, *of_system) if file != "none")


def _proxy(known: paramiko.SSHConfigDict, hostname: str, port: int, config: str) -> str | None:
    """The command of ``ProxyCommand``, or one that does what ``ProxyJump`` asks for."""
    command = known.get("proxycommand")
    if command and command != "none":
        return str(command)
    jumps = [jump for jump in str(known.get("proxyjump", "")).split(",") if jump and jump != "none"]
    if not jumps:
        return None
    *first, last = jumps
    words = ["ssh", "-o", "BatchMode=yes", "-F", str(Path(config).expanduser())]
    words += ["-J", ",".join(first)] if first else []
    user, at, where = last.rpartition("@")
    where, colon, jump_port = where.partition(":")
    words += ["-p", jump_port] if colon else []
    return shlex.join([*words, "-W", f"[{hostname}]:{port}", f"{user}{at}{where}"])
