"""The single-decree core: how one value is chosen, and only one (Lamport, "Paxos Made Simple", 2001).

The three roles of section 2.1, each a small class that can be read against the text, and the rules that they obey, each
a function. Multi-Paxos, in the modules beside this one, runs an instance of it for every slot of the log (section 3):
it shares one promise among all slots, so that it keeps the acceptor's state in its own way, but it decides by these
very functions, and counts acceptances with this very :class:`Learner`.

Messages may be lost, repeated and overtaken; agents may stop and restart, if an acceptor's state survives
(section 2.5: stable storage). None of that can make two values chosen; only progress suffers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, Final, NamedTuple


class Ballot(NamedTuple):
    """The number of a proposal. No two proposers share one: the round comes first, and the node breaks ties.

    Section 2.5 asks for just that: the proposers choose their numbers from sets that have none in common.
    """

    round: int
    node: str


NO_BALLOT: Final = Ballot(0, "")
"""Less than every ballot that is ever used."""


class Proposal(NamedTuple):
    """A value under a number."""

    ballot: Ballot
    value: Any


# --- the rules --------------------------------------------------------------------------------------------------


def may_promise(promised: Ballot, ballot: Ballot) -> bool:
    """Phase 1 (b): a prepare request is answered if its number is greater than that of any answered before.

    One that is equal is the same proposer's, asking again because a message was lost: the answer is the same.
    """
    return ballot >= promised


def may_accept(promised: Ballot, ballot: Ballot) -> bool:
    """P1a: an acceptor accepts a proposal unless it has answered a prepare request with a greater number."""
    return ballot >= promised


def newer(one: Proposal | None, other: Proposal | None) -> Proposal | None:
    """Which of two reports has the greater number; ``None`` is "no proposal" and has the least."""
    if one is None or (other is not None and other.ballot > one.ballot):
        return other
    return one


def is_majority(supporters: Collection[str], acceptors: Sequence[str]) -> bool:
    """Whether these supporters are a majority of the acceptors: any two majorities have one in common (section 2.2)."""
    return 2 * len([acceptor for acceptor in acceptors if acceptor in supporters]) > len(acceptors)


IsQuorum = Callable[[Collection[str], Sequence[str]], bool]
"""``is_quorum(supporters, acceptors)``: whether the supporters suffice."""


# --- the roles --------------------------------------------------------------------------------------------------


class Acceptor:
    """Answers prepare and accept requests (section 2.2). Both fields must be durable before an answer leaves."""

    def __init__(self) -> None:
        self.promised = NO_BALLOT
        """The greatest number of a prepare request that was answered, or of a proposal that was accepted."""
        self.accepted: Proposal | None = None
        """The proposal with the greatest number that was accepted."""

    def prepare(self, ballot: Ballot) -> bool:
        """Phase 1 (b): whether it promises to accept nothing below ``ballot`` any more.

        If so, the answer carries ``accepted``: what it has accepted with the greatest number so far, if anything.
        """
        if not may_promise(self.promised, ballot):
            return False
        self.promised = ballot
        return True

    def accept(self, ballot: Ballot, value: Any) -> bool:
        """Phase 2 (b): whether it accepts the proposal; it does unless it has promised a greater number."""
        if not may_accept(self.promised, ballot):
            return False
        self.promised = ballot
        self.accepted = Proposal(ballot, value)
        return True


class Proposer:
    """Gets one value proposed under one ballot (section 2.2); a new attempt is a new object with a greater ballot."""

    def __init__(
        self, ballot: Ballot, wish: Any, acceptors: Sequence[str], is_quorum: IsQuorum = is_majority
    ) -> None:
        self.ballot = ballot
        self._wish = wish
        self._acceptors = acceptors
        self._is_quorum = is_quorum
        self._promised: set[str] = set()
        self._reported: Proposal | None = None
        self._proposed = False

    def on_promise(self, acceptor: str, ballot: Ballot, accepted: Proposal | None) -> Proposal | None:
        """Take an answer of phase 1; the proposal of phase 2 (a), once, when a majority has promised.

        P2c: its value is that of the reported proposal with the greatest number; only if none was reported may the
        proposer have its wish.
        """
        if ballot != self.ballot or self._proposed:
            return None
        self._promised.add(acceptor)
        self._reported = newer(self._reported, accepted)
        if not self._is_quorum(self._promised, self._acceptors):
            return None
        self._proposed = True
        return Proposal(self.ballot, self._wish if self._reported is None else self._reported.value)


class Learner:
    """Finds out that a majority of the acceptors has accepted one and the same proposal (section 2.3)."""

    __slots__ = ("_accepted", "_acceptors", "_is_quorum")

    def __init__(self, acceptors: Sequence[str], is_quorum: IsQuorum = is_majority) -> None:
        self._acceptors = acceptors
        self._is_quorum = is_quorum
        self._accepted: dict[Ballot, set[str]] = {}

    def on_accepted(self, acceptor: str, ballot: Ballot) -> bool:
        """Take note that an acceptor has accepted this ballot's proposal; whether that one is chosen."""
        supporters = self._accepted.setdefault(ballot, set())
        supporters.add(acceptor)
        return self._is_quorum(supporters, self._acceptors)
