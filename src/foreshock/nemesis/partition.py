"""The partition nemesis: links between nodes are cut, both ways or one way, by grudges of many shapes."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, cast

import msgspec

from foreshock.harness.capabilities import Grudge, Partition
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.fault_values import check_by_node, check_nodes
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.grudges import SHAPES, components, pairs
from foreshock.nemesis.leaders import known_primaries
from foreshock.nemesis.schedule import Faults, FaultSchedule

LISTEN_ATTEMPTS_MAX = 6
LISTEN_PAUSE_NS = 100_000_000
PAIRS_SHOWN_MAX = 6

Pairs = frozenset[tuple[str, str]]


class PartitionOptions(Options, frozen=True, kw_only=True):
    """Which partitions to make."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=f"kinds of partition, separated by commas, drawn anew each time: {', '.join(SHAPES)}"
        ),
    ] = ",".join(SHAPES)

    def __post_init__(self) -> None:
        chosen(self.kinds, SHAPES, option="kinds")


class PartitionNemesis(Nemesis[PartitionOptions]):
    """``start-partition`` (value: the kind; the result carries the grudge) and ``stop-partition``.

    The value may also be a result, whose ``grudge`` is put in force, or name ``nodes``, which are then cut off from
    all others.
    """

    name = "partition"
    Options = PartitionOptions
    requires = frozenset({Partition})
    values: ClassVar[Mapping[str, Collection[str]]] = {"start-partition": tuple(SHAPES)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="partition", starts=("start-partition",), stops=("stop-partition",), color="#00798c"),
    )

    def __init__(self, options: PartitionOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("grudge")
        self._kinds = chosen(options.kinds, SHAPES, option="kinds")

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A mapping must hold a grudge between nodes of the test, or some of its nodes; raises ``ValueError``."""
        super().check_value(f, value, nodes)
        if f != "start-partition" or not isinstance(value, Mapping):
            return
        if "grudge" not in value:
            if not value.get("nodes"):
                raise ValueError(
                    'its table needs a grudge (grudge = { n1 = ["n2"] }: n1 does not hear n2), or nodes'
                )
            return
        check_by_node(value["grudge"], nodes, what="its grudge")
        for receiver, senders in value["grudge"].items():
            check_nodes(senders, nodes, what=f"its grudge of {receiver}")
            if receiver in senders:
                raise ValueError(
                    f"its grudge of {receiver} holds {receiver} itself, which always hears itself"
                )

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"start-partition", "stop-partition"})

    def generator(self) -> Liftable:
        """Partitions of the chosen kinds without end."""
        faults = Faults("start-partition", "stop-partition", self._kinds, moves=True)
        return FaultSchedule.first(faults, self.context)

    def final_generator(self) -> Liftable:
        """One step that heals every link."""
        return Operation(f="stop-partition")

    async def invoke(self, operation: Operation) -> Any:
        """Cut or heal; a cut that did not cut, or cut too much, or did not heal is a ``FaultError``."""
        if operation.f == "start-partition":
            return await self._start(*await self._chosen(operation.value))
        return await self._stop()

    async def _chosen(self, value: Any) -> tuple[str, Grudge]:
        """The kind, and the grudge that the value says, or that is drawn for its kind."""
        nodes = self.context.nodes
        if isinstance(value, Mapping):
            apart = list(value.get("nodes", ()))
            given = value.get("grudge")
            if given is None:
                grudge = components([apart, [node for node in nodes if node not in apart]])
            else:
                grudge = {receiver: frozenset(senders) for receiver, senders in given.items() if senders}
            return str(value.get("kind", "given")), grudge
        primaries = await known_primaries(self.context)
        return str(value), SHAPES[str(value)](nodes, primaries, self._rng)

    async def _start(self, kind: str, grudge: Grudge) -> Mapping[str, Any]:
        context = self.context
        shown = {receiver: sorted(grudge[receiver]) for receiver in sorted(grudge)}
        if not grudge:
            return {"kind": kind, "grudge": shown, "note": "there are too few nodes to cut"}
        earlier = context.ledger.open_faults("partition")
        nodes = frozenset(grudge).union(*grudge.values())
        inverse = context.cluster.inverse("partition", frozenset(context.nodes))
        value = {"kind": kind, "grudge": shown}
        fault = context.ledger.planned("partition", nodes, value=value, inverse=inverse)
        try:
            await self._cut(grudge)
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        cut = pairs(grudge)
        context.ledger.verified(fault, {"cut": len(cut), "heard": len(self._every_pair() - cut)})
        for replaced in earlier:
            context.ledger.healed(replaced.id)
        return value

    async def _stop(self) -> Mapping[str, Any]:
        ledger = self.context.ledger
        faults = ledger.open_faults("partition")
        try:
            await self._cut({})
        except HarnessError as error:
            for fault in faults:
                ledger.failed(fault.id, str(error))
            raise
        for fault in faults:
            ledger.healed(fault.id)
        return {"healed": len(faults)}

    async def _cut(self, grudge: Grudge) -> None:
        """Put the grudge in force and verify it on cut and on uncut pairs both."""
        cluster = cast(Partition, self.context.cluster)
        await cluster.cut(grudge)
        every = self._every_pair()
        silent = pairs(grudge)
        leaking, deaf = await self._listen(cluster, every, silent)
        if leaking:
            raise FaultError(f"the partition did not take: still heard {_named(leaking)}")
        if deaf:
            what = "the partition cut too much" if grudge else "the partition did not heal"
            raise FaultError(f"{what}: nothing heard {_named(deaf)}")

    async def _listen(self, cluster: Partition, every: Pairs, silent: Pairs) -> tuple[Pairs, Pairs]:
        """The pairs that should be silent and are not, and those that should be heard and are not.

        A lost datagram is no cut and a late rule is no leak: both get a few attempts. One datagram proves an
        uncut pair; a cut pair must be silent in the last attempt.
        """
        heard_once: set[tuple[str, str]] = set()
        leaking: Pairs = frozenset()
        deaf: Pairs = frozenset()
        for attempt in range(LISTEN_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(LISTEN_PAUSE_NS)
            heard = await cluster.heard(every - heard_once)
            leaking = frozenset(pair for pair in silent if heard.get(pair, False))
            heard_once.update(pair for pair, arrived in heard.items() if arrived and pair not in silent)
            deaf = every - silent - heard_once
            if not leaking and not deaf:
                break
        return leaking, deaf

    def _every_pair(self) -> Pairs:
        nodes = self.context.nodes
        return frozenset((sender, receiver) for sender in nodes for receiver in nodes if sender != receiver)


def _named(found: Pairs) -> str:
    shown = [f"from {sender} to {receiver}" for sender, receiver in sorted(found)]
    more = f" and {len(shown) - PAIRS_SHOWN_MAX} more" if len(shown) > PAIRS_SHOWN_MAX else ""
    return ", ".join(shown[:PAIRS_SHOWN_MAX]) + more
