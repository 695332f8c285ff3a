"""Raft as tutorials tell it: "the nodes elect a leader, and the leader copies its values to the followers."

The election is that of :mod:`foreshock.targets.naive.node.first_voter`: the first voter leads. The leader sets its
own value, sends it to all others, and tells its client at once that it is written: whoever got the copy has it.

**The mistake**: no terms, no majorities, no log.

**What Raft does instead** (Ongaro & Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, section
5): a node votes for one candidate a *term*, a candidate needs the votes of a majority, and a message of an older term
is refused; so there is one leader a term, and a leader that was replaced learns so from the first node that it speaks
to. Values travel in a *log*, and one counts as written when a majority has stored the entry; nobody is elected whose
log lacks such an entry. A leader that was cut off can complete nothing, not even a read, for that too asks a majority
whether it still leads. The target ``raft`` does all that.

Where even a quiet test breaks it: two clients at one key at the same moment, whose nodes follow different leaders.
"""

from __future__ import annotations

from collections.abc import Callable

from foreshock.targets.naive.node.common import Answer, program_kind
from foreshock.targets.naive.node.first_voter import FirstVoterNode
from foreshock.targets.reference.node.codes import Body


class NaiveRaft(FirstVoterNode):
    """A leader that copies its values to whoever is there."""

    def spread(self, key: int | str, value: object, done: Callable[[], None]) -> None:
        """Send the value, and be content."""
        self.tell(self.peers, {"type": "append", "key": key, "value": value})
        done()

    def on_order(self, order: Body, answer: Answer) -> None:  # noqa: ARG002 - nobody waits for one
        """Take a copy, whoever it comes from."""
        match order:
            case {"type": "append", "key": int() | str() as key, "value": value}:
                self.values[key] = value


PROGRAM = program_kind(NaiveRaft)
