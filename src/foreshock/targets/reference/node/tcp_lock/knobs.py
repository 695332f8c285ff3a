"""What may be tuned in a node that gives locks to connections."""

from __future__ import annotations

from typing import NamedTuple

from foreshock.targets.reference.node.knob_checks import check_integers


class TcpLockKnobs(NamedTuple):
    """Times and limits of a lock server."""

    ttl_ms: int = 3_000
    """How long a client may believe in its lock after the call of the last request that was answered."""

    clock_margin_percent: int = 20
    """By how much longer than that a connection may be silent: more than any two clocks' rates differ."""

    ping_ms: int = 500
    """How long a client that holds a lock or waits for one may be silent before it is asked whether it is there; half
    the time to live, where that is less."""

    locks_max: int = 10_000
    """How many locks may be held or waited for at once."""

    waiters_max: int = 10_000
    """How many clients may wait at once, for all locks together."""

    tokens_at_once: int = 1_000
    """How many fencing tokens one write to the disk reserves; those left over at a crash are never used."""

    def checked(self) -> TcpLockKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when one makes no sense."""
        check_integers(self, from_zero=("clock_margin_percent",))
        return self

    @property
    def ping_ns(self) -> int:
        """How long a client may be silent before it is pinged: in any case it has the time to answer."""
        return min(self.ping_ms * 1_000_000, self.ttl_ms * 500_000)

    @property
    def silence_ns(self) -> int:
        """How long a connection may be silent before its client is taken for gone."""
        return self.ttl_ms * (100 + self.clock_margin_percent) * 10_000
