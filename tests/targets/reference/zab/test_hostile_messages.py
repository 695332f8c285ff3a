"""Whatever a peer sends, a replica neither raises nor goes on talking for ever."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.targets.reference.hostile import FLAGS, JSON, NAMES, NUMBERS, tagged
from tests.targets.reference.zab.harness import MS, QUICK

from foreshock.targets.reference.node.consensus import Durable, Entry, Propose, Read, Receive, Tick
from foreshock.targets.reference.node.zab import Zab, decode
from foreshock.targets.reference.node.zab import messages as m

SMALL = st.integers(0, 6)
COUNTS = st.integers(1, 6)
SESSIONS = st.sampled_from([1, 1, 1, 2, 3, 99])
"""With random bits that are always 0, a follower's first session is 1."""


@st.composite
def runs(draw: st.DrawFn, epoch: int | None = None) -> tuple[Entry, ...]:
    """Entries that follow each other, as the codec demands."""
    position, term = draw(SMALL), draw(COUNTS)
    entries = []
    for place in range(position + 1, position + 1 + draw(st.integers(1, 3))):
        term = epoch or max(term, draw(SMALL))
        kind = draw(st.sampled_from(["command", "noop", "configuration"]))
        data: Any = {
            "command": 1,
            "noop": None,
            "configuration": draw(st.lists(NAMES, min_size=1, unique=True)),
        }
        entries.append(Entry(place, term, kind, data[kind]))
    return tuple(entries)


@st.composite
def diffs(draw: st.DrawFn) -> m.Diff:
    entries = draw(runs()) if draw(FLAGS) else ()
    previous = entries[0].position - 1 if entries else draw(SMALL)
    first = entries[0].term if entries else 6
    term = min(first, draw(COUNTS)) if previous else 0
    last = entries[-1].term if entries else term
    return m.Diff(max(1, last, draw(COUNTS)), previous, term, entries)


@st.composite
def proposals(draw: st.DrawFn) -> m.Proposal:
    epoch = draw(COUNTS)
    return m.Proposal(epoch, draw(runs(epoch)), draw(NUMBERS))


def snaps() -> st.SearchStrategy[m.Snap]:
    members = st.lists(NAMES, min_size=1, unique=True).map(tuple)
    whole = st.builds(
        m.Snap, st.integers(3, 6), COUNTS, st.integers(1, 3), members, st.just(0), st.just(0), st.just({})
    )
    text = st.sampled_from(["{", "}", "{}", "[", "1"])
    return whole | st.builds(
        lambda snap, offset, total, piece: snap._replace(offset=offset, total=total, data=piece),
        whole,
        SMALL,
        st.sampled_from([1, 2, 2**40]),
        text,
    )


PAYLOADS = st.one_of(
    st.builds(m.Cepoch, SMALL),
    st.builds(m.NewEpoch, COUNTS),
    st.builds(m.AckEpoch, COUNTS, SMALL, SMALL, SMALL, FLAGS),
    st.builds(m.Trunc, COUNTS, SMALL),
    diffs(),
    snaps(),
    st.builds(m.NewLeader, COUNTS, SMALL),
    st.builds(m.AckLeader, COUNTS),
    st.builds(m.UpToDate, COUNTS, SMALL),
    proposals(),
    st.builds(m.Ack, COUNTS, NUMBERS),
    st.builds(m.Commit, COUNTS, NUMBERS),
    st.builds(m.Sync, COUNTS, NUMBERS),
    st.builds(m.SyncReply, COUNTS, NUMBERS, NUMBERS),
    st.builds(m.TakeOver, COUNTS),
)
MESSAGES = st.one_of(
    st.builds(
        m.Notification,
        NUMBERS,
        st.sampled_from(["looking", "following", "leading"]),
        SMALL,
        SMALL,
        SMALL,
        SMALL,
        NAMES,
        SMALL,
    ),
    st.builds(m.Frame, SESSIONS, COUNTS | NUMBERS.filter(bool), NUMBERS, PAYLOADS),
    st.builds(m.Beat, SESSIONS, NUMBERS, NUMBERS, NUMBERS),
    st.builds(m.Resend, SESSIONS, COUNTS, NUMBERS),
    st.builds(m.Close, SESSIONS),
    st.sampled_from([None, 7, "frame", (), [], {}]),
)
EVENTS = st.one_of(
    st.builds(Receive, NAMES, MESSAGES),
    st.builds(Receive, st.just("n2"), MESSAGES),
    st.just(Tick()),
    st.builds(Durable, NUMBERS),
    st.builds(Propose, st.integers(), st.just("command")),
    st.builds(Read, st.integers(0, 1000)),
)


def leading_replica() -> tuple[Zab, int]:
    """A replica that n2 and n3 follow, in epoch 1."""
    zab = Zab.recover("n4", ("n2", "n3", "n4"), (), QUICK, lambda _: 0, 0)
    zab.step(Tick(), 0)
    for peer in ("n2", "n3"):
        zab.step(Receive(peer, m.Notification(1, "looking", 0, 0, 0, 1, "n4", 0)), 1)
    zab.step(Receive("n2", m.Frame(1, 1, 0, m.Cepoch(0))), 2)
    zab.step(Durable(1), 2)
    zab.step(Receive("n2", m.Frame(1, 2, 1, m.AckEpoch(1, 0, 0, 0, True))), 3)
    zab.step(Durable(2), 3)
    zab.step(Receive("n2", m.Frame(1, 3, 3, m.AckLeader(1))), 4)
    assert zab.leading
    return zab, 4


def following_replica() -> tuple[Zab, int]:
    """A replica that follows n2 in epoch 1."""
    zab = Zab.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    zab.step(Tick(), 0)
    zab.step(Receive("n2", m.Notification(1, "leading", 0, 0, 0, 1, "n2", 1)), 1)
    for sequence, payload in enumerate(
        (m.NewEpoch(1), m.Diff(1, 0, 0, ()), m.NewLeader(1, 0), m.UpToDate(1, 0)), start=1
    ):
        zab.step(Receive("n2", m.Frame(1, sequence, 1, payload)), 2)
        zab.step(Durable(9), 2)
    assert zab.leader == "n2"
    return zab, 2


@settings(max_examples=200, deadline=None)
@given(st.lists(EVENTS, max_size=40), st.sampled_from(["looking", "leading", "following"]))
def test_no_sequence_of_messages_makes_a_replica_raise(events: list[Any], role: str) -> None:
    if role == "leading":
        zab, now = leading_replica()
    elif role == "following":
        zab, now = following_replica()
    else:
        zab, now = Zab.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, MS), MS
    for event in events:
        now += 10 * MS
        output = zab.step(event, now)
        assert len(output.send) < 80
        assert output.deadline_ns > 0
        assert zab.accepted >= zab.current
    zab.describe()


TAGS = ("notification", "frame", "beat", "resend", "close")
PAYLOAD_TAGS = ("cepoch", "new_epoch", "ack_epoch", "diff", "snap", "propose", "commit", "sync")


@settings(max_examples=150, deadline=None)
@given(JSON | tagged(*TAGS) | tagged(*PAYLOAD_TAGS).map(lambda payload: ["frame", 1, 1, 0, payload]))
def test_decoding_gives_a_message_or_a_value_error(value: Any) -> None:
    zab = Zab.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 1)
    with contextlib.suppress(ValueError):
        message = decode(value)
        output = zab.step(Receive("n2", message), 1)
        assert output.deadline_ns > 0


def test_what_is_no_message_is_dropped_and_counted() -> None:
    zab = Zab.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    for message in (None, "frame", {"epoch": 1}, [1, 2]):
        assert zab.step(Receive("n2", message), 1).send == []
    zab.step(Receive("n1", m.Close(1)), 1)
    assert zab.describe()["dropped"] == 5


def test_a_follower_that_breaks_the_order_loses_its_channel_and_no_more() -> None:
    zab, now = leading_replica()
    for payload in (m.Ack(1, 99), m.AckLeader(1), m.Commit(1, 0), m.TakeOver(1), m.Cepoch(0)):
        zab, now = leading_replica()
        output = zab.step(Receive("n2", m.Frame(1, 4, 4, payload)), now)
        assert ("n2", m.Close(1)) in output.send
        assert zab.leading
        assert zab.dropped == 1


def test_a_leader_that_breaks_the_order_is_left() -> None:
    entry = (Entry(1, 1, "command", 1),)
    later = (Entry(2, 1, "command", 1),)
    for payload in (
        m.NewEpoch(2),
        m.Trunc(1, 0),
        m.Diff(1, 0, 0, entry),
        m.Snap(1, 1, 1, ("n1",), 0, 0, {}),
        m.NewLeader(1, 0),
        m.UpToDate(1, 0),
        m.Proposal(1, later, 0),
        m.Proposal(1, entry, 2),
        m.Commit(1, 1),
        m.SyncReply(1, 5, 0),
        m.Ack(1, 0),
    ):
        zab, now = following_replica()
        output = zab.step(Receive("n2", m.Frame(1, 5, 2, payload)), now)
        assert ("n2", m.Close(1)) in output.send, payload
        assert zab.leader is None
        assert zab.dropped == 1


def promising_replica() -> Zab:
    """A replica that has promised epoch 3 to n2, and waits for its history."""
    zab = Zab.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    zab.accepts_snapshot = lambda data: data != {"unknown": 1}
    zab.step(Tick(), 0)
    zab.step(Receive("n2", m.Notification(1, "leading", 0, 0, 0, 1, "n2", 3)), 1)
    zab.step(Receive("n2", m.Frame(1, 1, 1, m.NewEpoch(3))), 2)
    zab.step(Durable(9), 2)
    return zab


SNAP = m.Snap(3, 4, 2, ("n1", "n2"), 0, 0, {})


def test_a_history_that_cannot_be_taken_over_is_not() -> None:
    for payload in (
        SNAP._replace(data={"unknown": 1}),
        SNAP._replace(total=1, data="{"),
        SNAP._replace(total=9, offset=3, data="{"),
        SNAP._replace(total=2**40, data="{"),
        m.Diff(3, 2, 1, ()),
        m.Commit(3, 0),
        m.UpToDate(3, 0),
        m.NewLeader(3, 0),
        m.TakeOver(3),
        m.Proposal(3, (Entry(1, 3, "command", 1),), 0),
    ):
        zab = promising_replica()
        output = zab.step(Receive("n2", m.Frame(1, 2, 2, payload)), 3)
        assert ("n2", m.Close(1)) in output.send, payload
        assert (zab.log.last, zab.commit, zab.current, zab.dropped) == (0, 0, 0, 1)


def test_a_snapshot_in_pieces_is_put_together() -> None:
    zab = promising_replica()
    for sequence, (offset, text) in enumerate(((0, '{"a"'), (4, ": 1}")), start=2):
        piece = SNAP._replace(offset=offset, total=8, data=text)
        output = zab.step(Receive("n2", m.Frame(1, sequence, 2, piece)), 3)
    assert output.restore is not None
    assert output.restore.data == {"a": 1}
    assert (zab.log.base, zab.commit, zab.members) == (4, 4, ("n1", "n2"))


def test_a_truncation_to_where_the_history_ends_changes_nothing() -> None:
    zab = promising_replica()
    output = zab.step(Receive("n2", m.Frame(1, 2, 2, m.Trunc(3, 0))), 3)
    assert output.persist == []
    assert zab.describe()["role"] == "following"


def test_a_late_copy_of_an_earlier_call_opens_no_channel() -> None:
    zab, now = leading_replica()
    for session in (8, 7, 8):
        zab.step(Receive("n3", m.Frame(session, 1, 0, m.Cepoch(0))), now)
    assert zab._learners["n3"].channel.session == 8
    output = zab.step(Receive("nobody", m.Frame(5, 1, 0, m.Cepoch(0))), now)
    assert output.send == [("nobody", m.Close(5))]
    output = zab.step(Receive("n2", m.Beat(99, 4, 3, 0)), now)
    assert output.send == [("n2", m.Close(99))]
    output = zab.step(Receive("n2", m.Frame(99, 1, 0, m.Ack(1, 1))), now)
    assert output.send == []


def test_a_node_that_is_called_and_does_not_lead_says_so() -> None:
    zab, now = following_replica()
    output = zab.step(Receive("n3", m.Frame(5, 1, 0, m.Cepoch(0))), now)
    assert output.send == [("n3", m.Close(5))]


def test_words_of_another_epoch_end_a_channel_and_are_nobodys_fault() -> None:
    """A leader that restarted may get a late copy of a CEPOCH, and so take up a channel that its follower still has."""
    zab, now = leading_replica()
    output = zab.step(Receive("n2", m.Frame(1, 4, 4, m.Ack(9, 0))), now)
    assert ("n2", m.Close(1)) in output.send
    assert zab.dropped == 0
    zab, now = following_replica()
    output = zab.step(Receive("n2", m.Frame(1, 5, 2, m.Commit(9, 0))), now)
    assert ("n2", m.Close(1)) in output.send
    assert zab.dropped == 0
