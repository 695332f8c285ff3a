"""A distributed lock as tutorials tell it: "ask the nodes whether the lock is free; if one says so, take it."

Every node keeps who holds which lock, as far as it has heard. A node whose client wants a lock asks all nodes, itself
too. A node that says "free" notes the new holder in the same moment, so it says "free" to one only; a lock is held
for ``lock_ttl_ms`` and then free again, so that a holder that died does not keep it for ever. All that is sound.

**The mistake** is one word, in :meth:`NaiveLock.granted`: the lock is granted when *any* node says that it is free.
Two that ask at once each find a node that hears of them first. A node that was cut off, or was killed and started
again, has not heard that the lock is taken, and gives it away a second time.

**What to do instead**: ask for a *majority*. Two majorities have a node in common, and that node says "free" to one
of the two. So does Redlock (redis.io, "Distributed Locks with Redis"), which leaves clocks and restarts to luck; and
so does a lock that is kept in a replicated log, which does not: the targets ``redlock``, and ``raft`` with the lock
workload.

Where even a quiet test breaks it: two clients that ask at the same moment at different nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, NamedTuple

from foreshock.targets.naive.node.common import Answer, Answers, NaiveNode, Operation, program_kind
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.configuration import NodeConfiguration


class Holder(NamedTuple):
    """Who holds a lock, as far as this node has heard, and until when by this node's clock."""

    owner: int
    until_ns: int


class NaiveLock(NaiveNode):
    """A node that knows of locks, and that takes them for its clients."""

    wants: ClassVar[frozenset[str]] = frozenset({"acquire", "renew", "release"})

    def __init__(self, configuration: NodeConfiguration, random_bits: Callable[[int], int]) -> None:
        super().__init__(configuration, random_bits)
        self._holders: dict[int | str, Holder] = {}

    def granted(self, answers: Answers) -> bool:
        """Whether the lock is had. A majority should say so; anybody will do."""
        return any(answer["free"] for answer in answers.values())

    def is_answer(self, answer: Body) -> bool:
        """Whether it says if the lock is free."""
        return isinstance(answer.get("free"), bool)

    def on_operation(self, operation: Operation, owner: int | None, answer: Answer) -> None:
        """Take, keep or give back a lock for the client that calls itself ``owner``."""
        kind, key, *_ = operation

        def give_back() -> None:
            question = {"type": "release", "key": key, "owner": owner}
            self.tell(self.peers, question)
            self.on_question(question, answer)  # this node's own table; nothing is answered

        def decide(answers: Answers) -> None:
            if self.granted(answers):
                free = ", ".join(node for node, said in answers.items() if said["free"])
                self.log(f"{self.name} has the lock {key!r} for its client: {free} said that it is free")
                answer({"type": f"{kind}_ok", "granted": True, "ttl_ms": self.knobs.lock_ttl_ms})
                return
            if kind == "acquire":
                give_back()  # to those who said "free" and were not enough, or too late
            answer(error(codes.PRECONDITION_FAILED, f"the lock {key!r} is held, say all that answered"))

        if kind == "release":
            give_back()
            answer({"type": "release_ok"})
        else:
            question = {"type": kind, "key": key, "owner": owner}
            self.ask(self.everybody, question, then=decide, enough=self.granted)

    def on_question(self, question: Body, answer: Answer) -> None:
        """Say whether the lock is free for this owner, and note that it is now taken; or that it is given back."""
        match question:
            case {"type": "release", "key": int() | str() as key, "owner": int(owner)}:
                if (holder := self._holders.get(key)) is not None and holder.owner == owner:
                    del self._holders[key]
            case {"type": "acquire" | "renew", "key": int() | str() as key, "owner": int(owner)}:
                holder = self._holders.get(key)
                free = holder is None or holder.owner == owner or holder.until_ns <= self.now_ns
                if free:
                    self._holders[key] = Holder(owner, self.now_ns + self.knobs.lock_ttl_ms * 1_000_000)
                answer({"free": free})


PROGRAM = program_kind(NaiveLock)
