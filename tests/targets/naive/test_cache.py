"""The naive cache: all copies are written, the first one found is read, and nobody knows which one is new."""

from __future__ import annotations

from tests.targets.naive.network import Network


def get(network: Network, node: str) -> object:
    reply = network.done(node, type="get", key="x")
    assert reply["type"] == "get_ok"
    return reply["value"]


def test_a_put_is_at_every_node_and_a_delete_takes_it_from_all() -> None:
    network = Network("naive-cache")
    assert get(network, "n1") is None
    assert network.done("n1", type="put", key="x", value=1) == {"type": "put_ok"}
    assert [get(network, name) for name in network.names] == [1, 1, 1]
    assert network.done("n2", type="delete", key="x") == {"type": "delete_ok"}
    assert [get(network, name) for name in network.names] == [None, None, None]


def test_a_node_without_a_copy_takes_the_first_that_it_finds_and_keeps_it() -> None:
    network = Network("naive-cache")
    network.done("n1", type="put", key="x", value=1)
    network.start("n3")
    assert get(network, "n3") == 1
    network.isolate("n3")
    assert get(network, "n3") == 1


def test_a_put_is_done_though_a_node_missed_it_and_that_node_hands_out_the_old_value_for_ever() -> None:
    network = Network("naive-cache")
    network.done("n1", type="put", key="x", value=1)
    network.isolate("n3")
    assert network.done("n1", type="put", key="x", value=2) == {"type": "put_ok"}
    assert "n1 calls a put done that n3 did not answer" in network.logs
    network.cut.clear()
    network.pass_ms(60_000)
    assert [get(network, name) for name in network.names] == [2, 2, 1]


def test_a_deleted_value_comes_back_from_the_node_that_missed_the_delete() -> None:
    network = Network("naive-cache")
    network.done("n1", type="put", key="x", value=1)
    network.isolate("n3")
    network.done("n1", type="delete", key="x")
    network.cut.clear()
    assert get(network, "n1") == 1


def test_two_puts_at_once_leave_the_nodes_at_odds() -> None:
    network = Network("naive-cache")
    network.ask("n1", type="put", key="x", value=1)
    network.ask("n3", type="put", key="x", value=3)
    network.run()
    assert [get(network, name) for name in network.names] == [3, 3, 1]


def test_while_a_put_is_under_way_the_new_value_is_seen_and_then_the_old_one() -> None:
    network = Network("naive-cache")
    network.done("n1", type="put", key="x", value=1)
    network.ask("n1", type="put", key="x", value=2)
    held, network.waiting = network.waiting, []
    assert [get(network, "n1"), get(network, "n2")] == [2, 1]
    network.waiting = held
    network.run()
    assert get(network, "n2") == 2


def test_questions_that_make_no_sense_are_passed_over() -> None:
    node = Network("naive-cache").nodes["n1"]
    for question in ({"type": "put", "key": {}, "value": 1}, {"type": "put", "key": 1}, {}):
        assert node.on_peer("n2", {"round": 1, "question": question}, 0).send == []
