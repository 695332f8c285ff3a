"""The packet nemesis: links between nodes get slow, lossy or strange, connections are reset, names are not found."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from foreshock.harness.capabilities import Link, LinkReading, LinkShape, Partition, Shape
from foreshock.harness.cluster import capability
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.ledger import Fault
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import known_primaries
from foreshock.nemesis.packet_evidence import burst_for, slowed_us, unlike_before, unlike_shape
from foreshock.nemesis.packet_faults import (
    KINDS,
    LINK_SPECS,
    MIXABLE,
    NAMES,
    RESET,
    Amounts,
    PacketFault,
    carried_kinds,
    draw,
    given,
)
from foreshock.nemesis.schedule import Faults, FaultSchedule

ALL: Final = "all"
OBSERVE_ATTEMPTS_MAX: Final = 6
OBSERVE_PAUSE_NS: Final = 200_000_000
CLEAN_LINKS_MAX: Final = 8
"""How many links without a shape are probed beside those that have one."""
SHOWN_MAX: Final = 4

Readings = Mapping[Link, LinkReading]


class PacketOptions(Options, frozen=True, kw_only=True):
    """What happens to packets, on which links, and how much of it."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "what happens, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({kind.meaning})" for name, kind in KINDS.items())
                + f"; {ALL}: whatever the backend can do"
            )
        ),
    ] = ALL
    targets: Annotated[
        str,
        msgspec.Meta(
            description=(
                "to which links, separated by commas, drawn anew each time, each direction by itself: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in LINK_SPECS.items())
            )
        ),
    ] = ",".join(LINK_SPECS)
    delay_ms_max: Annotated[
        int, msgspec.Meta(description="the longest delay, in ms, without jitter", ge=1, le=10_000)
    ] = 300
    loss_percent_max: Annotated[
        int, msgspec.Meta(description="the most packets that are lost, in percent", ge=2, le=90)
    ] = 40
    duplicate_percent_max: Annotated[
        int, msgspec.Meta(description="the most packets that come twice, in percent", ge=2, le=90)
    ] = 40
    reorder_percent_max: Annotated[
        int, msgspec.Meta(description="the most packets that are overtaken, in percent", ge=2, le=50)
    ] = 40
    corrupt_percent_max: Annotated[
        int, msgspec.Meta(description="the most packets that get a bit flipped, in percent", ge=2, le=90)
    ] = 30
    rate_kb_per_s_min: Annotated[
        int, msgspec.Meta(description="the least that passes a link, in kB a second", ge=1, le=100)
    ] = 32

    def __post_init__(self) -> None:
        if self.kinds != ALL:
            chosen(self.kinds, KINDS, option="kinds")
        chosen(self.targets, LINK_SPECS, option="targets")


class PacketNemesis(Nemesis[PacketOptions]):
    """``shape-packets`` (value: the kind; the result has the shape of each link) and ``restore-packets``.

    The value may also be a result, or a kind with ``nodes``, whose links are then struck.
    """

    name = "packet"
    Options = PacketOptions
    requires = frozenset({Shape})
    values: ClassVar[Mapping[str, Collection[str]]] = {"shape-packets": tuple(KINDS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="packet", starts=("shape-packets",), stops=("restore-packets",), color="#b8860b"),
    )

    def __init__(self, options: PacketOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("packets")
        self._usual: dict[Link, LinkReading] = {}
        """What probes show where nothing is in force."""
        self._burst = burst_for(())
        """The burst that showed it."""
        self._nameless: frozenset[str] = frozenset()
        """Nodes that found no name before anything was done to them."""

    @classmethod
    def mechanisms_asked(cls, options: PacketOptions) -> frozenset[str]:
        """The kinds of shape that the kinds named outright are made of."""
        if options.kinds == ALL:
            return frozenset()
        kinds = chosen(options.kinds, KINDS, option="kinds")
        return frozenset(f"packet/{part}" for kind in kinds for part in KINDS[kind].made_of)

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A mapping must hold the shapes of links, or some nodes; raises ``ValueError``."""
        super().check_value(f, value, nodes)
        if f == "shape-packets" and isinstance(value, Mapping) and not _aimed(value):
            given(value, nodes)

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"shape-packets", "restore-packets"})

    def generator(self) -> Liftable:
        """Faults of the chosen kinds without end."""
        faults = Faults("shape-packets", "restore-packets", self._kinds())
        return FaultSchedule.first(faults, self.context)

    def final_generator(self) -> Liftable:
        """One step that ends everything."""
        return Operation(f="restore-packets")

    async def invoke(self, operation: Operation) -> Any:
        """Shape or restore; links that do not show what they should are a ``FaultError``."""
        if operation.f == "restore-packets":
            return await self._stop()
        value = operation.value
        if not isinstance(value, Mapping):
            spec = self._rng.choice(chosen(self.options.targets, LINK_SPECS, option="targets"))
            primaries = await known_primaries(self.context) if spec == "primaries" else frozenset()
            return await self._start(self._draw(str(value), spec, primaries))
        if _aimed(value):
            return await self._start(self._draw(str(value["kind"]), "primaries", frozenset(value["nodes"])))
        return await self._start(given(value, self.context.nodes))

    def _kinds(self) -> tuple[str, ...]:
        carried = carried_kinds(self._shapes.shape_kinds())
        if not carried:
            raise FaultError("this cluster can carry no packet fault: foreshock doctor says what is missing")
        if self.options.kinds == ALL:
            return carried
        wanted = chosen(self.options.kinds, KINDS, option="kinds")
        _refuse_lacking(frozenset(wanted), carried)
        return wanted

    def _draw(self, kind: str, spec: str, primaries: frozenset[str]) -> PacketFault:
        amounts = Amounts(*(getattr(self.options, name) for name in Amounts._fields))
        mixable = [kind for kind in MIXABLE if kind in self._shapes.shape_kinds()]
        return draw(kind, spec, self.context.nodes, primaries, amounts, mixable, self._rng)

    async def _start(self, fault: PacketFault) -> Mapping[str, Any]:
        context, value = self.context, fault.value()
        _refuse_lacking(fault.parts(), sorted(self._shapes.shape_kinds()))
        nodes = fault.struck()
        if not nodes:
            return {**value, "note": "there are too few nodes for this"}
        before = await self._before(fault)
        if before is None:
            return {**value, "note": "another fault has cut all these links: nothing would be seen on them"}
        earlier = self._open(names=True) if fault.kind == NAMES else []
        inverse = context.cluster.inverse("packet", frozenset(context.nodes))
        planned = context.ledger.planned("packet", nodes, value=value, inverse=inverse)
        try:
            observed = await self._inject(fault, before)
        except HarnessError as error:
            context.ledger.failed(planned, str(error))
            raise
        context.ledger.verified(planned, observed)
        if fault.kind == RESET:  # is over as soon as it has happened
            context.ledger.healed(planned)
            return {**value, **observed, "duration_ms": 0}
        for replaced in earlier:
            context.ledger.healed(replaced.id)
        return value

    async def _before(self, fault: PacketFault) -> Readings | None:
        """What probes show of the links before; ``None`` where another fault cuts all of them.

        Shapes that are still in force are ended first. Raises ``FaultError`` where names are not found anyway.
        """
        if fault.kind == RESET:
            return {}
        if fault.kind == NAMES:
            if not self._open(names=True):
                found = await self._shapes.names_found(frozenset(self.context.nodes))
                self._nameless = frozenset(node for node, finds in found.items() if not finds)
            if self._nameless.intersection(fault.nodes):
                names = ", ".join(sorted(self._nameless.intersection(fault.nodes)))
                raise FaultError(f"names are not found on {names} although nothing was done to them")
            return {}
        await self._end_shapes()
        watched = await self._heard(self._watched(fault.links))
        if not watched.intersection(fault.links):
            return None
        self._burst = burst_for(fault.links.values())
        self._usual = dict(await self._probe(watched))
        return self._usual

    async def _inject(self, fault: PacketFault, before: Readings) -> Mapping[str, Any]:
        if fault.kind == NAMES:
            await self._shapes.break_names(frozenset(fault.nodes))
            return await self._names_gone(frozenset(fault.nodes))
        if fault.kind == RESET:
            return await self._reset(frozenset(fault.links))
        await self._shapes.shape(fault.links)
        return await self._shaped(fault.links, before)

    async def _reset(self, links: frozenset[Link]) -> Mapping[str, Any]:
        """Reset what connections there are; where there are none, some may only just be made again."""
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            connections = sum((await self._shapes.reset_connections(links)).values())
            if connections:
                return {"connections": connections}
        return {"connections": 0, "note": "there was no connection to reset"}

    async def _shaped(self, shapes: Mapping[Link, LinkShape], before: Readings) -> Mapping[str, Any]:
        """Probe until all links are as they should be, or the attempts are used up; what was seen in the end."""
        pending = await self._heard(frozenset(before))
        cut = len(shapes) - len(pending.intersection(shapes))
        wrong: dict[Link, str] = {}
        seen: dict[Link, LinkReading] = {}
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            seen |= await self._probe(pending)
            wrong = _wrong(shapes, before, {link: seen[link] for link in pending})
            pending = frozenset(wrong)
            if not wrong:
                break
        if wrong:
            what = "shape-packets did not take" if shapes else "restore-packets did not take"
            raise FaultError(f"{what}: {_named(wrong)}")
        shown = {
            f"{sender} to {receiver}": _summary(seen[sender, receiver])
            for sender, receiver in sorted(shapes)
            if (sender, receiver) in seen
        }
        clean = sum(link not in shapes for link in seen)
        return {
            **({"shaped": shown} if shapes else {}),
            "as before": clean,
            **({"cut off": cut} if cut else {}),
        }

    async def _names_gone(self, nodes: frozenset[str]) -> Mapping[str, Any]:
        """Look names up until exactly these nodes find none, or the attempts are used up."""
        every = frozenset(self.context.nodes)
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            found = await self._shapes.names_found(every)
            finding = sorted(node for node in nodes if found.get(node, False))
            lost = sorted(node for node in every - nodes - self._nameless if not found.get(node, False))
            if not finding and not lost:
                return {"names found": sorted(every - nodes - self._nameless)}
        what = "shape-packets" if nodes else "restore-packets"
        said = (
            f"names are still found on {', '.join(finding)}"
            if finding
            else f"names are not found on {', '.join(lost)}"
        )
        raise FaultError(f"{what} did not take: {said}")

    async def _stop(self) -> Mapping[str, Any]:
        ledger = self.context.ledger
        faults = ledger.open_faults("packet")
        try:
            await self._end_shapes()
            if self._open(names=True):
                await self._shapes.break_names(frozenset())
                await self._names_gone(frozenset())
        except HarnessError as error:
            for fault in ledger.open_faults("packet"):
                ledger.failed(fault.id, str(error))
            raise
        for fault in ledger.open_faults("packet"):
            ledger.healed(fault.id)
        return {"healed": len(faults)}

    async def _end_shapes(self) -> None:
        """End what is done to links, and see that they are as before."""
        faults = self._open(names=False)
        if faults:
            await self._shapes.shape({})
            await self._shaped({}, self._usual)
            self._usual = {}
        for fault in faults:
            self.context.ledger.healed(fault.id)

    def _open(self, *, names: bool) -> list[Fault]:
        """The open faults of names, or those of links."""
        faults = self.context.ledger.open_faults("packet")
        return [fault for fault in faults if (fault.value["kind"] == NAMES) == names]

    def _watched(self, shaped: Iterable[Link]) -> frozenset[Link]:
        """The links that are to be shaped, and some of the others."""
        nodes, wanted = self.context.nodes, frozenset(shaped)
        others = [
            (sender, receiver)
            for sender in nodes
            for receiver in nodes
            if sender != receiver and (sender, receiver) not in wanted
        ]
        step = max(1, -(-len(others) // CLEAN_LINKS_MAX))
        return wanted | frozenset(others[::step])

    async def _heard(self, links: frozenset[Link]) -> frozenset[Link]:
        """Those of the links that nothing else cuts: over a cut one no shape can be seen, nor that it is gone."""
        partition = capability(self.context.cluster, Partition)  # type: ignore[type-abstract]
        if partition is None or not links:
            return links
        heard = await partition.heard(links)
        return frozenset(link for link, arrived in heard.items() if arrived)

    async def _probe(self, links: frozenset[Link]) -> Readings:
        if not links:
            return {}
        burst = self._burst
        return await self._shapes.probe_links(links, count=burst.probes, interval_us=burst.interval_us)

    @property
    def _shapes(self) -> Shape:
        return cast(Shape, self.context.cluster)


def _aimed(value: Mapping[str, Any]) -> bool:
    """Whether a value names nodes whose links are to be struck, and leaves it to the seed how."""
    return "links" not in value and bool(value.get("nodes")) and value.get("kind") not in (None, NAMES)


def _refuse_lacking(wanted: frozenset[str], carried: Sequence[str]) -> None:
    lacking = sorted(wanted.difference(carried))
    if lacking:
        raise FaultError(
            f"this cluster cannot carry packet faults of the kind {', '.join(lacking)} "
            f"(it can: {', '.join(carried) or 'none'})"
        )


def _wrong(shapes: Mapping[Link, LinkShape], before: Readings, seen: Readings) -> dict[Link, str]:
    clean = [link for link in seen if link not in shapes]
    load_us = min((slowed_us(before[link], seen[link]) for link in clean), default=0)
    wrong = {}
    for link, reading in seen.items():
        if link in shapes:
            complaint = unlike_shape(shapes[link], before[link], reading, load_us)
        else:
            complaint = unlike_before(before[link], reading)
        if complaint is not None:
            wrong[link] = complaint
    return wrong


def _summary(reading: LinkReading) -> dict[str, Any]:
    """What goes into the ledger of a reading."""
    counts = {"doubled": reading.duplicates, "overtaken": reading.overtaken, "corrupted": reading.corrupted}
    return {
        "arrived": f"{reading.arrived} of {reading.sent}",
        **{what: count for what, count in counts.items() if count},
        **({"delay_us": list(reading.delay_us)} if reading.arrived else {}),
    }


def _named(wrong: Mapping[Link, str]) -> str:
    shown = [f"from {sender} to {receiver}, {what}" for (sender, receiver), what in sorted(wrong.items())]
    more = f"; and {len(shown) - SHOWN_MAX} links more" if len(shown) > SHOWN_MAX else ""
    return "; ".join(shown[:SHOWN_MAX]) + more
