"""Discovery and synchronization: who may lead, where histories meet, and what happens when they do not."""

from __future__ import annotations

import pytest
from tests.targets.reference.zab.harness import MS, QUICK, Broken, World

from foreshock.targets.reference.node.consensus import Durable, Entry, Receive, Record, Tick
from foreshock.targets.reference.node.zab import Zab
from foreshock.targets.reference.node.zab import messages as m
from foreshock.targets.reference.node.zab.channel import Channel


def frames(world: World, kind: type) -> list[tuple[str, str]]:
    """Between whom frames with such a payload are on the wire."""
    return [
        (source, to)
        for source, to, message in world.wire
        if isinstance(message, m.Frame) and isinstance(message.payload, kind)
    ]


def watch(world: World, milliseconds: int) -> set[str]:
    """Let time pass; the kinds of payloads that were said meanwhile."""
    world.trace = []
    world.pass_time(milliseconds)
    said = {
        line.split("payload=")[1].split("(")[0] for line in world.trace if "payload=" in line and "->" in line
    }
    world.trace = None
    return said


def test_the_latest_epoch_wins_then_the_latest_zxid_then_the_greatest_id() -> None:
    for logs, currents, winner in (
        (([1, 1], [1], [1]), (1, 1, 1), "n1"),
        (([1], [1, 2], [1, 1, 1]), (2, 2, 2), "n2"),
        (([1], [1], [1]), (1, 1, 1), "n3"),
        (([1, 1], [1, 1, 1], [1]), (3, 1, 1), "n1"),
    ):
        world = World(3)
        for name, log, current in zip(world.nodes, logs, currents, strict=True):
            world.give_log(name, log, accepted=current, current=current)
        assert world.settle() == winner
        assert world.zab(winner).epoch == max(currents) + 1
        world.pass_time(100)
        assert len({tuple(world.terms(name)) for name in world.nodes}) == 1


def test_a_history_of_a_later_epoch_is_not_outvoted_by_a_longer_one() -> None:
    """Entries of epoch 1 that only n3 has go, though they are more (the comparison is by epoch first)."""
    world = World(3)
    world.give_log("n1", [1, 2], accepted=2, current=2)
    world.give_log("n2", [1, 2], accepted=2, current=2)
    world.give_log("n3", [1, 1, 1, 1], accepted=1, current=1)
    assert world.settle() == "n2"
    world.pass_time(100)
    assert world.terms("n3") == [1, 2]


def test_a_leader_gives_up_when_a_follower_of_its_quorum_knows_more() -> None:
    """The election is only an oracle: n1 is made to believe that it won, and discovery shows that it must not."""
    zab = Zab.recover("n1", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    zab.step(Tick(), 0)
    for peer in ("n2", "n3"):
        zab.step(Receive(peer, m.Notification(1, "looking", 0, 0, 0, 1, "n1", 0)), 1)
    zab._choice = "n1"
    zab._tally()
    assert zab.describe()["phase"] == "discovery"
    zab.step(Receive("n2", m.Frame(7, 1, 0, m.Cepoch(4))), 2)
    zab.step(Durable(1), 2)
    assert zab.epoch == 5
    output = zab.step(Receive("n2", m.Frame(7, 2, 1, m.AckEpoch(5, 4, 4, 1, True))), 3)
    assert ("n2", m.Close(7)) in output.send
    assert zab.describe()["role"] == "looking"
    assert (zab.accepted, zab.current) == (5, 0)


def test_a_promise_that_may_be_anothers_does_not_make_a_leader() -> None:
    """n2 had accepted epoch 1 already, from whomever: it may be synchronized, but its promise does not count."""
    zab = Zab.recover("n3", ("n1", "n2", "n3"), (), QUICK, lambda _: 0, 0)
    zab.step(Tick(), 0)
    for peer in ("n1", "n2"):
        zab.step(Receive(peer, m.Notification(1, "looking", 0, 0, 0, 1, "n3", 0)), 1)
    for peer in ("n1", "n2"):
        zab.step(Receive(peer, m.Frame(7, 1, 0, m.Cepoch(0))), 2)
    zab.step(Durable(1), 2)
    zab.step(Receive("n2", m.Frame(7, 2, 1, m.AckEpoch(1, 0, 0, 0, False))), 3)
    assert zab.describe()["phase"] == "discovery"
    zab.step(Receive("n1", m.Frame(7, 2, 1, m.AckEpoch(1, 0, 0, 0, True))), 3)
    assert zab.describe()["phase"] == "synchronization"


def test_a_follower_that_promised_a_later_epoch_makes_the_leader_begin_anew() -> None:
    world = World(3)
    world.settle()
    world.crash("n1")
    world.pass_time(150)
    world.give_log("n1", [], accepted=9, current=1)
    world.pass_time(400)
    leader = world.leader()
    assert leader is not None
    assert world.zab(leader).epoch == 10
    assert world.zab("n1").leader == leader


def test_diff_trunc_and_snap_are_used_where_they_belong() -> None:
    world = World(3, knobs=QUICK._replace(snapshot_keep_entries=1, batch_entries_max=2))
    assert world.settle() == "n3"
    world.crash("n1")
    for _ in range(5):
        world.propose("n3")
    world.deliver_all()
    world.start("n1")
    assert "Diff" in (said := watch(world, 100))
    assert not said & {"Snap", "Trunc"}
    world.crash("n1")
    for _ in range(5):
        world.propose("n3")
    world.deliver_all()
    world.compact("n3")
    world.start("n1")
    assert "Snap" in watch(world, 100)
    assert world.nodes["n1"].applied == 10
    world.isolate("n3")
    for _ in range(3):
        world.propose("n3")
    world.deliver_all()
    assert world.settle_among("n1", "n2") == "n2"
    world.propose("n2")
    world.pass_time(200)
    world.heal()
    assert "Trunc" in watch(world, 200)
    assert world.nodes["n3"].applied == world.highest_commit == 11


def test_a_snapshot_replaces_a_history_that_went_astray() -> None:
    """What the follower has beyond the common part is older than everything that the leader still has as entries."""
    world = World(3, knobs=QUICK._replace(snapshot_keep_entries=0))
    world.settle()
    world.propose("n3")
    world.deliver_all()
    world.isolate("n3")
    for _ in range(6):
        world.propose("n3")
    world.settle_among("n1", "n2")
    for _ in range(3):
        world.propose("n2")
    world.pass_time(300)
    world.compact("n2")
    world.heal()
    assert "Snap" in watch(world, 300)
    assert world.nodes["n3"].applied == world.highest_commit
    assert world.zab("n3").log.last == world.zab("n2").log.last
    world.crash("n3")
    world.start("n3")
    assert world.zab("n3").log.last == world.zab("n2").log.last


def test_history_is_durable_before_the_epoch_that_vouches_for_it() -> None:
    """ZOOKEEPER-4643 and ZOOKEEPER-4646: wherever a crash cuts the records, no epoch stands for a lost history."""
    world = World(3)
    assert world.settle() == "n3"
    world.isolate("n1")
    world.pass_time(150)
    for _ in range(4):
        world.propose("n3")
    world.deliver_all()
    world.sync_at_once = False
    world.heal()
    for _ in range(40):
        world.now += 5 * MS
        for name in world.nodes:
            world.step(name, Tick())
            if name != "n1":
                world.sync(name)
        world.deliver_all()
        if any(record.kind == "state" for record in world.nodes["n1"].unsynced):
            break
        world.sync("n1")
    kinds = [record.kind for record in world.nodes["n1"].unsynced]
    assert kinds == ["entries", "state"]
    assert not frames(world, m.AckLeader)
    world.sync("n1", 1)
    world.deliver_all()
    assert world.zab("n3")._learners["n1"].match == -1
    world.sync("n1")
    world.deliver_all()
    assert world.zab("n3")._learners["n1"].match == 4
    assert world.terms("n1") == [1, 1, 1, 1]


def test_a_leader_that_finds_no_quorum_steps_down_and_says_so() -> None:
    world = World(3)
    world.settle()
    world.isolate("n3")
    lost = world.propose("n3")
    read = world.read("n3")
    world.pass_time(200)
    assert not world.zab("n3").leading
    assert not world.refused[lost].definite
    assert world.refused[read].definite
    world.pass_time(600)
    assert world.zab("n3").epoch == 0


def test_a_prospective_leader_without_followers_gives_up() -> None:
    world = World(2)
    world.deliver_between("n1", "n2")
    world.wire.clear()
    world.isolate("n1")
    leader = next(name for name in world.nodes if world.zab(name).describe()["role"] == "leading")
    world.pass_time(300)
    assert world.zab(leader).describe()["role"] == "looking"
    world.heal()
    assert world.settle(2000)


def test_a_slow_follower_that_the_log_has_left_behind_comes_back_for_a_snapshot() -> None:
    knobs = QUICK._replace(snapshot_keep_entries=0, uncommitted_entries_max=3, inflight_messages_max=1)
    world = World(3, knobs=knobs)
    assert world.settle() == "n3"
    world.pass_time(60)
    for _ in range(8):
        world.propose("n3")
        world.deliver_between("n2", "n3")
    assert world.zab("n3").commit == 8
    world.compact("n3")
    assert world.zab("n3").log.base == 5
    assert "Snap" in watch(world, 300)
    assert world.nodes["n1"].applied == 8


def test_a_node_is_recovered_from_its_records_or_says_which_is_wrong() -> None:
    def recover(*records: tuple[str, object]) -> Zab:
        numbered = [Record(number, *record) for number, record in enumerate(records, start=1)]
        return Zab.recover("n1", ("n1",), numbered, QUICK, lambda _: 0, 0)

    state = ("state", {"accepted": 3, "current": 2})
    entries = ("entries", [[1, 1, "command", 7], [2, 2, "configuration", ["n1", "n2"]]])
    zab = recover(state, entries)
    assert (zab.accepted, zab.current, zab.log.last, zab.members) == (3, 2, 2, ("n1", "n2"))
    assert zab.entry(1) == Entry(1, 1, "command", 7)
    assert zab.entry(3) is None
    zab = recover(state, entries, ("truncate", 1))
    assert (zab.log.last, zab.members) == (1, ("n1",))
    zab = recover(state, ("snapshot", [4, 2, ["n1", "n3"], {}]), ("entries", [[5, 3, "noop", None]]))
    assert (zab.log.base, zab.log.last, zab.members, zab.entry(4)) == (4, 5, ("n1", "n3"), None)
    for wrong in (
        ("accepted", []),
        ("state", {"term": 1}),
        ("truncate", 9),
        ("entries", [[7, 1, "noop", None]]),
        ("snapshot", [1]),
    ):
        with pytest.raises(ValueError, match="record 2 of the log is none of Zab's"):
            recover(state, wrong)


def test_knobs_that_cannot_work_are_refused_with_a_sentence() -> None:
    for wrong, sentence in (
        ({"reads": "dirty"}, "reads is 'dirty'"),
        ({"batch_entries_max": 0}, "batch_entries_max is 0"),
        ({"heartbeat_ms": 80}, "at most half of sync_limit_ms"),
        ({"notification_min_ms": 90}, "at least notification_min_ms"),
    ):
        with pytest.raises(ValueError, match=sentence):
            Zab.recover("n1", ("n1",), (), QUICK._replace(**wrong), lambda _: 0, 0)


def test_a_channel_delivers_once_in_order_and_asks_for_what_is_missing() -> None:
    mine, theirs = Channel("n2", 5, 10, 0), Channel("n1", 5, 10, 0)
    sent = [mine.frame(m.Ack(1, number)) for number in range(1, 6)]
    assert theirs.take(sent[0], 0) == [m.Ack(1, 1)]
    assert theirs.take(sent[0], 0) == []
    assert theirs.take(sent[3], 1) == []
    assert theirs.missing(0, 5) is None
    assert theirs.missing(0, 11) == m.Resend(5, 2, 3)
    assert theirs.missing(0, 12) is None
    assert mine.again(2, 3) == [m.Frame(5, 2, 0, m.Ack(1, 2)), m.Frame(5, 3, 0, m.Ack(1, 3))]
    assert theirs.take(sent[2], 13) == []
    assert theirs.take(sent[1], 13) == [m.Ack(1, 2), m.Ack(1, 3), m.Ack(1, 4)]
    assert theirs.missing(4, 50) is None
    assert theirs.missing(5, 50) == m.Resend(5, 5, 5)
    mine.acknowledge(theirs.arrived)
    assert mine.again(1, 5) == [m.Frame(5, 5, 0, m.Ack(1, 5))]
    mine.acknowledge(99)
    assert mine.acknowledged == 4


def test_a_follower_that_acknowledges_nothing_loses_its_channel() -> None:
    world = World(3, knobs=QUICK._replace(inflight_messages_max=2000, uncommitted_entries_max=5000))
    assert world.settle() == "n3"
    world.pass_time(60)
    for _ in range(1100):
        world.propose("n3")
        world.deliver_between("n2", "n3")
    assert "n1" not in world.zab("n3")._learners
    world.pass_time(300)
    assert world.nodes["n1"].applied == 1100


def test_nobody_leads_an_epoch_twice() -> None:
    """A leader that crashes as soon as its epoch is established comes back with a later one."""
    world = World(3)
    epochs = []
    for _ in range(4):
        leader = world.settle(1500)
        epochs.append(world.zab(leader).epoch)
        world.crash(leader)
        world.start(leader)
    assert epochs == sorted(set(epochs))


def test_the_world_notices_a_leader_without_committed_entries() -> None:
    world = World(3)
    world.settle()
    world.propose("n3")
    world.deliver_all()
    for name in ("n1", "n2"):
        world.give_log(name, [], accepted=1, current=1)
    world.isolate("n3")
    with pytest.raises(Broken):
        world.pass_time(600)
