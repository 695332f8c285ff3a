"""The naive Raft and the naive Zab: whoever votes first leads, and nobody else need know."""

from __future__ import annotations

import pytest
from tests.targets.naive.network import Network

from foreshock.targets.reference.node import codes

BOTH = pytest.mark.parametrize("program", ["naive-raft", "naive-zab"])


def elect(network: Network, voter: str, *, by: str) -> None:
    """``by`` elects ``voter``, whose vote is the first to arrive."""
    connection = network.ask(by, type="read", key="anything")
    network.deliver(by, voter)
    network.deliver(voter, by)
    network.run()
    assert network.nodes[by].leader == voter
    assert network.reply(connection) == {"type": "read_ok", "value": None}


def leaders(network: Network) -> list[str]:
    return [name for name in network.names if network.done(name, type="status")["leading"]]


@BOTH
def test_the_node_that_votes_first_leads(program: str) -> None:
    network = Network(program)
    assert leaders(network) == []
    elect(network, "n3", by="n1")
    assert leaders(network) == ["n3"]
    assert "n1 takes n3 for the leader: it voted first" in network.logs


@BOTH
def test_every_node_may_have_another_leader(program: str) -> None:
    network = Network(program, 5)
    elect(network, "n3", by="n1")
    elect(network, "n4", by="n2")
    assert leaders(network) == ["n3", "n4"]
    assert network.nodes["n3"].leader == "n3", "a node that was asked to lead leads for itself too"


@BOTH
def test_as_long_as_all_is_quiet_everybody_reads_what_was_written_whoever_leads(program: str) -> None:
    network = Network(program, 5)
    elect(network, "n3", by="n1")
    elect(network, "n4", by="n2")
    assert network.done("n1", type="write", key="x", value=1) == {"type": "write_ok"}
    network.run()
    assert network.done("n2", type="cas", key="x", **{"from": 1, "to": 2}) == {"type": "cas_ok"}
    network.run()
    assert [network.done(name, type="read", key="x")["value"] for name in network.names] == [2] * 5


@BOTH
def test_a_compare_and_set_compares(program: str) -> None:
    network = Network(program)
    absent = network.done("n1", type="cas", key="x", **{"from": 1, "to": 2})
    assert absent["code"] == codes.KEY_DOES_NOT_EXIST
    network.done("n1", type="write", key="x", value=1)
    other = network.done("n1", type="cas", key="x", **{"from": 5, "to": 2})
    assert other["code"] == codes.PRECONDITION_FAILED


@BOTH
def test_both_sides_of_a_partition_go_on_and_a_read_misses_a_write(program: str) -> None:
    network = Network(program, 5)
    elect(network, "n5", by="n1")
    network.isolate("n4", "n5")
    silent = network.done("n1", type="write", key="x", value=1)
    assert silent["code"] == codes.TIMEOUT, "its leader is on the other side, so nobody knows"
    assert network.done("n1", type="write", key="x", value=2) == {"type": "write_ok"}, "it has another leader"
    assert network.done("n4", type="read", key="x") == {"type": "read_ok", "value": None}
    assert "n1 gives up its leader n5, which did not answer" in network.logs


@BOTH
def test_a_node_that_nobody_hears_has_no_leader_and_does_nothing(program: str) -> None:
    network = Network(program)
    network.isolate("n1")
    refused = network.done("n1", type="write", key="x", value=1)
    assert refused["code"] == codes.TEMPORARILY_UNAVAILABLE


@BOTH
def test_a_leader_that_was_killed_comes_back_with_nothing_and_still_leads(program: str) -> None:
    network = Network(program)
    elect(network, "n3", by="n1")
    assert network.done("n1", type="write", key="x", value=1) == {"type": "write_ok"}
    network.run()
    network.start("n3")
    assert network.done("n1", type="read", key="x") == {"type": "read_ok", "value": None}


@BOTH
def test_a_node_alone_votes_for_itself(program: str) -> None:
    network = Network(program, 1)
    assert network.done("n1", type="write", key="x", value=1) == {"type": "write_ok"}
    assert network.done("n1", type="read", key="x") == {"type": "read_ok", "value": 1}


@BOTH
def test_orders_that_make_no_sense_are_passed_over(program: str) -> None:
    network = Network(program)
    for question in (
        {"type": "lead", "operation": ["write"]},
        {"type": "lead", "operation": [[], {}]},
        {"type": "append", "key": [1], "value": 1},
        {"type": "commit"},
        {},
    ):
        effects = network.nodes["n1"].on_peer("n2", {"round": 1, "question": question}, network.now_ns)
        assert effects.send == []
    assert network.nodes["n1"].values == {}


def test_the_naive_raft_is_content_when_the_copies_are_sent() -> None:
    network = Network("naive-raft")
    elect(network, "n3", by="n1")
    connection = network.ask("n1", type="write", key="x", value=1)
    network.deliver("n1", "n3")
    network.deliver("n3", "n1")  # a copy for n1
    network.deliver("n3", "n1")  # the answer
    assert network.reply(connection) == {"type": "write_ok"}
    assert network.nodes["n2"].values == {}, "nobody asked whether it arrived"


def test_the_naive_zab_wants_one_acknowledgement_and_that_promises_nothing() -> None:
    network = Network("naive-zab")
    elect(network, "n3", by="n1")
    connection = network.ask("n1", type="write", key="x", value=1)
    network.deliver("n1", "n3")
    assert [kind for _, _, kind in network.questions()] == ["propose", "propose"]
    network.deliver("n3", "n2")
    assert network.nodes["n2"].values == {}, "it acknowledges what it has not kept"
    network.deliver("n2", "n3")
    assert "commit" in [kind for _, _, kind in network.questions()]
    network.run()
    assert network.reply(connection) == {"type": "write_ok"}
    assert [node.values["x"] for node in network.nodes.values()] == [1, 1, 1]


def test_the_naive_zab_never_commits_what_nobody_acknowledges() -> None:
    network = Network("naive-zab")
    elect(network, "n3", by="n1")
    elect(network, "n1", by="n2")
    network.isolate("n3")
    doubtful = network.done("n3", type="write", key="x", value=1)
    assert doubtful["code"] == codes.TIMEOUT
    assert network.nodes["n1"].values == {}
