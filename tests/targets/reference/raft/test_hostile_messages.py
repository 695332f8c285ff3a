"""Whatever a peer sends, a replica neither raises nor goes on talking for ever."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.targets.reference.hostile import FLAGS, JSON, NAMES, NUMBERS, tagged
from tests.targets.reference.raft.harness import MS, QUICK, World

from foreshock.targets.reference.node.consensus import Durable, Entry, Propose, Read, Receive, Tick
from foreshock.targets.reference.node.raft import Raft, decode
from foreshock.targets.reference.node.raft.messages import (
    Append,
    AppendReply,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    SnapshotReply,
    TimeoutNow,
    Vote,
    VoteReply,
)


@st.composite
def appends(draw: st.DrawFn) -> Append:
    """Well-formed as the codec demands, and otherwise nonsense."""
    previous = draw(st.integers(0, 12))
    term = draw(st.integers(1, 5)) if previous else 0
    previous_term = term
    entries = []
    for position in range(previous + 1, previous + 1 + draw(st.integers(0, 4))):
        term = max(1, term + draw(st.integers(0, 1)))
        kind = draw(st.sampled_from(["command", "noop", "configuration"]))
        data: Any = {
            "command": 1,
            "noop": None,
            "configuration": draw(st.lists(NAMES, min_size=1, unique=True)),
        }
        entries.append(Entry(position, term, kind, data[kind]))
    sender = max(term, draw(NUMBERS))
    return Append(sender, previous, previous_term, tuple(entries), draw(NUMBERS), draw(NUMBERS))


def snapshots() -> st.SearchStrategy[InstallSnapshot]:
    whole = st.builds(
        InstallSnapshot,
        st.integers(3, 8),
        st.integers(1, 14),
        st.integers(1, 3),
        st.lists(NAMES, min_size=1, unique=True).map(tuple),
        NUMBERS,
        st.just(0),
        st.just({}),
        NUMBERS,
    )
    text = st.text(min_size=1, max_size=4)
    return whole | st.builds(
        lambda m, total, piece: m._replace(total=total, data=piece), whole, NUMBERS, text
    )


MESSAGES = st.one_of(
    appends(),
    snapshots(),
    st.builds(PreVote, NUMBERS, NUMBERS, NUMBERS),
    st.builds(PreVoteReply, NUMBERS, NUMBERS, FLAGS),
    st.builds(Vote, NUMBERS, NUMBERS, NUMBERS, FLAGS),
    st.builds(VoteReply, NUMBERS, FLAGS),
    st.builds(AppendReply, NUMBERS, FLAGS, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.builds(SnapshotReply, NUMBERS, NUMBERS, NUMBERS, NUMBERS),
    st.builds(TimeoutNow, NUMBERS),
    st.sampled_from([None, 7, "append", (), [], {}]),
)
EVENTS = st.one_of(
    st.builds(Receive, NAMES, MESSAGES),
    st.builds(Receive, NAMES, MESSAGES),
    st.just(Tick()),
    st.builds(Durable, NUMBERS),
    st.builds(Propose, st.integers(), st.just("command")),
    st.builds(Read, st.integers()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40), FLAGS)
def test_no_sequence_of_messages_makes_a_replica_raise(events: list[Any], lead_first: bool) -> None:
    knobs = QUICK._replace(snapshot_chunk_bytes=3)
    raft = Raft.recover("n1", ("n1", "n2", "n3"), (), knobs, lambda _: 0, 0)
    now = 0
    if lead_first:
        now = 300 * MS
        raft.step(Tick(), now)
        raft.step(Receive("n2", PreVoteReply(0, 1, True)), now)
        raft.step(Durable(1), now)
        raft.step(Receive("n2", VoteReply(1, True)), now)
        assert raft.leading
    for event in events:
        now += 30 * MS
        output = raft.step(event, now)
        assert len(output.send) < 40
        assert output.deadline_ns > 0
    raft.describe()


TAGS = (
    "append",
    "append_reply",
    "vote",
    "vote_reply",
    "prevote",
    "snapshot",
    "snapshot_reply",
    "timeout_now",
)


@settings(max_examples=250, deadline=None)
@given(JSON | tagged(*TAGS))
def test_decoding_gives_a_message_or_a_value_error(value: Any) -> None:
    raft = Raft.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    with contextlib.suppress(ValueError):
        message = decode(value)
        output = raft.step(Receive("n2", message), 1)
        assert output.deadline_ns > 0


def test_what_is_no_message_is_dropped_and_counted() -> None:
    raft = Raft.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    for message in (None, "append", {"term": 1}, [1, 2]):
        assert raft.step(Receive("n2", message), 1).send == []
    raft.step(Receive("n1", Vote(9, 9, 9, True)), 1)
    assert raft.describe()["dropped"] == 5
    assert raft.describe()["term"] == 0


def test_a_follower_that_lost_what_it_had_acknowledged_causes_no_storm() -> None:
    """No correct node does that; a leader that meets one must not answer each rejection with a message."""
    raft = Raft.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    raft.step(Tick(), 300 * MS)
    raft.step(Receive("n2", PreVoteReply(0, 1, True)), 300 * MS)
    raft.step(Durable(1), 300 * MS)
    raft.step(Receive("n2", VoteReply(1, True)), 300 * MS)
    for proposal in range(5):
        raft.step(Propose(proposal, "command"), 300 * MS)
    raft.step(Receive("n2", AppendReply(1, True, 6, 0, 0, 0)), 300 * MS)
    lost = AppendReply(1, False, 1, 0, 6, 0)
    assert sum(len(raft.step(Receive("n2", lost), 301 * MS).send) for _ in range(100)) == 0


def test_a_leader_of_its_term_hears_no_other_and_a_snapshot_that_is_none_is_dropped() -> None:
    """What no correct peer sends is counted and changes nothing."""
    world = World(3)
    world.elect("n1")
    leader, follower = world.raft("n1"), world.raft("n2")
    entry = Entry(2, 1, "command", "forged")
    forged = [
        Append(1, 1, 1, (entry,), 2, 1),
        InstallSnapshot(1, 9, 1, ("n1",), 0, 0, {}, 1),
    ]
    for message in forged:
        leader.step(Receive("n2", message), world.now)
    assert (leader.dropped, leader.log.last, leader.leading) == (2, 1, True)
    for text in ("{", "[" * 100_000):
        follower.step(Receive("n1", InstallSnapshot(1, 9, 1, ("n1",), 0, len(text), text, 1)), world.now)
    follower.accepts_snapshot = lambda _: False
    follower.step(Receive("n1", InstallSnapshot(1, 9, 1, ("n1",), 0, 0, {}, 1)), world.now)
    follower.step(Receive("n1", InstallSnapshot(1, 9, 1, ("n1",), 0, 1 << 31, "x", 1)), world.now)
    assert (follower.dropped, follower.snapshot, follower.commit) == (4, None, 0)
