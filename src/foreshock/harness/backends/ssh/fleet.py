"""The hosts of one test together: connected to, looked at, and found fit, before anything is changed on any of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final, TypeVar

from foreshock.harness.backends.blocking_calls import BlockingCalls
from foreshock.harness.backends.ssh.connections import Connection, HostKeyError
from foreshock.harness.backends.ssh.facts import (
    PACKET_PROGRAMS,
    Facts,
    addresses_of,
    check_guard,
    check_host,
    facts_script,
    read_facts,
)
from foreshock.harness.backends.ssh.host import SshHost
from foreshock.harness.backends.ssh.places import Place
from foreshock.harness.backends.together import run_all, try_all
from foreshock.harness.errors import DeployError, FaultError, HarnessError

T = TypeVar("T")
_log = logging.getLogger("foreshock.ssh")
_THREADS_MAX: Final = 3 * 64
_ERRORS_SHOWN_MAX: Final = 3
_LOOK_TIMEOUT_MS: Final = 30_000
_GIVEN_UP_TIMEOUT_S: Final = 30.0


class Fleet:
    """One connection to each place, and what each host says of itself. Nothing but ``places`` is ever connected to."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self.places = places
        self.calls = BlockingCalls("ssh", _THREADS_MAX)
        self.connections = {name: Connection(place) for name, place in places.items()}
        self.hosts: dict[str, SshHost] = {}
        self.facts: dict[str, Facts] = {}
        self.addresses: dict[str, str] = {}

    def host(self, name: str) -> SshHost:
        """The host of a node; raises ``FaultError`` for a name that is none, or before :meth:`connect`."""
        try:
            return self.hosts[name]
        except KeyError:
            raise FaultError(f"there is no node {name!r} (known: {', '.join(self.places)})") from None

    async def connect(self, folder: Callable[[str], str]) -> None:
        """Connect to all hosts at once; ``folder`` says which one is the node's own. Raises ``DeployError``."""
        self.hosts = {
            name: SshHost(name, connection, self.calls, folder(name))
            for name, connection in self.connections.items()
        }
        opened = await asyncio.gather(
            *(host.reopen() for host in self.hosts.values()), return_exceptions=True
        )
        errors = _errors(opened)
        errors.sort(key=lambda error: not isinstance(error, HostKeyError))
        if errors:
            left = len(errors) - _ERRORS_SHOWN_MAX
            more = f"; and {left} more" if left > 0 else ""
            raise DeployError("; ".join(map(str, errors[:_ERRORS_SHOWN_MAX])) + more)

    async def look(
        self,
        *,
        binaries: Sequence[str],
        packages: Sequence[str],
        packets: bool,
        reached_at: Mapping[str, str],
    ) -> None:
        """Ask all hosts what they are like; raises ``DeployError`` for one that cannot carry a node."""
        programs = (*binaries, *(PACKET_PROGRAMS if packets else ()))
        script = facts_script(programs, packages)

        async def ask(name: str) -> None:
            said = await self.hosts[name].run(script, timeout_ms=_LOOK_TIMEOUT_MS)
            facts = read_facts(said.stdout, self.places[name])
            check_host(facts, self.places[name])
            self.connections[name].is_root = facts.user_id == 0
            self.facts[name] = facts

        await run_all([ask(name) for name in self.hosts])
        self.addresses = addresses_of({name: self.facts[name] for name in self.places}, reached_at)
        if packets:
            check_guard(self.facts, self.addresses)

    async def check_rights(self, kinds: Sequence[str]) -> None:
        """Say for which kinds of faults sudo is used, and see that it lets us; raises ``HarnessError``."""
        limited = [name for name, connection in self.connections.items() if connection.uses_sudo]
        if kinds and limited:
            _log.warning("sudo is used on the hosts of %s, for: %s", ", ".join(limited), ", ".join(kinds))
            await run_all([self._try_root(name) for name in limited])

    async def each(self, names: Iterable[str], action: Callable[[str], Awaitable[T]]) -> dict[str, T]:
        """Do something for each of the nodes, all at once; every one is tried before the first error is raised."""
        ordered = sorted(names)
        for name in ordered:
            self.host(name)
        return dict(zip(ordered, await try_all([action(name) for name in ordered]), strict=True))

    async def try_each(self, names: Iterable[str], action: Callable[[str], Awaitable[None]]) -> None:
        """The same, with every error in the one that is raised."""
        ended = await asyncio.gather(*(action(name) for name in sorted(names)), return_exceptions=True)
        errors = _errors(ended)
        if errors:
            raise HarnessError("; ".join(map(str, errors)))

    async def close(self) -> None:
        """Close every connection; idempotent."""
        for connection in self.connections.values():
            connection.close()
        await self.calls.all_ended(_GIVEN_UP_TIMEOUT_S)
        self.calls.close()

    async def _try_root(self, name: str) -> None:
        await self.hosts[name].run_as_root("true")


def _errors(results: Iterable[object]) -> list[HarnessError]:
    """Those of the results that are errors of ours; any other exception is raised."""
    errors = []
    for result in results:
        if isinstance(result, HarnessError):
            errors.append(result)
        elif isinstance(result, BaseException):
            raise result
    return errors
