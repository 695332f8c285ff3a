"""Planted bugs of distributed caches, each a small class that decides one thing wrongly."""

from __future__ import annotations

from typing import Any, Final

from foreshock.targets.reference.node.cache.copy_node import Asker
from foreshock.targets.reference.node.cache.disk_store import DiskStore
from foreshock.targets.reference.node.cache.fills import LeasedFills
from foreshock.targets.reference.node.cache.grants import Grants, Outstanding, Recalls
from foreshock.targets.reference.node.cache.knobs import NEVER_NS
from foreshock.targets.reference.node.cache.messages import Key
from foreshock.targets.reference.node.cache.read_through import ReadThroughNode
from foreshock.targets.reference.node.cache.requests import Get, Ticket, WriteRow
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
    is cut off from the origin, but not from its clients, serves the old value under a lease that it believes in; and
    so does, once in a while, one to which the only message was lost without any partition.
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


class _Behind:
    """A value that its writer believes safe, and until when it stays here alone."""

    def __init__(self, value: Any, due_ns: int) -> None:
        self.value = value
        self.due_ns = due_ns
        self.on_its_way = False
        self.overwritten = False
        """Whether there is a later value than the one that is on its way."""


class WriteBehindLostOnCrash(ReadThroughNode):
    """Answers a write as soon as it is in the cache, and passes it on to the origin half a second later.

    Write-behind is on offer in many caches, and the Sprite file system had its like: it wrote blocks back only when
    they were 30 seconds old, and a crash lost them (Nelson, Welch & Ousterhout, "Caching in the Sprite Network File
    System", 1988). As long as nothing fails nobody can tell, for what is not at the origin yet is read here. A node
    that is killed takes writes with it that its clients were told had been done.
    """

    _BEHIND_NS: Final = 500_000_000

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._behind: dict[Key, _Behind] = {}

    def _get(self, request: Get, asker: Asker, now_ns: int, effects: Effects) -> None:
        behind = self._behind.get(request.key)
        if behind is None:
            super()._get(request, asker, now_ns, effects)
            return
        self.hits += 1
        self._answer(asker, Copy(request.need, request.need, behind.value, now_ns), effects, hit=True)

    def _write(self, request: WriteRow, asker: Asker | None, now_ns: int, effects: Effects) -> None:
        behind = self._behind.setdefault(request.key, _Behind(request.value, now_ns + self._BEHIND_NS))
        behind.value, behind.overwritten = request.value, behind.on_its_way
        if asker is not None:
            self.reply(asker, {"type": f"{asker.message['body']['type']}_ok", "version": 0}, effects)

    def heed(self, message: Any, now_ns: int, effects: Effects) -> None:
        """As always; and what has arrived at the origin is no longer read from here."""
        super().heed(message, now_ns, effects)
        self._forget_what_arrived()

    def pass_time(self, now_ns: int, effects: Effects) -> None:
        """Pass on what is old enough, one value of a key after the other."""
        super().pass_time(now_ns, effects)
        self._forget_what_arrived()
        for key, behind in self._behind.items():
            if not behind.on_its_way and behind.due_ns <= now_ns:
                super()._write(WriteRow(key, behind.value), None, now_ns, effects)
                behind.on_its_way = True

    def next_ns(self) -> int:
        """When something is to be said again, or passed on."""
        due = (behind.due_ns for behind in self._behind.values() if not behind.on_its_way)
        return min(super().next_ns(), min(due, default=NEVER_NS))

    def waiting(self) -> int:
        """How many reads and writes are under way, and how many writes wait to be."""
        return super().waiting() + len(self._behind)

    def _forget_what_arrived(self) -> None:
        """What is not on its way any more has arrived, or is lost; what overwrote it here is passed on next."""
        on_their_way = {passing.store.key for passing in self._passing.values()}
        for key, behind in list(self._behind.items()):
            if not behind.on_its_way or key in on_their_way:
                continue
            behind.on_its_way = False
            if not behind.overwritten:
                del self._behind[key]
            behind.overwritten = False
