"""The further ports of nodes that have an address each."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock.harness.cluster import Endpoint, FurtherPort


def further_ports(
    ports: Mapping[str, int], name: str, listen_host: str, addresses: Mapping[str, str]
) -> dict[str, FurtherPort]:
    """``Node.further`` of the node ``name``, which binds at ``listen_host``; ``addresses`` are those of all nodes."""
    return {
        called: FurtherPort(
            endpoint=Endpoint(host=addresses[name], port=port),
            listen=Endpoint(host=listen_host, port=port),
            peers={peer: Endpoint(host=at, port=port) for peer, at in addresses.items() if peer != name},
            address=Endpoint(host=addresses[name], port=port),
        )
        for called, port in ports.items()
    }
