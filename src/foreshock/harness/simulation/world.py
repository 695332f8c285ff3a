"""The simulated world: machines, the network between them, and what can go wrong with both."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol

from foreshock.harness.capabilities import Grudge, Link, LinkReading, LinkShape
from foreshock.harness.errors import HarnessError
from foreshock.harness.randomness import RandomStream
from foreshock.harness.runtime import Address, Connection, ConnectionClosed, ConnectionRefused
from foreshock.harness.simulation.clock import NodeClock
from foreshock.harness.simulation.connection import ClientEnd, End, ProgramEnd, join
from foreshock.harness.simulation.knobs import MILLISECOND, SimKnobs
from foreshock.harness.simulation.machine import ProgramError, SimMachine
from foreshock.harness.simulation.network import delay_table, threshold
from foreshock.harness.simulation.program import Program
from foreshock.harness.simulation.scheduler import Action, Scheduler, SimTask, suspend
from foreshock.harness.simulation.shaping import Shaping

MakeProgram = Callable[[SimMachine], Program]
Serve = Callable[[Connection], Awaitable[None]]

PROGRAM_ERRORS_MAX: Final = 1_000
PROBES: Final = 24
"""So many datagrams are sent over a pair before it is called cut: at a loss of one in four, 4e-15 of a mistake."""
PROBE_INTERVAL_NS: Final = 5 * MILLISECOND


class Spawn(Protocol):
    """Starts a coroutine beside the others."""

    def __call__(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> Any:
        """Start it."""


class SimWorld:
    """Machines with programs, by name, and everything a nemesis can do to them."""

    def __init__(
        self,
        scheduler: Scheduler,
        knobs: SimKnobs,
        random: Callable[[str], RandomStream],
        spawn: Spawn,
    ) -> None:
        self.scheduler = scheduler
        self.knobs = knobs
        self.random = random
        self.delays = delay_table(random("network/delays"), knobs.latency_min_ns, knobs.latency_mean_ns)
        """What a message can take, in ns."""
        lost = threshold(knobs.loss_ppm)
        duplicated = lost + threshold(knobs.duplication_ppm)
        self.chances = (lost, duplicated, duplicated + threshold(knobs.reorder_ppm))
        """Bounds for a roll: below the first a datagram is lost, then duplicated, then held back."""
        self.after_step: Callable[[str, Program], None] | None = None
        """Called with the node's name and its program after each callback of a program: a place for invariants."""
        self.program_errors: list[ProgramError] = []
        """What programs raised, oldest first, at most 1000; each has crashed its node."""
        self._spawn = spawn
        self._machines: dict[str, SimMachine] = {}
        self._routes: dict[str, Action] = {}
        self._shaping = Shaping(scheduler, random, self._machines, self._routes)
        self._listeners: dict[tuple[str, int], Serve] = {}
        self._client_bits = random("network/clients").bits
        self._clients = 0

    @property
    def events(self) -> int:
        """How many events the simulation has had; exact once the run has ended, a few thousand late before."""
        return self.scheduler.events

    # --- machines -----------------------------------------------------------------------------------------

    def add(self, name: str, make_program: MakeProgram) -> SimMachine:
        """Add a machine and start it: ``make_program`` is called now, and at every later start, with the machine."""
        if name in self._machines:
            raise HarnessError(f"there is a simulated node {name!r} already")
        machine = SimMachine(self, name, make_program, self._routes)
        self._machines[name] = machine
        self._routes[name] = machine.datagram
        self._shaping.join_up()
        machine.start()
        return machine

    def machine(self, name: str) -> SimMachine:
        """The machine of that name; raises ``HarnessError`` when there is none."""
        try:
            return self._machines[name]
        except KeyError:
            known = ", ".join(self._machines) or "none"
            raise HarnessError(f"there is no simulated node {name!r} (there are: {known})") from None

    def kill(self, name: str) -> None:
        """Kill a node's program: timers and connections are gone; the disk has all that was written."""
        self.machine(name).kill()

    def cut_power(self, name: str) -> None:
        """Kill a node, if it is not down, and lose what its disk has not made durable."""
        self.machine(name).cut_power()

    def start(self, name: str) -> None:
        """Start a node that is down, with a new program on the same disk."""
        self.machine(name).start()

    def pause(self, name: str) -> None:
        """Stop a node in its tracks; what happens to it meanwhile waits."""
        self.machine(name).pause()

    def resume(self, name: str) -> None:
        """Let a paused node go on."""
        self.machine(name).resume()

    def clock(self, name: str) -> NodeClock:
        """The node's clock, to be shifted or stretched."""
        return self.machine(name).clock

    def states(self) -> dict[str, str]:
        """``running``, ``paused``, ``killed`` or ``crashed`` (ended by itself), by node."""
        return {name: machine.state for name, machine in self._machines.items()}

    def logs(self, name: str) -> list[str]:
        """The lines of the node's log, over all its lives."""
        return self.machine(name).logs()

    def clear(self) -> None:
        """Kill every node and forget them all."""
        for machine in self._machines.values():
            machine.kill()
        self._machines.clear()
        self._routes.clear()
        self._shaping.forget()

    def program_failed(self, error: ProgramError) -> None:
        """A program has raised (told by its machine)."""
        if len(self.program_errors) < PROGRAM_ERRORS_MAX:
            self.program_errors.append(error)

    # --- network ------------------------------------------------------------------------------------------

    def cut(self, grudge: Grudge) -> None:
        """Drop all between nodes that the grudge names, in place of the grudge before; an empty one heals.

        Datagrams that arrive over a cut link are lost, those in flight included; connections stay half-open.
        """
        for name in sorted({*grudge, *(sender for senders in grudge.values() for sender in senders)}):
            self.machine(name)  # a name that is nobody's is a mistake, and would cut nothing
        for name, machine in self._machines.items():
            machine.hear(frozenset(grudge.get(name, frozenset())))

    async def heard(self, pairs: frozenset[tuple[str, str]]) -> dict[tuple[str, str], bool]:
        """Send one-way datagrams over the (sender, receiver) pairs and say which arrived.

        Machines answer for it, not programs: a paused or killed node's machine still hears.
        """
        heard = dict.fromkeys(sorted(pairs), False)

        def arrive(sender: str, receiver: str) -> None:
            if sender not in self.machine(receiver).deaf:
                heard[sender, receiver] = True

        senders = {pair: self.machine(pair[0]) for pair in heard}
        for _, receiver in heard:
            self.machine(receiver)
        for _ in range(PROBES):
            for pair, machine in senders.items():
                if not heard[pair]:
                    machine.probe(arrive, pair[1])
            await self._sleep(PROBE_INTERVAL_NS)
            if all(heard.values()):
                return heard
        await self._sleep(max(self.delays))
        return heard

    def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """Put shapes on links between nodes, in place of those before; an empty mapping ends all."""
        self._shaping.shape(links)

    def reset_connections(self, links: frozenset[Link]) -> dict[Link, int]:
        """Break every connection that the sender of a link opened; returns how many each had."""
        return self._shaping.reset_connections(links)

    async def probe_links(
        self, links: frozenset[Link], *, count: int, interval_ns: int
    ) -> dict[Link, LinkReading]:
        """Send numbered datagrams over the links and say what became of them.

        They take the least latency that there is, and nothing befalls them that befalls datagrams on any link: what
        they show is the doing of shapes and cuts. Machines answer for it, not programs, as in :meth:`heard`.
        """
        return await self._shaping.probe(
            links, count, interval_ns, latency_ns=self.knobs.latency_min_ns, sleep=self._sleep
        )

    async def connect(self, address: Address) -> ClientEnd:
        """Connect a harness coroutine to a node, or to a listener of the harness; raises ``ConnectionRefused``."""
        self._clients += 1
        name = f"client/{self._clients}"
        far = self._far_end(name, address.host, address.port)
        if far is None:
            await self._sleep(self.delays[0])
            raise ConnectionRefused(f"nothing in the simulation is called {address.host}:{address.port}")
        near = self._client_end(address.host, None)
        join(near, far)
        await near.opened()
        return near

    def listen(self, address: Address, serve: Serve) -> Callable[[], None]:
        """Let harness coroutines serve connections at an address; returns what closes the listener."""
        place = address.host, address.port
        if place in self._listeners or address.host in self._machines:
            raise HarnessError(f"{address.host}:{address.port} is taken in the simulation")
        self._listeners[place] = serve

        def close() -> None:
            if self._listeners.get(place) is serve:
                del self._listeners[place]

        return close

    def dial(self, near: End, source: str, destination: str) -> None:
        """Connect a program's end to a node, or to the first listener at that host; else it will hear a close."""
        far = self._far_end(source, destination, None)
        join(near, far if far is not None else self._client_end(source, None))

    def _far_end(self, source: str, host: str, port: int | None) -> End | None:
        machine = self._machines.get(host)
        if machine is not None:
            return ProgramEnd(machine, 0, source)
        for place in sorted(self._listeners):
            if place == (host, place[1] if port is None else port):
                return self._client_end(source, place)
        return None

    def _client_end(self, remote: str, place: tuple[str, int] | None) -> ClientEnd:
        def serve(end: ClientEnd) -> bool:
            handler = self._listeners.get(place) if place is not None else None
            if handler is not None:
                self._spawn(self._served(end, handler), name=f"connection of {remote}")
            return handler is not None

        return ClientEnd(self.scheduler, self._client_bits, self.delays, remote, serve)

    async def _served(self, end: ClientEnd, handler: Serve) -> None:
        try:
            with contextlib.suppress(ConnectionClosed):  # the usual end of a conversation
                await handler(end)
        finally:
            end.close()

    async def _sleep(self, duration_ns: int) -> None:
        task: SimTask[Any] = self.scheduler.current
        self.scheduler.after(duration_ns, task.resume, task.ticket, None)
        await suspend()
