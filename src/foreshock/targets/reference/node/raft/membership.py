"""Membership, one server at a time (dissertation 4.1 to 4.3), and the handing over of leadership (3.10).

A configuration acts as soon as it is in the log. The next one may begin only when the last is committed, and only
after an entry of the leader's own term is: without the second condition two leaders may each hold a majority of
a different configuration (Ongaro's correction of 2015 on the raft-dev list).

A new member catches up before it is appended: the leader feeds it like a follower that has no vote, in rounds, each
up to where the log ended when the round began; when a round takes less than an election time-out, it is in.
"""

from __future__ import annotations

from foreshock.targets.reference.node.consensus import ChangeMembership
from foreshock.targets.reference.node.membership import Joining, Transfer
from foreshock.targets.reference.node.raft.reads import Reads
from foreshock.targets.reference.node.raft.state import FOLLOWER, LEADER, NS_PER_MS


class Membership(Reads):
    """Configuration changes and leadership transfer, both the leader's affair."""

    # --- members ----------------------------------------------------------------------------------------------

    def _on_change_membership(self, event: ChangeMembership) -> None:
        """Begin to add or remove one member, or say why not; refused ones certainly have no effect."""
        reason = self._change_obstacle(event)
        if reason is not None:
            self._refuse(event.proposal, reason)
        elif event.add is not None:
            now, end = self._now, self.log.last
            deadline = now + self.knobs.catch_up_timeout_ms * NS_PER_MS
            self._joining = Joining(event.proposal, event.add, 1, end, now, deadline)
            self._adopt_configuration()
            self._feed(event.add, self._peers[event.add])
        else:
            members = [member for member in self._voters if member != event.remove]
            self._propose("configuration", members, event.proposal)

    def _may_change_members(self) -> bool:
        """One change at a time, and only after an entry of this leader's own term is committed."""
        settled = self._configurations[-1][0] <= self.commit
        return settled and self._joining is None and self._committed_in_own_term()

    def _advance_joining(self, joining: Joining) -> None:
        """End the new member's round when it has all that the log held at its beginning (dissertation 4.2.1)."""
        name = joining.name
        if self._now >= joining.deadline_ns or joining.round > self.knobs.catch_up_rounds_max:
            self._joining = None
            self._adopt_configuration()
            self._refuse(joining.proposal, f"{name} did not catch up with the log in time")
        elif self._peers[name].match >= joining.round_end:
            quick_ns = self.knobs.election_timeout_min_ms * NS_PER_MS
            if self._now - joining.round_began_ns <= quick_ns:
                self._joining = None
                self._propose("configuration", sorted((*self._voters, name)), joining.proposal)
            else:
                self._joining = joining._replace(
                    round=joining.round + 1, round_end=self.log.last, round_began_ns=self._now
                )

    def _removed(self) -> bool:
        """Whether this leader is no member any more, and that is committed (dissertation 4.2.2)."""
        return self._name not in self._voters and self._configurations[-1][0] <= self.commit

    def _retire(self) -> None:
        """Step down after our own removal; the most advanced follower may campaign at once."""
        successor = self._most_advanced()
        self._emit_committed()
        if successor is not None:
            self._order_to_campaign(successor)
        self._become_follower(self.term, None)

    # --- leadership -------------------------------------------------------------------------------------------

    def _transfer_wait_ms(self) -> int:
        return self.knobs.election_timeout_max_ms

    def _most_advanced(self) -> str | None:
        """The other member with the longest durable log, the first by name among equals."""
        others = [member for member in self._voters if member in self._peers]
        return max(others, key=lambda member: self._peers[member].match, default=None)

    def _advance_transfer(self, transfer: Transfer) -> None:
        """Tell the target to campaign once it has the whole log; see how it ends, whoever leads then."""
        if self.role is LEADER:
            peer = self._peers.get(transfer.target)
            if self._now >= transfer.deadline_ns or peer is None:
                self._end_transfer(transfer, f"{transfer.target} did not take over in time")
            elif not transfer.told and peer.match == self.log.last:
                self._transfer = transfer._replace(told=True)
                self._order_to_campaign(transfer.target)
        elif self._leader == transfer.target:
            self._transfer = None
            self._output.done.append(transfer.proposal)
        elif self._leader is not None or self._now >= transfer.deadline_ns:
            self._end_transfer(transfer, f"{transfer.target} did not win the election")

    def _repeat_transfer(self) -> None:
        """The order may have been lost: give it again with the next heartbeat."""
        if self._transfer is not None and self._transfer.told:
            self._order_to_campaign(self._transfer.target)

    def _may_obey_timeout_now(self, source: str) -> bool:
        """Only a follower obeys, and only the leader that it follows."""
        return self.role is FOLLOWER and source == self._leader
