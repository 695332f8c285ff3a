"""The learner: what is chosen, in which order it counts, and what is asked for when it was missed (section 2.3, 3).

The leader finds out what is chosen, and tells the others how far all is. A node that has accepted a slot *under that
leader's ballot* then has the chosen value; a node that has not may hold another, and asks for it. Anybody may answer.

A value that is learned is kept as if it had been accepted under the ballot that it came with, whatever was promised.
That is safe: it is chosen, so that every greater ballot can only propose the same value (P2 of section 2.2), and no
promise made to such a ballot can be broken by it.
"""

from __future__ import annotations

from foreshock.targets.reference.node.log import weight_bytes
from foreshock.targets.reference.node.paxos.messages import Acceptance, Chosen, Learn
from foreshock.targets.reference.node.paxos.state import LEADER, PaxosState
from foreshock.targets.reference.node.paxos.synod import Ballot


class Learning(PaxosState):
    """Both ends of learning, but for snapshots."""

    # --- what is chosen ---------------------------------------------------------------------------------------

    def _follow_chosen(self, ballot: Ballot, through: int) -> bool:
        """The leader of this ballot says that all up to a slot is chosen; whether we have all of it."""
        accepted, slot = self.accepted, self.commit + 1
        while slot <= through:
            if slot not in self._chosen_ahead:
                known = accepted.get(slot)
                if known is None or known.ballot != ballot:
                    break
            self._pass(slot)
            slot += 1
        self._note_settled()
        return slot > through

    def _learn(self, acceptances: tuple[Acceptance, ...]) -> None:
        """Values that are chosen, whoever says so.

        What is chosen under a greater ballot than ours ends our leadership: it may differ from what we have proposed,
        and our word that all up to its slot is chosen would make our followers take our proposal for it.
        """
        if self.role is LEADER and any(a.slot > self.commit and a.ballot > self.ballot for a in acceptances):
            self._stop_proposing(None)
        news = []
        for acceptance in acceptances:
            slot = acceptance.slot
            if slot <= self.commit:
                continue
            known = self.accepted.get(slot)
            if known is None or known.ballot < acceptance.ballot:
                news.append(acceptance)
            self._chosen_ahead.add(slot)
            self._open.pop(slot, None)
        if news:
            self._record(news)
        self._advance_chosen()

    def _advance_chosen(self) -> None:
        """Go on over all slots that are known to be chosen without a gap."""
        while self.commit + 1 in self._chosen_ahead:
            self._pass(self.commit + 1)
        self._note_settled()

    def _pass(self, slot: int) -> None:
        """The slot after those known to be chosen is so as well; a configuration counts a window later.

        One that is more than one change away from the last is left from a leader that did not know the last: it was
        given up long ago, and is void. (A node that joins knows none before the first, which always counts.)
        """
        self._chosen_ahead.discard(slot)
        self.commit = slot
        acceptance = self.accepted[slot]
        if acceptance.kind == "configuration" and (
            not self.members or len(set(self.members) ^ set(acceptance.data)) == 1
        ):
            since = slot + self.knobs.window_slots
            self._configurations.append((since, tuple(acceptance.data)))
            self._adopt_configurations()

    def _note_settled(self) -> None:
        """When the next slot belongs to other acceptors than the last, that must be known after a crash too.

        Else, after everybody's restart, a majority of the new acceptors might know of the old ones alone, who may be
        gone for good.
        """
        if self._drop_old_configurations():
            self._adopt_configurations()
            self._save_state()

    def _drop_old_configurations(self) -> bool:
        """Forget who the acceptors of slots were that are all chosen; whether there was anything to forget."""
        configurations = self._configurations
        before = len(configurations)
        while len(configurations) > 1 and configurations[1][0] <= self.commit + 1:
            del configurations[0]
        return len(configurations) < before

    # --- what was missed --------------------------------------------------------------------------------------

    def _ask_to_learn(self, source: str) -> None:
        """Ask a node that knows more for the first slot that we lack, and go on with its snapshot if we have a part."""
        incoming = self._incoming
        position, offset = 0, 0
        if incoming is not None and incoming.source == source:
            position, offset = incoming.position, incoming.received
        self._send(source, Learn(self.commit + 1, position, offset))

    def _on_learn(self, source: str, message: Learn) -> None:
        """Answer with values, or with a piece of the snapshot if the log begins later."""
        if message.first <= self.base:
            self._send_snapshot_piece(source, message)
        elif message.first <= self.commit:
            chosen = self._batch(message.first, self.commit)
            self._send(source, Chosen(message.first, chosen, self.commit))

    def _send_snapshot_piece(self, destination: str, message: Learn) -> None:
        """See ``snapshots.py``."""
        raise NotImplementedError

    def _batch(self, first: int, last: int) -> tuple[Acceptance, ...]:
        """What the log holds from a slot on without a gap, within the limits of a message, but at least one slot."""
        accepted = self.accepted
        last = min(last, first + self.knobs.batch_slots_max - 1)
        batch = [accepted[first]]
        room = self.knobs.batch_bytes_max
        if first < last:
            room -= 48 + weight_bytes(accepted[first].data)
        for slot in range(first + 1, last + 1):
            acceptance = accepted.get(slot)
            if acceptance is None:
                break
            room -= 48 + weight_bytes(acceptance.data)
            if room < 0:
                break
            batch.append(acceptance)
        return tuple(batch)

    def _on_chosen(self, source: str, message: Chosen) -> None:
        """Take what was missed; ask for more at once, if there is more and this was news."""
        before = self.commit
        self._learn(message.accepted)
        if before < self.commit < message.chosen:
            self._ask_to_learn(source)
