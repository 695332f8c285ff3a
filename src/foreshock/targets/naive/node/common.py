"""What the five naive programs share: a node asks the others something, and does something with what they answer.

Each program is a class with two methods. :meth:`NaiveNode.on_operation` is what a client wants, and
:meth:`NaiveNode.on_question` what another node asks; both are given a function to answer with, now or later. The rest
is here: requests are checked, questions are put to nodes (:meth:`NaiveNode.ask`), and nobody waits for ever.

All five keep what they know in memory alone, so a node that was killed starts again with nothing. That is one more
thing that the real algorithms do not do, but none of the five needs it to go wrong.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Final, NamedTuple

from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.codes import Body, error
from foreshock.targets.reference.node.configuration import NodeConfiguration
from foreshock.targets.reference.node.effects import Effects
from foreshock.targets.reference.node.files import Files
from foreshock.targets.reference.node.program import ProgramKind
from foreshock.targets.reference.node.requests import BadRequest, Query, Replicate, Status, parse_request
from foreshock.targets.reference.node.services.base import same
from foreshock.targets.reference.node.wire import malformed, reply_to

Operation = list[Any]
"""What a client wants: ``["read", key]``, ``["write", key, value]``, ``["acquire", key, ...]`` and so on."""

Answer = Callable[[Body], None]
"""Answers whoever asked; to be called once. Nobody hears an answer that comes too late."""

Answers = dict[str, Body]
"""The answers to one question, by node, in the order in which they came."""

_NO_ROUND: Final = 0
_IDLE_NS: Final = 60_000_000_000


class NaiveKnobs(NamedTuple):
    """What can be set on a naive node."""

    patience_ms: int = 300
    """How long a node waits for the answers of the others before it goes on with those that it has."""

    lock_ttl_ms: int = 3_000
    """How long a lock is held without renewal."""

    def checked(self) -> NaiveKnobs:
        """These knobs again; raises ``ValueError`` with a sentence when one makes no sense."""
        for name, value in zip(self._fields, self, strict=True):
            if value < 1:
                raise ValueError(f"the knob {name} is {value!r}, but must be an integer of at least 1")
        return self


class _Round(NamedTuple):
    """One question that some nodes were asked, and what is to be done with the answers."""

    answers: Answers
    asked: int
    enough: Callable[[Answers], bool]
    then: Callable[[Answers], None]
    deadline_ns: int


class NaiveNode(ABC):
    """A node of one of the naive systems, sans I/O; what it owes its shell is told in ``NodeProgram``."""

    wants: ClassVar[frozenset[str]]
    """The operations that the program performs."""

    def __init__(self, configuration: NodeConfiguration, random_bits: Callable[[int], int]) -> None:
        self.name = configuration.name
        self.peers = [name for name in configuration.members if name != configuration.name]
        self.everybody = [self.name, *self.peers]
        self.majority = len(self.everybody) // 2 + 1
        self.knobs: NaiveKnobs = configuration.program_knobs
        self.random_bits = random_bits
        self.now_ns = 0
        self.deadline_ns = 0
        self._configuration = configuration
        self._rounds: dict[int, _Round] = {}
        self._numbers = 0
        self._effects = Effects()

    # --- what a program is ----------------------------------------------------------------------------------------

    @abstractmethod
    def on_operation(self, operation: Operation, owner: int | None, answer: Answer) -> None:
        """A client wants something; ``owner`` is the number under which it holds locks."""

    @abstractmethod
    def on_question(self, question: Body, answer: Answer) -> None:
        """A node asks something (this one too may be asked by itself); what makes no sense is left unanswered."""

    def is_answer(self, answer: Body) -> bool:  # noqa: ARG002
        """Whether an answer makes sense; one that does not counts as none."""
        return True

    def facts(self) -> Body:
        """What the node says of itself beside its name."""
        return {}

    # --- what a program may do ------------------------------------------------------------------------------------

    def ask(
        self,
        nodes: Sequence[str],
        question: Body,
        then: Callable[[Answers], None],
        enough: Callable[[Answers], bool] | None = None,
    ) -> None:
        """Put a question to nodes, and call ``then`` with their answers.

        It is called once: when all have answered, when ``enough`` says so, or when patience is at its end.
        """
        self._numbers += 1
        number = self._numbers
        deadline_ns = self.now_ns + self.knobs.patience_ms * 1_000_000
        enough = enough or (lambda answers: len(answers) == len(nodes))
        self._rounds[number] = _Round({}, len(nodes), enough, then, deadline_ns)
        for node in nodes:
            if node != self.name:
                self._effects.send.append((node, {"round": number, "question": question}))
        if self.name in nodes:
            self.on_question(question, partial(self._hear, self.name, number))
        elif not nodes:
            self._end(number)

    def tell(self, nodes: Sequence[str], news: Body) -> None:
        """Say something to other nodes, and wait for nothing."""
        for node in nodes:
            self._effects.send.append((node, {"round": _NO_ROUND, "question": news}))

    def log(self, sentence: str) -> None:
        """Put a sentence into the node's log."""
        self._effects.logs.append(sentence)

    # --- what the shell calls -------------------------------------------------------------------------------------

    def on_start(self, now_ns: int) -> Effects:
        """Nothing is left of an earlier life."""
        self.now_ns = now_ns
        self.log(f"{self.name} starts with nothing")
        return self._take_effects()

    def on_tick(self, now_ns: int) -> Effects:
        """Rounds whose time is up go on with the answers that they have."""
        self.now_ns = now_ns
        for number in [number for number, round_ in self._rounds.items() if round_.deadline_ns <= now_ns]:
            self._end(number)
        return self._take_effects()

    def on_synced(self, up_to: int, now_ns: int) -> Effects:  # noqa: ARG002
        """Nothing was written, so this never comes."""
        return self._take_effects()

    def on_peer(self, source: str, message: Any, now_ns: int) -> Effects:
        """A question of another node, or its answer."""
        self.now_ns = now_ns
        number = message["round"]
        if "question" in message:
            answer = _to_nobody if number == _NO_ROUND else partial(self._reply_to_peer, source, number)
            self.on_question(message["question"], answer)
        else:
            self._hear(source, number, message["answer"])
        return self._take_effects()

    def on_request(self, connection: int, message: Any, now_ns: int) -> Effects:
        """A client's message; whatever it is, it is answered, now or later."""
        self.now_ns = now_ns
        if not isinstance(message, dict) or not isinstance(message.get("body"), dict):
            text = 'a message must be an object with a body, such as {"body": {"type": "status"}}'
            self._effects.replies.append((connection, malformed(self.name, text)))
            return self._take_effects()

        def answer(body: Body) -> None:
            self._effects.replies.append((connection, reply_to(message, self.name, body)))

        try:
            request = parse_request(message["body"])
        except BadRequest as problem:
            answer(error(problem.code, str(problem)))
        else:
            self._dispatch(request, answer)
        return self._take_effects()

    def on_close(self, connection: int, now_ns: int) -> Effects:  # noqa: ARG002
        """A client is gone; what it had asked for goes on."""
        return self._take_effects()

    # --- inside ---------------------------------------------------------------------------------------------------

    def _dispatch(self, request: Any, answer: Answer) -> None:
        busy = len(self._rounds) >= self._configuration.knobs.requests_max
        match request:
            case Status():
                about = {"program": self._configuration.program, "cluster": self._configuration.cluster}
                answer({"type": "status_ok", "name": self.name, "leading": False, **about, **self.facts()})
            case _ if busy:
                answer(error(codes.TEMPORARILY_UNAVAILABLE, "too busy: too many requests are under way here"))
            case Query(kind=kind, key=key) if kind in self.wants:
                self.on_operation([kind, key], None, answer)
            case Replicate(command=["do", owner, _, [kind, *_] as operation]) if kind in self.wants:
                self.on_operation(operation, owner, answer)
            case _:
                known = ", ".join(sorted(self.wants))
                answer(error(codes.NOT_SUPPORTED, f"a node of {self._configuration.program} does {known}"))

    def _hear(self, source: str, number: int, answer: Body) -> None:
        round_ = self._rounds.get(number)
        if round_ is None or source in round_.answers or not self.is_answer(answer):
            return
        round_.answers[source] = answer
        if len(round_.answers) == round_.asked or round_.enough(round_.answers):
            self._end(number)

    def _end(self, number: int) -> None:
        round_ = self._rounds.pop(number, None)
        if round_ is not None:
            round_.then(round_.answers)

    def _reply_to_peer(self, peer: str, number: int, body: Body) -> None:
        self._effects.send.append((peer, {"round": number, "answer": body}))

    def _take_effects(self) -> Effects:
        """What has come together; rounds all last as long, so the oldest one ends first."""
        oldest = next(iter(self._rounds.values()), None)
        self.deadline_ns = self.now_ns + _IDLE_NS if oldest is None else oldest.deadline_ns
        effects, self._effects = self._effects, Effects()
        return effects


def _to_nobody(body: Body) -> None:
    """Where the answer to news goes."""


def unanswered(wanted: str) -> Body:
    """What a client is told when the other nodes kept silent: nobody knows what becomes of its request."""
    return error(codes.TIMEOUT, f"{wanted} did not answer in time")


def compare_and_set(found: object, old: object) -> Body:
    """The reply to a compare-and-set that found this value: an error when it is not the ``old`` one."""
    if same(found, old):
        return {"type": "cas_ok"}
    if found is None:
        return error(codes.KEY_DOES_NOT_EXIST, "the register has never been written")
    return error(codes.PRECONDITION_FAILED, "the register holds another value than the one expected")


def program_kind(node_class: type[NaiveNode]) -> ProgramKind:
    """The node class as something that ``--program`` can name."""

    def build(
        configuration: NodeConfiguration,
        files: Files,  # noqa: ARG001 - nothing is kept
        random_bits: Callable[[int], int],
        now_ns: int,  # noqa: ARG001 - the node hears of the time as it starts
        bug: type[Any] | None,  # noqa: ARG001 - as if these needed any
    ) -> NaiveNode:
        return node_class(configuration, random_bits)

    return ProgramKind(knobs=NaiveKnobs, build=build, encode=_encode, decode=_decode)


def _encode(message: Any) -> Any:
    return message


def _decode(message: Any) -> Any:
    """A message of a peer: a round's number with a question or an answer; raises ``ValueError`` otherwise."""
    match message:
        case {"round": int(), "question": dict()} | {"round": int(), "answer": dict()}:
            return message
    raise ValueError('it must be {"round": N, "question": {...}} or {"round": N, "answer": {...}}')
