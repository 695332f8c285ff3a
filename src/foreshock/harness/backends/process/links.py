"""The harness's side of the link proxy: start it, cut links, shape them, verify by datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.backends.process.link_observations import Probing, established
from foreshock.harness.backends.process.ports import LOOPBACK
from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.capabilities import Grudge, Link, LinkReading, LinkShape
from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import FaultError, HarnessError
from foreshock.harness.packet_fates import longest_ns

_ANSWER_TIMEOUT_S: Final = 10.0
_END_TIMEOUT_S: Final = 2.0
_PROBE_ROUNDS: Final = 3
_PROBE_TIMEOUT_S: Final = 5.0
_STRAGGLERS_S: Final = 0.005


class LinkProxy:
    """The running link proxy of one cluster; made by :meth:`start`."""

    def __init__(self, process: asyncio.subprocess.Process, sink: socket.socket, log: Path) -> None:
        self._process = process
        self._sink = sink
        self._log = log
        self._lock = asyncio.Lock()
        self._listening = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._control = 0
        self._ports: dict[Link, tuple[int, int]] = {}
        self._fronts: dict[str, int] = {}
        """By receiver, where it has one port for all senders."""
        self._further: dict[tuple[str, str, str], Endpoint] = {}
        self._longest_ns = 0
        """For how long a datagram may be on its way under any shape so far."""

    @classmethod
    async def start(
        cls,
        listens: Mapping[str, Endpoint],
        log: Path,
        environment: Mapping[str, str],
        sources: Mapping[str, str],
        further: Mapping[str, Mapping[str, Endpoint]] = {},
    ) -> LinkProxy:
        """Start the proxy with a link for each ordered pair of nodes; raises ``HarnessError``.

        With ``sources``, the address that each node may connect from, every node has one endpoint for all others.
        ``further`` says by the name of each further port where each node listens there.
        """
        sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.bind((LOOPBACK, 0))
        sink.setblocking(False)
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "foreshock.harness.backends.link_proxy",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,  # Ctrl-C on the terminal is the harness's to handle
                env=dict(environment),
                limit=4 << 20,
            )
        proxy = cls(process, sink, log)
        try:
            await proxy._open(listens, sources, further)
        except BaseException:
            await proxy.close()
            raise
        return proxy

    @property
    def identity(self) -> ProcessIdentity | None:
        """The proxy's process; ``None`` when it has ended."""
        return identify(self._process.pid)

    def endpoint(self, sender: str, receiver: str, further: str | None = None) -> Endpoint:
        """Where ``sender`` connects to in order to reach ``receiver``, at its further port of that name if need be."""
        if further is not None:
            return self._further[further, sender, receiver]
        return Endpoint(host=LOOPBACK, port=self._near_port((sender, receiver)))

    def front(self, receiver: str, further: str | None = None) -> Endpoint | None:
        """Where all others reach ``receiver``; ``None`` where each has a way of its own."""
        if further is not None:
            return self._further[further, "", receiver] if self._fronts else None
        port = self._fronts.get(receiver)
        return None if port is None else Endpoint(host=LOOPBACK, port=port)

    async def cut(self, grudge: Grudge) -> None:
        """Stall every direction that the grudge names and no other; raises ``HarnessError``."""
        cuts = sorted((sender, receiver) for receiver, senders in grudge.items() for sender in senders)
        await self._ask({"id": next(self._numbers), "cut": cuts})

    async def shape(self, links: Mapping[Link, LinkShape]) -> None:
        """Shape these directions and no other; raises ``HarnessError``."""
        self._check(links)
        self._longest_ns = max(self._longest_ns, *map(longest_ns, links.values()), 0)
        shapes = [[*link, shape] for link, shape in sorted(links.items())]
        await self._ask({"id": next(self._numbers), "shape": shapes})

    async def reset(self, links: Iterable[Link]) -> dict[Link, int]:
        """Reset the connections that were opened over the links, and see that they are gone; how many there were.

        Raises ``FaultError`` when one is still there, by the proxy's word or by the system's.
        """
        wanted = sorted(links)
        self._check(wanted)
        answer = await self._ask({"id": next(self._numbers), "reset": wanted})
        opened = {link: set(ports) for link, ports in zip(wanted, answer["reset"], strict=True)}
        for link, ports in opened.items():
            near = [self._near_port(link)]
            near += [place.port for (_, *between), place in self._further.items() if tuple(between) == link]
            left = ports & set(answer["left"]).union(*map(established, near))
            if left:
                raise FaultError(
                    f"{len(left)} of {len(ports)} connections from {link[0]} to {link[1]} are still there after "
                    "they were reset"
                )
        return {link: len(ports) for link, ports in opened.items()}

    async def heard(self, pairs: frozenset[Link]) -> dict[Link, bool]:
        """Send datagrams over the links and say which were relayed; raises ``FaultError`` when none can be.

        No window of time decides: a round is over when a datagram that was sent last, and that no rule drops,
        came back through the same proxy.
        """
        self._check(pairs)
        nonce = secrets.token_hex(8)
        arrived: set[Link] = set()
        async with self._listening:
            for number in range(_PROBE_ROUNDS):
                waiting = sorted(pairs - arrived)
                if not waiting:
                    break
                for sender, receiver in waiting:
                    self._send(f"{nonce} {sender} {receiver}", self._ports[sender, receiver][1])
                marker = f"{nonce} {number}"
                self._send(marker, self._control)
                try:
                    async with asyncio.timeout(_PROBE_TIMEOUT_S):
                        arrived |= await self._collect(nonce, marker)
                except TimeoutError:
                    raise FaultError(f"the link proxy relays no datagrams: see {self._log}") from None
                await asyncio.sleep(_STRAGGLERS_S)
            arrived |= await self._drain(nonce)
        return {pair: pair in arrived for pair in sorted(pairs)}

    async def probe(self, links: frozenset[Link], *, count: int, interval_us: int) -> dict[Link, LinkReading]:
        """Send so many numbered datagrams over each link and say what became of them.

        Raises ``FaultError`` when the proxy does not say that all are through.
        """
        self._check(links)
        ports = {link: self._ports[link][1] for link in sorted(links)}
        probing = Probing(ports, count, interval_us, self._longest_ns / 1e9 + _PROBE_TIMEOUT_S)
        try:
            return await asyncio.to_thread(probing.run)  # where the harness's own work does not delay it
        except TimeoutError:
            raise FaultError(f"the link proxy relays no datagrams: see {self._log}") from None
        finally:
            probing.stop()

    async def close(self) -> None:
        """End the proxy and all connections over it; idempotent."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        self._sink.close()

    def _check(self, links: Iterable[Link]) -> None:
        for sender, receiver in sorted(links):
            if (sender, receiver) not in self._ports:
                raise FaultError(f"there is no link from {sender!r} to {receiver!r}")

    def _near_port(self, link: Link) -> int:
        """The port that the sender connects to."""
        return self._fronts.get(link[1], self._ports[link][0])

    async def _open(
        self,
        listens: Mapping[str, Endpoint],
        sources: Mapping[str, str],
        further: Mapping[str, Mapping[str, Endpoint]],
    ) -> None:
        pairs = pairs_of(listens)
        answer = await self._ask(opening(listens, sources, further))
        self._fronts = answer["fronts"]
        self._control = answer["control"]
        self._ports = {pair: (tcp, udp) for pair, (tcp, udp) in zip(pairs, answer["links"], strict=True)}
        places = [Endpoint(host=host, port=port) for host, port in answer["further"]]
        self._further = further_places(listens, sources, further, places)

    async def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise HarnessError("the link proxy was started without its pipes")
        async with self._lock:
            try:
                async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                    stdin.write(msgspec.json.encode(request) + b"\n")
                    await stdin.drain()
                    # An answer that nobody waited for any more (its asker was cancelled) may come first.
                    while line := await stdout.readline():
                        answer: dict[str, Any] = msgspec.json.decode(line)
                        if answer.get("id") == request.get("id"):
                            return answer
            except TimeoutError:
                raise HarnessError(f"the link proxy did not answer within {_ANSWER_TIMEOUT_S:g} s") from None
            except ConnectionError:
                pass  # it is gone, as when its answers end
        raise HarnessError(f"the link proxy ended while the test ran: see {self._log}")

    def _send(self, text: str, port: int) -> None:
        with contextlib.suppress(BlockingIOError):  # a full buffer loses it as a network would; rounds repeat
            self._sink.sendto(text.encode(), (LOOPBACK, port))

    async def _collect(self, nonce: str, marker: str) -> set[Link]:
        arrived: set[Link] = set()
        loop = asyncio.get_running_loop()
        while True:
            text = (await loop.sock_recv(self._sink, 2048)).decode(errors="replace")
            if text == marker:
                return arrived
            self._note(text, nonce, arrived)

    async def _drain(self, nonce: str) -> set[Link]:
        arrived: set[Link] = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                self._note(self._sink.recv(2048).decode(errors="replace"), nonce, arrived)
        return arrived

    @staticmethod
    def _note(text: str, nonce: str, arrived: set[Link]) -> None:
        words = text.split(" ")
        if len(words) == 3 and words[0] == nonce:
            arrived.add((words[1], words[2]))


def pairs_of(listens: Mapping[str, Endpoint]) -> list[Link]:
    """Every ordered pair of nodes."""
    return [(sender, receiver) for sender in listens for receiver in listens if sender != receiver]


def opening(
    listens: Mapping[str, Endpoint],
    sources: Mapping[str, str],
    further: Mapping[str, Mapping[str, Endpoint]],
) -> dict[str, Any]:
    """What the proxy is told first: the links between all nodes, and those between their further ports.

    The latter keep the receiver's port number, at a loopback address that each sender has for itself: a system whose
    nodes tell each other names and ports finds them there, where it can be told what a name means to each. With
    ``sources`` it is an address that each receiver has for all.
    """
    pairs, own = pairs_of(listens), {name: loopback_of(index) for index, name in enumerate(listens)}
    told: dict[str, Any] = {"links": [_link(*pair, listens) for pair in pairs]}
    if sources:
        told["sources"] = sources
    if not further:
        return told
    told["further"] = [
        {**_link(sender, receiver, places), "at": own[sender]}
        for places in further.values()
        for sender, receiver in pairs
    ]
    if sources:
        told["further"] = [
            {
                **_link("", name, places),
                "at": own[name],
                "senders": [each for each in listens if each != name],
            }
            for places in further.values()
            for name in listens
        ]
    return told


def further_places(
    listens: Mapping[str, Endpoint],
    sources: Mapping[str, str],
    further: Mapping[str, Mapping[str, Endpoint]],
    places: Iterable[Endpoint],
) -> dict[tuple[str, str, str], Endpoint]:
    """Where each further port is, in the order of :func:`opening`: by name, sender (empty: any), receiver."""
    ways = [("", name) for name in listens] if sources else pairs_of(listens)
    found = dict(zip(((kind, *way) for kind in further for way in ways), places, strict=True))
    for kind in further if sources else ():
        found.update({(kind, *pair): found[kind, "", pair[1]] for pair in pairs_of(listens)})
    return found


def loopback_of(index: int) -> str:
    """The loopback address of the further ports of the node of that index, or for it."""
    return f"127.9.{1 + index // 250}.{1 + index % 250}"


def _link(sender: str, receiver: str, places: Mapping[str, Endpoint]) -> dict[str, Any]:
    place = places[receiver]
    return {"sender": sender, "receiver": receiver, "target": [place.host, place.port]}
