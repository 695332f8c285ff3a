"""The knobs of a distributed cache, the same on all of its nodes."""

from __future__ import annotations

from typing import Final, NamedTuple

ASIDE: Final = "aside"
"""Clients look into the cache and fill it; nobody but a time to live keeps it from being stale."""
LEASES: Final = "leases"
"""The same, but only the holder of a lease that no invalidation has voided may fill (Nishtala et al. 2013)."""
WRITE_THROUGH: Final = "write-through"
"""Reads and writes go through the cache, and the origin invalidates every copy after a write."""
LINEARIZABLE: Final = "linearizable"
"""Reads go through the cache under read leases, and a write waits for every holder (Gray & Cheriton 1989)."""

MODES: Final = (ASIDE, LEASES, WRITE_THROUGH, LINEARIZABLE)
LOOK_ASIDE_MODES: Final = (ASIDE, LEASES)
STORES: Final = ("memory", "disk")
DATABASES: Final = ("log", "sqlite")

NEVER_NS: Final = 1 << 62
_AT_LEAST_ZERO: Final = frozenset({"ttl_ms", "negative_ttl_ms"})


class CacheKnobs(NamedTuple):
    """How the cache behaves. None of them can break what a mode promises, as long as all nodes have the same."""

    origin: str = "n1"
    """The node that has the database; all others keep copies."""

    mode: str = LINEARIZABLE
    """``aside``, ``leases``, ``write-through`` or ``linearizable``."""

    store: str = "memory"
    """Where a node keeps its copies: ``memory``, or ``disk``, which survives a restart."""

    database: str = "sqlite"
    """What the origin keeps its table in: ``sqlite``, ``log``, or the URL of a PostgreSQL database."""

    ttl_ms: int = 2_000
    """How long a copy may be used after it was current; 0: until it is invalidated. Not with read leases."""

    negative_ttl_ms: int = 500
    """The same for the absence of a key; 0: absence is not cached."""

    lease_ms: int = 1_000
    """The term of a read lease."""

    stampede_protection: bool = True
    """Whether a node fetches a key once for all who wait for it."""

    fill_wait_ms: int = 200
    """How long a node waits for the client that fills a key before it lets another one do so."""

    entries_max: int = 10_000
    """How many copies a node keeps."""

    bytes_max: int = 16 << 20
    """How many bytes of copies a node keeps, as JSON."""

    invalidation_wait_ms: int = 500
    """How long a write that went through waits for copies to be dropped before it is answered all the same."""

    retry_ms: int = 60
    """How long a node waits for the answer of another before it asks again."""

    grants_max: int = 100_000
    """How many copies the origin keeps account of; beyond that, nodes get values that they may not keep."""

    def checked(self) -> CacheKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when one makes no sense."""
        for name, value in zip(self._fields, self, strict=True):
            least = 0 if name in _AT_LEAST_ZERO else 1
            if isinstance(value, int) and not isinstance(value, bool) and value < least:
                raise ValueError(f"the knob {name} is {value!r}, but must be an integer of at least {least}")
        if self.mode == WRITE_THROUGH and not self.ttl_ms:
            raise ValueError(
                "the knob ttl_ms is 0, but an origin that starts anew has forgotten who has copies: in mode "
                f"{WRITE_THROUGH} they must run out"
            )
        if self.mode not in MODES:
            raise ValueError(f"the knob mode is {self.mode!r}; there are {', '.join(MODES)}")
        if self.store not in STORES:
            raise ValueError(f"the knob store is {self.store!r}; there are {', '.join(STORES)}")
        if self.database not in DATABASES and not self.database.startswith("postgresql://"):
            raise ValueError(
                f"the knob database is {self.database!r}; there are {', '.join(DATABASES)}, and postgresql://..."
            )
        return self

    def term_ns(self, value: object) -> int:
        """How long a copy of this value, or of the absence of one, may be used after it was current; 0: not at all."""
        term_ms = self.lease_ms if self.mode == LINEARIZABLE else self.ttl_ms
        term_ns = term_ms * 1_000_000 or NEVER_NS
        return term_ns if value is not None else min(term_ns, self.negative_ttl_ms * 1_000_000)
