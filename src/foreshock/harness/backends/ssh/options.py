"""The options of the ``ssh`` backend."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from foreshock.harness.errors import UsageError
from foreshock.harness.options import Options

_DIRECTORY = re.compile(r"(/[A-Za-z0-9._-]+)+")


class SshOptions(Options, frozen=True, kw_only=True):
    """Which hosts, and how to get in. There is no option for a password: keys and the agent alone open hosts."""

    hosts: Annotated[
        str | dict[str, str],
        msgspec.Meta(
            description="where nodes are, such as n1=root@10.0.0.1:22,n2=db2 (a table in TOML); "
            "a node that is not named here is looked up by its own name"
        ),
    ] = ""
    addresses: Annotated[
        str | dict[str, str],
        msgspec.Meta(
            description="IPv4 addresses by which nodes and clients reach a node, where they are not the one that "
            "ssh arrives at, such as n1=10.0.0.1,n2=10.0.0.2"
        ),
    ] = ""
    config: Annotated[str, msgspec.Meta(description="the ssh configuration in which hosts are looked up")] = (
        "~/.ssh/config"
    )
    identity: Annotated[
        str | None, msgspec.Meta(description="file of a private key, used before those of the configuration")
    ] = None
    known_hosts: Annotated[
        str | None,
        msgspec.Meta(description="file of known host keys, in place of the user's and the system's"),
    ] = None
    user: Annotated[
        str | None, msgspec.Meta(description="whom to log in as, where neither hosts nor config says")
    ] = None
    port: Annotated[
        int,
        msgspec.Meta(description="port of sshd, where neither hosts nor config says", ge=1, le=65_535),
    ] = 22
    connect_timeout_ms: Annotated[
        int, msgspec.Meta(description="how long a host may take to let us in", ge=100, le=600_000)
    ] = 10_000
    sudo: Annotated[
        Literal["never", "auto", "always"],
        msgspec.Meta(
            description="use sudo (never with a password) for what only root may do: auto where one is not root"
        ),
    ] = "auto"
    remote_directory: Annotated[
        str, msgspec.Meta(description="folder on each host in which a folder of ours is made")
    ] = "/var/tmp"
    allow_settimeofday: Annotated[
        bool, msgspec.Meta(description="whether the clock nemesis may set the real clocks of the hosts")
    ] = False

    def __post_init__(self) -> None:
        if not _DIRECTORY.fullmatch(self.remote_directory) or "/.." in self.remote_directory:
            raise UsageError(
                f"ssh.remote_directory cannot be {self.remote_directory!r}: give a whole path of letters, digits, "
                "dots, hyphens and underscores, such as /var/tmp"
            )
        for what, written in {f"the host of {node}": host for node, host in self.places().items()}.items():
            if "://" in written or ":" in written.rpartition("@")[0]:  # not repeated: it may hold a password
                raise UsageError(
                    f"ssh.hosts: {what} is a URL, or has a password in it: write USER@HOST:PORT "
                    "(keys and the agent alone open hosts)"
                )

    def places(self) -> dict[str, str]:
        """``hosts`` as a mapping; raises :class:`UsageError`."""
        return assigned(self.hosts, option="hosts")

    def reached_at(self) -> dict[str, str]:
        """``addresses`` as a mapping; raises :class:`UsageError`."""
        return assigned(self.addresses, option="addresses")


def assigned(given: str | dict[str, str], *, option: str) -> dict[str, str]:
    """``n1=a,n2=b`` as a mapping from node to text; raises :class:`UsageError`."""
    if isinstance(given, dict):
        return given
    found: dict[str, str] = {}
    for word in filter(None, (word.strip() for word in given.split(","))):
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UsageError(f"ssh.{option}: {word!r} is not NODE=VALUE")
        if name in found:
            raise UsageError(f"ssh.{option}: the node {name!r} is named twice")
        found[name] = value
    return found
