"""The naive lock: a node says "free" to one only, and any node's word is enough."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from tests.targets.naive.network import Network

from foreshock.harness.errors import Definite
from foreshock.harness.randomness import RandomStream
from foreshock.targets.naive.clients import NaiveLockClient
from foreshock.targets.naive.node.common import Answers
from foreshock.targets.naive.node.lock import NaiveLock
from foreshock.targets.reference.client import ClientSettings
from foreshock.targets.reference.node import codes

ANNA, BERT = 11, 22


class AsksAMajority(NaiveLock):
    """The mend."""

    def granted(self, answers: Answers) -> bool:
        return sum(bool(answer["free"]) for answer in answers.values()) >= self.majority


def lock(network: Network, node: str, kind: str, owner: int) -> dict[str, Any]:
    found = network.done(node, type=kind, key="L", client=owner, seq=1)
    network.run()
    return found


def refused(reply: dict[str, Any] | None) -> bool:
    return reply is not None and reply.get("code") == codes.PRECONDITION_FAILED


def granted(reply: dict[str, Any] | None) -> bool:
    return reply is not None and reply.get("granted") is True


def test_a_free_lock_is_granted_and_a_held_one_refused_at_every_node() -> None:
    network = Network("naive-lock")
    assert lock(network, "n1", "acquire", ANNA) == {"type": "acquire_ok", "granted": True, "ttl_ms": 3_000}
    for name in network.names:
        assert refused(lock(network, name, "acquire", BERT))


def test_a_lock_that_was_given_back_is_free_and_only_its_owner_gives_it_back() -> None:
    network = Network("naive-lock")
    lock(network, "n1", "acquire", ANNA)
    lock(network, "n2", "release", BERT)
    assert refused(lock(network, "n3", "acquire", BERT))
    assert lock(network, "n2", "release", ANNA) == {"type": "release_ok"}
    assert granted(lock(network, "n3", "acquire", BERT))


def test_a_lock_is_free_when_its_time_is_up_and_a_renewal_gives_it_more() -> None:
    network = Network("naive-lock")
    lock(network, "n1", "acquire", ANNA)
    network.pass_ms(2_000)
    assert granted(lock(network, "n1", "renew", ANNA))
    network.pass_ms(2_999)
    assert refused(lock(network, "n2", "acquire", BERT))
    network.pass_ms(1)
    assert granted(lock(network, "n2", "acquire", BERT))
    assert refused(lock(network, "n1", "renew", ANNA))


def at_once(network: Network) -> list[dict[str, Any] | None]:
    """Anna asks at n1 and Bert at n3, before either has heard of the other."""
    first = network.ask("n1", type="acquire", key="L", client=ANNA, seq=1)
    second = network.ask("n3", type="acquire", key="L", client=BERT, seq=1)
    network.run()
    network.pass_ms(300)
    return [network.reply(first), network.reply(second)]


def test_two_that_ask_at_once_both_get_the_lock() -> None:
    assert all(granted(reply) for reply in at_once(Network("naive-lock")))


def test_of_two_that_ask_a_majority_at_once_one_gets_the_lock() -> None:
    replies = at_once(Network("naive-lock", node_class=AsksAMajority))
    assert [granted(reply) for reply in replies] == [True, False]
    assert refused(replies[1])


def test_a_node_that_was_cut_off_gives_the_lock_away_a_second_time() -> None:
    network = Network("naive-lock", 5)
    network.isolate("n5")
    assert granted(lock(network, "n1", "acquire", ANNA))
    assert granted(lock(network, "n5", "acquire", BERT))
    assert any(line == "n5 has the lock 'L' for its client: n5 said that it is free" for line in network.logs)


def test_a_node_that_was_started_again_gives_the_lock_away_a_second_time() -> None:
    network = Network("naive-lock")
    lock(network, "n1", "acquire", ANNA)
    network.start("n2")
    assert granted(lock(network, "n3", "acquire", BERT))


def test_questions_that_make_no_sense_are_passed_over() -> None:
    node = Network("naive-lock").nodes["n1"]
    for question in ({"type": "acquire", "key": [1], "owner": 1}, {"type": "release"}, {"type": "vote"}):
        assert node.on_peer("n2", {"round": 1, "question": question}, 0).send == []


def test_a_client_that_holds_nothing_neither_keeps_nor_gives_back_and_need_not_ask_to_know() -> None:
    runtime = SimpleNamespace(random=lambda name: RandomStream(1, name))
    context: Any = SimpleNamespace(runtime=runtime, nodes=(), node=None, identity="c1", timeout_ms=1_000)
    client = NaiveLockClient(context, ClientSettings())
    for attempt in (client.renew("L", None), client.release("L", None)):
        with pytest.raises(Definite, match="does not hold the lock 'L'"):
            asyncio.run(attempt)
