"""The disk nemesis: disks are full, slow, read-only, fail to sync, or give back flipped bits."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, cast

import msgspec

from foreshock.harness.capabilities import Disk, DiskFault, DiskReading, Kill
from foreshock.harness.errors import FaultError, HarnessError, UsageError
from foreshock.harness.fault_values import WrongValueError, check_name
from foreshock.harness.generator.base import Liftable
from foreshock.harness.nemesis import Nemesis, NemesisContext, Shade
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.nemesis.choices import chosen
from foreshock.nemesis.leaders import nodes_of_spec
from foreshock.nemesis.node_specs import NODE_SPECS, known_spec, named_nodes
from foreshock.nemesis.running import start_fallen
from foreshock.nemesis.schedule import Faults, FaultSchedule

OBSERVE_ATTEMPTS_MAX: Final = 20
OBSERVE_PAUSE_NS: Final = 100_000_000
SETTLE_NS: Final = 500_000_000
"""How long a node that met the fault may take to end, after the disk is mended."""
DELAY_MS_MIN: Final = 50
"""Below that a delay cannot be told from a busy machine."""
AMOUNTS_MAX: Final[Mapping[str, int]] = {"delay_ms": 60_000, "percent": 100, "seed": 1 << 31}
"""The amounts of a fault that a value may give, and the most that each can be."""

KINDS: Final[Mapping[str, str]] = {
    "full": "nothing can be added to a file, nor a file be made",
    "slow-sync": "a sync takes longer",
    "failing-sync": "syncs fail, and what they were to make durable is lost",
    "read-only": "nothing can be changed",
    "bit-flip": "bits are read flipped; the nodes are started again, so that they read",
}


class DiskOptions(Options, frozen=True, kw_only=True):
    """What happens to disks, and how much of it."""

    kinds: Annotated[
        str,
        msgspec.Meta(
            description=(
                "what happens to disks, separated by commas, drawn anew each time: "
                + ", ".join(f"{name} ({meaning})" for name, meaning in KINDS.items())
            )
        ),
    ] = ",".join(KINDS)
    targets: Annotated[
        str,
        msgspec.Meta(
            description=f"whose disks, separated by commas, drawn anew each time: {', '.join(NODE_SPECS)}"
        ),
    ] = "one,minority,majority,primaries,all"
    delay_ms_max: Annotated[
        int,
        msgspec.Meta(description="how much longer a sync takes at most, in ms", ge=DELAY_MS_MIN, le=10_000),
    ] = 500

    def __post_init__(self) -> None:
        chosen(self.kinds, KINDS, option="kinds")
        chosen(self.targets, NODE_SPECS, option="targets")


class DiskNemesis(Nemesis[DiskOptions]):
    """``break-disk`` (value: the kind; the result says whose disks, and how) and ``mend-disk``.

    A node that its disk refuses may end itself, before it promises anything. Mending starts such nodes again.
    """

    name = "disk"
    Options = DiskOptions
    requires = frozenset({Disk, Kill})
    fells = frozenset({"disk"})
    values: ClassVar[Mapping[str, Collection[str]]] = {"break-disk": tuple(KINDS)}
    shades: ClassVar[tuple[Shade, ...]] = (
        Shade(name="disk", starts=("break-disk",), stops=("mend-disk",), color="#8d5524"),
    )

    def __init__(self, options: DiskOptions, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._rng = context.rng.stream("disks")
        self._kinds = chosen(options.kinds, KINDS, option="kinds")
        carried = self._disks.disk_kinds()
        for kind in self._kinds:
            if kind not in carried:
                raise UsageError(
                    f"disks cannot be made to fail by {kind!r} here: take some of {', '.join(sorted(carried))}"
                )

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A kind, or a table with a ``kind``."""
        if f != "break-disk" or not isinstance(value, Mapping):
            super().check_value(f, value, nodes)
            return
        if "kind" not in value:
            raise WrongValueError('its table needs a kind (kind = "full")')
        super().check_value(f, {key: value[key] for key in value if key != "spec"}, nodes)
        if value.get("spec") is not None:
            check_name(value["spec"], NODE_SPECS, what="its spec")
        for key, most in AMOUNTS_MAX.items():
            # With less than that nothing breaks; results of the other kinds have a delay of 0.
            least = int(key == "percent" or (key == "delay_ms" and value["kind"] == "slow-sync"))
            amount = value.get(key, least)
            if not isinstance(amount, int) or isinstance(amount, bool) or not least <= amount <= most:
                raise WrongValueError(
                    f"its {key} {amount!r:.200} must be a whole number from {least} to {most}"
                )

    @property
    def fs(self) -> frozenset[str]:
        """The two operations."""
        return frozenset({"break-disk", "mend-disk"})

    def generator(self) -> Liftable:
        """Faults of the chosen kinds without end."""
        return FaultSchedule.first(Faults("break-disk", "mend-disk", self._kinds), self.context)

    def final_generator(self) -> Liftable:
        """One step that mends every disk."""
        return Operation(f="mend-disk")

    async def invoke(self, operation: Operation) -> Any:
        """Break or mend; a disk that does not show what it should is a ``FaultError``."""
        if operation.f == "break-disk":
            return await self._break(operation.value)
        return await self._mend()

    async def _break(self, value: Any) -> Mapping[str, Any]:
        context = self.context
        asked: Mapping[str, Any] = value if isinstance(value, Mapping) else {"kind": value}
        fault = self._fault(asked)
        spec = asked.get("spec")
        nodes = named_nodes(asked, context.nodes)
        if nodes is None:
            spec = known_spec(
                spec or self._rng.choice(chosen(self.options.targets, NODE_SPECS, option="targets"))
            )
            nodes = await nodes_of_spec(context, spec, self._rng)
        await self._confirm_unlike(nodes, fault)
        done = {"spec": spec, "nodes": sorted(nodes), **msgspec.to_builtins(fault)}
        number = context.ledger.planned(
            "disk", nodes, value=done, inverse=context.cluster.inverse("disk", nodes)
        )
        try:
            await self._disks.break_disks(dict.fromkeys(sorted(nodes), fault))
            seen = await self._observe(nodes, fault)
            if fault.kind == "bit-flip":
                await self._start_again(nodes)
        except HarnessError as error:
            context.ledger.failed(number, str(error))
            raise
        context.ledger.verified(number, msgspec.to_builtins(seen))
        return done

    def _fault(self, asked: Mapping[str, Any]) -> DiskFault:
        """As the value asks for it, else drawn: every draw is made in any case, so that what follows is the same."""
        rng, kind = self._rng, asked["kind"]
        delay_ms = rng.between(DELAY_MS_MIN, self.options.delay_ms_max)
        percent, seed = rng.choice((25, 50, 100)), rng.below(1 << 31)
        delayed, partial = kind == "slow-sync", kind in ("failing-sync", "bit-flip")
        return DiskFault(
            kind=kind,
            delay_ms=asked.get("delay_ms", delay_ms) if delayed else 0,
            percent=asked.get("percent", percent) if partial else 100,
            seed=asked.get("seed", seed) if partial else 0,
        )

    async def _confirm_unlike(self, nodes: frozenset[str], fault: DiskFault) -> None:
        """See that no disk shows the fault already: of such a one nobody could say that it took. Raises."""
        struck = {node for earlier in self.context.ledger.open_faults("disk") for node in earlier.nodes}
        left = nodes - struck
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)  # a sync may be slow for a moment
            seen = await self._disks.read_disks(left)
            left = frozenset(node for node in left if shows(seen[node], fault))
            if not left:
                return
        raise FaultError(
            f"break-disk cannot be told to take: {fault.kind} is seen before on {', '.join(sorted(left))}"
        )

    async def _observe(self, nodes: frozenset[str], fault: DiskFault) -> Mapping[str, DiskReading]:
        """Try the disks until each shows the fault; raises ``FaultError``."""
        seen: dict[str, DiskReading] = {}
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            sound = nodes - set(seen)
            read = await self._disks.read_disks(sound)
            seen |= {node: reading for node, reading in read.items() if shows(reading, fault)}
            if len(seen) == len(nodes):
                return dict(sorted(seen.items()))
        sound = nodes - set(seen)
        raise FaultError(
            f"break-disk did not take: nothing of {fault.kind} is seen on {', '.join(sorted(sound))}"
        )

    async def _start_again(self, nodes: frozenset[str]) -> None:
        """Only who reads a flipped bit can mind it, and most nodes read their files when they start."""
        running = await self._nodes.running(nodes)
        struck = frozenset(node for node in nodes if running.get(node, False))
        await self._nodes.kill(struck)
        await self._nodes.start(struck)

    async def _mend(self) -> Mapping[str, Any]:
        context, ledger = self.context, self.context.ledger
        faults = ledger.open_faults("disk")
        nodes = frozenset(node for fault in faults for node in fault.nodes)
        started: list[str] = []
        try:
            if nodes:
                await self._disks.mend_disks(nodes)
                delays = [fault.value["delay_ms"] for fault in faults if fault.value.get("delay_ms")]
                await self._see_mended(nodes, min(delays, default=None))
                await context.runtime.sleep(SETTLE_NS)  # who was told last may still be about to end
                started = await start_fallen(context, nodes)
        except HarnessError as error:
            for fault in faults:
                ledger.failed(fault.id, str(error))
            raise
        for fault in faults:
            ledger.healed(fault.id)
        return {"nodes": sorted(nodes)} | ({"started": started} if started else {})

    async def _see_mended(self, nodes: frozenset[str], delay_ms: int | None) -> None:
        for attempt in range(OBSERVE_ATTEMPTS_MAX):
            if attempt:
                await self.context.runtime.sleep(OBSERVE_PAUSE_NS)
            seen = await self._disks.read_disks(nodes)
            left = {
                node: reading for node, reading in sorted(seen.items()) if not is_sound(reading, delay_ms)
            }
            if not left:
                return
        shown = ", ".join(f"{node}: {msgspec.to_builtins(reading)}" for node, reading in left.items())
        raise FaultError(f"mend-disk did not take: {shown}")

    @property
    def _disks(self) -> Disk:
        return cast(Disk, self.context.cluster)

    @property
    def _nodes(self) -> Kill:
        return cast(Kill, self.context.cluster)


def shows(reading: DiskReading, fault: DiskFault) -> bool:
    """Whether what trying a disk has shown is what this fault does."""
    match fault.kind:
        case "full":
            return reading.write == "ENOSPC"
        case "read-only":
            return reading.write == "EROFS"
        case "failing-sync":
            return reading.sync == "EIO"
        case "slow-sync":
            return reading.sync == "ok" and reading.sync_ms >= fault.delay_ms
        case "bit-flip":
            return not reading.intact


def is_sound(reading: DiskReading, delay_ms: int | None = None) -> bool:
    """Whether nothing is wrong with a disk whose syncs took ``delay_ms`` longer, where that was what was wrong."""
    prompt = delay_ms is None or reading.sync_ms < delay_ms
    return reading.write == reading.sync == "ok" and reading.intact and prompt
