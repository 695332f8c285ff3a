"""Addresses and peers as they are written on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Address(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def parse_address(text: str) -> Address:
    """``host:port``, or ``[host]:port`` for an IPv6 address; raises ``ValueError`` with a sentence."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError(f"{text!r} is no address; give HOST:PORT, such as 127.0.0.1:7000")
    return Address(host.strip("[]"), int(port))


def parse_peers(texts: Iterable[str]) -> dict[str, Address]:
    """``NAME=HOST:PORT``, each name once; raises ``ValueError`` with a sentence."""
    peers: dict[str, Address] = {}
    for text in texts:
        name, separator, address = text.partition("=")
        if not separator or not name:
            raise ValueError(f"--peer {text!r} must be NAME=HOST:PORT, such as n2=127.0.0.1:7002")
        if name in peers:
            raise ValueError(f"--peer {name!r} is given twice")
        peers[name] = parse_address(address)
    return peers
