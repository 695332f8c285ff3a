"""The harness's side of the link proxy: start it, cut links, verify by datagrams."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.backends.process.ports import LOOPBACK
from foreshock.harness.backends.process_identity import ProcessIdentity, identify
from foreshock.harness.capabilities import Grudge
from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import FaultError, HarnessError

Pair = tuple[str, str]
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
        self._numbers = itertools.count(1)
        self._control = 0
        self._ports: dict[Pair, tuple[int, int]] = {}

    @classmethod
    async def start(
        cls, listens: Mapping[str, Endpoint], log: Path, environment: Mapping[str, str]
    ) -> LinkProxy:
        """Start the proxy with a link for each ordered pair of nodes; raises ``HarnessError``."""
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
            await proxy._open(listens)
        except BaseException:
            await proxy.close()
            raise
        return proxy

    @property
    def identity(self) -> ProcessIdentity | None:
        """The proxy's process; ``None`` when it has ended."""
        return identify(self._process.pid)

    def endpoint(self, sender: str, receiver: str) -> Endpoint:
        """Where ``sender`` connects to in order to reach ``receiver``."""
        return Endpoint(host=LOOPBACK, port=self._ports[sender, receiver][0])

    async def cut(self, grudge: Grudge) -> None:
        """Stall every direction that the grudge names and no other; raises ``HarnessError``."""
        cuts = sorted((sender, receiver) for receiver, senders in grudge.items() for sender in senders)
        number = next(self._numbers)
        await self._ask({"id": number, "cut": cuts})

    async def heard(self, pairs: frozenset[Pair]) -> dict[Pair, bool]:
        """Send datagrams over the links and say which were relayed; raises ``FaultError`` when none can be.

        No window of time decides: a round is over when a datagram that was sent last, and that no rule drops,
        came back through the same proxy.
        """
        for sender, receiver in sorted(pairs):
            if (sender, receiver) not in self._ports:
                raise FaultError(f"there is no link from {sender!r} to {receiver!r}")
        nonce = secrets.token_hex(8)
        arrived: set[Pair] = set()
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

    async def _open(self, listens: Mapping[str, Endpoint]) -> None:
        pairs = [(a, b) for a in listens for b in listens if a != b]
        links = [{"sender": a, "receiver": b, "target": [listens[b].host, listens[b].port]} for a, b in pairs]
        answer = await self._ask({"links": links, "sink": list(self._sink.getsockname())})
        self._control = answer["control"]
        self._ports = {pair: (tcp, udp) for pair, (tcp, udp) in zip(pairs, answer["links"], strict=True)}

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

    async def _collect(self, nonce: str, marker: str) -> set[Pair]:
        arrived: set[Pair] = set()
        loop = asyncio.get_running_loop()
        while True:
            text = (await loop.sock_recv(self._sink, 2048)).decode(errors="replace")
            if text == marker:
                return arrived
            self._note(text, nonce, arrived)

    async def _drain(self, nonce: str) -> set[Pair]:
        arrived: set[Pair] = set()
        with contextlib.suppress(BlockingIOError):
            while True:
                self._note(self._sink.recv(2048).decode(errors="replace"), nonce, arrived)
        return arrived

    @staticmethod
    def _note(text: str, nonce: str, arrived: set[Pair]) -> None:
        words = text.split(" ")
        if len(words) == 3 and words[0] == nonce:
            arrived.add((words[1], words[2]))
