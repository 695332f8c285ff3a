"""The upgrade nemesis: nodes are stopped and started again in another version of their program, on the same data."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, NamedTuple, cast

import msgspec

from foreshock.harness.capabilities import Upgrade
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.fault_values import check_by_node
from foreshock.harness.nemesis import NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options, nearest
from foreshock.harness.randomness import RandomStream
from foreshock.nemesis.chain import ChainNemesis, Link
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.own_kills import OwnKills

UPGRADE: Final = "upgrade"
FINISH: Final = "finish-upgrade"

KINDS: Final[Mapping[str, str]] = {
    "rolling": "one node after the other to the next version, each when the one before answers again",
    "partial": "some nodes only, and the others a good while later: versions live side by side",
    "all": "every node at once to the next version",
}


class UpgradeOptions(Options, frozen=True, kw_only=True):
    """How to upgrade."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "how to upgrade, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
            )
        ),
    ] = "rolling,partial"
    downgrade: Annotated[
        bool,
        msgspec.Meta(
            description="whether nodes go back to the version before as well, where the target bears it"
        ),
    ] = False

    def __post_init__(self) -> None:
        chosen(self.kinds, KINDS, option="kinds")


class Rolls(NamedTuple):
    """An upgrade goes on while a node is left that is to have the version; then comes the next one."""

    kinds: tuple[str, ...]

    def begin(self, rng: RandomStream) -> Link:
        """The first step of the next upgrade."""
        return Link(UPGRADE, rng.choice(self.kinds))

    def follow(self, rng: RandomStream, done: Link, result: Mapping[str, Any]) -> Link | None:
        """The next node of a rolling upgrade, the others of a partial one; then the end."""
        left = result.get("left")
        if done.f == FINISH or not result:
            return None
        if not left:
            return Link(FINISH, None, rng.between(2, 200))
        rolling = result.get("kind") == "rolling"
        now, later = (left[:1], left[1:]) if rolling else (left, [])
        value = {"kind": result.get("kind"), "versions": dict.fromkeys(now, result["to"]), "left": later}
        return Link(UPGRADE, value, rng.between(2, 150) if rolling else rng.between(500, 2000))


class UpgradeNemesis(ChainNemesis[UpgradeOptions]):
    """``upgrade`` (value: the kind; one step, the result says who is in which version) and ``finish-upgrade``.

    In the end every node runs the newest version that any node was brought to.
    """

    name = "upgrade"
    Options = UpgradeOptions
    requires = frozenset({Upgrade})
    operations = (UPGRADE, FINISH)
    heals_last = True  # a node that is down is in no version, and would come back in the one that it had
    values: ClassVar[Mapping[str, Collection[str]]] = {UPGRADE: tuple(KINDS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="upgrade", starts=(UPGRADE,), stops=(FINISH,), color="#3d8b6e"),
    )

    def __init__(self, options: UpgradeOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("upgrade")
        self._kills = OwnKills(context)
        self._aim = dict.fromkeys(context.nodes, context.versions[0])
        """In which version each node is to be."""

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A kind, or a table with ``versions`` by node."""
        super().check_value(f, value, nodes)
        if f == UPGRADE and isinstance(value, Mapping):
            check_by_node(value.get("versions"), nodes, what="its versions")

    def plot(self) -> Rolls:
        """Upgrades of the kinds that the options name."""
        return Rolls(chosen(self.options.kinds, KINDS, option="kinds"))

    async def invoke(self, operation: Operation) -> Any:
        """Upgrade some nodes, or what is left; a node in another version than asked for is a ``FaultError``."""
        if operation.f == FINISH:
            return await self._finish()
        value = operation.value
        if isinstance(value, Mapping):
            versions, left, kind = (
                value.get("versions", {}),
                value.get("left", []),
                value.get("kind", "given"),
            )
            for node, version in versions.items():
                self._check(node, version)
            return await self._bring(kind, dict(versions), list(left))
        kind = str(value)
        if kind not in KINDS:
            raise FaultError(f"there is no upgrade of the kind {kind!r}{nearest(kind, KINDS)}")
        to = self._next_version()
        if to is None:
            return {
                "kind": kind,
                "versions": {},
                "note": f"every node runs {self.context.versions[-1]}, the newest",
            }
        order = self._rng.sample(self.context.nodes, len(self.context.nodes))
        order = [node for node in order if self._aim[node] != to]
        count = {"rolling": 1, "all": len(order)}.get(kind) or self._rng.between(1, max(1, len(order) - 1))
        return await self._bring(kind, dict.fromkeys(order[:count], to), order[count:])

    # --- within ---------------------------------------------------------------------------------------------

    def _next_version(self) -> str | None:
        """The version after the newest in use, or the one before it; ``None`` when there is nothing to go to."""
        known = self.context.versions
        at = max(known.index(version) for version in self._aim.values())
        if any(version != known[at] for version in self._aim.values()):
            return known[at]  # what was begun is finished first
        ways = [at + 1] if at + 1 < len(known) else []
        if self.options.downgrade and at > 0:
            ways.append(at - 1)
        return known[self._rng.choice(ways)] if ways else None

    def _check(self, node: str, version: Any) -> None:
        known = self.context.versions
        if node not in self._aim:
            raise FaultError(f"there is no node {node!r}{nearest(node, self.context.nodes)}")
        if version not in known:
            raise FaultError(f"the target has no version {version!r}{nearest(str(version), known)}")

    async def _finish(self) -> Mapping[str, Any]:
        known = self.context.versions
        newest = max(self._aim.values(), key=known.index)
        seen = await self._cluster.versions(frozenset(self.context.nodes))
        behind = [node for node in self.context.nodes if seen.get(node, newest) != newest]
        return await self._bring("rest", dict.fromkeys(behind, newest), [])

    async def _bring(self, kind: str, versions: dict[str, str], left: list[str]) -> Mapping[str, Any]:
        waiting: list[str] = []
        for to in sorted(set(versions.values()), key=self.context.versions.index):
            nodes = frozenset(node for node, version in versions.items() if version == to)
            waiting += await self._step(nodes, to)
        newest = max(versions.values(), key=self.context.versions.index) if versions else None
        alone = sorted(node for node, version in versions.items() if self._aim[node] != version)
        return (
            {"kind": kind, "versions": dict(sorted(versions.items())), "left": left}
            | ({"to": newest} if newest else {})
            | ({"left alone": alone} if alone else {})
            | ({"not yet ready": waiting} if waiting else {})
        )

    async def _step(self, nodes: frozenset[str], to: str) -> list[str]:
        """Bring the nodes to a version, with all that belongs to a fault; returns those that cannot serve yet.

        One that is down is left alone: whoever holds it down starts it.
        """
        context = self.context
        before = await self._cluster.versions(nodes)
        nodes = frozenset(before)
        if not nodes:
            return []
        fault = context.ledger.planned(
            "upgrade",
            nodes,
            value={"from": dict(sorted(before.items())), "to": to},
            inverse=context.cluster.inverse("upgrade", nodes),
        )
        try:
            await self._cluster.upgrade(nodes, to)
            seen = await self._cluster.versions(nodes)
            other = sorted(node for node in nodes if seen.get(node) != to)
            if other:
                is_in = ", ".join(f"{node} ({seen.get(node, 'does not run')})" for node in other)
                raise FaultError(f"upgrade did not take: not in version {to}: {is_in}")
        except HarnessError as error:
            context.ledger.failed(fault, str(error))
            raise
        self._aim |= dict.fromkeys(sorted(nodes), to)
        context.ledger.verified(fault, dict(sorted(seen.items())))
        waiting = await self._kills.wait_until_ready(sorted(nodes))
        context.ledger.healed(fault)
        return waiting

    @property
    def _cluster(self) -> Upgrade:
        return cast(Upgrade, self.context.cluster)
