"""Which hosts hear which, and how: one-way UDP probes, driven over the :class:`~foreshock.harness.host.Host` port.

Each host runs :mod:`foreshock.harness.backends.docker.pod_init` (or the same under another roof). No window of time
decides that a probe was lost. A sender ends its probes with one to itself: once that is heard, the others have left.
A receiver is then sent one by itself: once that is heard, all that came before it has been heard too.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from foreshock.harness.backends.docker.pod_init import DIRECTORY
from foreshock.harness.backends.together import try_all
from foreshock.harness.capabilities import LinkReading
from foreshock.harness.errors import FaultError
from foreshock.harness.host import Host

Pair = tuple[str, str]
_ROUNDS: Final = 3
"""The first probe over a link may wait for address resolution, and a datagram may be lost; three in a row not."""

_POLL_MS: Final = 10
_WITHIN_MS: Final = 5_000
"""Within what time a probe's process answers when it is not to wait for anything."""
_GRACE_MS: Final = 10_000
_STUCK: Final = 9


def _script(commands: str, marker: str, directory: str, within_ms: int = _WITHIN_MS) -> str:
    """Hand the commands to the probe's process and wait until it heard the marker.

    The pipe is opened for reading too: to open it for writing alone would wait for ever where that process is gone.
    """
    return (
        f"printf '{commands}' 1<> {directory}/commands\n"
        f"polls=0\n"
        f"until grep -qxF '{marker}' {directory}/heard; do\n"
        f"  polls=$((polls + 1)); [ $polls -lt {within_ms // _POLL_MS} ] || exit {_STUCK}; sleep {_POLL_MS / 1000}\n"
        f"done\n"
    )


async def heard(
    hosts: Mapping[str, Host],
    addresses: Mapping[str, str],
    pairs: frozenset[Pair],
    *,
    directory: str = DIRECTORY,
) -> dict[Pair, bool]:
    """Send a datagram over each (sender, receiver) pair and say which arrived.

    ``directory`` is where the probe's process has its files, the same on every host.

    Raises ``FaultError`` for a host that is not there or whose probe does not answer.
    """
    _check_names(hosts, pairs)
    nonce = secrets.token_hex(6)
    arrived: set[Pair] = set()
    for number in range(_ROUNDS):
        waiting = sorted(pairs - arrived)
        if not waiting:
            break
        arrived |= await _round(hosts, addresses, waiting, f"{nonce}.{number}", directory)
    return {pair: pair in arrived for pair in sorted(pairs)}


async def _round(
    hosts: Mapping[str, Host], addresses: Mapping[str, str], pairs: list[Pair], nonce: str, directory: str
) -> set[Pair]:
    async def send(sender: str) -> None:
        receivers = " ".join(addresses[receiver] for other, receiver in pairs if other == sender)
        marker = f"{nonce}.sent"
        commands = f"send {nonce}:{sender} {receivers}\\nsend {marker} {addresses[sender]}\\n"
        await _run(hosts[sender], _script(commands, marker, directory))

    async def listen(receiver: str) -> set[Pair]:
        marker = f"{nonce}.heard"
        commands = f"send {marker} {addresses[receiver]}\\n"
        script = f"{_script(commands, marker, directory)}grep '^{nonce}:' {directory}/heard || true\n"
        words = await _run(hosts[receiver], script)
        return {(word.partition(":")[2], receiver) for word in words.split()}

    await try_all([send(sender) for sender in sorted({sender for sender, _ in pairs})])
    found = await try_all([listen(receiver) for receiver in sorted({receiver for _, receiver in pairs})])
    return set().union(*found) & set(pairs)


def _check_names(hosts: Mapping[str, Host], pairs: frozenset[Pair]) -> None:
    for name in sorted({name for pair in pairs for name in pair}):
        if name not in hosts:
            raise FaultError(f"there is no node {name!r} (known: {', '.join(hosts)})")


async def read(
    hosts: Mapping[str, Host],
    addresses: Mapping[str, str],
    pairs: frozenset[Pair],
    *,
    count: int,
    interval_us: int,
    wait_ms: int,
    directory: str = DIRECTORY,
) -> dict[Pair, LinkReading]:
    """Send so many numbered datagrams over each (sender, receiver) pair, all at once, and say what became of them.

    What has not arrived ``wait_ms`` after all were sent is lost. Raises as :func:`heard` does.
    """
    _check_names(hosts, pairs)
    nonce = secrets.token_hex(8)

    async def send(sender: str) -> None:
        receivers = " ".join(addresses[receiver] for other, receiver in sorted(pairs) if other == sender)
        commands = f"burst {nonce} {count} {interval_us} {receivers}\\n"
        within_ms = _WITHIN_MS + count * interval_us // 1000
        await _run(hosts[sender], _script(commands, f"{nonce}.sent", directory, within_ms), within_ms)

    async def report(receiver: str) -> dict[Pair, LinkReading]:
        senders = {addresses[sender]: sender for sender, other in sorted(pairs) if other == receiver}
        commands = f"report {nonce} {count} {wait_ms} {' '.join(senders)}\\n"
        told = _script(commands, f"{nonce}.told", directory, _WITHIN_MS + wait_ms)
        words = await _run(
            hosts[receiver], f"{told}grep '^{nonce}:' {directory}/heard\n", _WITHIN_MS + wait_ms
        )
        found = {}
        for line in words.splitlines():
            address, *numbers = line.partition(":")[2].split()
            found[senders[address], receiver] = _reading(count, [int(number) for number in numbers])
        return found

    await try_all([send(sender) for sender in sorted({sender for sender, _ in pairs})])
    reports = await try_all([report(receiver) for receiver in sorted({receiver for _, receiver in pairs})])
    return {pair: reading for found in reports for pair, reading in found.items()}


def _reading(count: int, numbers: list[int]) -> LinkReading:
    arrived, duplicates, overtaken, corrupted, *delays = numbers
    return LinkReading(
        sent=count,
        arrived=min(arrived, count),
        duplicates=duplicates,
        overtaken=overtaken,
        corrupted=corrupted,
        delay_us=(delays[0], delays[1], delays[2]),
    )


async def _run(host: Host, script: str, within_ms: int = _WITHIN_MS) -> str:
    result = await host.run(script, timeout_ms=within_ms + _GRACE_MS)
    if result.exit_code:
        said = result.stderr.strip() or "it is stuck"
        raise FaultError(f"the probe on node {host.name} does not answer: {said}")
    return result.stdout
