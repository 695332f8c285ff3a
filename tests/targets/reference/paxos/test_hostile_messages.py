"""Whatever a peer sends, a replica neither raises nor goes on talking for ever."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.targets.reference.hostile import FLAGS, JSON, NAMES, NUMBERS, tagged
from tests.targets.reference.paxos.harness import MS, QUICK

from foreshock.targets.reference.node.consensus import Compact, Durable, Output, Propose, Read, Receive, Tick
from foreshock.targets.reference.node.paxos import Paxos, PaxosKnobs, decode
from foreshock.targets.reference.node.paxos.messages import (
    Accept,
    Acceptance,
    Accepted,
    Canvass,
    CanvassReply,
    Chosen,
    Learn,
    Nack,
    Prepare,
    Promise,
    SnapshotPiece,
    TakeOver,
    Value,
)
from foreshock.targets.reference.node.paxos.synod import Ballot

SLOTS = st.integers(1, 12) | st.sampled_from([2**40, 2**53 - 100])
BALLOTS = st.builds(Ballot, st.integers(1, 4) | st.just(2**53 - 1), NAMES)
VALUES = st.sampled_from(
    [
        Value("command", 1),
        Value("noop", None),
        Value("configuration", ["n1", "n4"]),
        Value("configuration", ["n2"]),
    ]
)


@st.composite
def runs(draw: st.DrawFn, first: int) -> tuple[Acceptance, ...]:
    values = draw(st.lists(VALUES, max_size=4))
    return tuple(Acceptance(slot, draw(BALLOTS), *value) for slot, value in enumerate(values, start=first))


@st.composite
def promises(draw: st.DrawFn) -> Promise:
    first = draw(st.integers(1, 6))
    ballot = draw(BALLOTS)
    accepted = tuple(a for a in draw(runs(first + draw(st.integers(0, 3)))) if a.ballot <= ballot)
    following = draw(st.sampled_from([0, 0, first + 20]))
    return Promise(ballot, first, following, draw(st.integers(0, first - 1)), draw(NUMBERS), accepted)


@st.composite
def answers(draw: st.DrawFn) -> Chosen:
    first = draw(st.integers(1, 9))
    accepted = draw(runs(first))
    return Chosen(first, accepted, first + len(accepted) + draw(st.integers(0, 3)))


MESSAGES = st.one_of(
    promises(),
    answers(),
    st.builds(Accept, BALLOTS, SLOTS, st.lists(VALUES, max_size=4).map(tuple), NUMBERS, NUMBERS),
    st.builds(Accepted, BALLOTS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.builds(Canvass, BALLOTS, NUMBERS),
    st.builds(CanvassReply, BALLOTS, BALLOTS, FLAGS, NUMBERS),
    st.builds(Prepare, BALLOTS, SLOTS, FLAGS),
    st.builds(Nack, BALLOTS, BALLOTS),
    st.builds(Learn, SLOTS, NUMBERS, NUMBERS),
    st.builds(SnapshotPiece, SLOTS, NUMBERS, st.just(("n1", "n2")), NUMBERS, st.just(0), st.just({})),
    st.builds(
        SnapshotPiece, SLOTS, NUMBERS, st.just(("n1",)), NUMBERS, SLOTS, st.text(min_size=1, max_size=4)
    ),
    st.builds(TakeOver, BALLOTS),
    st.sampled_from([None, 7, "accept", (), [], {}]),
)
EVENTS = st.one_of(
    st.builds(Receive, NAMES, MESSAGES),
    st.builds(Receive, NAMES, MESSAGES),
    st.just(Tick()),
    st.builds(Durable, NUMBERS),
    st.builds(Propose, st.integers(), st.just("command")),
    st.builds(Read, st.integers()),
    st.builds(Compact, st.integers(0, 12), st.just({})),
)


def fresh(knobs: PaxosKnobs = QUICK, *, lead: bool = False) -> Paxos:
    """A replica of three, which leads if it should."""
    paxos = Paxos.recover("n1", ("n1", "n2", "n3"), (), knobs, lambda _: 0, 0)
    if lead:
        paxos.step(Tick(), 300 * MS)
        paxos.step(Receive("n2", CanvassReply(Ballot(0, ""), Ballot(0, ""), True, 0)), 300 * MS)
        paxos.step(Durable(1), 300 * MS)
        paxos.step(Receive("n2", Promise(paxos.ballot, 1, 0, 0, 0, ())), 300 * MS)
        assert paxos.leading
    return paxos


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40), FLAGS)
def test_no_sequence_of_messages_makes_a_replica_raise(events: list[Any], lead_first: bool) -> None:
    paxos = fresh(QUICK._replace(snapshot_chunk_bytes=3, promise_slots_max=2), lead=lead_first)
    now = 300 * MS
    for event in events:
        now += 30 * MS
        output: Output = paxos.step(event, now)
        assert len(output.send) < 60
        assert output.deadline_ns > 0
    paxos.describe()


TAGS = (
    *("accept", "accepted", "canvass", "chosen", "learn"),
    *("nack", "prepare", "promise", "snapshot", "take_over"),
)


@settings(max_examples=250, deadline=None)
@given(JSON | tagged(*TAGS))
def test_decoding_gives_a_message_or_a_value_error(value: Any) -> None:
    with contextlib.suppress(ValueError):
        output = fresh().step(Receive("n2", decode(value)), 1)
        assert output.deadline_ns > 0


def test_what_is_no_message_is_dropped_and_counted() -> None:
    paxos = fresh()
    for message in (None, "accept", {"ballot": 1}, [1, 2]):
        assert paxos.step(Receive("n2", message), 1).send == []
    paxos.step(Receive("n1", Prepare(Ballot(9, "n1"), 1, True)), 1)
    assert paxos.describe()["dropped"] == 5
    assert paxos.describe()["term"] == [0, ""]


def test_nobody_can_have_accepted_what_was_not_proposed() -> None:
    paxos = fresh(lead=True)
    paxos.step(Receive("n2", Accepted(paxos.ballot, 1, 2**53 - 1, 0, 0)), 301 * MS)
    assert paxos.describe()["dropped"] == 1
    assert paxos.commit == 0
    paxos.step(Receive("nobody", Accepted(paxos.ballot, 1, 1, 0, 0)), 301 * MS)
    paxos.step(Receive("nobody", Promise(paxos.ballot, 1, 0, 0, 0, ())), 301 * MS)
    assert paxos.commit == 0
    assert "nobody" not in paxos._promisers


@pytest.mark.parametrize(
    ("knobs", "reason"),
    [
        (PaxosKnobs(heartbeat_ms=0), "the knob heartbeat_ms is 0, but must be an integer of at least 1"),
        (PaxosKnobs(election_timeout_max_ms=300), "else proposers duel for ever"),
        (PaxosKnobs(heartbeat_ms=200), "else one lost heartbeat ends a leader"),
    ],
)
def test_knobs_that_cannot_work_together_are_refused(knobs: PaxosKnobs, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        knobs.checked()
