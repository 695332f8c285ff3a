"""The restart nemesis: every node is restarted, one after the other or all at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Final, NamedTuple

import msgspec

from foreshock.harness.capabilities import Kill
from foreshock.harness.errors import FaultError
from foreshock.harness.nemesis import NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options, nearest
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.chain import Link
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.node_specs import named_nodes
from foreshock.nemesis.own_kills import KillingNemesis

RESTART: Final = "restart"
END: Final = "end-restart"
DOWN_MS_MIN, DOWN_MS_MAX = 5, 600

KINDS: Final[Mapping[str, str]] = {
    "rolling": "one node after the other, each when the one before answers again",
    "all": "every node at once, as when the lights go out, but the disks keep what was written",
}


class RestartOptions(Options, frozen=True, kw_only=True):
    """How to restart."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "how to restart, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
            )
        ),
    ] = ",".join(KINDS)

    def __post_init__(self) -> None:
        chosen(self.kinds, KINDS, option="kinds")


class Restarts(NamedTuple):
    """A restart goes on while a node is left that has not had its turn."""

    kinds: tuple[str, ...]

    def begin(self, rng: RandomStream) -> Link:
        """The first node, or all."""
        return Link(RESTART, rng.choice(self.kinds))

    def follow(self, rng: RandomStream, done: Link, result: Mapping[str, Any]) -> Link | None:
        """The next node of a rolling restart; then the end."""
        if done.f == END:
            return None
        left = result.get("left")
        if not left:
            return Link(END, None)
        return Link(RESTART, {"kind": "rolling", "nodes": left[:1], "left": left[1:]}, rng.between(2, 120))


class RestartNemesis(KillingNemesis[RestartOptions]):
    """``restart`` (value: the kind; of a rolling one, one node, and those left are named) and ``end-restart``.

    It kills (SIGKILL): what a node does when it is asked to stop is kinder than what it must survive.
    """

    name = "restart"
    Options = RestartOptions
    requires = frozenset({Kill})
    operations = (RESTART, END)
    values: ClassVar[Mapping[str, Collection[str]]] = {RESTART: tuple(KINDS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="restart", starts=(RESTART,), stops=(END,), color="#7a5c99"),
    )

    def __init__(self, options: RestartOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("restart")

    def plot(self) -> Restarts:
        """Restarts of the kinds that the options name."""
        return Restarts(chosen(self.options.kinds, KINDS, option="kinds"))

    async def invoke(self, operation: Operation) -> Any:
        """Restart nodes, or start what is still down; a kill or a start that did not take is a ``FaultError``."""
        if operation.f == END:
            return {"nodes": await self._kills.start()}
        value = operation.value
        if isinstance(value, Mapping):
            kind, nodes, left = (
                str(value.get("kind", "all")),
                named_nodes(value, self.context.nodes),
                value.get("left", []),
            )
        else:
            kind, nodes, left = str(value), None, []
        if kind not in KINDS:
            raise FaultError(f"there is no restart of the kind {kind!r}{nearest(kind, KINDS)}")
        if nodes is None:
            order = self._rng.sample(self.context.nodes, len(self.context.nodes))
            nodes, left = (frozenset(order[:1]), order[1:]) if kind == "rolling" else (frozenset(order), [])
        down_ms = value.get("down_ms") if isinstance(value, Mapping) else None
        if down_ms is None:
            down_ms = self._rng.between(DOWN_MS_MIN, DOWN_MS_MAX)
        return await self._restart(kind, nodes, list(left), down_ms)

    async def _restart(
        self, kind: str, nodes: frozenset[str], left: list[str], down_ms: int
    ) -> Mapping[str, Any]:
        struck = frozenset(await self._kills.running(nodes))
        waiting: list[str] = []
        if struck:
            await self._kills.kill_and_start(struck, {"restart": kind, "down_ms": down_ms}, down_ms)
            waiting = await self._kills.wait_until_ready(sorted(struck))
        alone = sorted(nodes - struck)
        return (
            {"kind": kind, "nodes": sorted(nodes), "left": left, "down_ms": down_ms}
            | ({"left alone": alone} if alone else {})
            | ({"not yet ready": waiting} if waiting else {})
        )
