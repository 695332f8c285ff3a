"""What all five share: every client is answered, nothing that a peer says ends a node, and nothing waits for ever."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest
from tests.targets.naive.network import Network

import foreshock.targets.naive.node as naive
from foreshock.targets.naive.node.common import NaiveKnobs
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.programs import load_program

PROGRAMS = ("naive-paxos", "naive-raft", "naive-zab", "naive-lock", "naive-cache")
ALL = pytest.mark.parametrize("program", PROGRAMS)
WANTED = {
    "naive-paxos": {"type": "write", "key": 1, "value": 1},
    "naive-raft": {"type": "write", "key": 1, "value": 1},
    "naive-zab": {"type": "write", "key": 1, "value": 1},
    "naive-lock": {"type": "acquire", "key": 1, "client": 1, "seq": 1},
    "naive-cache": {"type": "put", "key": 1, "value": 1},
}


@ALL
def test_a_node_says_how_it_stands(program: str) -> None:
    network = Network(program)
    status = network.done("n1", type="status")
    assert (status["type"], status["name"], status["program"]) == ("status_ok", "n1", program)
    assert status["leading"] is False
    assert network.logs[0] == "n1 starts with nothing"


@ALL
@pytest.mark.parametrize("message", [7, None, [], {}, {"body": 1}, {"body": {}}, {"body": {"type": []}}])
def test_whatever_a_client_sends_is_answered(program: str, message: object) -> None:
    reply = Network(program).raw("n1", message)
    assert reply is not None
    assert reply["code"] == codes.MALFORMED


@ALL
def test_what_the_program_does_not_do_is_refused_with_what_it_does(program: str) -> None:
    network = Network(program)
    for body in ({"type": "transfer_leadership"}, {"type": "open"}, {"type": "holder", "key": 1}):
        reply = network.done("n1", **body)
        assert reply["code"] == codes.NOT_SUPPORTED
        assert program in reply["text"]
    unknown = network.done("n1", type="frobnicate")
    assert unknown["code"] == codes.NOT_SUPPORTED


@ALL
def test_a_node_that_waits_for_too_much_refuses_more(program: str) -> None:
    network = Network(program, requests_max=1)
    network.isolate("n1")
    network.nodes["n1"].ask(["n2"], {"type": "nothing"}, then=lambda answers: None)
    assert network.done("n1", **WANTED[program])["code"] == codes.TEMPORARILY_UNAVAILABLE


@ALL
@pytest.mark.parametrize("message", [7, None, {}, {"round": "1", "question": {}}, {"round": 1, "answer": []}])
def test_what_a_peer_may_not_say_is_told_in_a_sentence(program: str, message: object) -> None:
    with pytest.raises(ValueError, match="it must be"):
        load_program(program).decode(message)


@ALL
def test_an_answer_that_nobody_waits_for_is_passed_over(program: str) -> None:
    network = Network(program)
    effects = network.nodes["n1"].on_peer("n2", {"round": 99, "answer": {"vote": True}}, network.now_ns)
    assert (effects.send, effects.replies) == ([], [])


def test_a_round_ends_once_with_all_answers_or_with_enough_or_with_those_that_came_in_time() -> None:
    network = Network("naive-zab")
    node = network.nodes["n1"]
    ends: list[list[str]] = []

    def ask(enough: object = None) -> None:
        node.ask(["n2", "n3"], {"type": "vote"}, then=lambda answers: ends.append([*answers]), enough=enough)
        network.absorb("n1", node._take_effects())

    ask()
    network.run()
    ask(enough=bool)
    network.run()
    network.isolate("n3")
    ask()
    network.run()
    assert ends == [["n2", "n3"], ["n2"]]
    network.pass_ms(299)
    assert len(ends) == 2
    network.pass_ms(1)
    assert ends == [["n2", "n3"], ["n2"], ["n2"]]
    network.pass_ms(1_000)
    assert len(ends) == 3


def test_the_second_answer_of_a_node_does_not_count() -> None:
    network = Network("naive-paxos", 5)
    network.ask("n1", type="write", key="x", value=1)
    network.deliver("n1", "n2")
    network.waiting += [message for message in network.waiting if message[:2] == ("n2", "n1")]
    network.deliver("n2", "n1")
    network.deliver("n2", "n1")
    assert [kind for _, _, kind in network.questions()] == ["prepare"] * 3, "two of five are no majority"


@pytest.mark.parametrize(
    "answer", [{}, {"vote": 1}, {"vote": True, "accepted": ["a", 1], "value": 1}, {"free": 1}]
)
def test_an_answer_that_makes_no_sense_counts_as_none(answer: dict[str, object]) -> None:
    for program in ("naive-paxos", "naive-lock"):
        network = Network(program)
        lock = {"key": "x", "owner": 5, "until": 0}
        network.nodes["n1"].on_question({"type": "acquire", **lock}, lambda _: None)
        connection = network.ask("n1", **{**WANTED[program], "key": "x"})
        asked = [message["round"] for _, _, message in network.waiting]
        network.waiting.clear()
        for peer in ("n2", "n3"):
            effects = network.nodes["n1"].on_peer(peer, {"round": asked[0], "answer": answer}, network.now_ns)
            network.absorb("n1", effects)
        assert network.reply(connection) is None
        network.pass_ms(300)
        refused = network.reply(connection)
        assert refused is not None
        assert refused["type"] == "error"


def test_news_is_not_answered() -> None:
    node = Network("naive-lock").nodes["n1"]
    news = {"round": 0, "question": {"type": "acquire", "key": 1, "owner": 1}}
    assert node.on_peer("n2", news, 0).send == []


def test_knobs_that_make_no_sense_are_refused() -> None:
    assert NaiveKnobs().checked() == NaiveKnobs()
    with pytest.raises(ValueError, match="the knob patience_ms is 0"):
        NaiveKnobs(patience_ms=0).checked()


def test_the_programs_import_the_standard_library_and_the_node_alone_and_do_no_io() -> None:
    allowed = ("foreshock.targets.naive.node", "foreshock.targets.reference.node")
    forbidden = {"asyncio", "time", "random", "secrets", "socket", "os", "threading", "pathlib", "signal"}
    wrong = []
    for path in Path(naive.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            wrong += [
                f"{path.name}: {name}"
                for name in names
                if name.split(".")[0] in forbidden
                or not (name.startswith(allowed) or name.split(".")[0] in sys.stdlib_module_names)
            ]
    assert wrong == []


def test_each_program_is_small_enough_to_read() -> None:
    lengths = {p.name: len(p.read_text().splitlines()) for p in Path(naive.__file__).parent.glob("*.py")}
    lengths.pop("common.py")
    assert max(lengths.values()) <= 140, lengths
