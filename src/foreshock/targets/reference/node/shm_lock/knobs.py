"""What may be tuned in a lock agent."""

from __future__ import annotations

from typing import NamedTuple

from foreshock.targets.reference.node.tcp_lock.knobs import TcpLockKnobs


class ShmLockKnobs(NamedTuple):
    """Times and limits of a lock agent, and where the shared memory is."""

    ttl_ms: int = 3_000
    """How long a client may believe in its lock after the call of the last request that its agent answered."""

    clock_margin_percent: int = 20
    """By how much longer than that a client may be silent, or the grant of a dead agent is respected."""

    ping_ms: int = 500
    """How long a client that holds a lock or waits for one may be silent before it is asked whether it is there."""

    locks_max: int = 10_000
    """How many locks may be held or waited for at once at one agent, and how many cells there may be."""

    waiters_max: int = 10_000
    """How many clients may wait at once at one agent, for all locks together."""

    poll_ms: int = 5
    """How often, about, an agent looks whether a lock that another one holds has become free."""

    shared_directory: str = ""
    """The directory of the shared memory, the same for all agents; needed where the memory is real."""

    def checked(self) -> ShmLockKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when one makes no sense."""
        self.for_connections().checked()
        if self.poll_ms < 1:
            raise ValueError(f"the knob poll_ms is {self.poll_ms!r}, but must be an integer of at least 1")
        return self

    def for_connections(self) -> TcpLockKnobs:
        """Those of them that are about the clients' connections."""
        return TcpLockKnobs(
            ttl_ms=self.ttl_ms,
            clock_margin_percent=self.clock_margin_percent,
            ping_ms=self.ping_ms,
            locks_max=self.locks_max,
            waiters_max=self.waiters_max,
        )
