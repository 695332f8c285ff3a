"""Kills of nemeses that kill for a reason of their own, and start only what they themselves have killed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic

from foreshock.harness.nemesis import NemesisContext
from foreshock.nemesis.chain import ChainNemesis, OptionsT_co
from foreshock.nemesis.kill import KillNemesis, KillOptions

MILLISECOND_NS: Final = 1_000_000

READY_PAUSE_NS: Final = 50_000_000
READY_TIMEOUT_NS: Final = 10_000_000_000
"""How long a node that was started is waited for: without a quorum it may not answer at all."""


class OwnKills:
    """Each kill is a fault of the kind ``kill``: recorded before, seen to have taken, and healed when all run again."""

    def __init__(self, context: NemesisContext) -> None:
        self._context = context
        self._kill = KillNemesis(KillOptions(), context)
        self._held: dict[int, frozenset[str]] = {}

    @property
    def held(self) -> list[str]:
        """The nodes that were killed and not yet started again by us, in order."""
        every = frozenset(node for nodes in self._held.values() for node in nodes)
        return [node for node in self._context.nodes if node in every]

    async def running(self, nodes: frozenset[str]) -> list[str]:
        """Those of the nodes that run: one that another fault holds down is not ours to kill or to start."""
        down = await self._kill.struck(nodes)
        return [node for node in self._context.nodes if node in nodes and not down.get(node, True)]

    async def kill(self, nodes: frozenset[str], value: Any) -> None:
        """Kill exactly these nodes; raises ``FaultError`` when one lives on, and then the others are ours to start."""
        ledger = self._context.ledger
        earlier = {fault.id for fault in ledger.open_faults("kill")}
        try:
            await self._kill.inflict(nodes, value)
        finally:
            ours = [fault.id for fault in ledger.open_faults("kill") if fault.id not in earlier]
            self._held |= dict.fromkeys(ours, nodes)

    async def start(self) -> list[str]:
        """Start those that are down of the nodes that we killed; returns them. Raises ``FaultError``."""
        held, ledger = frozenset(self.held), self._context.ledger
        started = await self._kill.relieve(held, self._held) if held else []
        still_open = {fault.id for fault in ledger.open_faults("kill")}
        for fault in self._held:
            if fault in still_open:  # the kill nemesis may have started them all, and said so
                ledger.healed(fault)
        self._held.clear()
        return started

    async def kill_and_start(self, nodes: frozenset[str], value: Any, down_ms: int) -> None:
        """Kill these nodes, and start what is ours to start so many milliseconds later; raises ``FaultError``."""
        await self.kill(nodes, value)
        await self._context.runtime.sleep(down_ms * MILLISECOND_NS)
        await self.start()

    async def wait_until_ready(self, nodes: Sequence[str]) -> list[str]:
        """Wait, within a bound, until each node can serve; returns those that cannot yet."""
        runtime = self._context.runtime
        deadline_ns = runtime.now() + READY_TIMEOUT_NS
        waiting = list(nodes)
        while True:
            waiting = [node for node in waiting if not await self._context.ready(node)]
            if not waiting or runtime.now() >= deadline_ns:
                return waiting
            await runtime.sleep(READY_PAUSE_NS)


class KillingNemesis(ChainNemesis[OptionsT_co], Generic[OptionsT_co]):
    """A nemesis whose chains begin with a kill of its own; the value of that is a name, or says whom to kill."""

    def __init__(self, options: OptionsT_co, context: NemesisContext) -> None:
        super().__init__(options, context)
        self._kills = OwnKills(context)

    @classmethod
    def check_value(cls, f: str, value: Any, nodes: Sequence[str]) -> None:
        """A name, or a table with ``nodes`` or ``spec``, and perhaps ``down_ms``."""
        super().check_value(f, value, nodes)
        if f != cls.operations[0] or not isinstance(value, Mapping):
            return
        if not {"nodes", "spec"} & set(value):
            raise ValueError('its table needs nodes (nodes = ["n1"]) or a spec (spec = "one")')
        down_ms = value.get("down_ms", 0)
        if type(down_ms) is not int or not 0 <= down_ms <= 60_000:
            raise ValueError(f"its down_ms is {down_ms!r}: a whole number of milliseconds from 0 to 60000")
