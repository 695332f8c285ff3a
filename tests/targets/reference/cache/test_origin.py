"""The origin with a database that fails, with too much to do, and with files that it does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreshock.harness.randomness import RandomStream
from foreshock.targets.reference.node.cache import copies, origin
from foreshock.targets.reference.node.cache.database import Begin, Begun, Done, Job, Read, Row
from foreshock.targets.reference.node.cache.grants import Grants, Recalls
from foreshock.targets.reference.node.cache.knobs import CacheKnobs
from foreshock.targets.reference.node.cache.messages import Fetch, Fetched, Store, Stored, StoreRefused
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.effects import Effects, NodeFailure

MakeNodes = Callable[..., Any]
MS = 1_000_000


class FailingDatabase:
    """Answers at the next look; ``down`` says how it fails: ``certain`` or ``doubtful``."""

    def __init__(self, down: str = "") -> None:
        self.down = down
        self.jobs: list[Job] = []
        self._results: list[Done] = []

    def submit(self, number: int, job: Job, sync: int) -> bool:
        self.jobs.append(job)
        if self.down:
            self._results.append(Done(number, None, "it is down", certain=self.down == "certain"))
        elif isinstance(job, Begin):
            self._results.append(Done(number, Begun(1, 0)))
        else:
            value = "v" if isinstance(job, Read) else job.value
            self._results.append(Done(number, Row(len(self.jobs), len(self.jobs), value)))
        return False

    def take(self, synced: int) -> list[Done]:
        results, self._results = self._results, []
        return results


def make_origin(
    database: Any, mode: str = "aside", *, cls: type[origin.Origin] = origin.Origin, requests_max: int = 100
) -> Any:
    return cls(
        "n1",
        database,
        CacheKnobs(mode=mode),
        requests_max=requests_max,
        grants=Grants(margin_percent=20, grants_max=100),
        recalls=Recalls(retry_ns=50 * MS),
    )


def ask(node: Any, now_ns: int = 0, **body: Any) -> dict[str, Any]:
    effects: Effects = node.on_request(1, {"src": "c", "dest": "n1", "body": body}, now_ns)
    ((_, reply),) = effects.replies
    answer: dict[str, Any] = reply["body"]
    return answer


def test_an_origin_without_its_database_serves_nobody_and_tries_again() -> None:
    database = FailingDatabase("certain")
    node = make_origin(database)
    effects = node.on_start(0)
    assert "tries again: it is down" in effects.logs[0]
    assert ask(node, type="status")["serving"] is False
    assert ask(node, type="read", key="k")["code"] == 11
    assert node.on_peer("n2", Fetch(1, "k", None), 0).send == []
    database.down = ""
    node.on_tick(node.deadline_ns)
    assert ask(node, type="status")["serving"] is True
    assert ask(node, type="read", key="k")["value"] == "v"


@pytest.mark.parametrize(("down", "code"), [("certain", 11), ("doubtful", 13)])
@pytest.mark.parametrize(
    ("mode", "cls"),
    [
        ("aside", origin.Origin),
        ("write-through", copies.WriteThroughOrigin),
        ("linearizable", copies.LeasingOrigin),
    ],
)
def test_a_write_that_the_database_did_not_do_is_refused_or_in_doubt(
    mode: str, cls: type[origin.Origin], down: str, code: int
) -> None:
    database = FailingDatabase()
    node = make_origin(database, mode, cls=cls)
    node.on_start(0)
    database.down = down
    assert ask(node, type="put", key="k", value=1)["code"] == code
    assert ask(node, type="read", key="k")["code"] == 11
    database.down = ""
    assert ask(node, type="put", key="k", value=1)["type"] == "put_ok"


def test_a_write_that_a_node_passed_on_is_done_again_only_when_it_certainly_was_not() -> None:
    database = FailingDatabase()
    node = make_origin(database, "write-through", cls=copies.WriteThroughOrigin)
    node.on_start(0)
    database.down = "certain"
    store = Store(9, 1, 1, 1, "k", "v")
    assert node.on_peer("n2", store, 0).send == [("n2", StoreRefused(1, 1, busy=True))]
    database.down = "doubtful"
    assert node.on_peer("n2", store, 0).send == []
    database.down = ""
    assert node.on_peer("n2", store, 0).send == [], "in doubt it must not be done a second time"
    ((_, answer),) = node.on_peer("n2", store._replace(number=2), 0).send
    assert isinstance(answer, Stored)
    assert node.on_peer("n2", Fetch(1, "k", None), 0).send[0][1].value == "v"
    database.down = "certain"
    assert node.on_peer("n2", Fetch(2, "k", None), 0).send == [], "the node asks again"


def test_answers_that_were_heard_are_forgotten() -> None:
    node = make_origin(FailingDatabase(), "write-through", cls=copies.WriteThroughOrigin)
    node.on_start(0)
    for number in range(1, 50):
        node.on_peer("n2", Store(9, number, 1, number, "k", number), 0)
    assert len(node._passed_on["n2"].answers) == 1
    assert node.on_peer("n2", Store(9, 3, 1, 1, "k", "late"), 0).send == []


def test_a_node_that_is_answered_never_cannot_fill_the_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "_WRITES_REMEMBERED_MAX", 3)
    monkeypatch.setattr(origin, "_BOOTS_REMEMBERED", 2)
    node = make_origin(FailingDatabase(), "write-through", cls=copies.WriteThroughOrigin)
    node.on_start(0)
    answers = [node.on_peer("n2", Store(9, number, 1, 1, f"k{number}", 1), 0).send for number in range(1, 6)]
    assert [type(sent[0][1]) for sent in answers] == [Stored] * 3 + [StoreRefused] * 2
    for boot in range(10, 20):
        node.on_peer("n2", Store(boot, 1, 1, 1, "k", 1), 0)
    assert len(node._earlier_boots["n2"]) == 2


def test_an_origin_with_too_much_to_do_says_so(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("linearizable")
    nodes.ask("n2", type="get", key="k")
    nodes.cut = {"n2"}
    nodes.programs["n1"]._requests_max = 3
    puts = [nodes.send("n1", type="put", key="k", value=number) for number in range(5)]
    assert [nodes.waits(put) for put in puts] == [True, True, True, False, False]
    assert nodes.reply(puts[4])["code"] == 11


def test_a_node_with_too_much_to_do_says_so(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("linearizable")
    node = nodes.programs["n2"]
    node._node_knobs = node._node_knobs._replace(requests_max=2)
    nodes.cut = {"n1"}
    gets = [nodes.send("n2", type="get", key="k") for _ in range(3)]
    assert [nodes.waits(get) for get in gets] == [True, True, False]


def test_a_message_of_a_node_that_is_not_the_origin_is_no_news(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("linearizable")
    nodes.ask("n2", type="get", key="k")
    forged = Fetched(1, 9, 9, "forged", False, 10**12)
    assert nodes.programs["n2"].on_peer("n3", forged, 0).replies == []
    assert nodes.ask("n2", type="get", key="k")["value"] is None


def test_a_read_for_a_store_that_cannot_be_asked_back_is_under_a_lease_that_a_write_waits_for(
    make_nodes: MakeNodes,
) -> None:
    nodes = make_nodes("linearizable", lease_ms=300)
    nodes.ask("n1", type="put", key="k", value=1)
    assert nodes.ask("n1", type="read", key="k", lease_for="redis")["term_ms"] == 300
    put = nodes.send("n1", type="put", key="k", value=2)
    assert nodes.ask("n1", type="read", key="k", lease_for="redis")["term_ms"] == 0
    nodes.pass_ms(350)
    assert nodes.waits(put)
    nodes.pass_ms(20)
    assert nodes.reply(put)["type"] == "put_ok"


@pytest.mark.parametrize(
    ("knobs", "words"),
    [
        ({"origin": "n9"}, "no member"),
        ({"database": "sqlite"}, "real directory"),
    ],
)
def test_a_configuration_that_cannot_work_is_refused(
    make_nodes: MakeNodes, knobs: dict[str, Any], words: str
) -> None:
    files = make_nodes("aside").files["n1"]
    program_knobs = CacheKnobs(**{"mode": "aside", "database": "log", **knobs})
    configuration = NodeConfiguration("n1", ("n1", "n2"), "cache", program_knobs)
    with pytest.raises(NodeFailure, match=words):
        build_program(configuration, files, RandomStream(1, "x").bits, 0)


@pytest.mark.parametrize(
    "knobs", [{"mode": "fast"}, {"store": "tape"}, {"database": "oracle"}, {"retry_ms": 0}, {"ttl_ms": -1}]
)
def test_knobs_that_make_no_sense_are_refused_by_name(knobs: dict[str, Any]) -> None:
    (name,) = knobs
    with pytest.raises(ValueError, match=name):
        CacheKnobs(**knobs).checked()
