"""The crash-loop nemesis: nodes are killed and started again and again, quickly, for a while."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec

from foreshock.harness.capabilities import Kill
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.chain import ChainSchedule, Link
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import nodes_of_spec
from foreshock.nemesis.node_specs import NODE_SPECS, known_spec, named_nodes
from foreshock.nemesis.own_kills import OwnKills

CRASH: Final = "crash-loop"
END: Final = "end-crash-loop"
CRASHES_MIN, CRASHES_MAX = 3, 12
DOWN_MS_MIN, DOWN_MS_MAX = 1, 300
UP_PERMILLE_MIN, UP_PERMILLE_MAX = 4, 160
MILLISECOND_NS: Final = 1_000_000


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


class CrashLoopNemesis(Nemesis[CrashLoopOptions]):
    """``crash-loop`` (value: a node spec; one crash of the loop, to the start after it) and ``end-crash-loop``.

    A node that another fault holds down is left out of a crash: it is not ours to start.
    """

    name = "crash-loop"
    Options = CrashLoopOptions
    requires = frozenset({Kill})
    values: ClassVar[Mapping[str, Collection[str]]] = {CRASH: tuple(NODE_SPECS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="crash-loop", starts=(CRASH,), stops=(END,), color="#b5446e"),
    )

    def __init__(self, options: CrashLoopOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("crash")
        self._kills = OwnKills(context)

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A node spec, or a table with ``nodes`` or ``spec``, and perhaps ``down_ms``."""
        super().check_value(f, value, nodes)
        if f == CRASH and isinstance(value, Mapping):
            check_struck(value)

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({CRASH, END})

    def generator(self) -> Liftable:
        """Loops without end."""
        return ChainSchedule.first(
            Loops(chosen(self.options.targets, NODE_SPECS, option="targets")), self.context
        )

    def final_generator(self) -> Liftable:
        """One step that starts what a crash left down."""
        return Operation(f=END)

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
            await self._kills.kill(struck, {"loop": sorted(nodes), "down_ms": down_ms})
            await self.context.runtime.sleep(down_ms * MILLISECOND_NS)
            await self._kills.start()
        left = sorted(nodes - struck)
        return {"nodes": sorted(nodes), "down_ms": down_ms} | ({"left alone": left} if left else {})


def check_struck(value: Mapping[str, Any]) -> None:
    """Raises ``ValueError`` for a table that names neither nodes nor a spec, or has a ``down_ms`` that is none."""
    if not {"nodes", "spec"} & set(value):
        raise ValueError('its table needs nodes (nodes = ["n1"]) or a spec (spec = "one")')
    down_ms = value.get("down_ms", 0)
    if type(down_ms) is not int or not 0 <= down_ms <= 60_000:
        raise ValueError(f"its down_ms is {down_ms!r}: a whole number of milliseconds from 0 to 60000")
