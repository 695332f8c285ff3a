"""Packet faults as pure data: what each kind does to which links, drawn from the seed or given outright.

Each direction between two nodes is a link of its own. The functions here only compute;
:mod:`foreshock.nemesis.packet` injects. All draws are over ordered sequences, and integers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from foreshock.harness.capabilities import Link, LinkShape
from foreshock.harness.fault_values import WrongValueError, check_name, check_nodes
from foreshock.harness.randomness import RandomStream

MILLION: Final = 1_000_000
RESET: Final = "reset"
NAMES: Final = "names"
MIXED: Final = "mixed"


class Kind(NamedTuple):
    """A kind of packet fault: what it is, and which kinds of shape it is made of."""

    meaning: str
    made_of: tuple[str, ...]


KINDS: Final[Mapping[str, Kind]] = {
    "delay": Kind("packets take longer, by about as much or by very different times", ("delay",)),
    "loss": Kind("some packets are lost", ("loss",)),
    "duplicate": Kind("some packets come twice", ("duplicate",)),
    "reorder": Kind("some packets are overtaken by later ones", ("reorder",)),
    "corrupt": Kind("some packets have a bit flipped", ("corrupt",)),
    "rate": Kind("little passes a second", ("rate",)),
    "slow-link": Kind("one direction is slow and narrow", ("delay", "rate")),
    "half-open": Kind("nothing passes in one direction, and no connection ends", ("loss",)),
    RESET: Kind("connections are reset, once", (RESET,)),
    NAMES: Kind("names are not found", (NAMES,)),
    MIXED: Kind("several of the first five at once", ()),
}
"""Every kind with what it means."""

AMOUNT_MAX: Final = 10**10
"""The longest delay in us that anybody may ask for."""
TOLD_FROM_NONE: Final[Mapping[str, tuple[int, int]]] = {
    "delay_us": (1_000, AMOUNT_MAX),
    "rate_bytes_per_s": (1, 900_000),
    **dict.fromkeys(("loss_ppm", "duplicate_ppm", "reorder_ppm", "corrupt_ppm"), (20_000, MILLION)),
}
"""From where to where an amount can be told from none by the longest burst of probes; others cannot be asked for."""
MIXABLE: Final = ("delay", "loss", "duplicate", "reorder", "corrupt")

LINK_SPECS: Final[Mapping[str, str]] = {
    "pair": "the links between two random nodes",
    "node": "all links of one random node",
    "primaries": "all links of the nodes that say they lead; of one random node where none says so",
    "all": "every link",
}
"""Which links a fault strikes."""

OUT, IN, BOTH = "out", "in", "both"
DIRECTIONS: Final = (OUT, IN, BOTH)
ONE_WAY: Final = (OUT, IN)


class Amounts(NamedTuple):
    """The most that a fault may do to a link."""

    delay_ms_max: int
    loss_percent_max: int
    duplicate_percent_max: int
    reorder_percent_max: int
    corrupt_percent_max: int
    rate_kb_per_s_min: int


class PacketFault(NamedTuple):
    """What is to be done: shapes on links, resets of connections over links, or names that nodes do not find."""

    kind: str
    links: Mapping[Link, LinkShape]
    nodes: tuple[str, ...] = ()
    """Whose names are not found."""

    def struck(self) -> frozenset[str]:
        """Every node at an end of a link, or that finds no name."""
        return frozenset(self.nodes) | {node for link in self.links for node in link}

    def parts(self) -> frozenset[str]:
        """The kinds of shape that it is made of."""
        if self.kind in (NAMES, RESET):
            return frozenset({self.kind})
        return frozenset().union(*map(kinds_of, self.links.values()))

    def value(self) -> dict[str, Any]:
        """The fault as operations and ledger have it: ``{"kind": ..., "links": {sender: {receiver: shape}}}``."""
        if self.kind == NAMES:
            return {"kind": self.kind, "nodes": list(self.nodes)}
        shown: dict[str, dict[str, Any]] = {}
        for (sender, receiver), shape in sorted(self.links.items()):
            shown.setdefault(sender, {})[receiver] = msgspec.to_builtins(shape)
        return {"kind": self.kind, "links": shown}


def carried_kinds(shape_kinds: frozenset[str]) -> tuple[str, ...]:
    """The kinds of fault that a cluster with these kinds of shape can carry, in order."""
    found = [kind for kind, (_, made_of) in KINDS.items() if made_of and shape_kinds.issuperset(made_of)]
    if len(shape_kinds.intersection(MIXABLE)) > 1:
        found.append(MIXED)
    return tuple(found)


def draw(
    kind: str,
    spec: str,
    nodes: Sequence[str],
    primaries: frozenset[str],
    amounts: Amounts,
    mixable: Sequence[str],
    rng: RandomStream,
) -> PacketFault:
    """The fault of a kind on the links that a spec means now; ``mixable`` is what ``mixed`` is made of."""
    if kind == NAMES:
        return PacketFault(kind, {}, tuple(_named_nodes(spec, nodes, primaries, rng)))
    if len(nodes) < 2:
        return PacketFault(kind, {})
    if kind in ("half-open", "slow-link"):
        directions: tuple[str, ...] = ONE_WAY
    elif kind == RESET:
        directions = (BOTH,)
    else:
        directions = DIRECTIONS
    out, into = _directed(spec, nodes, primaries, rng.choice(directions), rng)
    parts = _parts(kind, mixable, rng)
    links: dict[Link, LinkShape] = {}
    for group in (out, into):  # each direction has amounts of its own
        if group:
            links |= dict.fromkeys(group, _shape(parts, amounts, rng))
    return PacketFault(kind, links)


def _named_nodes(spec: str, nodes: Sequence[str], primaries: frozenset[str], rng: RandomStream) -> list[str]:
    order = rng.sample(nodes, len(nodes))
    leaders = [node for node in nodes if node in primaries]
    return {"all": list(nodes), "primaries": leaders or order[:1], "pair": sorted(order[:2])}.get(
        spec, order[:1]
    )


def _directed(
    spec: str, nodes: Sequence[str], primaries: frozenset[str], direction: str, rng: RandomStream
) -> tuple[list[Link], list[Link]]:
    """The links that leave what the spec means, and those that lead there; one of them may be empty."""
    order = rng.sample(nodes, len(nodes))
    if spec == "all":
        # There is no inside to all: each two nodes have one link here and one there, by the random order.
        earlier = [(order[i], order[j]) for i in range(len(order)) for j in range(i + 1, len(order))]
        out, into = earlier, [(receiver, sender) for sender, receiver in earlier]
    elif spec == "pair":
        out, into = [(order[0], order[1])], [(order[1], order[0])]
    else:
        leaders = [node for node in order if node in primaries]
        inner = leaders if spec == "primaries" and leaders else order[:1]
        out = [(node, other) for node in inner for other in order if other != node and other not in inner]
        if not out:  # every node says that it leads
            out = [(inner[0], other) for other in inner[1:]]
        into = [(receiver, sender) for sender, receiver in out]
    return (out if direction != IN else []), (into if direction != OUT else [])


def _parts(kind: str, mixable: Sequence[str], rng: RandomStream) -> tuple[str, ...]:
    if kind != MIXED:
        return (kind,)
    return tuple(sorted(rng.sample(mixable, rng.between(2, len(mixable)))))


def _shape(parts: Sequence[str], amounts: Amounts, rng: RandomStream) -> LinkShape:
    fields: dict[str, Any] = {}
    for part in parts:
        if part in ("delay", "slow-link"):
            fields |= _delay(amounts.delay_ms_max, rng)
        if part in ("rate", "slow-link"):
            least = amounts.rate_kb_per_s_min * 1000
            fields["rate_bytes_per_s"] = rng.choice((least, least * 2, least * 4))
        if part == "half-open":
            fields["loss_ppm"] = MILLION
        if part == "loss":
            fields["loss_ppm"] = _chance(amounts.loss_percent_max, rng)
        if part == "duplicate":
            fields["duplicate_ppm"] = _chance(amounts.duplicate_percent_max, rng)
        if part == "corrupt":
            fields["corrupt_ppm"] = _chance(amounts.corrupt_percent_max, rng)
        if part == "reorder":
            fields["reorder_ppm"] = _chance(amounts.reorder_percent_max, rng)
            fields["reorder_us"] = 1000 * rng.between(*REORDER_MS)
    return LinkShape(**fields)


REORDER_MS: Final = (20, 100)
"""For how long a packet is held back so that others overtake it."""
DELAY_MS_LEAST: Final = 10
PERCENT_LEAST: Final = 5


def _delay(most_ms: int, rng: RandomStream) -> dict[str, Any]:
    """The longest delay there may be, or anything, or little; without jitter, with some, or with much."""
    least_ms = min(DELAY_MS_LEAST, most_ms)
    delay_ms = rng.choice(
        (most_ms, rng.between(least_ms, most_ms), rng.between(least_ms, max(least_ms, most_ms // 5)))
    )
    fields: dict[str, Any] = {"delay_us": 1000 * delay_ms}
    jitter_us = rng.choice((0, 100, 300)) * delay_ms
    if jitter_us:
        fields["jitter_us"] = jitter_us
        fields["distribution"] = rng.choice(("uniform", "normal", "pareto"))
    return fields


def _chance(most_percent: int, rng: RandomStream) -> int:
    """As many as may be, or anything down to what few probes can tell from nothing; in parts per million."""
    least = min(PERCENT_LEAST, most_percent)
    return 10_000 * rng.choice(
        (most_percent, rng.between(least, most_percent), rng.between(least, most_percent))
    )


def given(value: Mapping[str, Any], nodes: Sequence[str]) -> PacketFault:
    """The fault that a mapping says, as :meth:`PacketFault.value` writes it.

    Raises ``ValueError`` with what is wrong, as the end of a sentence.
    """
    kind = value.get("kind")
    check_name(kind, KINDS, what="its kind")
    if kind == NAMES:
        check_nodes(value.get("nodes"), nodes, what="its nodes")
        return PacketFault(NAMES, {}, tuple(value["nodes"]))
    try:
        by_sender = msgspec.convert(value.get("links"), dict[str, dict[str, LinkShape]])
    except msgspec.ValidationError as error:
        example = "links = { n1 = { n2 = { delay_us = 50000 } } }"
        raise WrongValueError(f"its links cannot be read ({error}); they look like this: {example}") from None
    links: dict[Link, LinkShape] = {}
    for sender, shapes in by_sender.items():
        check_nodes([sender, *shapes], nodes, what="its links")
        for receiver, shape in shapes.items():
            _check(str(kind), (sender, receiver), shape)
            links[sender, receiver] = shape
    return PacketFault(str(kind), links)


def _check(kind: str, link: Link, shape: LinkShape) -> None:
    where = f"its shape from {link[0]} to {link[1]}"
    if link[0] == link[1]:
        raise WrongValueError(f"{where} is on no link: name two nodes")
    for name in shape.__struct_fields__:
        amount = getattr(shape, name)
        least, most = TOLD_FROM_NONE.get(name, (0, AMOUNT_MAX))
        if isinstance(amount, int) and amount and not least <= amount <= most:
            raise WrongValueError(
                f"{where} has {name} = {amount}: give {least} to {most}, which probes can tell from none"
            )
    if shape.jitter_us and not shape.delay_us:
        raise WrongValueError(f"{where} has a jitter and no delay that it could vary: give it a delay_us")
    if kind != RESET and not kinds_of(shape):
        raise WrongValueError(f"{where} does nothing: give it a delay, a chance or a rate")


def kinds_of(shape: LinkShape) -> frozenset[str]:
    """The kinds of shape that a link's shape is made of."""
    amounts = {
        "delay": shape.delay_us or shape.jitter_us,
        "loss": shape.loss_ppm,
        "duplicate": shape.duplicate_ppm,
        "reorder": shape.reorder_ppm,
        "corrupt": shape.corrupt_ppm,
        "rate": shape.rate_bytes_per_s,
    }
    return frozenset(kind for kind, amount in amounts.items() if amount)
