"""What happens to packets on single links of the simulated network: shapes, resets of connections, probes.

A link without a shape costs nothing: its datagrams do not come here. Where there is a shape, a datagram that has taken
the usual latency comes to the link in place of the receiver, and meets the shape there. A message of a connection is
held by the receiving end as long as the link says, behind all that came before it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from foreshock.harness.capabilities import PROBE_BYTES, Link, LinkReading, LinkShape
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.link_tally import LinkTally
from foreshock.harness.packet_fates import HEADER_BYTES, QUEUE_NS_MAX, Fates, Pacer, longest_ns, pacer_of
from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.connection import ProgramEnd
from foreshock.harness.simulation.machine import SimMachine
from foreshock.harness.simulation.network import encoded_bytes
from foreshock.harness.simulation.scheduler import Action, Scheduler


class ShapedLink:
    """One direction between two machines, and the shape that is in force on it, if any."""

    __slots__ = ("_bits", "_deliver", "_fates", "_scheduler", "longest_ns", "pacer")

    def __init__(self, scheduler: Scheduler, bits: Callable[[int], int], deliver: Action) -> None:
        self._scheduler = scheduler
        self._bits = bits
        self._deliver = deliver
        self._fates: Fates | None = None
        self.pacer: Pacer | None = None
        """What lets through so much a second; ``None``: as much as there is."""
        self.longest_ns = 0
        """For how much longer a datagram may be on its way."""

    def shape(self, shape: LinkShape | None) -> None:
        """Put a shape in force, or none; what is on its way already stays as it is."""
        self._fates = None if shape is None else Fates(shape, self._bits)
        self.pacer = None if shape is None else pacer_of(shape)
        self.longest_ns = 0 if shape is None else longest_ns(shape)

    @property
    def stalls(self) -> bool:
        """Whether nothing gets through."""
        return self._fates is not None and self._fates.stalls

    def datagram(self, source: str, message: Any) -> None:
        """A datagram of a program comes to the link."""
        payload_bytes = 0 if self.pacer is None else encoded_bytes(message)
        self.carry(self._deliver, None, source, message, payload_bytes)

    def carry(
        self, deliver: Action, spoiled: Action | None, first: Any, second: Any, payload_bytes: int
    ) -> None:
        """Let ``deliver(first, second)`` happen when the datagram is through: not at all, now, later, or twice.

        ``spoiled`` happens in its place when the datagram is corrupt; ``None``: then it is thrown away.
        """
        fates, pacer, scheduler = self._fates, self.pacer, self._scheduler
        if fates is None:
            deliver(first, second)
            return
        if fates.lost() or (pacer is not None and pacer.waiting_ns(scheduler.now) > QUEUE_NS_MAX):
            return
        if fates.corrupted():
            if spoiled is None:
                return
            deliver = spoiled
        for _ in range(2 if fates.duplicated() else 1):
            departs_ns = scheduler.now if pacer is None else pacer.departs_ns(scheduler.now, payload_bytes)
            scheduler.after(departs_ns - scheduler.now + fates.delay_ns(), deliver, first, second)

    def stream_ns(self) -> int:
        """How much longer the next message of a connection takes; what is lost is sent again, and so comes late."""
        fates = self._fates
        return 0 if fates is None else fates.delay_ns() + fates.retransmission_ns()


class Shaping:
    """The shapes that are in force in a world."""

    def __init__(
        self,
        scheduler: Scheduler,
        random: Callable[[str], RandomStream],
        machines: Mapping[str, SimMachine],
        routes: Mapping[str, Action],
    ) -> None:
        self._scheduler = scheduler
        self._random = random
        self._machines = machines
        self._routes = routes
        self._links: dict[Link, ShapedLink] = {}
        """Every link that ever had a shape."""
        self._in_force: frozenset[Link] = frozenset()

    def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """Put these shapes in force, in place of all that were before; an empty mapping ends all."""
        for sender, receiver in sorted(links):
            if sender == receiver:
                raise HarnessError(f"there is no link from {sender!r} to itself")
            self._machine(sender)
            self._machine(receiver)
        for link in self._in_force:
            self._links[link].shape(None)
        for link, shape in sorted(links.items()):
            self._link(link).shape(shape)
        self._in_force = frozenset(links)
        self.join_up()

    def join_up(self) -> None:
        """Let each machine know which of its links are shaped."""
        shaped = sorted(self._in_force)
        for name, machine in self._machines.items():
            out = {to: self._links[name, to].datagram for sender, to in shaped if sender == name}
            inbound = {sender: self._links[sender, name] for sender, to in shaped if to == name}
            machine.shape({**self._routes, **out} if out else self._routes, inbound)

    def forget(self) -> None:
        """There are no machines any more."""
        self._links.clear()
        self._in_force = frozenset()

    def reset_connections(self, links: frozenset[Link]) -> dict[Link, int]:
        """Break every connection between programs that the sender of a link opened; returns how many each had.

        Raises ``FaultError`` for one that is still open afterwards.
        """
        found = {link: self._connections(link) for link in sorted(links)}
        for ends in found.values():
            for end in ends:
                end.reset()
                if isinstance(end.peer, ProgramEnd):
                    end.peer.reset()
        for sender, receiver in found:
            if left := self._connections((sender, receiver)):
                raise FaultError(
                    f"{len(left)} connections from {sender} to {receiver} are there after they were reset"
                )
        return {link: len(ends) for link, ends in found.items()}

    async def probe(
        self,
        links: frozenset[Link],
        count: int,
        interval_ns: int,
        *,
        latency_ns: int,
        sleep: Callable[[int], Awaitable[None]],
    ) -> dict[Link, LinkReading]:
        """Send numbered datagrams from kernel to kernel, each to come to its link after the latency, and count them."""
        tallies = {link: LinkTally(count) for link in sorted(links)}
        probes = [(tally, self._probed(tally, *link)) for link, tally in tallies.items()]
        scheduler = self._scheduler
        for number in range(count):
            for tally, reach in probes:
                tally.sent_ns[number] = scheduler.now
                scheduler.after(latency_ns, reach, number, None)
            await sleep(interval_ns)
        await sleep(latency_ns + max((link.longest_ns for link in self._links.values()), default=0) + 1)
        return {link: tally.reading() for link, tally in tallies.items()}

    def _probed(self, tally: LinkTally, sender: str, receiver: str) -> Action:
        """What happens to a probe when it comes to its link."""
        scheduler, machine, links = self._scheduler, self._machine(receiver), self._links
        self._machine(sender)

        def arrive(number: int, _: None) -> None:
            if sender not in machine.deaf:
                tally.arrived(number, scheduler.now)

        def spoiled(number: int, _: None) -> None:
            if sender not in machine.deaf:
                tally.arrived(number, scheduler.now, corrupted=True)

        def reach(number: int, _: None) -> None:
            link = links.get((sender, receiver))
            if link is None:
                arrive(number, None)
            else:
                link.carry(arrive, spoiled, number, None, PROBE_BYTES - HEADER_BYTES)

        return reach

    def _connections(self, link: Link) -> list[ProgramEnd]:
        sender, receiver = link
        self._machine(receiver)
        ends = self._machine(sender).ends.values()
        return [end for end in ends if end.dialled and end.open and end.remote == receiver]

    def _link(self, link: Link) -> ShapedLink:
        found = self._links.get(link)
        if found is None:
            sender, receiver = link
            bits = self._random(f"network/{sender}>{receiver}").bits
            found = self._links[link] = ShapedLink(self._scheduler, bits, self._machine(receiver).datagram)
        return found

    def _machine(self, name: str) -> SimMachine:
        try:
            return self._machines[name]
        except KeyError:
            known = ", ".join(self._machines) or "none"
            raise HarnessError(f"there is no simulated node {name!r} (there are: {known})") from None
