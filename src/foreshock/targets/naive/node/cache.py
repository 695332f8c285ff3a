"""A distributed cache as tutorials tell it: "write to all nodes; read the first copy that you find."

Every node keeps copies of values. A put goes to all nodes, and is done when all of them have answered, or patience is
at its end: a node that is away will hear of it some other time. A get is answered from the node's own copy; where it
has none it asks the others, takes the first copy that comes, and keeps it.

**The mistake**: a value has no *version*, so nobody can tell an old copy from a new one. The copy of a node that
missed a put stays, and is handed out, for ever. A value that was deleted comes back from the node that missed the
delete. Two puts at once reach the nodes in either order, and the nodes then disagree for good.

**What to do instead**: let one place (an origin database, a replicated log) decide in which order values come and
number them, and serve no copy without knowing that it is the newest one: ask with the version at hand (the targets
``raft``, ``paxos`` and ``zab`` with the cache workload), or have a *lease* on it, so that a writer waits until nobody
may serve the old copy any more (Gray & Cheriton, "Leases", 1989; the cache targets with ``-o mode=linearizable``).

Where even a quiet test breaks it: a get while a put is under way finds the new value at one node, and then another
get finds the old one at the next. One client alone never notices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from foreshock.targets.naive.node.common import Answer, Answers, NaiveNode, Operation, program_kind
from foreshock.targets.reference.node.codes import Body
from foreshock.targets.reference.node.configuration import NodeConfiguration


class NaiveCache(NaiveNode):
    """A node with copies of values."""

    wants: ClassVar[frozenset[str]] = frozenset({"get", "put", "delete"})

    def __init__(self, configuration: NodeConfiguration, random_bits: Callable[[int], int]) -> None:
        super().__init__(configuration, random_bits)
        self._copies: dict[int | str, object] = {}

    def on_operation(self, operation: Operation, owner: int | None, answer: Answer) -> None:  # noqa: ARG002
        """Find a copy, or change all copies."""
        match operation:
            case ["get", key]:
                self._get(key, answer)
            case ["put", key, value]:
                self._change({"type": "put", "key": key, "value": value}, answer)
            case ["delete", key]:
                self._change({"type": "delete", "key": key}, answer)

    def _get(self, key: int | str, answer: Answer) -> None:
        if key in self._copies:
            answer({"type": "get_ok", "value": self._copies[key]})
            return

        def take(answers: Answers) -> None:
            copies = [found["copy"] for found in answers.values() if "copy" in found]
            if copies:
                self._copies[key] = copies[0]
            answer({"type": "get_ok", "value": copies[0] if copies else None})

        def found_one(answers: Answers) -> bool:
            return any("copy" in found for found in answers.values())

        self.ask(self.peers, {"type": "get", "key": key}, then=take, enough=found_one)

    def _change(self, change: Body, answer: Answer) -> None:
        def done(answers: Answers) -> None:
            if missing := [node for node in self.peers if node not in answers]:
                self.log(
                    f"{self.name} calls a {change['type']} done that {', '.join(missing)} did not answer"
                )
            answer({"type": f"{change['type']}_ok"})

        self.ask(self.everybody, change, then=done)

    def on_question(self, question: Body, answer: Answer) -> None:
        """Show a copy, keep one, or throw one away."""
        match question:
            case {"type": "get", "key": int() | str() as key}:
                answer({"copy": self._copies[key]} if key in self._copies else {})
            case {"type": "put", "key": int() | str() as key, "value": value}:
                self._copies[key] = value
                answer({})
            case {"type": "delete", "key": int() | str() as key}:
                self._copies.pop(key, None)
                answer({})


PROGRAM = program_kind(NaiveCache)
