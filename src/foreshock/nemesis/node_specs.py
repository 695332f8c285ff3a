"""The vocabulary that says which nodes a fault strikes: ``one``, ``minority``, ``primaries``, ``all`` and so on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from foreshock.harness.errors import FaultError
from foreshock.harness.options import nearest
from foreshock.harness.randomness import RandomStream

NODE_SPECS: Mapping[str, str] = {
    "one": "one random node",
    "minority": "a random minority as large as can be",
    "minority-third": "a random set of less than a third of the nodes, but at least one",
    "majority": "a random bare majority",
    "primaries": "every node that says it leads; one random node where none says so",
    "all": "every node",
}
"""Every node spec with what it means."""

NO_QUORUM = frozenset({"majority", "all"})
"""The node specs that leave no majority to go on without the nodes that they pick."""


def pick_nodes(
    spec: str, nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream
) -> frozenset[str]:
    """The nodes that a spec means now; at least one unless ``nodes`` is empty.

    ``nodes`` are the candidates in order. An unknown spec is a ``KeyError``: options are checked when they are parsed.
    """
    count = len(nodes)
    if not count:
        return frozenset()
    if spec == "primaries":
        leaders = frozenset(node for node in nodes if node in primaries)
        return leaders or frozenset(rng.sample(nodes, 1))
    sizes = {
        "one": 1,
        "minority": max(1, (count - 1) // 2),
        "minority-third": max(1, (count - 1) // 3),
        "majority": count // 2 + 1,
        "all": count,
    }
    return frozenset(rng.sample(nodes, sizes[spec]))


def minority_of(count: int) -> int:
    """The largest number of nodes that may fail while the others are still a majority."""
    return (count - 1) // 2


def named_nodes(value: Mapping[str, Any], known: Sequence[str]) -> frozenset[str] | None:
    """The nodes that a value names (``{"nodes": ["n1", "n3"]}``); ``None`` when it leaves them to the draw.

    Raises ``FaultError`` for what is no list of known names.
    """
    if "nodes" not in value:
        return None
    names = value["nodes"]
    if not isinstance(names, Collection) or isinstance(names, str | bytes | Mapping):
        raise FaultError(f'"nodes" is {names!r}: give a list of the names of nodes')
    for name in names:
        if name not in known:
            raise FaultError(f"there is no node {name!r}{nearest(str(name), known)}")
    return frozenset(names)


def known_spec(spec: object) -> str:
    """The node spec as a string; raises ``FaultError`` for one that is none."""
    text = str(spec)
    if text not in NODE_SPECS:
        raise FaultError(f"{text!r} does not say which nodes{nearest(text, NODE_SPECS)}")
    return text
