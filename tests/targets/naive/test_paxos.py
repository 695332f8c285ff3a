"""The naive Paxos: its acceptors vote as they should, and its proposer counts heads."""

from __future__ import annotations

import json

from tests.targets.naive.network import Network

from foreshock.targets.naive.node.common import Answers
from foreshock.targets.naive.node.paxos import NaivePaxos
from foreshock.targets.reference.node import codes


class CountsVotesFor(NaivePaxos):
    """The mend: one line."""

    def votes(self, answers: Answers) -> int:
        return sum(bool(answer["vote"]) for answer in answers.values())


def overtake(network: Network) -> int:
    """n1 is about to write 1; n3, whose proposal has the higher number, writes 2 before n1's first message arrives."""
    first = network.ask("n1", type="write", key="x", value=1)
    held, network.waiting = network.waiting, []
    assert network.done("n3", type="write", key="x", value=2) == {"type": "write_ok"}
    network.waiting = held
    network.run()
    return first


def test_what_one_node_writes_every_node_reads() -> None:
    network = Network("naive-paxos")
    assert network.done("n1", type="read", key="x") == {"type": "read_ok", "value": None}
    assert network.done("n1", type="write", key="x", value=1) == {"type": "write_ok"}
    assert network.done("n2", type="write", key="y", value=[2]) == {"type": "write_ok"}
    for name in network.names:
        assert network.done(name, type="read", key="x") == {"type": "read_ok", "value": 1}
        assert network.done(name, type="read", key="y") == {"type": "read_ok", "value": [2]}


def test_a_compare_and_set_compares() -> None:
    network = Network("naive-paxos")
    absent = network.done("n1", type="cas", key="x", **{"from": 1, "to": 2})
    assert absent["code"] == codes.KEY_DOES_NOT_EXIST
    network.done("n1", type="write", key="x", value=1)
    assert network.done("n2", type="cas", key="x", **{"from": 1, "to": 2}) == {"type": "cas_ok"}
    other = network.done("n3", type="cas", key="x", **{"from": 1, "to": 3})
    assert other["code"] == codes.PRECONDITION_FAILED
    assert network.done("n3", type="read", key="x")["value"] == 2


def test_a_write_that_every_acceptor_refused_is_called_done_and_is_nowhere() -> None:
    network = Network("naive-paxos")
    first = overtake(network)
    assert network.reply(first) == {"type": "write_ok"}
    assert [node._slots["x"].value for node in network.nodes.values()] == [2, 2, 2]
    assert any("votes against proposal [1, 'n1']" in line for line in network.logs)


def test_with_the_votes_counted_the_same_write_is_not_called_done() -> None:
    network = Network("naive-paxos", node_class=CountsVotesFor)
    first = overtake(network)
    refused = network.reply(first)
    assert refused is not None
    assert refused["type"] == "error"


def test_an_acceptor_keeps_its_promise_and_says_what_it_accepted() -> None:
    network = Network("naive-paxos")
    node = network.nodes["n1"]
    heard: list[dict[str, object]] = []

    def question(kind: str, count: int, name: str, **more: object) -> dict[str, object]:
        node.on_question({"type": kind, "key": "x", "number": [count, name], **more}, heard.append)
        return heard.pop()

    assert question("prepare", 2, "n2") == {"vote": True, "accepted": [0, ""], "value": None}
    assert question("accept", 1, "n3", value=9) == {"vote": False, "accepted": [0, ""], "value": None}
    assert question("accept", 2, "n2", value=8) == {"vote": True, "accepted": [2, "n2"], "value": 8}
    assert question("prepare", 2, "n1") == {"vote": False, "accepted": [2, "n2"], "value": 8}
    assert question("prepare", 2, "n3") == {"vote": True, "accepted": [2, "n2"], "value": 8}


def test_without_a_majority_nothing_is_promised_and_the_client_knows_that_nothing_happened() -> None:
    network = Network("naive-paxos")
    network.isolate("n1")
    refused = network.done("n1", type="write", key="x", value=1)
    assert refused["code"] == codes.TEMPORARILY_UNAVAILABLE
    assert json.dumps(network.nodes["n1"]._slots["x"].value) == "null"


def test_a_majority_that_falls_silent_between_the_phases_leaves_the_write_in_doubt() -> None:
    network = Network("naive-paxos")
    connection = network.ask("n1", type="write", key="x", value=1)
    network.deliver("n1", "n2")
    network.deliver("n2", "n1")  # promised by two of three
    network.isolate("n1")
    network.run()
    assert network.reply(connection) is None
    network.pass_ms(300)
    doubtful = network.reply(connection)
    assert doubtful is not None
    assert doubtful["code"] == codes.TIMEOUT
