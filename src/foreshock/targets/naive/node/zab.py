"""Zab as tutorials tell it: "the nodes elect a leader, which proposes a change, hears acknowledgements, and commits."

The election is that of :mod:`foreshock.targets.naive.node.first_voter`: the first voter leads. The leader sets its
own value, proposes the change to all others, and commits it when one of them has acknowledged: by then somebody else
knows.

**The mistake**: the leader need not know anything, an acknowledgement comes from whoever answers and promises nothing
(the follower keeps the value only when it is told to commit), and there are no epochs and no history. A node that was
killed comes back with nothing; if it then votes first it leads, and all values are gone.

**What Zab does instead** (Junqueira, Reed & Serafini, "Zab: High-performance broadcast for primary-backup systems",
2011): a change is committed when a *quorum* has acknowledged it, and a follower acknowledges what it has on stable
storage. A new leader takes an *epoch* that a quorum has never seen before, begins with the newest history that it
finds in that quorum, and brings its followers to the same state before it proposes anything; ZooKeeper's election
looks for the node with the newest history, by (epoch, zxid, id), in the first place. The target ``zab`` does all
that.

Where even a quiet test breaks it: two clients at one key at the same moment, whose nodes follow different leaders.
"""

from __future__ import annotations

from collections.abc import Callable

from foreshock.targets.naive.node.common import Answer, Answers, program_kind
from foreshock.targets.naive.node.first_voter import FirstVoterNode
from foreshock.targets.reference.node.codes import Body


class NaiveZab(FirstVoterNode):
    """A leader that proposes, and commits with the first acknowledgement."""

    def spread(self, key: int | str, value: object, done: Callable[[], None]) -> None:
        """Propose; commit when somebody has acknowledged. A proposal that nobody acknowledges is never done."""
        change: Body = {"key": key, "value": value}

        def commit(acknowledgements: Answers) -> None:
            if acknowledgements or not self.peers:
                self.tell(self.peers, {**change, "type": "commit"})
                done()

        self.ask(self.peers, {**change, "type": "propose"}, then=commit, enough=bool)

    def on_order(self, order: Body, answer: Answer) -> None:
        """Acknowledge what is proposed, keep what is committed, whoever it comes from."""
        match order:
            case {"type": "propose"}:
                answer({"type": "ack"})
            case {"type": "commit", "key": int() | str() as key, "value": value}:
                self.values[key] = value


PROGRAM = program_kind(NaiveZab)
