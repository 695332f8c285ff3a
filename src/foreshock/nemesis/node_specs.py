"""The vocabulary that says which nodes a fault strikes: ``one``, ``minority``, ``primaries``, ``all`` and so on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
