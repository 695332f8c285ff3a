"""Nodes for Maelstrom, for real, and the services that the harness offers them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.commands import foreshock, hunt

from foreshock.harness.errors import Definite, Indefinite, UsageError
from foreshock.harness.randomness import RandomStream
from foreshock.targets.external.maelstrom import Maelstrom, MaelstromOptions, _expected
from foreshock.targets.external.maelstrom_services import Answer, services

NODE = str(Path(__file__).parents[3] / "examples" / "maelstrom_node.py")
FORWARDING = '''#!/usr/bin/env python3
"""Answers no client that is connected to another node: passes its request on as it is, and the last node answers."""
import json, sys
store = {}
for line in sys.stdin:
    message = json.loads(line)
    body = message["body"]
    if body["type"] == "init":
        own, last = body["node_id"], body["node_ids"][-1]
        dest, answer = message["src"], {"type": "init_ok"}
    elif own != last:
        print(json.dumps({**message, "dest": last}), flush=True)
        continue
    else:
        dest, key = message["src"], body["key"]
        answer = {"type": body["type"] + "_ok"}
        if body["type"] == "write":
            store[key] = body["value"]
        elif key not in store:
            answer = {"type": "error", "code": 20}
        elif body["type"] == "read":
            answer["value"] = store[key]
        elif store[key] != body["from"]:
            answer = {"type": "error", "code": 22}
        else:
            store[key] = body["to"]
    answer["in_reply_to"] = body["msg_id"]
    print(json.dumps({"src": own, "dest": dest, "body": answer}), flush=True)
'''


def outcome(store: Path, *words: str) -> dict[str, Any]:
    """What ``foreshock test`` says of a test of a node as processes."""
    command = ["test", "--target", "maelstrom", "--workload", "register", "--backend", "process", "--json"]
    return foreshock(*command, "--store", str(store), "--time-limit", "2", "--seed", "1", *words).document


def convicted(store: Path, *words: str) -> dict[str, Any]:
    """The first of such tests in which somebody read what was over."""
    return hunt(lambda seed: outcome(store / str(seed), *words, "--seed", str(seed)), "linearizable")


@pytest.mark.slow
def test_what_is_linearizable_is_valid_under_faults_and_what_is_not_is_convicted(tmp_path: Path) -> None:
    forwarding = tmp_path / "forwarding.py"
    forwarding.write_text(FORWARDING)
    example = ("-o", f"bin={NODE}")
    right = {
        "faults": (*example, "--nemesis", "partition,pause", "--interval", "1", "--time-limit", "4"),
        "lin-kv": (*example, "-o", "args=lin-kv"),
        "forwarding": ("-o", f"bin={forwarding}"),
    }
    wrong = {"local": (*example, "-o", "args=--local"), "seq-kv": (*example, "-o", "args=seq-kv")}
    with ThreadPoolExecutor(3) as pool:
        started = {name: pool.submit(outcome, tmp_path / name, *words) for name, words in right.items()}
        started |= {name: pool.submit(convicted, tmp_path / name, *words) for name, words in wrong.items()}
        results = {name: each.result() for name, each in started.items()}
    assert [result["harness_errors"] for result in results.values()] == [[]] * len(results)
    assert {name: result["verdict"] for name, result in results.items()} == {
        "faults": "valid",
        "lin-kv": "valid",
        "forwarding": "valid",
        "local": "invalid",
        "seq-kv": "invalid",
    }
    assert results["forwarding"]["operations"]["info"] == 0
    assert all(result["operations"]["ok"] > 50 for result in results.values())


@pytest.mark.slow
def test_a_program_that_is_no_node_is_said_with_the_end_of_its_log(tmp_path: Path) -> None:
    programs = {
        "#!/bin/sh\nexit 3\n": "the node ended with 3",
        "#!/bin/sh\necho hello\nexec cat\n": "the node wrote to stdout what is no message",
        "no program\n": "the node cannot be run",
    }
    with ThreadPoolExecutor(len(programs)) as pool:
        started = []
        for number, text in enumerate(programs):
            program = tmp_path / f"node{number}"
            program.write_text(text)
            words = ("-o", f"bin={program}", "--nodes", "1", "--ready-timeout", "20")
            started.append(pool.submit(outcome, tmp_path / f"store{number}", *words))
    for each, found in zip(started, programs.values(), strict=True):
        result = each.result()
        assert result["exit"] == 3
        assert found in json.dumps(result["harness_errors"])


def test_a_program_that_is_not_there_is_said_before_anything_is_deployed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not know which program a node is: say -o bin=PATH"):
        Maelstrom(MaelstromOptions(), seed=1)
    with pytest.raises(UsageError, match="'nowhere/node' of a node cannot be read: No such file"):
        Maelstrom(MaelstromOptions(bin="nowhere/node"), seed=1)


def test_only_errors_that_maelstrom_calls_definite_are() -> None:
    def ends(code: int) -> type[Exception]:
        with pytest.raises((Definite, Indefinite)) as caught:
            _expected({"type": "error", "code": code}, "write_ok")
        return caught.type

    assert {code for code in range(1_100) if ends(code) is Definite} == {1, 10, 11, 12, 14, 20, 21, 22, 30}
    with pytest.raises(Indefinite, match="the answer was not write_ok"):
        _expected({"type": "read_ok"}, "write_ok")


def answers() -> dict[str, Answer]:
    return services(RandomStream(1, "services"))


@pytest.mark.parametrize("name", ["lin-kv", "seq-kv"])
def test_the_stores_answer_as_maelstroms_do(name: str) -> None:
    ask = answers()[name]
    assert ask("n1", {"type": "read", "key": 1})["code"] == 20
    assert ask("n1", {"type": "cas", "key": 1, "from": 1, "to": 2})["code"] == 20
    assert (
        ask("n1", {"type": "cas", "key": 1, "from": 0, "to": 2, "create_if_not_exists": True})["type"]
        == "cas_ok"
    )
    assert ask("n1", {"type": "cas", "key": 1, "from": 3, "to": 4})["code"] == 22
    assert ask("n1", {"type": "cas", "key": 1, "from": 2, "to": [3]})["type"] == "cas_ok"
    assert ask("n1", {"type": "write", "key": "1", "value": 5}) == {"type": "write_ok"}
    assert ask("n1", {"type": "read", "key": 1}) == {"type": "read_ok", "value": [3]}
    assert ask("n1", {"type": "merge"})["code"] == 10


def test_a_sequential_store_shows_the_past_to_others_and_never_goes_back() -> None:
    ask = answers()["seq-kv"]
    seen = []
    for value in range(20):
        ask("n1", {"type": "write", "key": "x", "value": value})
        assert ask("n1", {"type": "read", "key": "x"})["value"] == value
        seen.append(ask("n2", {"type": "read", "key": "x"}).get("value", -1))
    assert seen == sorted(seen)
    assert seen != list(range(20))


def test_timestamps_only_grow() -> None:
    ask = answers()["lin-tso"]
    assert [ask("n1", {"type": "ts"})["ts"] for _ in range(3)] == [0, 1, 2]
    assert ask("n1", {"type": "read", "key": 1})["code"] == 10
