"""The modes in which clients fill: stale sets, stampedes, and how old a copy is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreshock.targets.reference.bugs.cache import StaleSetAfterInvalidation
from foreshock.targets.reference.node.cache import fills

MakeNodes = Callable[..., Any]


def look_up(nodes: Any, key: str = "k") -> dict[str, Any]:
    reply: dict[str, Any] = nodes.ask("n2", type="lookup", key=key)
    return reply


def fill(nodes: Any, ticket: Any, value: Any, version: int = 1, key: str = "k") -> bool:
    reply = nodes.ask("n2", type="fill", key=key, ticket=ticket, version=version, as_of=version, value=value)
    return bool(reply["kept"])


@pytest.mark.parametrize("mode", ["aside", "leases"])
def test_a_key_is_missed_filled_and_found(make_nodes: MakeNodes, mode: str) -> None:
    nodes = make_nodes(mode)
    missed = look_up(nodes)
    assert missed["hit"] is False
    assert fill(nodes, missed["ticket"], "v")
    found = look_up(nodes)
    assert (found["hit"], found["value"], found["version"]) == (True, "v", 1)


@pytest.mark.parametrize(
    ("mode", "bug", "stale"),
    [("leases", None, False), ("aside", None, True), ("leases", StaleSetAfterInvalidation, True)],
)
def test_a_fill_that_comes_after_an_invalidation_is_refused_where_there_are_leases(
    make_nodes: MakeNodes, mode: str, bug: type[Any] | None, stale: bool
) -> None:
    nodes = make_nodes(mode, bug=bug)
    ticket = look_up(nodes)["ticket"]
    nodes.ask("n2", type="invalidate", key="k")
    assert fill(nodes, ticket, "old") is stale
    assert look_up(nodes)["hit"] is stale


def test_a_lease_is_voided_by_the_next_one(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("leases", fill_wait_ms=100)
    slow = look_up(nodes)["ticket"]
    waiting = nodes.send("n2", type="lookup", key="k")
    nodes.settle()
    assert nodes.waits(waiting)
    nodes.pass_ms(105)
    heir = nodes.reply(waiting)["ticket"]
    assert not fill(nodes, slow, "old")
    assert fill(nodes, heir, "new")


def test_a_lease_of_an_earlier_life_is_worth_nothing(make_nodes: MakeNodes) -> None:
    for mode in ("aside", "leases"):
        nodes = make_nodes(mode)
        ticket = look_up(nodes)["ticket"]
        nodes.start("n2")
        look_up(nodes)
        assert not fill(nodes, ticket, "old")


@pytest.mark.parametrize("mode", ["aside", "leases"])
def test_a_copy_is_as_old_as_its_ticket_however_late_the_fill(make_nodes: MakeNodes, mode: str) -> None:
    nodes = make_nodes(mode, ttl_ms=1_000)
    ticket = look_up(nodes)["ticket"]
    nodes.pass_ms(150)
    assert fill(nodes, ticket, "v")
    nodes.pass_ms(845)
    assert look_up(nodes)["hit"] is True
    nodes.pass_ms(5)
    assert look_up(nodes)["hit"] is False


def test_a_fill_that_comes_when_its_copy_would_have_run_out_is_not_kept(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("aside", ttl_ms=100, fill_wait_ms=5_000)
    ticket = look_up(nodes)["ticket"]
    waiting = nodes.send("n2", type="lookup", key="k")
    nodes.pass_ms(100)
    assert not fill(nodes, ticket, "v")
    assert nodes.reply(waiting)["hit"] is False, "who waited is sent to the origin"


def test_a_copy_that_has_run_out_goes_with_the_miss_so_that_it_can_be_confirmed(
    make_nodes: MakeNodes,
) -> None:
    nodes = make_nodes("aside", ttl_ms=100)
    fill(nodes, look_up(nodes)["ticket"], "v", version=7)
    nodes.pass_ms(105)
    missed = look_up(nodes)
    assert (missed["hit"], missed["version"], missed["value"]) == (False, 7, "v")
    nodes.ask("n1", type="put", key="k", value="v")
    assert nodes.ask("n1", type="read", key="k", version=1)["unchanged"] is True


def test_others_wait_for_the_one_who_fills(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("aside")
    ticket = look_up(nodes)["ticket"]
    others = [nodes.send("n2", type="lookup", key="k") for _ in range(10)]
    gone = nodes.send("n2", type="lookup", key="k")
    nodes.close("n2", gone)
    assert nodes.ask("n2", type="status")["waiting"] == 10
    fill(nodes, ticket, "v")
    assert all(nodes.reply(other)["value"] == "v" for other in others)
    assert nodes.waits(gone)


def test_without_protection_everybody_may_fill(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("aside", stampede_protection=False)
    tickets = [look_up(nodes)["ticket"] for _ in range(3)]
    assert all(fill(nodes, ticket, "v") for ticket in tickets)


def test_an_invalidation_lets_the_next_in_line_read_anew(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("leases")
    slow = look_up(nodes)["ticket"]
    first, second = (nodes.send("n2", type="lookup", key="k") for _ in range(2))
    nodes.ask("n2", type="invalidate", key="k")
    ticket = nodes.reply(first)["ticket"]
    assert nodes.waits(second)
    assert not fill(nodes, slow, "old")
    assert fill(nodes, ticket, "new")
    assert nodes.reply(second)["value"] == "new"


def test_absence_is_a_copy_like_any_other_unless_its_time_is_0(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("leases", negative_ttl_ms=100)
    assert fill(nodes, look_up(nodes)["ticket"], None)
    assert look_up(nodes) == {
        "type": "lookup_ok",
        "hit": True,
        "value": None,
        "version": 1,
        "as_of": 1,
        "in_reply_to": None,
    }
    nodes.pass_ms(105)
    assert look_up(nodes)["hit"] is False
    nodes = make_nodes("leases", negative_ttl_ms=0)
    assert not fill(nodes, look_up(nodes)["ticket"], None)


def test_no_more_keys_are_being_filled_than_there_is_room_for(
    make_nodes: MakeNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fills, "FILLS_MAX", 2)
    nodes = make_nodes("leases")
    look_up(nodes, "a")
    waiter = nodes.send("n2", type="lookup", key="a")
    assert nodes.waits(waiter)
    for key in ("b", "c"):
        look_up(nodes, key)
    assert nodes.reply(waiter)["code"] == 11
    nodes = make_nodes("leases")
    tickets = {key: look_up(nodes, key)["ticket"] for key in ("a", "b", "c")}
    assert not fill(nodes, tickets["a"], 1, key="a")
    assert fill(nodes, tickets["c"], 1, key="c")


@pytest.mark.parametrize(
    ("mode", "node", "body", "code"),
    [
        ("aside", "n2", {"type": "get", "key": "k"}, 10),
        ("linearizable", "n2", {"type": "lookup", "key": "k"}, 10),
        ("aside", "n1", {"type": "lookup", "key": "k"}, 10),
        ("aside", "n2", {"type": "acquire", "key": "k"}, 10),
        ("aside", "n2", {"type": ["lookup"]}, 12),
        ("aside", "n2", {"type": "lookup"}, 12),
        ("aside", "n2", {"type": "lookup", "key": True}, 12),
        ("aside", "n2", {"type": "lookup", "key": "k" * 2_000}, 12),
        ("aside", "n2", {"type": "fill", "key": "k", "ticket": [1, 2], "version": 1, "as_of": 1}, 12),
        ("aside", "n2", {"type": "fill", "key": "k", "ticket": [1, 2, -3], "version": 1, "as_of": 1}, 12),
        ("aside", "n2", {"type": "fill", "key": "k", "ticket": [1, 2, 3], "version": -1, "as_of": 1}, 12),
        ("aside", "n1", {"type": "put", "key": "k", "value": None}, 12),
        ("aside", "n1", {"type": "read", "key": "k", "version": "1"}, 12),
        ("aside", "n1", {"type": "read", "key": "k", "lease_for": ""}, 12),
        ("linearizable", "n2", {"type": "get", "key": "k", "need": 1 << 63}, 12),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_so(
    make_nodes: MakeNodes, mode: str, node: str, body: dict[str, Any], code: int
) -> None:
    nodes = make_nodes(mode)
    reply = nodes.ask(node, **body)
    assert (reply["type"], reply["code"]) == ("error", code)
    assert reply["text"]


def test_a_value_that_nests_too_deep_is_refused(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("aside")
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    assert nodes.ask("n1", type="put", key="k", value=deep)["code"] == 12
    assert (
        nodes.ask("n1", type="put", key="k", value={"a": [deep[0][0][0][0][0][0][0][0][0][0]]})["version"]
        == 1
    )


@pytest.mark.parametrize("message", [None, 7, [], {"src": "c"}, {"body": []}])
def test_a_message_that_is_none_is_answered_so(make_nodes: MakeNodes, message: Any) -> None:
    nodes = make_nodes("aside")
    for name in ("n1", "n2"):
        ((_, reply),) = nodes.programs[name].on_request(1, message, nodes.now(name)).replies
        assert reply["body"]["code"] == 12
