"""Membership, by commands in the log, and the handing over of leadership.

A configuration that is chosen in slot s names the acceptors of all slots from s + ``window_slots`` on; ``state.py``
says why nothing more is needed for safety. What is left is to make it soon, and to know when it is done:

1. a new member learns what is chosen before it is proposed as one, so that it is no dead weight;
2. the leader fills the slots up to s + ``window_slots`` with no-ops, so that the change counts at once (Lamport, Malkhi
   & Zhou, "Reconfiguring a State Machine", 2010, on R-alpha);
3. the change is reported only when a majority of the *new* acceptors durably know all slots of the old ones: before
   that the old ones may still be needed to find out what is chosen there, and must not be switched off.

One change at a time, and only after the leader's own no-op is chosen: the last one ends before the next begins.
"""

from __future__ import annotations

from foreshock.targets.reference.node.consensus import ChangeMembership
from foreshock.targets.reference.node.membership import Joining, Transfer
from foreshock.targets.reference.node.paxos.messages import TakeOver, Value
from foreshock.targets.reference.node.paxos.proposing import NOOP
from foreshock.targets.reference.node.paxos.reads import Reads
from foreshock.targets.reference.node.paxos.state import (
    FOLLOWER,
    LEADER,
    NS_PER_MS,
    Change,
    Wish,
)


class Membership(Reads):
    """Configuration changes and leadership transfer, both the leader's affair."""

    # --- members ----------------------------------------------------------------------------------------------

    def _on_change_membership(self, event: ChangeMembership) -> None:
        """Begin to add or remove one member, or say why not; refused ones certainly have no effect."""
        reason = self._change_obstacle(event)
        if reason is not None:
            self._refuse(event.proposal, reason)
        elif event.add is not None:
            deadline = self._now + self.knobs.catch_up_timeout_ms * NS_PER_MS
            self._joining = Joining(event.proposal, event.add, 1, self.commit, self._now, deadline)
            self._adopt_configurations()
            self._send(event.add, self._heartbeat())
        else:
            members = tuple(member for member in self.members if member != event.remove)
            self._propose_members(event.proposal, members)

    def _may_change_members(self) -> bool:
        """One change at a time, and only when the last one counts already and our own no-op is chosen.

        None of a leader that is on its way out: its successor makes it.
        """
        busy = self._joining is not None or self._change is not None or self._name not in self.members
        return not busy and self._settled_from() <= self.commit + 1 and self._may_read()

    def _propose_members(self, proposal: int, members: tuple[str, ...]) -> None:
        self._change = Change(proposal, members, False)
        self._wishes.append(Wish(None, Value("configuration", list(members))))

    def _advance_joining(self, joining: Joining) -> None:
        """End the new member's round when it knows all that was chosen when the round began."""
        name = joining.name
        if self._now >= joining.deadline_ns or joining.round > self.knobs.catch_up_rounds_max:
            self._joining = None
            self._adopt_configurations()
            self._refuse(joining.proposal, f"{name} did not catch up with the log in time")
        elif self._peers[name].chosen >= joining.round_end:
            quick_ns = self.knobs.election_timeout_min_ms * NS_PER_MS
            if self._now - joining.round_began_ns <= quick_ns:
                self._propose_members(joining.proposal, tuple(sorted((*self.members, name))))
                self._joining = None
            else:
                self._joining = joining._replace(
                    round=joining.round + 1, round_end=self.commit, round_began_ns=self._now
                )

    def _advance_change(self, change: Change) -> None:
        """Report the change, by a no-op that answers for it, once nobody needs the old acceptors any more."""
        if change.reported:
            if not self._wishes and change.proposal not in self._proposals.values():
                self._change = None
            return
        since = self._settled_from()
        if self.members == change.members and self._is_settled(since):
            self._change = change._replace(reported=True)
            self._wishes.append(Wish(change.proposal, NOOP))

    def _is_settled(self, since: int) -> bool:
        """Whether a majority of the new acceptors durably know all that came before the slot ``since``."""
        if self.commit < since or self._state_sequence > self._durable_sequence():
            return False
        return self._quorum_of(self.members, lambda peer: peer.chosen >= since - 1)

    def _removed(self) -> bool:
        """Whether this leader is an acceptor no more, and has nothing left to report of that."""
        return (
            self._name not in self.members
            and self._change is None
            and self._settled_from() <= self.commit
            and self._may_read()
        )

    def _retire(self) -> None:
        """Stop after our own removal; the most advanced member may begin at once."""
        successor = self._most_advanced()
        self._emit_committed()
        if successor is not None:
            self._send(successor, self._heartbeat())
            self._send(successor, TakeOver(self.ballot))
        self._stop_proposing(None)

    # --- leadership -------------------------------------------------------------------------------------------

    def _transfer_wait_ms(self) -> int:
        return self.knobs.election_timeout_max_ms

    def _most_advanced(self) -> str | None:
        """The other member that has accepted most, the first by name among equals."""
        others = [member for member in self.members if member in self._peers]
        return max(others, key=lambda member: self._peers[member].match, default=None)

    def _advance_transfer(self, transfer: Transfer) -> None:
        """Tell the target to begin once it has accepted everything; see how it ends, whoever leads then."""
        if self.role is LEADER:
            peer = self._peers.get(transfer.target)
            if self._now >= transfer.deadline_ns or peer is None:
                self._end_transfer(transfer, f"{transfer.target} did not take over in time")
            elif not transfer.told and not self._wishes and peer.match >= self._next - 1:
                self._transfer = transfer._replace(told=True)
                self._send(transfer.target, TakeOver(self.ballot))
        elif self._leader == transfer.target:
            self._transfer = None
            self._output.done.append(transfer.proposal)
        elif self._leader is not None or self._now >= transfer.deadline_ns:
            self._end_transfer(transfer, f"{transfer.target} did not come to lead")

    def _repeat_transfer(self) -> None:
        """The order may have been lost: give it again with the next heartbeat."""
        if self._transfer is not None and self._transfer.told:
            self._send(self._transfer.target, TakeOver(self.ballot))

    def _may_take_over(self, source: str, message: TakeOver) -> bool:
        """Only a follower obeys, and only the leader that it follows, in the ballot that it follows it in."""
        return self.role is FOLLOWER and source == self._leader and message.ballot == self.promised
