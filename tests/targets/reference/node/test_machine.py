"""The node without I/O: requests, retries, locks that wait, lost leaders, snapshots, and everything hostile."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.raft.messages import Append, InstallSnapshot
from foreshock.targets.reference.node.requests import _PARSERS
from foreshock.targets.reference.node.services.cache import CacheOrigin
from foreshock.targets.reference.node.services.lock import Locks
from foreshock.targets.reference.node.services.register import Registers
from foreshock.targets.reference.node.sessions import Sessions

MakeCluster = Callable[..., Any]


def test_a_single_node_serves_registers_and_a_cache(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    leader = cluster.lead()
    assert cluster.ask(leader, type="write", key="x", value=1, msg_id=9) == {
        "type": "write_ok",
        "in_reply_to": 9,
    }
    assert cluster.ask(leader, type="read", key="x")["value"] == 1
    assert (
        cluster.ask(leader, type="cas", key="x", **{"from": 2, "to": 3})["code"] == codes.PRECONDITION_FAILED
    )
    version = cluster.ask(leader, type="put", key="x", value="v")["version"]
    assert cluster.ask(leader, type="get", key="x", version=version)["unchanged"] is True


def test_nothing_is_answered_before_it_is_durable(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    leader = cluster.lead()
    cluster.request(leader, 7, type="write", key="x", value=1)
    assert 7 not in cluster.replies
    cluster.settle()
    assert cluster.replies[7][0]["type"] == "write_ok"


def test_a_follower_refuses_for_certain_and_names_the_leader(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    leader = cluster.lead()
    follower = next(n for n in cluster.names if n != leader)
    for body in ({"type": "write", "key": 1, "value": 1}, {"type": "read", "key": 1}, {"type": "open"}):
        reply = cluster.ask(follower, **body)
        assert (reply["code"], reply["leader"]) == (codes.TEMPORARILY_UNAVAILABLE, leader)


def test_a_retry_through_another_leader_takes_effect_once(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    leader = cluster.lead()
    client = cluster.ask(leader, type="open")["client"]
    put = {"type": "put", "key": "x", "value": 1, "client": client, "seq": 1}
    first = cluster.ask(leader, **put)
    cluster.cut = {leader}
    heir = cluster.lead()
    assert cluster.ask(heir, **put) == first
    assert cluster.ask(heir, **{**put, "seq": 2})["version"] == first["version"] + 1


def test_sessions_and_services_survive_a_restart_with_and_without_a_snapshot(
    make_cluster: MakeCluster,
) -> None:
    from foreshock.targets.reference.node.raft import RaftKnobs

    for every in (4, 1000):
        knobs = RaftKnobs(100, 200, 20, snapshot_after_entries=every)
        cluster = make_cluster(1, knobs)
        leader = cluster.lead()
        client = cluster.ask(leader, type="open")["client"]
        for sequence in range(1, 12):
            cluster.ask(leader, type="put", key="x", value=sequence, client=client, seq=sequence)
        cluster.start(leader)
        cluster.lead()
        status = cluster.ask(leader, type="status")
        assert (status["replica"]["snapshot"] > 0) is (every == 4)
        assert cluster.ask(leader, type="put", key="x", value=11, client=client, seq=11)["version"] == 11
        assert cluster.ask(leader, type="get", key="x")["value"] == 11


def test_a_follower_that_was_away_takes_over_a_snapshot_with_its_sessions(make_cluster: MakeCluster) -> None:
    from foreshock.targets.reference.node.raft import RaftKnobs

    knobs = RaftKnobs(100, 200, 20, snapshot_after_entries=5, snapshot_keep_entries=0)
    cluster = make_cluster(3, knobs)
    leader = cluster.lead()
    away = next(n for n in cluster.names if n != leader)
    cluster.cut = {away}
    client = cluster.ask(leader, type="open")["client"]
    for sequence in range(1, 20):
        cluster.ask(leader, type="put", key="x", value=sequence, client=client, seq=sequence)
    cluster.cut = set()
    cluster.pass_ms(300)
    machine = cluster.machines[away]
    assert machine.origin.get("x", None)["value"] == 19
    assert machine.sessions.get(client).sequence == 19


def test_a_lock_goes_to_the_next_in_line_and_its_client_is_told_at_once(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    leader = cluster.lead()
    one, other = (cluster.ask(leader, type="open", ttl_ms=60_000)["client"] for _ in range(2))
    assert cluster.ask(leader, type="acquire", key="k", client=one, seq=1)["token"] == 1
    cluster.request(leader, 5, type="acquire", key="k", wait_ms=10_000, client=other, seq=1, msg_id=4)
    cluster.settle()
    assert 5 not in cluster.replies
    cluster.ask(leader, type="release", key="k", token=1, client=one, seq=2)
    assert cluster.replies[5] == [{"type": "acquire_ok", "granted": True, "token": 2, "in_reply_to": 4}]


def test_a_wait_ends_in_time_for_the_client_to_keep_its_session_alive(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    leader = cluster.lead()
    one, other = (cluster.ask(leader, type="open", ttl_ms=900)["client"] for _ in range(2))
    cluster.ask(leader, type="acquire", key="k", client=one, seq=1)
    cluster.request(leader, 5, type="acquire", key="k", wait_ms=60_000, client=other, seq=1)
    cluster.pass_ms(295)
    assert 5 not in cluster.replies
    cluster.pass_ms(10)
    (reply,) = cluster.replies[5]
    assert (reply["granted"], reply["queued"]) == (False, True)


def test_a_retried_wait_hears_of_a_grant_that_came_between_the_attempts(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    leader = cluster.lead()
    one, other = (cluster.ask(leader, type="open")["client"] for _ in range(2))
    cluster.ask(leader, type="acquire", key="k", client=one, seq=1)
    wait = {"type": "acquire", "key": "k", "wait_ms": 5_000, "client": other, "seq": 1}
    cluster.request(leader, 5, **wait)
    cluster.settle()
    cluster.machines[leader].on_close(5, cluster.now_ns)
    cluster.ask(leader, type="release", key="k", client=one, seq=2)
    assert 5 not in cluster.replies
    assert cluster.ask(leader, **wait)["token"] == 2


def test_a_second_attempt_to_wait_takes_the_place_of_the_first(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    leader = cluster.lead()
    one, other = (cluster.ask(leader, type="open")["client"] for _ in range(2))
    cluster.ask(leader, type="acquire", key="k", client=one, seq=1)
    wait = {"type": "acquire", "key": "k", "wait_ms": 5_000, "client": other, "seq": 1}
    cluster.request(leader, 5, **wait)
    cluster.request(leader, 6, **wait)
    cluster.settle()
    assert cluster.replies[5][0]["queued"] is True
    cluster.ask(leader, type="release", key="k", client=one, seq=2)
    assert cluster.replies[6][0]["token"] == 2


def test_a_silent_session_ends_after_its_time_and_the_margin_and_loses_its_lock(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(clock_margin_percent=20)
    leader = cluster.lead()
    one, other = (cluster.ask(leader, type="open", ttl_ms=ttl)["client"] for ttl in (1_000, 60_000))
    cluster.ask(leader, type="acquire", key="k", client=one, seq=1)
    cluster.pass_ms(1_190)
    assert cluster.ask(leader, type="holder", key="k")["client"] == one
    cluster.pass_ms(20)
    assert cluster.ask(leader, type="holder", key="k")["client"] is None
    assert cluster.ask(leader, type="renew", key="k", client=one, seq=2)["code"] == codes.SESSION_UNKNOWN
    assert cluster.ask(leader, type="acquire", key="k", client=other, seq=1)["token"] == 2


def test_a_renewal_gives_a_full_time_to_live(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(clock_margin_percent=0)
    leader = cluster.lead()
    one = cluster.ask(leader, type="open", ttl_ms=1_000)["client"]
    cluster.ask(leader, type="acquire", key="k", client=one, seq=1)
    for sequence in range(2, 6):
        cluster.pass_ms(900)
        assert cluster.ask(leader, type="renew", key="k", client=one, seq=sequence)["token"] == 1
    cluster.pass_ms(995)
    assert cluster.ask(leader, type="holder", key="k")["client"] == one
    cluster.pass_ms(10)
    assert cluster.ask(leader, type="holder", key="k")["client"] is None


def test_a_new_leader_gives_every_session_its_full_time_again(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3, clock_margin_percent=0)
    leader = cluster.lead()
    client = cluster.ask(leader, type="open", ttl_ms=1_000)["client"]
    cluster.pass_ms(900)
    cluster.cut = {leader}
    heir = cluster.lead()
    cluster.pass_ms(800)
    assert cluster.machines[heir].sessions.get(client) is not None
    cluster.pass_ms(300)
    assert cluster.machines[heir].sessions.get(client) is None


def test_what_a_deposed_leader_had_under_way_ends_in_doubt_and_not_as_a_refusal(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(3, request_timeout_ms=400)
    leader = cluster.lead()
    cluster.cut = {leader}
    cluster.request(leader, 5, type="write", key="x", value=1)
    cluster.request(leader, 6, type="read", key="x")
    cluster.pass_ms(1_500)
    assert cluster.replies[5][0]["code"] in {codes.TIMEOUT, codes.CRASH}
    assert cluster.replies[6][0]["code"] in {codes.TEMPORARILY_UNAVAILABLE, codes.CRASH}
    assert cluster.machines[leader].describe()["requests"] == 0


def test_a_node_with_too_much_under_way_refuses_for_certain(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(requests_max=3)
    leader = cluster.lead()
    for connection in range(10, 14):
        cluster.request(leader, connection, type="write", key="x", value=1)
    assert cluster.replies[13][0]["code"] == codes.TEMPORARILY_UNAVAILABLE
    assert "too busy: 3 requests" in cluster.replies[13][0]["text"]
    cluster.settle()
    assert [cluster.replies[c][0]["type"] for c in range(10, 13)] == ["write_ok"] * 3


def test_leadership_can_be_handed_over_and_members_come_and_go(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(3)
    leader = cluster.lead()
    heir = next(n for n in cluster.names if n != leader)
    cluster.request(leader, 5, type="transfer_leadership", node=heir)
    cluster.pass_ms(200)
    assert cluster.replies[5][0]["type"] == "transfer_leadership_ok"
    assert cluster.lead() == heir
    cluster.request(heir, 6, type="remove_member", node=leader)
    cluster.pass_ms(300)
    assert leader not in cluster.replies[6][0]["members"]
    cluster.request(heir, 7, type="add_member", node=leader)
    cluster.pass_ms(500)
    assert sorted(cluster.replies[7][0]["members"]) == list(cluster.names)


def test_a_full_disk_promises_nothing(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    leader = cluster.lead()
    cluster.files[leader].full = True
    with pytest.raises(OSError, match="No space left"):
        cluster.request(leader, 5, type="write", key="x", value=1)
    assert 5 not in cluster.replies


def test_a_message_for_another_node_is_told_where_it_came(make_cluster: MakeCluster) -> None:
    cluster = make_cluster()
    cluster.send("n1", 5, {"src": "c", "dest": "n2", "body": {"type": "status"}})
    assert "this is the node n1" in cluster.replies[5][0]["text"]


def test_whatever_a_client_sends_is_answered_and_the_node_lives(make_cluster: MakeCluster) -> None:
    """Thousands of mutilated requests: each gets one reply, each reply is JSON, and the node serves on."""
    cluster = make_cluster()
    leader = cluster.lead()
    rng = RandomStream(3, "hostile")
    scraps: tuple[Any, ...] = (
        *(None, True, 0, -1, 1 << 70, 1.5, "", "n1", "x" * 5000, [], [[[]]], {}, {"type": "hello"}),
        *({"type": "write", "key": [], "value": {}}, ["write", "k", 1], "\ud800", {"": {"": {}}}),
    )
    names = (
        "type",
        "key",
        "value",
        "client",
        "seq",
        "from",
        "to",
        "wait_ms",
        "ttl_ms",
        "token",
        "node",
        "msg_id",
    )
    kinds, answered = sorted(_PARSERS), 0
    for number in range(5_000):
        body: Any = {rng.choice(names): rng.choice(scraps) for _ in range(rng.below(6))}
        if rng.chance(2, 3):
            body["type"] = rng.choice(kinds)
        if rng.chance(1, 2):
            body |= {"key": "k", "client": 1 + rng.below(9), "seq": 1 + rng.below(9)}
        message: Any = {"src": rng.choice(scraps), "dest": "n1", "body": body}
        if rng.chance(1, 10):
            message = rng.choice(scraps)
        cluster.replies.clear()
        cluster.send(leader, number, message)
        cluster.settle()
        cluster.pass_ms(5)
        assert len(cluster.replies.get(number, [])) <= 1, message
        json.dumps(cluster.replies)
        answered += len(cluster.replies.get(number, []))
    assert answered > 4_900  # all but those that wait, for a lock or for a member to catch up
    cluster.pass_ms(500)
    leader = cluster.lead()
    assert cluster.ask(leader, type="write", key="x", value=1)["type"] == "write_ok"


NO_SNAPSHOTS: list[Any] = [
    None,
    {"bad": 1},
    {"sessions": [], "services": {}},
    {"sessions": [[1, "x", 1, 1, None]], "services": Sessions([Registers()]).snapshot()["services"]},
    {
        "sessions": [[1, 100, 1, 1, "reply"]],
        "services": Sessions([Registers(), Locks(), CacheOrigin()]).snapshot()["services"],
    },
    {
        "sessions": [[1, "x", 1, 1, None]],
        "services": Sessions([Registers(), Locks(), CacheOrigin()]).snapshot()["services"],
    },
]


@pytest.mark.parametrize("data", NO_SNAPSHOTS)
@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_snapshot_that_nobody_can_have_taken_neither_ends_a_node_nor_reaches_its_disk(
    make_cluster: MakeCluster, data: Any, in_pieces: bool
) -> None:
    cluster = make_cluster(3)
    node = cluster.machines["n1"]
    before = dict(cluster.files["n1"].content)

    def install(snapshot: Any) -> None:
        text = json.dumps(snapshot)
        total, sent = (len(text), text) if in_pieces else (0, snapshot)
        message = InstallSnapshot(9, 10, 5, ("n1", "n2", "n3"), 0, total, sent, 0)
        node.on_peer("n2", message, cluster.now_ns)

    node.on_peer("n2", Append(9, 0, 0, (), 0, 0), cluster.now_ns)
    install(data)
    assert node.describe()["replica"]["dropped"] == 1
    assert node.applied == 0
    assert b'"snapshot"' not in cluster.files["n1"].content["log"]
    assert before["log"] in cluster.files["n1"].content["log"]
    install(node.sessions.snapshot())
    assert node.applied == 10
