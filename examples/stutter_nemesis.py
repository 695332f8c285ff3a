"""A fault of your own in one file: a node stutters, stopped and let go again many times a second.

    foreshock test --target raft --nemesis examples/stutter_nemesis.py:Stutter --backend sim --time-limit 20

A noisy neighbour or a collector of garbage does that to a node: it is never away for long, and never quick. The file
shows what a nemesis owes: the ledger first, an observation after, and an end whatever happens.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, cast

import msgspec

from foreshock.harness import (
    FaultError,
    HarnessError,
    Nemesis,
    NemesisContext,
    Operation,
    Options,
    Pause,
    Shade,
)
from foreshock.harness import generator as gen

MILLISECOND_NS = 1_000_000


class StutterOptions(Options, frozen=True, kw_only=True):
    """How a node stutters: ``-o beats=20``."""

    beats: Annotated[int, msgspec.Meta(description="how often it is stopped in a row", ge=1, le=1000)] = 10
    stopped_ms: Annotated[int, msgspec.Meta(description="ms that it is stopped each time", ge=1, le=5000)] = (
        80
    )
    going_ms: Annotated[int, msgspec.Meta(description="ms that it goes on in between", ge=1, le=5000)] = 40


class Stutter(Nemesis[StutterOptions]):
    """``stutter`` (value: a node's name, or nothing: one is drawn), and ``steady``, which sees that all go on."""

    name = "stutter"
    Options = StutterOptions
    requires = frozenset({Pause})  # refused before anything is deployed where a backend cannot do it
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="stutter", starts=("stutter",), stops=("steady",), color="#7a5195"),
    )

    def __init__(self, options: StutterOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("stutter")  # the only source of chance: the seed draws it again

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"stutter", "steady"})

    def generator(self) -> gen.Liftable:
        """Both in turn, without end, an interval apart on average."""
        return gen.stagger(self.context.interval_ns, gen.cycle([Operation("stutter"), Operation("steady")]))

    def final_generator(self) -> gen.Liftable:
        """What heals everything; harmless when nothing is wrong."""
        return Operation("steady")

    async def invoke(self, operation: Operation) -> Any:
        """Perform one of them. The result of a ``stutter``, given as its value, does the same again."""
        return await (self._stutter(operation.value) if operation.f == "stutter" else self._steady())

    async def _stutter(self, node: Any) -> str:
        context, options = self.context, self.options
        name = str(node) if node is not None else self._rng.choice(context.nodes)
        nodes = frozenset({name})
        # The ledger has the fault, and how to undo it, before anything is done: `foreshock heal` needs no more.
        fault = context.ledger.planned(
            "stutter", nodes, value=name, inverse=context.cluster.inverse("pause", nodes)
        )
        try:
            for beat in range(options.beats):
                await self._cluster.pause(nodes)
                if beat == 0:
                    await self._see(nodes, paused=True)
                    context.ledger.verified(fault, {name: "stopped"})
                await context.runtime.sleep(options.stopped_ms * MILLISECOND_NS)
                await self._cluster.resume(nodes)
                await context.runtime.sleep(options.going_ms * MILLISECOND_NS)
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        return name

    async def _steady(self) -> list[str]:
        faults = self.context.ledger.open_faults("stutter")
        nodes = frozenset(node for fault in faults for node in fault.nodes)
        if nodes:
            await self._cluster.resume(nodes)  # an interrupted stutter may have left one stopped
            await self._see(nodes, paused=False)
        for fault in faults:
            self.context.ledger.healed(fault.id)
        return sorted(nodes)

    async def _see(self, nodes: frozenset[str], *, paused: bool) -> None:
        """Look at the nodes by other means than those of the fault; what did not take is no fault."""
        seen = await self._cluster.paused(nodes)
        wrong = sorted(node for node in nodes if seen.get(node, not paused) is not paused)
        if wrong:
            raise FaultError(f"{', '.join(wrong)} {'does not stand' if paused else 'still stands'} still")

    @property
    def _cluster(self) -> Pause:
        return cast(Pause, self.context.cluster)
