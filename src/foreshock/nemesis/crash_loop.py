"""The crash-loop nemesis: nodes are killed and started again and again, quickly, for a while."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec

from foreshock.harness.capabilities import Kill
from foreshock.harness.nemesis import NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.chain import Link
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import nodes_of_spec
from foreshock.nemesis.node_specs import NODE_SPECS, known_spec, named_nodes
from foreshock.nemesis.own_kills import KillingNemesis

CRASH: Final = "crash-loop"
END: Final = "end-crash-loop"
CRASHES_MIN, CRASHES_MAX = 3, 12
DOWN_MS_MIN, DOWN_MS_MAX = 1, 300
UP_PERMILLE_MIN, UP_PERMILLE_MAX = 4, 160


class CrashLoopOptions(Options, frozen=True, kw_only=True):
    """Which nodes crash in a loop."""

    targets: Annotated[
        str,
        msgspec.Meta(
            description=(
                "which nodes crash in a loop, separated by commas, drawn anew for each loop: "
                + ", ".join(NODE_SPECS)
            )
        ),
    ] = "one,minority,primaries"

    def __post_init__(self) -> None:
        chosen(self.targets, NODE_SPECS, option="targets")


class Loops(NamedTuple):
    """A loop: the first crash draws the nodes, the others strike the same ones."""

    targets: tuple[str, ...]

    def begin(self, rng: RandomStream) -> Link:
        """The first crash of a loop."""
        return Link(CRASH, rng.choice(self.targets), times=rng.between(CRASHES_MIN, CRASHES_MAX))

    def follow(self, rng: RandomStream, done: Link, result: Mapping[str, Any]) -> Link | None:
        """The next crash, soon after the nodes have been started; then the end."""
        if done.f == END:
            return None
        nodes = (done.value if isinstance(done.value, Mapping) else result).get("nodes")
        if done.times <= 1 or not nodes:
            return Link(END, None)
        again = {"nodes": nodes, "down_ms": rng.between(DOWN_MS_MIN, DOWN_MS_MAX)}
        return Link(CRASH, again, rng.between(UP_PERMILLE_MIN, UP_PERMILLE_MAX), done.times - 1)


class CrashLoopNemesis(KillingNemesis[CrashLoopOptions]):
    """``crash-loop`` (value: a node spec; one crash of the loop, to the start after it) and ``end-crash-loop``.

    A node that another fault holds down is left out of a crash: it is not ours to start.
    """

    name = "crash-loop"
    Options = CrashLoopOptions
    requires = frozenset({Kill})
    operations = (CRASH, END)
    values: ClassVar[Mapping[str, Collection[str]]] = {CRASH: tuple(NODE_SPECS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="crash-loop", starts=(CRASH,), stops=(END,), color="#b5446e"),
    )

    def __init__(self, options: CrashLoopOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("crash")

    def plot(self) -> Loops:
        """Loops of the nodes that the options name."""
        return Loops(chosen(self.options.targets, NODE_SPECS, option="targets"))

    async def invoke(self, operation: Operation) -> Any:
        """Crash once, or end; a kill or a start that did not take is a ``FaultError``."""
        if operation.f == END:
            return {"nodes": await self._kills.start()}
        value = operation.value
        asked: Mapping[str, Any] = value if isinstance(value, Mapping) else {"spec": value}
        nodes = named_nodes(asked, self.context.nodes)
        if nodes is None:
            nodes = await nodes_of_spec(self.context, known_spec(asked.get("spec")), self._rng)
        down_ms = asked.get("down_ms")
        if down_ms is None:
            down_ms = self._rng.between(DOWN_MS_MIN, DOWN_MS_MAX)
        struck = frozenset(await self._kills.running(nodes))
        if struck:
            await self._kills.kill_and_start(struck, {"loop": sorted(nodes), "down_ms": down_ms}, down_ms)
        left = sorted(nodes - struck)
        return {"nodes": sorted(nodes), "down_ms": down_ms} | ({"left alone": left} if left else {})
