"""Grudges as pure data: who refuses to hear whom, for each kind of partition.

A *grudge* maps a receiver to the senders whose messages are dropped on their way to it. The functions here only
compute; :mod:`foreshock.nemesis.partition` cuts. Sets are never iterated into a decision: all draws are over
ordered sequences of nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from foreshock.harness.capabilities import Grudge
from foreshock.harness.randomness import RandomStream

Shape = Callable[[Sequence[str], frozenset[str], RandomStream], Grudge]
"""``shape(nodes, primaries, rng)``: the grudge of one kind of partition; empty where the nodes are too few."""


def majority(count: int) -> int:
    """The least number of nodes that is more than half of ``count``."""
    return count // 2 + 1


def components(groups: Sequence[Sequence[str]]) -> Grudge:
    """Each node hears its own group and nobody else."""
    grudge: dict[str, frozenset[str]] = {}
    for group in groups:
        others = frozenset(node for other in groups if other is not group for node in other)
        if others:
            grudge.update(dict.fromkeys(group, others))
    return grudge


def hearing(nodes: Sequence[str], heard: Mapping[str, frozenset[str]]) -> Grudge:
    """The grudge under which each node hears exactly the nodes given for it (and itself)."""
    every = frozenset(nodes)
    grudge = {node: every - heard[node] - {node} for node in nodes}
    return {node: deaf_to for node, deaf_to in grudge.items() if deaf_to}


def pairs(grudge: Grudge) -> frozenset[tuple[str, str]]:
    """The (sender, receiver) pairs that the grudge cuts."""
    return frozenset((sender, receiver) for receiver, senders in grudge.items() for sender in senders)


def one(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:  # noqa: ARG001
    """One random node alone; the others keep each other."""
    return _split_off(rng.sample(nodes, len(nodes)), 1)


def minority(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:
    """A random minority of random size, as one group; the others keep the quorum.

    Half of the time a primary is in it, where there is one: what it is still asked to write then stays with few.
    """
    largest = (len(nodes) - 1) // 2
    order = rng.sample(nodes, len(nodes))
    if rng.chance(1, 2):
        order.sort(key=lambda node: node not in primaries)
    return _split_off(order, rng.between(1, largest) if largest else 1)


def bare_majority(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:  # noqa: ARG001
    """A random bare majority keeps the quorum; each of the others is all alone."""
    order = rng.sample(nodes, len(nodes))
    keep = majority(len(nodes))
    return components([order[:keep], *([node] for node in order[keep:])])


def halves(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:  # noqa: ARG001
    """Two random groups as equal as can be: with an even count nobody has a quorum, else a random half has."""
    return _split_off(rng.sample(nodes, len(nodes)), len(nodes) // 2)


def ring(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:  # noqa: ARG001
    """Every node hears a majority, and no two the same one (Jepsen's majorities-ring).

    The nodes stand in a random ring and hear their nearest neighbours on both sides, as many as a bare majority
    needs. Links are symmetric. Three nodes make a line, since a ring of three would cut nothing.
    """
    order = rng.sample(nodes, len(nodes))
    count = len(order)
    if count == 3:
        return {order[0]: frozenset({order[2]}), order[2]: frozenset({order[0]})}
    links = majority(count) - 1
    each_side, odd = divmod(links, 2)
    offsets = {step for near in range(1, each_side + 1) for step in (near, count - near)}
    if odd:
        # One more link a node: the opposite one where there is one, else one more on both sides.
        offsets |= {count // 2} if count % 2 == 0 else {each_side + 1, count - each_side - 1}
    heard = {
        node: frozenset(order[(place + offset) % count] for offset in offsets)
        for place, node in enumerate(order)
    }
    return hearing(order, heard)


def bridge(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:  # noqa: ARG001
    """Two groups that cannot hear each other, and one random node between them that hears and is heard by all."""
    order = rng.sample(nodes, len(nodes))
    middle = (len(order) - 1) // 2
    return components([order[1 : 1 + middle], order[1 + middle :]]) if len(order) > 2 else {}


def one_way(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:
    """A random node, a primary or a minority is cut in one direction only: it goes deaf, or it goes mute."""
    largest = max(1, (len(nodes) - 1) // 2)
    order = rng.sample(nodes, len(nodes))
    leaders = [node for node in order if node in primaries]
    if leaders and rng.chance(1, 2):
        order = leaders[:1] + [node for node in order if node != leaders[0]]
        largest = 1
    size = rng.between(1, largest)
    group, rest = order[:size], order[size:]
    if not rest:
        return {}
    deaf, unheard = (group, rest) if rng.chance(1, 2) else (rest, group)
    return dict.fromkeys(deaf, frozenset(unheard))


def isolate_primary(nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> Grudge:
    """A node that believes it leads is left alone; a random node where nobody says that it leads."""
    order = rng.sample(nodes, len(nodes))
    leaders = [node for node in order if node in primaries]
    first = leaders[0] if leaders else order[0]
    return _split_off([first, *(node for node in order if node != first)], 1)


SHAPES: Mapping[str, Shape] = {
    "one": one,
    "minority": minority,
    "majority": bare_majority,
    "halves": halves,
    "ring": ring,
    "bridge": bridge,
    "one-way": one_way,
    "isolate-primary": isolate_primary,
}
"""Every kind of partition by the name under which options and histories know it."""


def _split_off(order: Sequence[str], size: int) -> Grudge:
    return components([order[:size], order[size:]]) if 0 < size < len(order) else {}
