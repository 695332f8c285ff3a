"""Which hosts hear which: one-way UDP probes, driven over the :class:`~foreshock.harness.host.Host` port.

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
from foreshock.harness.errors import FaultError
from foreshock.harness.host import Host

Pair = tuple[str, str]
_ROUNDS: Final = 3
"""The first probe over a link may wait for address resolution, and a datagram may be lost; three in a row not."""

_POLLS: Final = 500
_POLL_S: Final = "0.01"
_TIMEOUT_MS: Final = 15_000
_STUCK: Final = 9


def _script(commands: str, marker: str, directory: str) -> str:
    """Hand the commands to the probe's process and wait until it heard the marker."""
    return (
        f"printf '{commands}' > {directory}/commands\n"
        f"polls=0\n"
        f"until grep -qxF '{marker}' {directory}/heard; do\n"
        f"  polls=$((polls + 1)); [ $polls -lt {_POLLS} ] || exit {_STUCK}; sleep {_POLL_S}\n"
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
    for name in sorted({name for pair in pairs for name in pair}):
        if name not in hosts:
            raise FaultError(f"there is no node {name!r} (known: {', '.join(hosts)})")
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


async def _run(host: Host, script: str) -> str:
    result = await host.run(script, timeout_ms=_TIMEOUT_MS)
    if result.exit_code:
        said = result.stderr.strip() or "it is stuck"
        raise FaultError(f"the probe on node {host.name} does not answer: {said}")
    return result.stdout
