"""The primary nemesis: whoever leads is struck, and then whoever leads next, by faults of several kinds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec

from foreshock.harness.capabilities import Grudge, Kill, Partition, Pause, PowerCut, Primary, Starve
from foreshock.harness.errors import FaultError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options, nearest
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.kill import KillNemesis, KillOptions
from foreshock.nemesis.leaders import known_primaries
from foreshock.nemesis.node_fault import NodeFaultNemesis
from foreshock.nemesis.node_specs import minority_of, named_nodes
from foreshock.nemesis.partition import PartitionNemesis, PartitionOptions
from foreshock.nemesis.pause import PauseNemesis, PauseOptions
from foreshock.nemesis.power import PowerNemesis, PowerOptions
from foreshock.nemesis.schedule import Faults, FaultSchedule
from foreshock.nemesis.starve import StarveNemesis, StarveOptions, draw_level

STRIKE: Final = "strike-primary"
RELEASE: Final = "release-primary"

KINDS: Final[Mapping[str, str]] = {
    "kill": "it is killed",
    "pause": "it is stopped in its tracks",
    "isolate": "it neither hears nor is heard by the others",
    "deaf": "it is heard by the others and hears nobody",
    "mute": "it hears the others and is heard by nobody",
    "starve": "it gets a few percent of a core",
    "power": "its power is cut",
}
ALONE: Final = frozenset({"isolate", "deaf", "mute"})
NEEDS: Final[Mapping[str, type[Any]]] = {"starve": Starve, "power": PowerCut}


class PrimaryOptions(Options, frozen=True, kw_only=True):
    """What is done to whoever leads."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "what happens to whoever leads, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
            )
        ),
    ] = "kill,pause,isolate,deaf,mute"

    def __post_init__(self) -> None:
        chosen(self.kinds, KINDS, option="kinds")


class Held(NamedTuple):
    """What is still done to some nodes."""

    kind: str
    nodes: frozenset[str]
    fault: int | None
    """Its number in the ledger; ``None`` where the nemesis that did it keeps account of it."""


class PrimaryNemesis(Nemesis[PrimaryOptions]):
    """``strike-primary`` (value: the kind; the result names the nodes) and ``release-primary``.

    It follows leadership: while one leader is still struck, the next one may be as well. Never is more than a minority
    struck at once; whoever was struck first is then released first. Where nobody says that it leads, nobody is struck.
    """

    name = "primary"
    Options = PrimaryOptions
    requires = frozenset({Primary, Kill, Pause, Partition})
    fells = frozenset({"starve"})
    values: ClassVar[Mapping[str, Collection[str]]] = {STRIKE: tuple(KINDS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="primary", starts=(STRIKE,), stops=(RELEASE,), color="#c05640"),
    )

    def __init__(self, options: PrimaryOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._kinds = chosen(options.kinds, KINDS, option="kinds")
        self._rng = context.rng.stream("primary")
        self._held: list[Held] = []
        self._partition = PartitionNemesis(PartitionOptions(), context)
        self._node_faults: dict[str, NodeFaultNemesis[Any]] = {
            "kill": KillNemesis(KillOptions(), context),
            "pause": PauseNemesis(PauseOptions(), context),
        }
        if "power" in self._kinds:
            self._node_faults["power"] = PowerNemesis(PowerOptions(), context)
        self._starve = StarveNemesis(StarveOptions(kinds="cpu"), context) if "starve" in self._kinds else None

    @classmethod
    def needs(cls, options: PrimaryOptions) -> frozenset[type[Any]]:
        """What the kinds add."""
        kinds = chosen(options.kinds, KINDS, option="kinds")
        return cls.requires | frozenset(NEEDS[kind] for kind in kinds if kind in NEEDS)

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A kind, or a table with ``kind``, and ``nodes`` where they are not to be those that lead."""
        super().check_value(f, value, nodes)
        if f == STRIKE and isinstance(value, Mapping) and "kind" not in value:
            raise ValueError(f"its table needs a kind: one of {', '.join(KINDS)}")

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({STRIKE, RELEASE})

    def generator(self) -> Liftable:
        """Strikes without end, some of them before the one before is over."""
        return FaultSchedule.first(Faults(STRIKE, RELEASE, self._kinds, moves=True), self.context)

    def final_generator(self) -> Liftable:
        """One step that releases everybody."""
        return Operation(f=RELEASE)

    async def invoke(self, operation: Operation) -> Any:
        """Strike or release; what did not take, or did not end, is a ``FaultError``."""
        if operation.f == RELEASE:
            released: set[str] = set()
            while self._held:
                released |= await self._release_first()
            return {"nodes": sorted(released)}
        value = operation.value
        asked: Mapping[str, Any] = value if isinstance(value, Mapping) else {"kind": value}
        kind = str(asked.get("kind"))
        if kind not in self._node_faults and kind not in ALONE and not (kind == "starve" and self._starve):
            raise FaultError(
                f"this test cannot strike whoever leads by {kind!r}{nearest(kind, self._kinds)}: see primary.kinds"
            )
        nodes = named_nodes(asked, self.context.nodes)
        if nodes is None:
            nodes = await known_primaries(self.context)
        nodes -= self._struck()
        if not nodes:
            return {"kind": kind, "nodes": [], "note": "nobody leads that is not struck already"}
        released = await self._make_room(len(nodes))
        details = await self._strike(kind, nodes, asked)
        return {"kind": kind, "nodes": sorted(nodes), **details} | (
            {"released": sorted(released)} if released else {}
        )

    # --- within ---------------------------------------------------------------------------------------------

    def _struck(self) -> frozenset[str]:
        return frozenset(node for held in self._held for node in held.nodes)

    async def _make_room(self, count: int) -> set[str]:
        """Release who was struck first, until as many more are still a minority."""
        released: set[str] = set()
        while self._held and len(self._struck()) + count > minority_of(len(self.context.nodes)):
            released |= await self._release_first()
        return released

    async def _strike(self, kind: str, nodes: frozenset[str], asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if kind in ALONE:
            self._held.append(Held(kind, nodes, None))
            await self._cut(f"primary {kind}")
            return {}
        if self._starve is not None and kind == "starve":
            given = asked.get("levels", {})
            levels = {node: given.get(node) or draw_level("cpu", self._rng) for node in sorted(nodes)}
            self._held.append(Held(kind, nodes, await self._starve.inflict("cpu", levels)))
            return {"levels": levels}
        nemesis = self._node_faults[kind]
        alive = nodes & await nemesis.candidates()
        details = dict(nemesis.details(asked)) if alive else {}
        if alive:
            fault = await nemesis.inflict(alive, {"spec": "primaries", **details} if details else "primaries")
            self._held.append(Held(kind, alive, fault))
        return details

    async def _release_first(self) -> frozenset[str]:
        held = self._held.pop(0)
        if held.kind in ALONE:
            await self._cut("primary, what is left of it")
        elif held.kind == "starve" and self._starve is not None:
            await self._starve.feed()
        else:
            nemesis, ledger = self._node_faults[held.kind], self.context.ledger
            # its own nemesis may have undone it already, and said so
            ours = [f.id for f in ledger.open_faults(nemesis.words.kind) if f.id == held.fault]
            await nemesis.relieve(held.nodes, ours)
            for fault in ours:
                ledger.healed(fault)
        return held.nodes

    async def _cut(self, kind: str) -> None:
        """Put in force what is to be cut now, in place of what was."""
        grudge = self._grudge()
        shown = {receiver: sorted(grudge[receiver]) for receiver in sorted(grudge)}
        operation = Operation(f="start-partition", value={"kind": kind, "grudge": shown})
        await self._partition.invoke(operation if grudge else Operation(f="stop-partition"))

    def _grudge(self) -> Grudge:
        refused: dict[str, set[str]] = {}
        for held in self._held:
            for node in sorted(held.nodes if held.kind in ALONE else ()):
                for other in self.context.nodes:
                    if other != node and held.kind != "mute":
                        refused.setdefault(node, set()).add(other)
                    if other != node and held.kind != "deaf":
                        refused.setdefault(other, set()).add(node)
        return {receiver: frozenset(senders) for receiver, senders in sorted(refused.items())}
