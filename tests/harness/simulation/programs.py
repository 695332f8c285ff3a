"""Programs for the tests of the simulator."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.machine import SimMachine
from foreshock.harness.simulation.runtime import SimRuntime

MS = 1_000_000
SECOND = 1_000_000_000


class Recorder:
    """Writes down every callback with the time; a test hands it functions for what it should do on one."""

    def __init__(self, machine: SimMachine, events: list[tuple[Any, ...]]) -> None:
        self.machine = machine
        self.events = events
        self.react: dict[str, Callable[..., Any]] = {}

    def seen(self, kind: str, *details: Any) -> None:
        self.events.append((self.machine.scheduler.now, kind, *details))
        if kind in self.react:
            self.react[kind](*details)

    def on_start(self) -> None:
        self.seen("start")

    def on_datagram(self, source: str, message: Any) -> None:
        self.seen("datagram", source, message)

    def on_open(self, connection: int, source: str, *, accepted: bool) -> None:
        self.seen("open", connection, source, accepted)

    def on_message(self, connection: int, message: Any) -> None:
        self.seen("message", connection, message)

    def on_close(self, connection: int) -> None:
        self.seen("close", connection)

    def on_timer(self, token: Any) -> None:
        self.seen("timer", token)

    def on_synced(self, token: object) -> None:
        self.seen("synced", token)


class Town:
    """A simulated world of recorders."""

    def __init__(self, *names: str, seed: int = 1, knobs: SimKnobs | None = None) -> None:
        self.runtime = SimRuntime(seed, knobs or SimKnobs())
        self.world = self.runtime.world
        self.events: dict[str, list[tuple[Any, ...]]] = {name: [] for name in names}
        self.programs: dict[str, Recorder] = {}
        for name in names:
            self.world.add(name, self.make)

    def make(self, machine: SimMachine) -> Recorder:
        program = self.programs[machine.name] = Recorder(machine, self.events[machine.name])
        return program

    def run(self, *steps: Callable[[], Any] | int) -> None:
        """Perform the steps: a number is so many ns to let pass, a function is called (and awaited)."""

        async def main() -> None:
            await self.runtime.sleep(0)
            for step in steps:
                if isinstance(step, int):
                    await self.runtime.sleep(step)
                else:
                    outcome = step()
                    if isinstance(outcome, Coroutine):
                        await outcome

        self.runtime.run(main())

    def machine(self, name: str) -> SimMachine:
        return self.world.machine(name)

    def kinds(self, name: str, *kinds: str) -> list[tuple[Any, ...]]:
        """The events of these kinds, without the times."""
        return [event[1:] for event in self.events[name] if not kinds or event[1] in kinds]
