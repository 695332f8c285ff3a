"""Bugs planted in Paxos: each overrides one decision, and drops what would mask it.

The harness must find each of them, in the simulator, by what clients see alone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from foreshock.targets.reference.node.paxos import Paxos
from foreshock.targets.reference.node.paxos.messages import Acceptance, Promise
from foreshock.targets.reference.node.paxos.synod import NO_BALLOT, Ballot, Learner


class ForgetsPromiseOnRestart(Paxos):
    """Keeps its promise in memory only, where section 2.5 of the paper wants it on stable storage.

    ScyllaDB let its acceptors' state expire, so that a proposal that had lost came back (its issue 6149); AtlasDB's
    timestamps began anew at 0 under Jepsen when nodes came back without their Paxos logs (its issue 1504). An acceptor
    that has forgotten its promise takes part in an old ballot once more, and ballots themselves begin anew below those
    that were accepted: then the report with the greatest ballot is not the latest, and what was chosen since is
    overwritten. The canvass and the loyalty to a leader that lives would keep such a node from proposing, and a leader
    without a quorum would not wait for it: they go too.
    """

    def _state_to_save(self) -> dict[str, Any]:
        return {**super()._state_to_save(), "promised": NO_BALLOT, "chosen": 0}

    def _asks_for_permission(self) -> bool:
        return False

    def _is_loyal(self) -> bool:
        return False

    def _lost_quorum(self) -> bool:
        return False


class IgnoresAcceptedValue(Paxos):
    """Proposes what it likes, whatever was reported in phase 1: P2c of the paper is missing.

    MyPaxos came to that by counting promises of an earlier attempt, whose reports were out of date (its issue 18). What
    the last leader had chosen and not yet told to everybody is overwritten by the next one.
    """

    def _take_reports(self, source: str, accepted: list[Acceptance]) -> None:
        pass


class AcceptsBelowPromise(Paxos):
    """Accepts any proposal, whatever it has promised: P1a of the paper is missing.

    ScyllaDB's acceptors let an older proposal in after a newer one, since they did not take the acceptance of a
    proposal for a promise (its issue 6139). A leader that was cut off goes on after another one has taken over, and has
    its proposals chosen in the same slots. It would step down after an election time-out without a quorum; that goes
    too.
    """

    def _may_accept(self, ballot: Ballot) -> bool:  # noqa: ARG002
        return True

    def _lost_quorum(self) -> bool:
        return False


class BallotsNotUnique(Paxos):
    """Numbers its ballots by the round alone, so that two nodes may use the same one.

    AtlasDB's timestamp service had two proposers of one name when a node lost its leadership and came back to it at
    once, and they took each other's proposals for their own (its issues 1937 and 1941). Here an acceptor takes the
    second one's requests for repetitions of the first one's, and promises again: two leaders have their proposals
    chosen under one ballot. The canvass would keep a node that was cut off from counting its rounds up to where the
    others are; it goes too.
    """

    def _next_ballot(self) -> Ballot:
        return super()._next_ballot()._replace(node="")

    def _asks_for_permission(self) -> bool:
        return False


class HalfIsMajority(Paxos):
    """Takes half of the acceptors for a majority of them.

    Apache Geode's membership did so (GEODE-9822). In a cluster of four, two may agree on one value, and the other two
    on another.
    """

    def _is_quorum(self, supporters: Collection[str], acceptors: Sequence[str]) -> bool:
        return 2 * sum(acceptor in supporters for acceptor in acceptors) >= len(acceptors)


class LearnsFromOneAcceptor(Paxos):
    """Takes a value for chosen as soon as one acceptor has accepted it: section 2.3 wants a majority.

    Booth, a manager of tickets for clusters, counted an acceptor's answers to one instance for the next one too, so
    that it soon had its majority whatever was accepted (its pull request 47). A leader whose proposals nobody else has
    accepted tells its clients that their commands are done, and the next leader knows nothing of them.
    """

    def _is_chosen(self, learner: Learner, acceptor: str) -> bool:  # noqa: ARG002
        return True


class SkipsPhaseOneForGaps(Paxos):
    """A new leader takes the slots that its own acceptor knows nothing of for free: phase 1 shows it only the end.

    Section 3 of the paper has it execute phase 1 for the gaps before it proposes no-ops there. OCons, which carries
    Multi-Paxos, merged the logs of a quorum wrongly when some lacked what others had, as tests with Jepsen showed (its
    pull request 21). Commands that a majority has accepted are overwritten by no-ops.
    """

    def _take_report(self, source: str, message: Promise) -> None:
        for acceptance in message.accepted:
            self._reported_through = max(self._reported_through, acceptance.slot)
        own = tuple(a for a in message.accepted if a.slot in self.accepted)
        super()._take_report(source, message._replace(accepted=own))
