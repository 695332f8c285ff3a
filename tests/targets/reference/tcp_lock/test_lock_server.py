"""The lock server: locks that live with their connections, and nobody who believes in one that was passed on."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.targets.reference.node.conftest import MemoryFiles
from tests.targets.reference.tcp_lock.desk import KNOBS, MS, Desk

from foreshock.targets.reference.bugs.lock import HalfOpenDoubleGrants
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.node.configuration import NodeConfiguration, build_program
from foreshock.targets.reference.node.programs import load_program
from foreshock.targets.reference.node.tcp_lock.knobs import TcpLockKnobs
from foreshock.targets.reference.node.tcp_lock.lock_server import LockServer

A, B, C = 1, 2, 3
SILENCE_MS = KNOBS.silence_ns // MS


def token_of(reply: dict[str, Any] | None) -> int | None:
    return None if reply is None else reply.get("token")


def test_a_free_lock_is_granted_and_a_held_one_is_not_to_one_who_does_not_wait() -> None:
    desk = Desk()
    granted = desk.ask(A, "acquire")
    assert granted == {"type": "acquire_ok", "granted": True, "token": 1, "ttl_ms": 1_000, "in_reply_to": 1}
    assert desk.ask(B, "acquire")["code"] == codes.PRECONDITION_FAILED  # type: ignore[index]
    assert token_of(desk.ask(B, "acquire", "other")) == 2


def test_those_who_wait_are_served_in_the_order_of_asking_with_growing_tokens() -> None:
    desk = Desk()
    for connection in (A, B, C):
        desk.say(connection, "acquire", wait_ms=900)
    desk.say(A, "release")
    desk.say(B, "release")
    assert [desk.told[connection][0]["token"] for connection in (A, B, C)] == [1, 2, 3]
    assert desk.ask(A, "holder")["client"] == C  # type: ignore[index]


def test_a_wait_ends_in_time_and_takes_its_place_from_nobody() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    desk.say(B, "acquire", wait_ms=200)
    desk.say(C, "acquire", wait_ms=900)
    desk.wait(199)
    assert B not in desk.told
    desk.wait(1)
    assert desk.told[B][0]["code"] == codes.PRECONDITION_FAILED
    desk.say(A, "release")
    assert desk.told[C][0]["granted"]


def test_only_the_connection_that_holds_a_lock_releases_or_renews_it_and_by_the_right_grant() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    for kind in ("release", "renew"):
        assert desk.ask(B, kind)["code"] == codes.PRECONDITION_FAILED  # type: ignore[index]
        assert desk.ask(A, kind, token=7)["code"] == codes.PRECONDITION_FAILED  # type: ignore[index]
    assert desk.ask(A, "renew", token=1)["ttl_ms"] == 1_000  # type: ignore[index]
    assert desk.ask(A, "acquire")["code"] == codes.PRECONDITION_FAILED  # type: ignore[index]
    assert desk.ask(A, "release", token=1)["type"] == "release_ok"  # type: ignore[index]


def test_a_lock_dies_with_its_connection_and_so_does_a_place_in_line() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    desk.say(B, "acquire", wait_ms=900)
    desk.say(C, "acquire", wait_ms=900)
    desk.close(B)
    desk.close(A)
    assert desk.told[C][0]["token"] == 2


def test_a_silent_holder_is_pinged_and_one_that_answers_keeps_its_lock() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    for _ in range(20):
        desk.wait(KNOBS.ping_ms)
        assert desk.told[A][-1]["type"] == "ping"
        desk.say(A, "pong")
    assert desk.closed == []


def test_a_client_is_pinged_in_time_to_answer_however_short_its_time_to_live() -> None:
    desk = Desk(KNOBS._replace(ping_ms=5_000))
    desk.say(A, "acquire")
    desk.wait(KNOBS.ttl_ms // 2)
    assert desk.told[A][-1]["type"] == "ping"


def test_a_half_open_connection_is_closed_and_its_lock_passed_on_but_not_before_its_client_stops_believing() -> (
    None
):
    desk = Desk()
    desk.say(A, "acquire")
    desk.wait(300)
    desk.say(B, "acquire", wait_ms=5_000)
    for _ in range(4):
        desk.wait(200)
        desk.say(B, "pong")
        assert desk.closed == []
    desk.wait(SILENCE_MS - 1_100 - 1)
    assert desk.closed == []
    desk.wait(1)
    assert desk.closed == [A]
    assert desk.told[B][-1]["token"] == 2
    assert any("silent for 1200 ms" in line for line in desk.logs)


def test_a_client_that_holds_nothing_may_be_silent() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    desk.say(A, "release")
    told = len(desk.told[A])
    desk.wait(100_000)
    assert (desk.closed, len(desk.told[A])) == ([], told)


def test_a_server_that_starts_again_grants_nothing_while_its_earlier_clients_may_believe() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    desk.wait(100)
    desk.start()
    assert "grants none for 1200 ms" in desk.logs[-1]
    assert desk.ask(B, "acquire")["code"] == codes.PRECONDITION_FAILED  # type: ignore[index]
    desk.say(B, "acquire", wait_ms=5_000)
    desk.say(C, "acquire", wait_ms=5_000)
    for _ in range(SILENCE_MS // 100 - 1):
        desk.wait(100)
        desk.say(B, "pong")
    assert [told for told in desk.told[B] if told["type"] == "acquire_ok"] == []
    desk.wait(100)
    assert desk.told[B][-1]["token"] == 11  # the ten that were reserved are passed over
    assert [told["type"] for told in desk.told[C]].count("acquire_ok") == 0


def test_a_grant_waits_for_the_disk_and_so_does_one_who_would_not_wait_for_anybody_else() -> None:
    desk = Desk()
    desk.disk_works = False
    for connection in range(1, 11):
        assert token_of(desk.ask(connection, "acquire", connection)) == connection
    assert desk.ask(11, "acquire", 11) is None
    assert desk.ask(12, "acquire", 12) is None
    desk.sync()
    assert [token_of(desk.told[connection][-1]) for connection in (11, 12)] == [11, 12]


def test_a_disk_that_takes_too_long_is_not_waited_for() -> None:
    desk = Desk(KNOBS._replace(tokens_at_once=1))
    desk.disk_works = False
    assert token_of(desk.ask(A, "acquire")) == 1
    assert desk.ask(B, "acquire", "other") is None
    desk.wait(999)
    desk.say(B, "pong")
    desk.wait(1)
    assert desk.told[B][-1]["code"] == codes.PRECONDITION_FAILED


def test_a_server_that_died_before_its_disk_was_done_gives_no_token_twice() -> None:
    desk = Desk(KNOBS._replace(tokens_at_once=2))
    desk.say(A, "acquire", 1)
    before = dict(desk.files.content)
    desk.disk_works = False
    desk.say(A, "acquire", 2)
    desk.files.content = before  # the file was to be replaced, and was not
    desk.start()
    desk.disk_works = True
    desk.sync()
    desk.wait(SILENCE_MS)
    assert (token_of(desk.ask(B, "acquire")) or 0) > 2


def test_a_server_on_an_empty_disk_need_not_wait() -> None:
    assert Desk().server.grants_from_ns == 10 * MS


def test_a_server_that_stood_still_counts_silence_from_what_it_takes_in() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    desk.say(B, "acquire", wait_ms=60_000)
    desk.stand_still(30_000)
    desk.say(A, "renew")  # it waited in the socket
    desk.say(B, "pong")
    desk.wait(SILENCE_MS - 1)
    assert A not in desk.closed
    desk.wait(1)
    assert A in desk.closed


def test_what_nobody_could_have_asked_for_is_refused() -> None:
    desk = Desk()
    for body, code in (
        ({"type": "acquire"}, codes.MALFORMED),
        ({"type": "acquire", "key": True}, codes.MALFORMED),
        ({"type": "acquire", "key": "k" * 2_000}, codes.MALFORMED),
        ({"type": "acquire", "key": 1, "wait_ms": -1}, codes.MALFORMED),
        ({"type": "release", "key": 1, "token": "x"}, codes.MALFORMED),
        ({"type": "steal", "key": 1}, codes.NOT_SUPPORTED),
        ({"type": ["acquire"], "key": 1}, codes.MALFORMED),
    ):
        effects = desk.server.on_request(A, {"body": body}, 0)
        assert effects.replies[0][1]["body"]["code"] == code
    for message in ([], {"body": 1}, {"body": {"type": "status"}, "dest": "n9"}):
        assert desk.server.on_request(A, message, 0).replies[0][1]["body"]["code"] == codes.MALFORMED


def test_what_could_grow_has_a_limit() -> None:
    desk = Desk(KNOBS._replace(locks_max=2, waiters_max=1))
    for key in (1, 2):
        desk.say(A, "acquire", key)
    assert desk.ask(A, "acquire", 3)["code"] == codes.TEMPORARILY_UNAVAILABLE  # type: ignore[index]
    assert desk.ask(B, "acquire", 1, wait_ms=100) is None
    assert desk.ask(C, "acquire", 1, wait_ms=100)["code"] == codes.TEMPORARILY_UNAVAILABLE  # type: ignore[index]


def test_the_status_says_how_it_stands() -> None:
    desk = Desk()
    desk.say(A, "acquire")
    desk.say(B, "acquire", wait_ms=100)
    status = desk.ask(C, "status")
    assert status is not None
    assert (status["locks"], status["waiting"], status["leading"]) == (1, 1, True)


@pytest.mark.parametrize(
    ("knobs", "said"),
    [(KNOBS._replace(ttl_ms=0), "ttl_ms is 0"), (KNOBS._replace(clock_margin_percent=-1), "at least 0")],
)
def test_knobs_that_make_no_sense_are_refused(knobs: TcpLockKnobs, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        knobs.checked()


class Believer:
    """A client by the rules: it believes for a time to live from the call of its last request that was answered."""

    def __init__(self) -> None:
        self.sent_ms: int | None = None
        self.until_ms = -1
        self.heard = 0


class Believers:
    """Clients whose messages are late and who hang up, at a server that stands still and dies."""

    def __init__(self, server: type[LockServer]) -> None:
        self.desk = Desk(server=server)
        self.clients: dict[int, Believer] = {}
        self.names = 0
        self.tokens: list[int] = []
        self.orphans: list[Believer] = []
        """Clients of an earlier life of the server, who believe on."""

    def act(self, step: tuple[str, int, int]) -> None:
        kind, who, ms = step
        if kind == "start":
            self.orphans += self.clients.values()
            self.clients.clear()
            self.desk.told.clear()
            self.desk.start()
        elif kind == "wait":
            self.desk.wait(ms)
        elif kind == "freeze":
            self.desk.stand_still(ms)
        elif kind == "new" or not self.clients:
            self.names += 1
            self.clients[self.names] = Believer()
            self._send(self.names, "acquire", 0)
        else:
            connection = list(self.clients)[who % len(self.clients)]
            if kind == "hang up":
                del self.clients[connection]
                self.desk.close(connection)
            else:
                self._send(connection, kind, ms)
        self._look()

    def _send(self, connection: int, kind: str, late_ms: int) -> None:
        """The request was sent ``late_ms`` before the server takes it in."""
        client = self.clients[connection]
        client.sent_ms = self.desk.now_ms - late_ms
        if kind == "release":
            client.until_ms = -1
        self.desk.say(connection, kind, wait_ms=2_000)

    def _look(self) -> None:
        for connection in self.desk.closed:
            client = self.clients.pop(connection, None)
            assert client is None or client.until_ms <= self.desk.now_ms
        self.desk.closed.clear()
        for connection, client in self.clients.items():
            told = self.desk.told.get(connection, [])
            for reply in told[client.heard :]:
                if reply["type"] in ("acquire_ok", "renew_ok") and client.sent_ms is not None:
                    client.until_ms = client.sent_ms + reply["ttl_ms"]
                if reply["type"] == "acquire_ok":
                    self.tokens.append(reply["token"])
            client.heard = len(told)
        everybody = (*self.clients.values(), *self.orphans)
        believers = [client for client in everybody if client.until_ms > self.desk.now_ms]
        assert len(believers) <= 1
        assert self.tokens == sorted(set(self.tokens))


STEPS = st.tuples(
    st.sampled_from(
        ["new", "new", "renew", "pong", "release", "acquire", "hang up", "wait", "wait", "freeze", "start"]
    ),
    st.integers(0, 5),
    st.sampled_from([0, 1, 50, 299, 300, 301, 700, 999, 1_000, 1_199, 1_200, 1_201, 3_000]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=40))
def test_at_no_time_do_two_clients_believe_and_tokens_only_grow(steps: list[tuple[str, int, int]]) -> None:
    world = Believers(LockServer)
    for step in steps:
        world.act(step)


@pytest.mark.parametrize(("server", "safe"), [(LockServer, True), (HalfOpenDoubleGrants, False)])
def test_a_client_that_is_busy_for_two_pings_loses_nothing_but_for_the_planted_bug(
    server: type[LockServer], safe: bool
) -> None:
    world = Believers(server)
    world.act(("new", 0, 0))
    world.act(("new", 0, 0))
    world.act(("wait", 0, 500))
    world.act(("pong", 1, 0))
    if safe:
        world.act(("wait", 0, 250))
    else:
        with pytest.raises(AssertionError):
            world.act(("wait", 0, 250))


class GrantsAtOnceAfterItsStart(LockServer):
    """Forgets that clients of its earlier life may believe."""

    def on_start(self, now_ns: int) -> Any:
        self.grants_from_ns = now_ns
        return super().on_start(now_ns)


@pytest.mark.parametrize(("server", "safe"), [(LockServer, True), (GrantsAtOnceAfterItsStart, False)])
def test_the_clients_of_an_earlier_life_are_waited_for(server: type[LockServer], safe: bool) -> None:
    world = Believers(server)
    for step in (("new", 0, 0), ("start", 0, 0)):
        world.act(step)
    if safe:
        world.act(("new", 0, 0))
    else:
        with pytest.raises(AssertionError):
            world.act(("new", 0, 0))


def test_the_program_is_built_by_its_name_and_takes_no_peers() -> None:
    kind = load_program("tcp-lock")
    configuration = NodeConfiguration("n1", ("n1",), "tcp-lock", KNOBS)
    server = build_program(configuration, MemoryFiles(), lambda bits: 0, 0, bug_class=HalfOpenDoubleGrants)
    assert type(server) is HalfOpenDoubleGrants
    assert server.on_peer("n2", {}, 0).replies == []
    with pytest.raises(ValueError, match="has no peers"):
        kind.decode({})
