"""The linearizable mode: no write passes while somebody may read a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from foreshock.targets.reference.bugs.cache import InvalidationLostInPartition, LeaseIgnoresDrift
from foreshock.targets.reference.node.cache.grants import Grants
from foreshock.targets.reference.node.cache.messages import Fetched, Recall

MakeNodes = Callable[..., Any]


@pytest.fixture
def nodes(make_nodes: MakeNodes) -> Any:
    found = make_nodes("linearizable", lease_ms=1_000)
    found.ask("n1", type="put", key="k", value="old")
    return found


def test_a_copy_is_read_without_the_origin_until_its_lease_runs_out(nodes: Any) -> None:
    assert nodes.ask("n2", type="get", key="k")["hit"] is False
    nodes.cut = {"n1"}
    assert nodes.ask("n2", type="get", key="k") == {
        "type": "get_ok",
        "value": "old",
        "version": 1,
        "as_of": 1,
        "hit": True,
        "in_reply_to": None,
    }
    nodes.pass_ms(1_000)
    late = nodes.send("n2", type="get", key="k")
    nodes.settle()
    assert nodes.waits(late)
    nodes.pass_ms(5_100)
    assert nodes.reply(late)["code"] == 11


def test_a_write_waits_until_the_holder_has_dropped_its_copy(nodes: Any) -> None:
    nodes.ask("n2", type="get", key="k")
    nodes.hold = True
    put = nodes.send("n1", type="put", key="k", value="new")
    nodes.settle()
    assert nodes.waits(put)
    assert nodes.ask("n1", type="read", key="k")["value"] == "old"
    assert nodes.ask("n2", type="get", key="k")["value"] == "old"
    nodes.hold = False
    nodes.settle()
    assert nodes.reply(put)["type"] == "put_ok"
    assert nodes.ask("n2", type="get", key="k")["value"] == "new"


def test_a_write_waits_for_a_holder_that_is_cut_off_until_its_lease_and_the_margin_have_run_out(
    nodes: Any,
) -> None:
    nodes.ask("n2", type="get", key="k")
    nodes.cut = {"n2"}
    put = nodes.send("n1", type="put", key="k", value="new")
    nodes.pass_ms(1_190)
    assert nodes.waits(put)
    nodes.pass_ms(20)
    assert nodes.reply(put)["type"] == "put_ok"


@pytest.mark.parametrize(("origin", "holder"), [(108, 92), (92, 108), (100, 100), (109, 100), (100, 91)])
def test_clocks_that_differ_by_less_than_the_margin_never_let_a_copy_be_read_after_the_write(
    nodes: Any, origin: int, holder: int
) -> None:
    nodes.rates = {"n1": origin, "n2": holder, "n3": 100}
    assert read_after_the_write(nodes) is False


@pytest.mark.parametrize("bug", [LeaseIgnoresDrift, InvalidationLostInPartition])
def test_the_planted_bugs_let_a_copy_be_read_after_the_write(make_nodes: MakeNodes, bug: type[Any]) -> None:
    nodes = make_nodes("linearizable", lease_ms=1_000, bug=bug)
    nodes.ask("n1", type="put", key="k", value="old")
    nodes.rates = {"n1": 108, "n2": 92, "n3": 100}
    assert read_after_the_write(nodes) is True


def read_after_the_write(nodes: Any) -> bool:
    """Whether the holder, which is cut off, still serves the old value once the write is done."""
    nodes.ask("n2", type="get", key="k")
    nodes.cut = {"n2"}
    put = nodes.send("n1", type="put", key="k", value="new")
    for _ in range(400):
        nodes.pass_ms(5)
        if not nodes.waits(put):
            get = nodes.send("n2", type="get", key="k")
            nodes.settle()
            return not nodes.waits(get)
    raise AssertionError("the write was never done")


def test_no_lease_is_granted_while_a_write_waits(nodes: Any) -> None:
    nodes.ask("n2", type="get", key="k")
    nodes.cut = {"n2"}
    put = nodes.send("n1", type="put", key="k", value="new")
    nodes.settle()
    assert nodes.ask("n3", type="get", key="k")["value"] == "old"
    assert nodes.ask("n3", type="get", key="k")["hit"] is False
    nodes.pass_ms(1_250)
    assert nodes.reply(put)["type"] == "put_ok"
    assert nodes.ask("n3", type="get", key="k")["value"] == "new"
    assert nodes.ask("n3", type="get", key="k")["hit"] is True


def test_writes_that_queue_up_behind_a_lease_are_done_in_their_order(nodes: Any) -> None:
    nodes.ask("n2", type="get", key="k")
    nodes.hold = True
    puts = [nodes.send("n1", type="put", key="k", value=value) for value in (1, 2, 3)]
    nodes.hold = False
    nodes.settle()
    assert [nodes.reply(put)["version"] for put in puts] == [2, 3, 4]
    assert nodes.ask("n2", type="get", key="k")["value"] == 3


def test_an_answer_that_a_recall_has_overtaken_is_for_those_who_waited_and_is_not_kept(nodes: Any) -> None:
    nodes.hold = True
    early = nodes.send("n2", type="get", key="k")
    nodes.deliver()
    (answer,) = [message for message in nodes.held if isinstance(message[2], Fetched)]
    nodes.held.remove(answer)
    put = nodes.send("n1", type="put", key="k", value="new")
    (recall,) = [message for message in nodes.held if isinstance(message[2], Recall)]
    nodes.held.remove(recall)
    nodes.deliver_one(recall)
    nodes.hold = False
    nodes.settle()
    assert nodes.reply(put)["type"] == "put_ok"
    nodes.hold = True
    late = nodes.send("n2", type="get", key="k")
    nodes.deliver_one(answer)
    assert nodes.reply(early)["value"] == "old"  # it was read while the get was under way
    assert nodes.waits(late)
    nodes.hold = False
    nodes.settle()
    assert nodes.reply(late)["value"] == "new"


def test_a_fetch_that_is_repeated_after_its_copy_was_dropped_does_no_harm(nodes: Any) -> None:
    nodes.hold = True
    nodes.send("n2", type="get", key="k")
    (fetch,) = nodes.held
    nodes.hold = False
    nodes.settle()
    nodes.ask("n1", type="put", key="k", value="new")
    nodes.deliver_one(fetch)
    nodes.settle()
    assert nodes.ask("n2", type="get", key="k")["value"] == "new"


def test_an_origin_that_starts_anew_waits_for_the_longest_lease_of_its_earlier_lives(nodes: Any) -> None:
    nodes.ask("n2", type="get", key="k")
    nodes.knobs = nodes.knobs._replace(lease_ms=100)
    nodes.start("n1")
    nodes.settle()
    nodes.cut = {"n2"}
    put = nodes.send("n1", type="put", key="k", value="new")
    nodes.settle()
    assert nodes.ask("n2", type="get", key="k")["value"] == "old"
    nodes.pass_ms(1_190)
    assert nodes.waits(put)
    nodes.pass_ms(20)
    assert nodes.reply(put)["type"] == "put_ok"


def test_the_origin_keeps_account_of_so_many_copies_and_no_more() -> None:
    grants = Grants(margin_percent=20, grants_max=2)
    assert grants.grant("a", "n2", 1_000, 0)
    assert grants.grant("b", "n2", 1_000, 0)
    assert not grants.grant("c", "n2", 1_000, 500)
    assert grants.grant("a", "n2", 1_000, 500), "a lease may be renewed when there is no room for another"
    assert grants.grant("c", "n2", 1_000, 2_000_000_000), "those that have run out make room"
    assert grants.take("a", 2_000_000_000) == {}
    assert set(grants.take("c", 2_000_000_000)) == {"n2"}
    assert len(grants) == 0


def test_a_copy_that_is_gone_is_still_recalled_once(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("linearizable", entries_max=1)
    for key in ("a", "b"):
        nodes.ask("n1", type="put", key=key, value=1)
        nodes.ask("n2", type="get", key=key)
    assert nodes.programs["n2"].on_tick(nodes.now("n2")).send == []
    assert nodes.ask("n1", type="put", key="a", value=2)["type"] == "put_ok"
    assert nodes.ask("n2", type="get", key="a")["value"] == 2


def test_absence_is_cached_for_its_own_time_and_not_at_all_when_that_is_0(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("linearizable", negative_ttl_ms=100, lease_ms=1_000)
    nodes.ask("n2", type="get", key="nothing")
    assert nodes.ask("n2", type="get", key="nothing")["hit"] is True
    nodes.pass_ms(105)
    assert nodes.ask("n2", type="get", key="nothing")["hit"] is False
    nodes = make_nodes("linearizable", negative_ttl_ms=0)
    nodes.ask("n2", type="get", key="nothing")
    assert nodes.ask("n2", type="get", key="nothing")["hit"] is False


def test_a_stampede_costs_the_origin_one_read(make_nodes: MakeNodes) -> None:
    for protected, reads in ((True, 1), (False, 20)):
        nodes = make_nodes("linearizable", stampede_protection=protected)
        gets = [nodes.send("n2", type="get", key="k") for _ in range(20)]
        nodes.settle()
        assert all(nodes.reply(get)["value"] is None for get in gets)
        assert nodes.ask("n1", type="status")["reads"] == reads
