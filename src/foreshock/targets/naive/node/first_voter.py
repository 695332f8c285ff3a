"""What the naive Raft and the naive Zab share: whoever votes first is the leader.

A node that knows no leader asks all others for their vote, and takes the first that answers for its leader. From then
on it hands every request to that node, until it gets no answer from there; then it holds another election. The node
that is handed a request so learns that it leads, and performs the request on its own copy of the registers; the others
get copies of what changes.

**The mistake**: nothing makes the nodes agree. Each asks on its own, so each may find another leader, and none of
these leaders knows of the others. A vote says "I am here", not "I follow you, and nobody else": so no majority stands
behind anybody, and those on either side of a cut go on with a leader of their own. Nothing numbers the reigns of
leaders, so an old one's orders count as much as a new one's. And a voter does not say how much it knows, so the
leader may be a node that knows nothing.

It works as long as one request ends before the next begins, and everybody can reach everybody: then all copies are
alike, and it does not matter who leads.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

from foreshock.targets.naive.node.common import (
    Answer,
    Answers,
    NaiveNode,
    Operation,
    compare_and_set,
    unanswered,
)
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.configuration import NodeConfiguration


class FirstVoterNode(NaiveNode):
    """A node with a copy of all registers, and a leader of its own choice."""

    wants: ClassVar[frozenset[str]] = frozenset({"read", "write", "cas"})

    def __init__(self, configuration: NodeConfiguration, random_bits: Callable[[int], int]) -> None:
        super().__init__(configuration, random_bits)
        self.leader: str | None = None
        self.leads = False
        """Whether somebody has taken this node for the leader. Nobody ever tells it that it leads no more."""
        self.values: dict[int | str, object] = {}

    def facts(self) -> Body:
        """Whether the node leads, and whom it follows."""
        return {"leading": self.leads, "leader": self.leader}

    @abstractmethod
    def spread(self, key: int | str, value: object, done: Callable[[], None]) -> None:
        """Let the others have the new value of a register, and call ``done`` when that counts as done."""

    @abstractmethod
    def on_order(self, order: Body, answer: Answer) -> None:
        """Something that a leader says to all others."""

    # --- the one whose client asks ----------------------------------------------------------------------------------

    def on_operation(self, operation: Operation, owner: int | None, answer: Answer) -> None:  # noqa: ARG002
        """Hand the operation to the leader; where none is known, elect one first."""
        if self.leader is not None:
            self._hand_to(self.leader, operation, answer)
            return

        def elected(votes: Answers) -> None:
            if self.leader is None and votes:
                self.leader = next(iter(votes))
                self.log(f"{self.name} takes {self.leader} for the leader: it voted first")
            if self.leader is None:
                answer(error(codes.TEMPORARILY_UNAVAILABLE, "nobody voted, so there is no leader"))
            else:
                self._hand_to(self.leader, operation, answer)

        self.ask(self.peers or [self.name], {"type": "vote"}, then=elected, enough=bool)

    def _hand_to(self, leader: str, operation: Operation, answer: Answer) -> None:
        def answered(answers: Answers) -> None:
            if leader in answers:
                answer(answers[leader])
                return
            if self.leader == leader:
                self.leader = None
                self.log(f"{self.name} gives up its leader {leader}, which did not answer")
            answer(unanswered(f"the leader {leader}"))

        self.ask([leader], {"type": "lead", "operation": operation}, then=answered)

    # --- the voter, the leader and the follower -----------------------------------------------------------------------

    def on_question(self, question: Body, answer: Answer) -> None:
        """Vote for whoever asks, lead whoever wants to be led, and take every leader's orders."""
        match question:
            case {"type": "vote"}:
                answer({"type": "vote_ok"})
            case {"type": "lead", "operation": list(operation)}:
                self.leads, self.leader = True, self.name
                self._lead(operation, answer)
            case _:
                self.on_order(question, answer)

    def _lead(self, operation: Operation, answer: Answer) -> None:
        match operation:
            case ["read", int() | str() as key]:
                answer({"type": "read_ok", "value": self.values.get(key)})
            case ["write", int() | str() as key, value]:
                self.values[key] = value
                self.spread(key, value, lambda: answer({"type": "write_ok"}))
            case ["cas", int() | str() as key, old, value]:
                reply = compare_and_set(self.values.get(key), old)
                if reply["type"] == "error":
                    answer(reply)
                    return
                self.values[key] = value
                self.spread(key, value, lambda: answer(reply))
