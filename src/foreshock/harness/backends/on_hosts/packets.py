"""What happens to packets on their way between hosts.

Each link is shaped where its packets leave: by the kernel's own disciplines where it has those that the shape needs,
else by a process of ours that netfilter hands them to. Which it is to be is found out by trying, on each host.
"""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from functools import cached_property
from importlib import resources
from typing import Any, Final

from foreshock.harness.backends import link_probes
from foreshock.harness.backends.docker.pod_init import DIRECTORY
from foreshock.harness.backends.on_hosts import packet_disciplines, packet_rules
from foreshock.harness.backends.on_hosts.base import HostCluster
from foreshock.harness.backends.on_hosts.packet_disciplines import HTB, NETEM
from foreshock.harness.backends.on_hosts.packet_kinds import OF_LINKS
from foreshock.harness.backends.on_hosts.packet_rules import NFQUEUE, SS, TRIED
from foreshock.harness.backends.together import try_all
from foreshock.harness.capabilities import RATE_QUEUE_MS, Link, LinkReading, LinkShape
from foreshock.harness.errors import FaultError

_PROGRAM: Final = "packet_shaper.py"
_SCRIPT_TIMEOUT_MS: Final = 20_000
_LATE_MS: Final = 250
"""How long after its time a probe may still come."""
_JITTERS_MAX: Final = 8
_ALL_LOST: Final = 1_000_000
_RESET_POLLS: Final = 30

Connection = tuple[str, str]
"""The two ends of a TCP connection as a host shows them, its own first."""


class _State:
    """What is known of the hosts, and what is in force on them."""

    def __init__(self) -> None:
        self.means: Mapping[str, frozenset[str]] = {}
        self.shapes: Mapping[Link, LinkShape] = {}
        self.nameless: frozenset[str] = frozenset()
        self.with_program: set[str] = set()
        self.with_rules: set[str] = set()
        self.generation = 0


class HostPackets(HostCluster):
    """What happens to packets on their way between hosts. Offers ``Shape``."""

    @cached_property
    def _packets(self) -> _State:
        return _State()

    @property
    def probe_directory(self) -> str:
        """Where the probe's process has its files, the same on every host."""
        return DIRECTORY

    async def find_packet_means(self) -> None:
        """Find out by what packets can be shaped on each host; to be done before ``shape_kinds`` is asked."""
        means = await self._packets_on_each(
            self.node_names, dict.fromkeys(self.node_names, packet_rules.find_means())
        )
        self._packets.means = {name: _means(words) for name, words in means.items()}

    @property
    def packet_means(self) -> Mapping[str, frozenset[str]]:
        """What was found, by node."""
        return self._packets.means

    def shape_kinds(self) -> frozenset[str]:
        """What every host can carry, as it was found to be."""
        if not self._packets.means:
            return frozenset()
        return frozenset.intersection(*map(_kinds, self._packets.means.values()))

    async def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """Put these shapes in force on all hosts at once; raises ``FaultError`` for what a host cannot carry."""
        before = self._packets.shapes
        by_host = {name: self._shapes_by_address(links, name) for name in self.node_names}
        changed = [name for name in self.node_names if by_host[name] != self._shapes_by_address(before, name)]
        self._packets.shapes = {**before, **links}  # a script may fail half way
        self._packets.generation += 1
        await try_all([self._shape_on(name, by_host[name]) for name in changed])
        self._packets.shapes = dict(links)

    async def probe_links(
        self, links: frozenset[Link], *, count: int, interval_us: int
    ) -> Mapping[Link, LinkReading]:
        """Send numbered datagrams from pod to pod, and wait as long as the shapes in force may hold them."""
        hosts = {name: self.host(name) for name in self.node_names}
        addresses = {name: self.address(name) for name in self.node_names}
        wait_ms = max((_longest_ms(self._packets.shapes.get(link, LinkShape())) for link in links), default=0)
        return await link_probes.read(
            hosts,
            addresses,
            links,
            count=count,
            interval_us=interval_us,
            wait_ms=wait_ms + _LATE_MS,
            directory=self.probe_directory,
        )

    async def reset_connections(self, links: frozenset[Link]) -> Mapping[Link, int]:
        """Have the kernel reset them, or, where it cannot, answer their packets with a reset until they are gone."""
        senders = sorted({sender for sender, _ in links})
        counts = await try_all([self._reset_on(name, links) for name in senders])
        return {link: count for found in counts for link, count in found.items()}

    async def break_names(self, nodes: frozenset[str]) -> None:
        """Drop the answers of name servers on these nodes' hosts, and on no others."""
        scripts = {name: packet_rules.mend_names() for name in self._packets.nameless - nodes}
        scripts |= {name: packet_rules.break_names() for name in nodes}
        self._packets.nameless = self._packets.nameless | nodes  # a script may fail half way
        await self._packets_on_each(sorted(scripts), scripts)
        self._packets.nameless = nodes

    async def names_found(self, nodes: frozenset[str]) -> Mapping[str, bool]:
        """Ask the name server of each node's host."""
        ordered = sorted(nodes)
        scripts = {name: packet_rules.look_up(self.address(name)) for name in ordered}
        return {
            name: "found" in said for name, said in (await self._packets_on_each(ordered, scripts)).items()
        }

    def note_undone(self, name: str) -> None:
        """All that was in force on the node's host has been undone by its script: what is still wanted is put anew."""
        state = self._packets
        state.shapes = {link: shape for link, shape in state.shapes.items() if link[0] != name}
        state.nameless -= {name}

    def undo_script(self, fault: str, name: str) -> str | None:
        """Remove our chains and disciplines, and end the shaper of the host."""
        if fault == "packet":
            return packet_rules.undo(self._shaper_directory(name))
        return super().undo_script(fault, name)

    # --- within ---------------------------------------------------------------------------------------------

    def _shaper_directory(self, name: str) -> str:
        return f"{self.control_directory(name)}/packets"

    def _shapes_by_address(self, links: Mapping[Link, LinkShape], sender: str) -> dict[str, LinkShape]:
        for link in links:
            for name in link:
                self.host(name)  # says who there is when it is none of them
        return {self.address(receiver): shape for (name, receiver), shape in links.items() if name == sender}

    async def _shape_on(self, name: str, shapes: Mapping[str, LinkShape]) -> None:
        means = self._packets.means.get(name, frozenset())
        in_kernel = {
            address: shape
            for address, shape in shapes.items()
            if packet_disciplines.expressible(shape, means)
        }
        silenced = [a for a, shape in shapes.items() if a not in in_kernel and shape.loss_ppm >= _ALL_LOST]
        by_process = {
            address: shape
            for address, shape in shapes.items()
            if address not in in_kernel and address not in silenced
        }
        if (by_process or silenced) and NFQUEUE not in means:
            raise FaultError(
                f"packets cannot be shaped like this on the host of node {name}: its kernel lacks netem and NFQUEUE"
            )
        scripts = [packet_disciplines.shape_in_kernel(in_kernel)] if HTB in means else []
        if by_process:
            await self._upload_shaper(name)
        if by_process or silenced:
            self._packets.with_rules.add(name)
        rules = packet_rules.queue(by_process, silenced)
        if name in self._packets.with_program:
            directory = self._shaper_directory(name)
            shaper = packet_rules.shape_in_user_space(directory, by_process, self._packets.generation)
            scripts += [shaper, rules] if by_process else [rules, shaper]
        elif name in self._packets.with_rules:
            scripts.append(rules)
        await self._run_for_packets(
            "".join(f"(\n{script})\n[ $? = 0 ] || exit 1\n" for script in scripts), name
        )

    async def _upload_shaper(self, name: str) -> None:
        if name in self._packets.with_program:
            return
        directory = self._shaper_directory(name)
        made = await self.host(name).run(f"mkdir -p '{directory}'")
        if made.exit_code:
            raise FaultError(f"{directory} cannot be made on the host of node {name}: {made.stderr.strip()}")
        program = resources.files("foreshock.harness.backends.on_hosts") / _PROGRAM
        await self.host(name).upload(program.read_bytes(), f"{directory}/{_PROGRAM}")
        self._packets.with_program.add(name)

    async def _reset_on(self, name: str, links: frozenset[Link]) -> dict[Link, int]:
        """Reset what the node has opened to the receivers; how many there were on each link."""
        receivers = {self.address(receiver): receiver for sender, receiver in links if sender == name}
        opened = _opened(await self._run_for_packets(packet_rules.list_connections(), name))
        wanted = [pair for pair in opened if packet_rules.address_of(pair[1]) in receivers]
        if wanted:
            await self._run_for_packets(packet_rules.kill_connections(wanted), name)
            left = await self._connections_left(name, wanted)
            if left:
                await self._answer_with_resets(name, left)
        counts = dict.fromkeys(((name, receiver) for receiver in receivers.values()), 0)
        for _, remote in wanted:
            counts[name, receivers[packet_rules.address_of(remote)]] += 1
        return counts

    async def _connections_left(self, name: str, wanted: list[Connection]) -> list[Connection]:
        now = set(_opened(await self._run_for_packets(packet_rules.list_connections(), name)))
        return [connection for connection in wanted if connection in now]

    async def _answer_with_resets(self, name: str, wanted: list[Connection]) -> None:
        await self._run_for_packets(packet_rules.refuse_connections(wanted), name)
        try:
            for _ in range(_RESET_POLLS):
                await self._run_for_packets("sleep 0.1\n", name)
                left = await self._connections_left(name, wanted)
                if not left:
                    return
        finally:
            await self._run_for_packets(packet_rules.stop_refusing(), name)
        shown = ", ".join(f"{local} to {remote}" for local, remote in left)
        raise FaultError(f"connections of node {name} are still there although they were reset: {shown}")

    async def _packets_on_each(self, names: Any, scripts: Mapping[str, str]) -> dict[str, str]:
        """Run each node's script on its host, all at once; what they print."""
        ordered = list(names)
        steps: list[Coroutine[Any, Any, str]] = [
            self._run_for_packets(scripts[name], name) for name in ordered
        ]
        return dict(zip(ordered, await try_all(steps), strict=True))

    async def _run_for_packets(self, script: str, name: str) -> str:
        result = await self.root(name).run(script, timeout_ms=_SCRIPT_TIMEOUT_MS)
        if result.exit_code:
            said = result.stderr.strip().rpartition("\n")[2] or f"exit status {result.exit_code}"
            raise FaultError(f"packets cannot be shaped on the host of node {name}: {said}")
        return result.stdout


def _means(words: str) -> frozenset[str]:
    """What a host has said it has; one that says nothing at all is there in a rehearsal only, and has the usual."""
    found = frozenset(words.split())
    return found - {TRIED} if TRIED in found else frozenset({NFQUEUE, SS})


def _kinds(means: frozenset[str]) -> frozenset[str]:
    """The kinds of shape that a host with these means can carry."""
    kinds = {"names"}
    if NFQUEUE in means or {HTB, NETEM} <= means:
        kinds |= OF_LINKS
    elif HTB in means:
        kinds.add("rate")
    if SS in means:
        kinds.add("reset")
    return frozenset(kinds)


def _longest_ms(shape: LinkShape) -> int:
    """How long a packet may be held."""
    longest_us = shape.delay_us + _JITTERS_MAX * shape.jitter_us + shape.reorder_us
    return longest_us // 1000 + (RATE_QUEUE_MS if shape.rate_bytes_per_s else 0)


def _opened(said: str) -> list[Connection]:
    """The connections that were opened from here: their own port is none at which somebody listens here."""
    listening, _, established = said.partition("--\n")
    ports = {line.split()[3].rpartition(":")[2] for line in listening.splitlines() if len(line.split()) > 3}
    ends = [line.split()[2:4] for line in established.splitlines() if len(line.split()) > 3]
    return [(local, remote) for local, remote in ends if local.rpartition(":")[2] not in ports]
