"""The single-decree core in every order of events: at most one value is ever chosen.

The exploration is exhaustive. A message that was sent may be delivered at any later time, any number of times or
never, so that loss, delay, repetition and overtaking are all covered; an acceptor may restart at any time with what is
durable. A proposer may act on any majority of the promises that were made to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import pytest

from foreshock.targets.reference.node.paxos.synod import (
    NO_BALLOT,
    Acceptor,
    Ballot,
    IsQuorum,
    Learner,
    Proposal,
    Proposer,
    is_majority,
    may_accept,
    may_promise,
    newer,
)

Durable = tuple[Ballot, Proposal | None]
"""An acceptor's state."""
WISHES = ((Ballot(1, "a"), "apple"), (Ballot(1, "b"), "banana"), (Ballot(2, "a"), "apricot"))


class Told(NamedTuple):
    """A promise on its way."""

    acceptor: str
    ballot: Ballot
    accepted: Proposal | None


class World(NamedTuple):
    """All that there is: the acceptors' states, and everything that was ever said."""

    acceptors: tuple[Durable, ...]
    promises: frozenset[Told]
    proposals: frozenset[tuple[int, Proposal]]
    """Which wish was served by which proposal."""
    accepted: frozenset[tuple[str, Proposal]]


class Rules(NamedTuple):
    """The core under test, or a version of it that is wrong in one way."""

    acceptor: type[Acceptor] = Acceptor
    proposer: type[Proposer] = Proposer
    is_quorum: IsQuorum = is_majority
    restart: Callable[[Durable], Durable] = lambda durable: durable


def explore(
    rules: Rules, wishes: Sequence[tuple[Ballot, str]], count: int = 3
) -> tuple[int, set[frozenset[str]]]:
    """How many worlds can be reached, and every set of values that can be chosen in one of them.

    Ends with the first world in which two are.
    """
    names = tuple("xyzw"[:count])
    start = World(((NO_BALLOT, None),) * count, frozenset(), frozenset(), frozenset())
    seen, frontier, outcomes = {start}, [start], set()
    while frontier:
        world = frontier.pop()
        outcomes.add(frozenset(chosen(rules, world, names)))
        if any(len(outcome) > 1 for outcome in outcomes):
            break
        for following in moves(rules, wishes, names, world):
            if following not in seen:
                seen.add(following)
                frontier.append(following)
    return len(seen), outcomes


def moves(
    rules: Rules, wishes: Sequence[tuple[Ballot, str]], names: Sequence[str], world: World
) -> Iterator[World]:
    """Everything that can happen next."""
    for i, (name, durable) in enumerate(zip(names, world.acceptors, strict=True)):
        yield world._replace(acceptors=put(world.acceptors, i, rules.restart(durable)))
        told = {promise.ballot for promise in world.promises if promise.acceptor == name}
        for ballot in sorted({ballot for ballot, _ in wishes} - told):
            acceptor = revive(rules, durable)
            if acceptor.prepare(ballot):
                promise = Told(name, ballot, acceptor.accepted)
                state = acceptor.promised, acceptor.accepted
                acceptors = put(world.acceptors, i, state)
                yield world._replace(acceptors=acceptors, promises=world.promises | {promise})
        for _, proposal in world.proposals:
            acceptor = revive(rules, durable)
            if acceptor.accept(*proposal):
                acceptors = put(world.acceptors, i, (acceptor.promised, acceptor.accepted))
                yield world._replace(acceptors=acceptors, accepted=world.accepted | {(name, proposal)})
    served = {number for number, _ in world.proposals}
    for number, (ballot, wish) in enumerate(wishes):
        if number not in served:
            for proposal in proposals_of(rules, ballot, wish, names, world):
                yield world._replace(proposals=world.proposals | {(number, proposal)})


def proposals_of(
    rules: Rules, ballot: Ballot, wish: str, names: Sequence[str], world: World
) -> Iterator[Proposal]:
    """What a proposer may propose, whichever of the promises reach it."""
    answers = sorted((promise for promise in world.promises if promise.ballot == ballot), key=repr)
    for size in range(1, len(answers) + 1):
        for some in combinations(answers, size):
            proposer = rules.proposer(ballot, wish, names, rules.is_quorum)
            proposals = [proposer.on_promise(*promise) for promise in some]
            yield from (proposal for proposal in proposals if proposal is not None)


def put(states: tuple[Durable, ...], i: int, state: Durable) -> tuple[Durable, ...]:
    return (*states[:i], state, *states[i + 1 :])


def revive(rules: Rules, durable: Durable) -> Acceptor:
    acceptor = rules.acceptor()
    acceptor.promised, acceptor.accepted = durable
    return acceptor


def chosen(rules: Rules, world: World, names: Sequence[str]) -> Iterator[str]:
    """The values that learners can take for chosen: each learner hears of one proposal."""
    for proposal in {proposal for _, proposal in world.accepted}:
        learner = Learner(names, rules.is_quorum)
        heard = [
            learner.on_accepted(name, proposal.ballot) for name, told in world.accepted if told == proposal
        ]
        if any(heard):
            yield proposal.value


def test_at_most_one_value_is_chosen_in_any_order_of_events() -> None:
    worlds, outcomes = explore(Rules(), WISHES[:2])
    assert worlds > 500
    assert outcomes == {frozenset(), frozenset({"apple"}), frozenset({"banana"})}


def test_a_third_ballot_changes_nothing_about_that() -> None:
    """Over two acceptors every majority is both, which keeps three ballots within reach of an exhaustive search."""
    worlds, outcomes = explore(Rules(), WISHES, count=2)
    assert worlds > 500
    assert outcomes == {frozenset(), *(frozenset({value}) for _, value in WISHES)}


class TakesAnything(Acceptor):
    def accept(self, ballot: Ballot, value: Any) -> bool:
        self.accepted = Proposal(ballot, value)
        return True


class PromisesAnything(Acceptor):
    def prepare(self, ballot: Ballot) -> bool:
        self.promised = ballot
        return True


class WantsItsWish(Proposer):
    def on_promise(self, acceptor: str, ballot: Ballot, accepted: Proposal | None) -> Proposal | None:
        return super().on_promise(acceptor, ballot, None)


class WantsTheOldest(Proposer):
    def on_promise(self, acceptor: str, ballot: Ballot, accepted: Proposal | None) -> Proposal | None:
        if self._reported is not None and accepted is not None and accepted.ballot > self._reported.ballot:
            accepted = None
        return super().on_promise(acceptor, ballot, accepted)


def half(supporters: Any, acceptors: Any) -> bool:
    return 2 * sum(acceptor in supporters for acceptor in acceptors) >= len(acceptors)


WRONG = {
    "accepts below its promise": (Rules(acceptor=TakesAnything), WISHES[:2], 3),
    "promises below its promise": (Rules(acceptor=PromisesAnything), WISHES[:2], 3),
    "ignores the accepted value": (Rules(proposer=WantsItsWish), WISHES[:2], 3),
    "forgets its promise": (Rules(restart=lambda durable: (NO_BALLOT, durable[1])), WISHES[:2], 3),
    "forgets what it accepted": (Rules(restart=lambda durable: (durable[0], None)), WISHES[:2], 3),
    "half is a majority": (Rules(is_quorum=half), WISHES[:2], 2),
    "one acceptance is enough": (Rules(is_quorum=lambda supporters, _: bool(supporters)), WISHES[:2], 2),
    "ballots are not unique": (Rules(), ((Ballot(1, ""), "apple"), (Ballot(1, ""), "banana")), 3),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_the_search_finds_two_chosen_values_wherever_a_rule_is_missing(wrong: str) -> None:
    rules, wishes, count = WRONG[wrong]
    _, outcomes = explore(rules, wishes, count)
    assert frozenset({"apple", "banana"}) in outcomes


def test_it_is_the_report_with_the_greatest_ballot_that_counts() -> None:
    old, new = Proposal(Ballot(1, "a"), "old"), Proposal(Ballot(2, "b"), "new")
    for proposer_class, expected in ((Proposer, "new"), (WantsTheOldest, "old")):
        for reports in ((old, new), (new, old)):
            proposer = proposer_class(Ballot(3, "c"), "wish", "xyz")
            assert proposer.on_promise("x", Ballot(3, "c"), reports[0]) is None
            proposal = proposer.on_promise("y", Ballot(3, "c"), reports[1])
            if reports[0] is old or proposer_class is Proposer:
                assert proposal == Proposal(Ballot(3, "c"), expected)
    assert newer(None, None) is None
    assert newer(old, None) is old
    assert newer(None, old) is old


def test_a_proposer_proposes_once_and_heeds_no_other_ballot() -> None:
    proposer = Proposer(Ballot(2, "a"), "wish", "xyz")
    assert proposer.on_promise("x", Ballot(1, "a"), None) is None
    assert proposer.on_promise("x", Ballot(2, "a"), None) is None
    assert proposer.on_promise("x", Ballot(2, "a"), None) is None, "the same acceptor again"
    assert proposer.on_promise("y", Ballot(2, "a"), None) == Proposal(Ballot(2, "a"), "wish")
    assert proposer.on_promise("z", Ballot(2, "a"), Proposal(Ballot(1, "b"), "late")) is None


def test_ballots_are_ordered_by_round_then_by_node() -> None:
    assert NO_BALLOT < Ballot(1, "a") < Ballot(1, "b") < Ballot(2, "a")
    assert may_promise(Ballot(1, "b"), Ballot(1, "b"))
    assert not may_promise(Ballot(1, "b"), Ballot(1, "a"))
    assert may_accept(Ballot(1, "b"), Ballot(1, "b"))
    assert not may_accept(Ballot(1, "b"), Ballot(1, "a"))


def test_a_learner_counts_each_acceptor_once_and_each_ballot_by_itself() -> None:
    learner = Learner(("x", "y", "z"))
    assert not learner.on_accepted("x", Ballot(1, "a"))
    assert not learner.on_accepted("x", Ballot(1, "a"))
    assert not learner.on_accepted("y", Ballot(2, "b"))
    assert not learner.on_accepted("stranger", Ballot(2, "b"))
    assert learner.on_accepted("z", Ballot(2, "b"))
