"""Planted bugs of distributed caches, each a small class that decides one thing wrongly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from foreshock.targets.reference.node.cache.copy_node import Asker
from foreshock.targets.reference.node.cache.disk_store import DiskStore
from foreshock.targets.reference.node.cache.fills import LeasedFills
from foreshock.targets.reference.node.cache.grants import Grants, Outstanding, Recalls
from foreshock.targets.reference.node.cache.knobs import NEVER_NS
from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.cache.read_through import ReadThroughNode
from foreshock.targets.reference.node.cache.requests import Ticket, WriteRow
from foreshock.targets.reference.node.cache.store import Copy
from foreshock.targets.reference.node.effects import Effects


class StaleSetAfterInvalidation(LeasedFills):
    """Lets every client fill that was ever told to, whatever has been invalidated since.

    That is memcached without leases, as Facebook ran it before: "Scaling Memcache at Facebook" (Nishtala et al.,
    NSDI 2013, section 3.2.1) calls it a stale set. A client reads the origin and is slow; another one writes, and
    invalidates; then the first one fills, and the old value stays for as long as copies live.
    """

    def admits(self, key: Key, ticket: Ticket) -> bool:  # noqa: ARG002
        """As if no invalidation had come."""
        return ticket.boot == self._boot


class InvalidationLostInPartition(Recalls):
    """Asks every holder for its copy once, and takes silence for consent.

    A multicast of invalidations without acknowledgement does this, and so did the deletes of Facebook's web servers
    to other clusters' memcached, which were not kept to be sent again; section 4.1 of "Scaling Memcache at Facebook"
    (Nishtala et al., NSDI 2013) tells why they came to be read off the database's commit log instead. A holder that
    is cut off from the origin, but not from its clients, serves the old value under a lease that it believes in.
    """

    def over(self, recall: Outstanding, now_ns: int) -> list[str]:  # noqa: ARG002
        """Everybody who has not answered by the time at which he should be asked again."""
        return list(recall.waiting)


class LeaseIgnoresDrift(Grants):
    """Honours a lease for its term and no longer, as if all clocks ran at one rate.

    Gray & Cheriton ("Leases: An Efficient Fault-Tolerant Mechanism for Distributed File Cache Consistency", SOSP 1989,
    section 5) name the two ways in which that fails: a server's clock that runs fast, and a client's that runs slow.
    A holder whose clock loses time against the origin's reads its copy after the origin has let a write pass.
    """

    def lasts_ns(self, term_ns: int) -> int:
        """The term, without the margin that clocks need."""
        return term_ns


class DiskEntryTrustedAfterRestart(DiskStore):
    """Serves what it finds on disk after a restart as if it had been fetched just now.

    AFS was built not to: a workstation that has rebooted considers every cached file suspect (Howard et al., "Scale and
    Performance in a Distributed File System", 1988). Here what was written while the node was down is never
    seen by its readers: no invalidation reached it, and on disk there is nothing that would run out.
    """

    def trusted_until_ns(self) -> int:
        """For good."""
        return NEVER_NS


class WriteBehindLostOnCrash(ReadThroughNode):
    """Answers a write as soon as it is in the cache, and passes it on to the origin half a second later.

    Write-behind is on offer in many caches, and the Sprite file system had its like: it wrote blocks back only when
    they were 30 seconds old, and a crash lost them (Nelson, Welch & Ousterhout, "Caching in the Sprite Network File
    System", 1988). A node that is killed takes writes with it that its clients were told had been done.
    """

    _BEHIND_NS: Final = 500_000_000

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._behind: list[tuple[int, WriteRow]] = []

    def _write(self, request: WriteRow, asker: Asker | None, now_ns: int, effects: Effects) -> None:
        held = self._store.get(request.key)
        version = 0 if held is None else held.version
        self._store.put(request.key, Copy(version, version, request.value, now_ns + 2 * self._BEHIND_NS))
        self._behind.append((now_ns + self._BEHIND_NS, request))
        if asker is not None:
            kind = asker.message["body"]["type"]
            self.reply(asker, {"type": f"{kind}_ok", "version": version}, effects)

    def pass_time(self, now_ns: int, effects: Effects) -> None:
        """Pass on what is old enough."""
        super().pass_time(now_ns, effects)
        for request in self._take_due(now_ns):
            super()._write(request, None, now_ns, effects)

    def next_ns(self) -> int:
        """When something is to be said again, or passed on."""
        return min(super().next_ns(), self._behind[0][0] if self._behind else NEVER_NS)

    def _take_due(self, now_ns: int) -> Iterable[WriteRow]:
        due = [request for at_ns, request in self._behind if at_ns <= now_ns]
        self._behind = self._behind[len(due) :]
        return due
