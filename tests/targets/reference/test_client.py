"""The reference client against scripted nodes: attempts, hints, sessions, and honest endings."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.errors import Definite, Indefinite, OperationError
from foreshock.harness.runtime import Connection, ConnectionClosed
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.target import ClientContext
from foreshock.targets.reference.cache_client import ReferenceCacheClient
from foreshock.targets.reference.client import ClientSettings, ReferenceClient
from foreshock.targets.reference.lock_client import ReferenceLockClient
from foreshock.targets.reference.node import codes
from foreshock.targets.reference.register_client import ReferenceRegisterClient

SECOND = 1_000_000_000
SILENCE = None
BREAK = "break"
Answer = dict[str, Any] | str | None


def error(code: int, **more: Any) -> Answer:
    return {"type": "error", "code": code, "text": "scripted", **more}


NOT_LEADER = error(codes.TEMPORARILY_UNAVAILABLE)
OK: Answer = {"type": "write_ok"}


class Script:
    """Nodes ``n1`` ... that answer what they are told to; ``asked`` is what reached them, in order."""

    def __init__(self, runtime: SimRuntime, answer: Callable[[str, dict[str, Any]], Answer]) -> None:
        self.runtime = runtime
        self.answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.nodes = tuple(
            Node(f"n{i}", i - 1, Endpoint(f"n{i}", 1), Endpoint(f"n{i}", 1), {}, "", "c") for i in (1, 2, 3)
        )

    async def up(self, *names: str) -> None:
        for node in self.nodes:
            if node.name in names:
                await self.runtime.listen(node.endpoint, self.serve(node.name))

    def serve(self, name: str) -> Callable[[Connection], Awaitable[None]]:
        async def serve(connection: Connection) -> None:
            while True:
                try:
                    message = await connection.receive()
                except ConnectionClosed:
                    return
                assert message["dest"] == name
                body = message["body"]
                self.asked.append((name, body))
                answer = {"type": "open_ok", "client": 40 + len(self.asked), "ttl_ms": 900}
                given = answer if body["type"] == "open" else self.answer(name, body)
                if given == BREAK:
                    connection.close()
                    return
                if isinstance(given, dict):
                    reply = {**given, "in_reply_to": body["msg_id"]}
                    await connection.send({"src": name, "dest": "c", "body": reply})

        return serve

    def client(self, kind: type[ReferenceClient], timeout_ms: int = 3_000) -> Any:
        context = ClientContext(self.runtime, self.nodes[0], self.nodes, 0, "c", timeout_ms)
        return kind(context, ClientSettings(attempt_timeout_ms=500, session_ttl_ms=900))

    def sent(self, kind: str) -> list[tuple[str, dict[str, Any]]]:
        return [(name, body) for name, body in self.asked if body["type"] == kind]


def play(
    answers: list[Answer] | Callable[[str, dict[str, Any]], Answer],
    act: Callable[[Any], Awaitable[Any]],
    *,
    kind: type[ReferenceClient] = ReferenceRegisterClient,
    up: tuple[str, ...] = ("n1", "n2", "n3"),
) -> tuple[Any, Script, Any]:
    """Run one client against a script; returns what came of it (an exception too), the script and the client."""
    runtime = SimRuntime(1, SimKnobs())
    given = iter(answers) if isinstance(answers, list) else None

    def answer(name: str, body: dict[str, Any]) -> Answer:
        if given is not None:
            return next(given, SILENCE)
        assert callable(answers)
        return answers(name, body)

    script = Script(runtime, answer)
    client = script.client(kind)

    async def go() -> Any:
        await script.up(*up)
        await client.open()
        try:
            return await act(client)
        except OperationError as problem:
            return problem
        finally:
            await client.close()

    return runtime.run(go()), script, client


async def write(client: Any) -> Any:
    return await client.write("k", 1)


async def read(client: Any) -> Any:
    return await client.read("k")


def test_a_lost_answer_is_followed_by_the_same_request_to_another_node() -> None:
    came, script, client = play([SILENCE, BREAK, OK], write)
    assert came is None
    sent = script.sent("write")
    assert [name for name, _ in sent] == ["n1", "n2", "n3"]
    assert len({(body["client"], body["seq"]) for _, body in sent}) == 1
    assert client.attempts == 3  # the one that opened the session is none of the operation's


def test_a_hint_is_followed_at_once() -> None:
    hint = error(codes.TEMPORARILY_UNAVAILABLE, leader="n3")
    came, script, _ = play([hint, OK], write)
    assert came is None
    assert [name for name, _ in script.sent("write")] == ["n1", "n3"]


def test_two_nodes_that_point_at_each_other_are_not_asked_in_a_storm() -> None:
    def answer(name: str, _: dict[str, Any]) -> Answer:
        return error(codes.TEMPORARILY_UNAVAILABLE, leader={"n1": "n2", "n2": "n1"}[name])

    came, script, _ = play(answer, write)
    assert isinstance(came, Definite)
    assert len(script.sent("write")) < 40


def test_an_operation_that_was_only_ever_refused_certainly_did_not_happen() -> None:
    came, _, _ = play([NOT_LEADER] * 1000, write)
    assert isinstance(came, Definite)
    assert "attempts" in str(came)


def test_an_operation_that_could_not_be_sent_certainly_did_not_happen() -> None:
    came, script, client = play([], write, up=())
    assert isinstance(came, Definite)
    assert script.asked == []
    assert client.attempts == 0


@pytest.mark.parametrize("first", [SILENCE, BREAK, error(codes.CRASH), error(codes.TIMEOUT)])
def test_a_refusal_after_an_attempt_in_doubt_does_not_end_the_doubt(first: Answer) -> None:
    came, _, _ = play([first, *[NOT_LEADER] * 1000], write)
    assert isinstance(came, Indefinite)


def test_an_answer_of_the_state_machine_ends_all_doubt() -> None:
    refusal = error(codes.PRECONDITION_FAILED)
    came, _, _ = play([SILENCE, refusal], write)
    assert isinstance(came, Definite)
    came, _, _ = play([error(codes.CRASH), OK], write)
    assert came is None


def test_an_unknown_session_is_replaced_only_when_nothing_can_have_happened() -> None:
    came, script, _ = play([error(codes.SESSION_UNKNOWN), OK], write)
    assert came is None
    assert len({body["client"] for _, body in script.sent("write")}) == 2
    came, script, _ = play([SILENCE, error(codes.SESSION_UNKNOWN), OK], write)
    assert isinstance(came, OperationError)
    assert not isinstance(came, Definite)
    assert len(script.sent("write")) == 2


def test_the_next_operation_has_the_next_number_and_stays_with_the_node_that_answered() -> None:
    async def twice(client: Any) -> None:
        await client.write("k", 1)
        await client.write("k", 2)

    _, script, _ = play([NOT_LEADER, OK, OK], twice)
    assert [(name, body["seq"]) for name, body in script.sent("write")] == [("n1", 1), ("n2", 1), ("n2", 2)]
    assert len(script.sent("open")) == 1


def test_an_answer_to_an_earlier_attempt_is_not_taken_for_the_present_one() -> None:
    def answer(_: str, body: dict[str, Any]) -> Answer:
        return {"type": "read_ok", "value": body["msg_id"], "in_reply_to": None}

    runtime = SimRuntime(1, SimKnobs())
    script = Script(runtime, answer)

    async def confused(connection: Connection) -> None:
        message = await connection.receive()
        for number in (99, 0, message["body"]["msg_id"]):
            body = {"type": "read_ok", "value": number, "in_reply_to": number}
            await connection.send({"src": "n1", "dest": "c", "body": body})

    async def go() -> Any:
        await runtime.listen(script.nodes[0].endpoint, confused)
        return await script.client(ReferenceRegisterClient).read("k")

    assert runtime.run(go()) == 1


def test_a_read_needs_no_session_and_ends_before_the_interpreter_would_end_it() -> None:
    came, script, client = play([], read)
    assert isinstance(came, Indefinite)
    assert script.sent("open") == []
    assert client._runtime.now() < 3 * SECOND


def test_a_lock_that_is_held_is_not_granted_to_one_who_only_tries() -> None:
    async def try_(client: Any) -> Any:
        return await client.acquire("k", 0)

    came, _, _ = play(
        [{"type": "acquire_ok", "granted": False, "queued": False}], try_, kind=ReferenceLockClient
    )
    assert isinstance(came, Definite)


async def wait(client: Any) -> Any:
    return await client.acquire("k", 1_000)


def held(queued: bool) -> Answer:
    return {"type": "acquire_ok", "granted": False, "queued": queued}


def test_waiting_for_a_lock_goes_on_in_slices_until_it_is_granted() -> None:
    granted: Answer = {"type": "acquire_ok", "granted": True, "token": 8}
    came, script, _ = play([held(True), held(True), granted], wait, kind=ReferenceLockClient)
    assert (came.token, came.ttl_ms) == (8, 900)
    kinds = [body["type"] for _, body in script.asked]
    assert kinds == ["open", "acquire", "await", "await"]
    assert [body["seq"] for _, body in script.asked[1:]] == [1, 2, 3]


def test_a_wait_that_is_over_ends_with_a_withdrawal_and_only_then_as_a_failure() -> None:
    def answer(_: str, body: dict[str, Any]) -> Answer:
        return SILENCE if body["type"] == "await" else held(body["type"] != "withdraw")

    came, script, _ = play(answer, wait, kind=ReferenceLockClient)
    assert isinstance(came, Indefinite)  # the await was never answered, within the operation's time
    assert script.sent("await")

    came, script, _ = play(lambda _, b: held(b["type"] != "withdraw"), wait, kind=ReferenceLockClient)
    assert isinstance(came, Definite)
    assert script.asked[-1][1]["type"] == "withdraw"


@pytest.mark.parametrize("end", [NOT_LEADER, error(codes.SESSION_UNKNOWN), SILENCE])
def test_one_who_stood_in_line_and_lost_touch_may_hold_the_lock(end: Answer) -> None:
    came, _, _ = play([held(True), *[end] * 1000], wait, kind=ReferenceLockClient)
    assert isinstance(came, Indefinite)


def test_a_lock_is_lost_with_its_session() -> None:
    async def keep(client: Any) -> Any:
        grant = await client.acquire("k", 0)
        return await client.renew("k", grant.token)

    granted: Answer = {"type": "acquire_ok", "granted": True, "token": 8}
    came, script, _ = play([granted, error(codes.SESSION_UNKNOWN)], keep, kind=ReferenceLockClient)
    assert isinstance(came, Definite)
    assert len(script.sent("open")) == 1
    came, _, _ = play([granted, {"type": "renew_ok", "token": 8}], keep, kind=ReferenceLockClient)
    assert came.token == 8


def test_a_client_without_a_session_renews_nothing_and_leaves_it_to_the_service_to_refuse_its_release() -> (
    None
):
    came, script, _ = play([], lambda c: c.renew("k", 1), kind=ReferenceLockClient)
    assert isinstance(came, Definite)
    assert script.asked == []
    refusal = error(codes.PRECONDITION_FAILED)
    came, script, _ = play([refusal], lambda c: c.release("k", 1), kind=ReferenceLockClient)
    assert isinstance(came, Definite)
    assert [body["token"] for _, body in script.sent("release")] == [1]


def test_a_mode_is_asked_for_and_the_depth_of_a_reentrant_lock_is_told() -> None:
    granted: Answer = {"type": "acquire_ok", "granted": True, "token": 8, "depth": 2}
    acquire = lambda mode, permits: lambda c: c.acquire_mode("k", 0, mode, permits)  # noqa: E731
    came, script, _ = play([granted], acquire("reentrant", 1), kind=ReferenceLockClient)
    assert (came.token, came.depth) == (8, 2)
    came, script, _ = play([granted], acquire("permit", 3), kind=ReferenceLockClient)
    assert came.depth is None
    assert [(body["mode"], body["permits"]) for _, body in script.sent("acquire")] == [("permit", 3)]


def test_a_cached_value_is_returned_only_when_its_version_is_still_the_origins() -> None:
    async def gets(client: Any) -> Any:
        await client.put("k", "v")
        values = [await client.get("k"), await client.get("k"), await client.get("k")]
        return values, client.hits, client.misses

    answers: list[Answer] = [
        {"type": "put_ok", "version": 3},
        {"type": "get_ok", "version": 3, "unchanged": True},
        {"type": "get_ok", "version": 5, "value": "w"},
        {"type": "get_ok", "version": 5, "unchanged": True},
    ]
    came, script, _ = play(answers, gets, kind=ReferenceCacheClient)
    assert came == (["v", "w", "w"], 2, 1)
    assert [body.get("version") for _, body in script.sent("get")] == [3, 3, 5]
