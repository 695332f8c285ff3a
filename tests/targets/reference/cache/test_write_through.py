"""The write-through mode: writes that nodes pass on are done once, and copies are taken back after them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreshock.targets.reference.bugs.cache import WriteBehindLostOnCrash
from foreshock.targets.reference.node.cache.messages import Store, Stored, StoreRefused

MakeNodes = Callable[..., Any]


@pytest.fixture
def nodes(make_nodes: MakeNodes) -> Any:
    found = make_nodes("write-through", ttl_ms=2_000, invalidation_wait_ms=300)
    found.ask("n2", type="put", key="k", value="old")
    return found


def test_a_write_through_a_node_is_in_the_database_and_in_the_node_s_copy(nodes: Any) -> None:
    assert nodes.ask("n1", type="read", key="k")["value"] == "old"
    got = nodes.ask("n2", type="get", key="k")
    assert (got["value"], got["hit"]) == ("old", True)


def test_a_write_takes_back_every_other_copy_before_it_is_answered(nodes: Any) -> None:
    nodes.ask("n3", type="get", key="k")
    assert nodes.ask("n2", type="put", key="k", value="new")["version"] == 2
    assert nodes.ask("n3", type="get", key="k")["value"] == "new"
    assert nodes.ask("n2", type="get", key="k")["hit"] is True


def test_a_node_that_is_cut_off_delays_a_write_for_a_while_and_serves_its_copy_until_it_runs_out(
    nodes: Any,
) -> None:
    nodes.ask("n3", type="get", key="k")
    nodes.cut = {"n3"}
    put = nodes.send("n2", type="put", key="k", value="new")
    nodes.pass_ms(290)
    assert nodes.waits(put)
    nodes.pass_ms(80)
    assert nodes.reply(put)["type"] == "put_ok"
    assert nodes.ask("n3", type="get", key="k")["value"] == "old"
    nodes.cut = set()
    nodes.pass_ms(100)
    assert nodes.ask("n3", type="get", key="k")["value"] == "new", "the origin goes on asking for the copy"


def test_a_copy_runs_out_where_no_recall_gets_through(nodes: Any) -> None:
    nodes.ask("n3", type="get", key="k")
    nodes.cut = {"n3"}
    nodes.send("n2", type="put", key="k", value="new")
    nodes.pass_ms(2_005)
    late = nodes.send("n3", type="get", key="k")
    nodes.settle()
    assert nodes.waits(late)


def test_a_client_that_has_seen_more_than_the_copy_gets_what_the_origin_has(nodes: Any) -> None:
    nodes.ask("n3", type="get", key="k")
    nodes.cut = {"n3"}
    nodes.send("n2", type="put", key="k", value="new")
    nodes.pass_ms(400)
    nodes.cut = set()
    got = nodes.ask("n3", type="get", key="k", need=2)
    assert (got["value"], got["hit"]) == ("new", False)


def test_a_write_that_is_said_many_times_is_done_once(nodes: Any) -> None:
    nodes.hold = True
    put = nodes.send("n2", type="put", key="k", value="mine")
    (store,) = [message for message in nodes.held if isinstance(message[2], Store)]
    nodes.hold = False
    nodes.settle()
    assert nodes.reply(put)["version"] == 2
    nodes.ask("n3", type="put", key="k", value="theirs")
    for _ in range(3):
        nodes.deliver_one(store)
        nodes.settle()
    assert nodes.ask("n1", type="read", key="k")["value"] == "theirs"
    assert nodes.ask("n1", type="status")["writes"] == 3


def test_a_late_copy_of_a_write_from_a_life_that_is_over_is_not_done(nodes: Any) -> None:
    nodes.hold = True
    nodes.send("n2", type="put", key="k", value="before")
    (store,) = [message for message in nodes.held if isinstance(message[2], Store)]
    nodes.hold = False
    nodes.settle()
    nodes.start("n2")
    nodes.ask("n2", type="put", key="k", value="after")
    nodes.deliver_one(store)
    nodes.settle()
    assert nodes.ask("n1", type="read", key="k")["value"] == "after"


def test_a_write_whose_answer_is_lost_is_answered_when_it_is_said_again(nodes: Any) -> None:
    nodes.hold = True
    put = nodes.send("n2", type="put", key="unheld", value="new")
    nodes.deliver()
    nodes.settle()
    nodes.held = [message for message in nodes.held if not isinstance(message[2], Stored)]
    nodes.hold = False
    nodes.settle()
    assert nodes.waits(put)
    nodes.pass_ms(70)
    assert nodes.reply(put) == {"type": "put_ok", "version": 2, "in_reply_to": None}


def test_nobody_knows_what_became_of_a_write_when_the_origin_starts_anew_meanwhile(nodes: Any) -> None:
    nodes.cut = {"n1"}
    put = nodes.send("n2", type="put", key="k", value="new")
    nodes.start("n1")
    nodes.settle()
    nodes.cut = set()
    nodes.pass_ms(70)
    assert nodes.reply(put)["code"] == 13
    assert nodes.ask("n2", type="put", key="k", value="newer")["type"] == "put_ok"


def test_a_write_that_gets_no_answer_ends_as_a_time_out(nodes: Any) -> None:
    nodes.cut = {"n1"}
    put = nodes.send("n2", type="delete", key="k")
    nodes.pass_ms(5_100)
    assert nodes.reply(put)["code"] == 0


def test_a_busy_origin_is_asked_again(nodes: Any) -> None:
    nodes.hold = True
    put = nodes.send("n2", type="put", key="k", value="new")
    (store,) = [message for message in nodes.held if isinstance(message[2], Store)]
    nodes.held = [("n1", "n2", StoreRefused(store[2].number, store[2].epoch, busy=True))]
    nodes.hold = False
    nodes.settle()
    assert nodes.waits(put)
    nodes.pass_ms(70)
    assert nodes.reply(put)["type"] == "put_ok"


def test_a_client_that_hangs_up_leaves_its_write_to_be_done(nodes: Any) -> None:
    nodes.hold = True
    put = nodes.send("n2", type="put", key="k", value="new")
    get = nodes.send("n2", type="get", key="j")
    nodes.close("n2", put)
    nodes.close("n2", get)
    nodes.hold = False
    nodes.settle()
    assert nodes.waits(put)
    assert nodes.waits(get)
    assert nodes.ask("n1", type="read", key="k")["value"] == "new"


def test_a_write_behind_is_lost_with_its_node(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("write-through", bug=WriteBehindLostOnCrash)
    assert nodes.ask("n2", type="put", key="k", value=1)["type"] == "put_ok"
    nodes.pass_ms(505)
    assert nodes.ask("n1", type="read", key="k")["value"] == 1
    assert nodes.ask("n2", type="put", key="k", value=2)["type"] == "put_ok"
    assert nodes.ask("n2", type="get", key="k")["value"] == 2
    nodes.start("n2")
    assert nodes.ask("n2", type="get", key="k")["value"] == 1


def test_a_write_behind_is_seen_here_until_the_origin_has_it(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("write-through", bug=WriteBehindLostOnCrash, entries_max=1)
    nodes.ask("n2", type="put", key="k", value="first")
    nodes.hold = True
    nodes.pass_ms(505)
    assert nodes.ask("n2", type="put", key="j", value="pushes the copy out")["type"] == "put_ok"
    assert nodes.ask("n2", type="get", key="k")["value"] == "first"
    assert nodes.ask("n2", type="put", key="k", value="second")["type"] == "put_ok"
    nodes.hold = False
    nodes.settle()
    assert nodes.ask("n1", type="read", key="k")["value"] == "first"
    assert nodes.ask("n2", type="get", key="k")["value"] == "second"
    nodes.pass_ms(1_100)
    assert nodes.ask("n1", type="read", key="k")["value"] == "second"
    assert nodes.ask("n2", type="delete", key="k")["type"] == "delete_ok"
    assert nodes.ask("n2", type="get", key="k")["value"] is None


def test_copies_without_a_time_to_live_need_an_origin_that_never_forgets(make_nodes: MakeNodes) -> None:
    with pytest.raises(ValueError, match="ttl_ms"):
        make_nodes("write-through", ttl_ms=0)
