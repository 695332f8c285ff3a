"""Paxos as tutorials tell it: "prepare; when a majority has answered, accept; when a majority has answered, done."

Every operation on a register is one proposal of the node that its client is connected to. The proposer draws a number
higher than all that it has seen and asks every node to *promise* it: to heed no lower number from now on, and to say
what it accepted last. Out of the newest of those it makes the new value (a read proposes what it found), and asks
every node to *accept* that. Each node votes for or against, as Paxos says it should: nothing is wrong with these
acceptors.

**The mistake** is one line, :meth:`NaivePaxos.votes`: the proposer counts the votes that were cast, not the votes
*for*. When two propose at once, the one with the lower number is refused by everybody, counts the refusals, and tells
its client that the value was written. It is nowhere. The same happens to the first writes of a node that was cut off
for a while, and does not know how far the numbers have gone since.

**What Paxos does instead** (Lamport, "Paxos Made Simple", 2001, section 2.2): a value is chosen when a majority has
accepted it. A proposer that was refused has achieved nothing, and begins again with a higher number. Promises and
acceptances are on stable storage before they are sent. The target ``paxos`` does all that.

Where even a quiet test breaks it: two clients at one key at the same moment. One client alone never notices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, NamedTuple

from foreshock.targets.naive.node.common import (
    Answer,
    Answers,
    NaiveNode,
    Operation,
    compare_and_set,
    program_kind,
    unanswered,
)
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.configuration import NodeConfiguration

Number = list[Any]
"""The number of a proposal: a count and, so that no two are alike, the proposer's name. Lists compare in that order."""


class Slot(NamedTuple):
    """What an acceptor knows of one register."""

    promised: Number
    accepted: Number
    value: object


_EMPTY: Final = Slot([0, ""], [0, ""], None)


class NaivePaxos(NaiveNode):
    """Proposer and acceptor, with one register a key."""

    wants: ClassVar[frozenset[str]] = frozenset({"read", "write", "cas"})

    def __init__(self, configuration: NodeConfiguration, random_bits: Callable[[int], int]) -> None:
        super().__init__(configuration, random_bits)
        self._count = 0
        self._slots: dict[int | str, Slot] = {}

    # --- the proposer -----------------------------------------------------------------------------------------------

    def votes(self, answers: Answers) -> int:
        """How many votes a proposal has. They should be counted; the heads are."""
        return len(answers)

    def is_answer(self, answer: Body) -> bool:
        """Whether it is a vote, with what the acceptor accepted last."""
        match answer:
            case {"vote": bool(), "accepted": [int(), str()], "value": _}:
                return True
        return False

    def on_operation(self, operation: Operation, owner: int | None, answer: Answer) -> None:  # noqa: ARG002
        """Propose what the operation makes of the register."""
        key = operation[1]
        self._count += 1
        proposal = {"key": key, "number": [self._count, self.name]}

        def accept(promises: Answers) -> None:
            if not self._carried(promises):
                answer(error(codes.TEMPORARILY_UNAVAILABLE, "no majority promised anything"))
                return
            found = max(promises.values(), key=lambda promise: promise["accepted"])["value"]
            value, reply = _perform(operation, found)
            if reply["type"] == "error":
                answer(reply)
                return
            question = {**proposal, "type": "accept", "value": value}

            def finish(acceptances: Answers) -> None:
                answer(reply if self._carried(acceptances) else unanswered("a majority"))

            self.ask(self.everybody, question, then=finish, enough=self._carried)

        self.ask(self.everybody, {**proposal, "type": "prepare"}, then=accept, enough=self._carried)

    def _carried(self, answers: Answers) -> bool:
        return self.votes(answers) >= self.majority

    # --- the acceptor -----------------------------------------------------------------------------------------------

    def on_question(self, question: Body, answer: Answer) -> None:
        """Vote on a proposal: for it, unless a higher number was promised."""
        match question:
            case {"type": kind, "key": int() | str() as key, "number": [int(count), str(name)]}:
                number: Number = [count, name]
            case _:
                return
        self._count = max(self._count, count)
        slot = self._slots.get(key, _EMPTY)
        vote = number >= slot.promised
        if vote and kind == "prepare":
            slot = slot._replace(promised=number)
        elif vote and kind == "accept":
            slot = Slot(promised=number, accepted=number, value=question.get("value"))
        elif not vote:
            self.log(f"{self.name} votes against proposal {number}: it has promised {slot.promised}")
        self._slots[key] = slot
        answer({"vote": vote, "accepted": slot.accepted, "value": slot.value})


def _perform(operation: Operation, found: object) -> tuple[object, Body]:
    """The register's value after an operation that found it so, and the reply."""
    match operation:
        case ["write", _, value]:
            return value, {"type": "write_ok"}
        case ["cas", _, old, new]:
            return new, compare_and_set(found, old)
    return found, {"type": "read_ok", "value": found}


PROGRAM = program_kind(NaivePaxos)
