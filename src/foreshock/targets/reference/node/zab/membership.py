"""Membership, one member at a time, by a logged command; and the handing over of leadership.

A configuration acts as soon as it is in a node's history, and everybody counts by the latest in its own. The leader
proposes the next one only when its epoch is established and the last one committed. Why that is safe:

1. Configurations that follow each other differ by one member, so a majority of the one meets every majority of the
   other.
2. Let an established leader of epoch e commit an entry, by a majority of configuration C or of its successor C'. A
   candidate for a later epoch whose latest configuration is C, or C', needs a majority of that for discovery,
   and so meets, by 1, a node that has the entry. That node's zxid is later unless the candidate has the entry too, or
   has a later current epoch, whose leader had it (by induction over the epochs): so the candidate has it, or gives up.
3. A candidate whose latest configuration is an earlier one B, before C: C was committed before C' was proposed,
   by a majority of C, which meets every majority of B if B and C are neighbours; so by 2 such a candidate lacks C and
   gives up, and the same for any older one. Likewise one with a rival successor of B that was never committed: C was
   proposed by a leader whose epoch a majority of B stood for, which is later than the rival's.
4. Two leaders of one epoch would each need promises of a majority; by 2 and 3 both count by the same configuration or
   by neighbours, so they share a node, and it promises an epoch once.

ZooKeeper 3.5 (Shraer et al., "Dynamic Reconfiguration of Primary/Backup Clusters", USENIX ATC 2012) changes many
members at once, and therefore asks quorums of both configurations; changes by one do not need that.

A new member follows first without a vote, is synchronized, and then becomes one. A removed one is told, if it listens;
a leader that removed itself steps down when that is committed.

Zab has no transfer of leadership; ZooKeeper's reconfiguration names a successor when the leader goes, as a wish
(ZOOKEEPER-2746). Here the leader stops to propose, waits until the successor has everything, and sends it to look for
a leader with a preference that counts before the id: no history is later than that of one that has it all.
"""

from __future__ import annotations

from typing import NamedTuple

from foreshock.targets.reference.node.consensus import ChangeMembership
from foreshock.targets.reference.node.membership import Transfer
from foreshock.targets.reference.node.zab.broadcast import Broadcast
from foreshock.targets.reference.node.zab.learners import Stage
from foreshock.targets.reference.node.zab.messages import Close, Notification, TakeOver
from foreshock.targets.reference.node.zab.state import BROADCAST, LEADING, LOOKING, NS_PER_MS


class Joining(NamedTuple):
    """A new member that is being synchronized before it becomes one."""

    proposal: int
    name: str
    deadline_ns: int


class Membership(Broadcast):
    """Configuration changes and leadership transfer, both the leader's affair."""

    _joining: Joining | None = None
    _settled_since = -1

    def _lead(self) -> None:
        self._settled_since = -1
        super()._lead()

    # --- members ----------------------------------------------------------------------------------------------

    def _wanted(self) -> tuple[str, ...]:
        if self._joining is not None and self._joining.name not in self._voters:
            return (*self._voters, self._joining.name)
        return self._voters

    def _on_change_membership(self, event: ChangeMembership) -> None:
        """Begin to add or remove one member, or say why not; refused ones certainly have no effect."""
        reason = self._change_obstacle(event)
        if reason is not None:
            self._refuse(event.proposal, reason)
        elif event.add is not None:
            deadline = self._now + self.knobs.catch_up_timeout_ms * NS_PER_MS
            self._joining = Joining(event.proposal, event.add, deadline)
            self._invite()
        else:
            members = [member for member in self._voters if member != event.remove]
            self._propose("configuration", members, event.proposal)

    def _change_obstacle(self, event: ChangeMembership) -> str | None:
        """Why this change may not begin now, in a sentence; ``None`` when it may."""
        return self._proposal_obstacle() or super()._change_obstacle(event)

    def _may_change_members(self) -> bool:
        """One change at a time."""
        return self._joining is None and self._configurations[-1][0] <= self.commit

    def _proposal_obstacle(self) -> str | None:
        if self._transfer is not None and self.leading:
            return f"leadership is being handed to {self._transfer.target}"
        return super()._proposal_obstacle()

    def _advance_joining(self, joining: Joining) -> None:
        """The new member becomes one when it stands for our epoch with all of the history that it was sent."""
        learner = self._learners.get(joining.name)
        if self._now >= joining.deadline_ns:
            self._joining = None
            if learner is not None:
                self._drop(joining.name)
            self._refuse(joining.proposal, f"{joining.name} did not catch up with the log in time")
        elif learner is not None and learner.stage is Stage.READY and self._transfer is None:
            self._joining = None
            self._propose("configuration", sorted((*self._voters, joining.name)), joining.proposal)

    def _dismiss_strangers(self) -> None:
        """Once a removal is committed the removed member is told so, and followed no more; it may be ourselves."""
        since = self._configurations[-1][0]
        if since > self.commit or since == self._settled_since:
            return
        self._settled_since = since
        for name in [name for name in self._learners if name not in self._wanted()]:
            self._drop(name)
        if self._name not in self._voters:
            self._retire()

    def _retire(self) -> None:
        """Step down after our own removal; the most advanced follower is to be the next."""
        successor = self._most_advanced()
        self._emit_committed()
        if successor is not None:
            self._tell(self._learners[successor].channel, TakeOver(self.epoch))
        self._look()

    # --- leadership -------------------------------------------------------------------------------------------

    def _transfer_wait_ms(self) -> int:
        return self.knobs.init_limit_ms

    def _most_advanced(self) -> str | None:
        """The other member with the longest durable history, the first by name among equals."""
        others = [name for name in self._voters if name in self._learners]
        return max(others, key=lambda name: self._learners[name].match, default=None)

    def _advance_transfer(self, transfer: Transfer) -> None:
        """Send the target off once everything is committed and it has it; see how it ends, whoever leads then."""
        if self.leading:
            learner = self._learners.get(transfer.target)
            complete = self.commit == self.log.last
            if self._now >= transfer.deadline_ns:
                self._end_transfer(transfer, f"{transfer.target} did not take over in time")
            elif not transfer.told and complete and learner is not None and learner.match == self.log.last:
                self._transfer = transfer._replace(told=True)
                self._tell(learner.channel, TakeOver(self.epoch))
        elif self._leader == transfer.target:
            self._transfer = None
            self._output.done.append(transfer.proposal)
        elif self._leader is not None or self._now >= transfer.deadline_ns:
            self._end_transfer(transfer, f"{transfer.target} did not win the election")

    def _yields_to(self, source: str) -> bool:
        """Whether it is our successor that looks for a leader: then we are not to be found."""
        transfer = self._transfer
        return transfer is not None and transfer.told and transfer.target == source and self.leading

    def _on_notification(self, source: str, message: Notification) -> None:
        if message.state == LOOKING and message.weight > 1 and self._yields_to(source):
            self._look()
        super()._on_notification(source, message)

    def _on_close(self, source: str, message: Close) -> None:
        """The other end of a channel is gone."""
        if self._channel is not None and self._channel.peer == source:
            if self._channel.session == message.session:
                self._look()
            return
        learner = self._learners.get(source) if self.role is LEADING else None
        if learner is not None and learner.channel.session == message.session:
            del self._learners[source]
            if self._yields_to(source):
                self._look()

    def _advance_leading(self) -> None:
        """What a leader does after every event."""
        if self.phase is not BROADCAST:
            self._advance_discovery_and_synchronization()
        if self.leading:
            self._advance_broadcast()
            if self._joining is not None:
                self._advance_joining(self._joining)
            self._dismiss_strangers()

    def _advance_discovery_and_synchronization(self) -> None:
        raise NotImplementedError
