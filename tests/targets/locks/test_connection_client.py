"""The client of a lock that lives with its connection: what it answers to the server, and how its operations end."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.errors import Definite, Indefinite
from foreshock.harness.runtime import Connection, ConnectionClosed
from foreshock.harness.services import Grant
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.target import ClientContext
from foreshock.targets.locks.connection_client import ConnectionLockClient
from foreshock.targets.reference.node import codes

MS = 1_000_000
GRANTED = {"type": "acquire_ok", "granted": True, "token": 7, "ttl_ms": 1_000}
PING = {"type": "ping", "in_reply_to": None}
REFUSED = {"type": "error", "code": codes.PRECONDITION_FAILED, "text": "held"}

Script = list[Any]
"""What the server does with each message that it gets, in order: a list of bodies to send, or ``hang up``."""


class Server:
    """A server by script; ``heard`` are the bodies that it got, of all connections."""

    def __init__(self, script: Script) -> None:
        self.script = list(script)
        self.heard: list[dict[str, Any]] = []

    async def serve(self, connection: Connection) -> None:
        try:
            while True:
                message = await connection.receive()
                self.heard.append(message["body"])
                step = self.script.pop(0) if self.script else []
                if step == "hang up":
                    connection.close()
                    return
                for body in step:
                    number = message["body"].get("msg_id")
                    await connection.send({"body": {"in_reply_to": number, **body}})
        except ConnectionClosed:
            self.heard.append({"type": "closed"})


Story = Callable[[ConnectionLockClient, SimRuntime], Coroutine[Any, Any, Any]]


def played(script: Script, story: Story, *, listens: bool = True) -> tuple[Any, list[str]]:
    """What the story comes to (an exception counts as one), and the types of what the server heard."""
    runtime, server = SimRuntime(1), Server(script)
    endpoint = Endpoint("server", 1)
    node = Node("server", 0, endpoint, endpoint, {}, "", "c")

    async def main() -> Any:
        if listens:
            await runtime.listen(endpoint, server.serve)
        context = ClientContext(runtime, node, (node,), 0, "c0", 1_000)
        client = ConnectionLockClient(context, node)
        await client.open()
        try:
            return await story(client, runtime)
        except (Definite, Indefinite) as error:
            return error
        finally:
            await client.close()
            await runtime.sleep(50 * MS)

    return runtime.run(main()), [body["type"] for body in server.heard]


def test_a_grant_is_renewed_and_released_over_one_connection() -> None:
    async def story(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        grant = await client.acquire("k", 100)
        renewed = await client.renew("k", grant.token)
        await client.release("k", grant.token)
        return grant, renewed

    renewed = {"type": "renew_ok", "token": 7, "ttl_ms": 1_000}
    came, heard = played([[GRANTED], [renewed], [{"type": "release_ok"}]], story)
    assert came == (Grant(token=7, ttl_ms=1_000), Grant(token=7, ttl_ms=1_000))
    assert heard == ["acquire", "renew", "release", "closed"]


def test_pings_are_answered_and_what_answers_nothing_that_was_asked_is_passed_over() -> None:
    async def story(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.acquire("k", 100)

    stray = {**GRANTED, "in_reply_to": None}
    came, heard = played([[PING, PING, stray, {**GRANTED, "in_reply_to": 99}]], story)
    assert heard == ["acquire", "pong", "pong", "closed"]
    assert isinstance(came, Indefinite)


def test_what_a_ping_left_in_the_socket_is_answered_with_the_next_operation() -> None:
    async def story(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.acquire("k", 100)
        await runtime.sleep(500 * MS)
        return await client.renew("k", 7)

    renewed = {"type": "renew_ok", "token": 7, "ttl_ms": 9}
    came, heard = played([[GRANTED, PING], [renewed]], story)
    assert came == Grant(token=7, ttl_ms=9)
    assert heard == ["acquire", "renew", "pong", "closed"]


def test_a_refusal_is_definite_and_the_connection_goes_on() -> None:
    async def story(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        try:
            await client.acquire("k", 0)
        except Definite as error:
            return str(error), await client.acquire("k", 0)

    came, heard = played([[REFUSED], [GRANTED]], story)
    assert came == ("held", Grant(token=7, ttl_ms=1_000))
    assert heard == ["acquire", "acquire", "closed"]


def test_without_a_server_nothing_was_sent_and_without_a_connection_nothing_is_held() -> None:
    async def acquires(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.acquire("k", 0)

    async def releases(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.release("k", None)

    assert isinstance(played([], acquires, listens=False)[0], Definite)
    assert isinstance(played([], releases)[0], Definite)


def test_a_connection_that_ends_takes_the_lock_with_it() -> None:
    async def renews(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.acquire("k", 0)
        await client.renew("k", 7)

    async def releases(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.acquire("k", 0)
        await client.release("k", 7)

    async def acquires(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.acquire("k", 0)

    assert isinstance(played([[GRANTED], "hang up"], renews)[0], Definite)
    assert isinstance(played([[GRANTED], "hang up"], releases)[0], Indefinite)
    assert isinstance(played(["hang up"], acquires)[0], Indefinite)


def test_a_server_that_does_not_answer_in_time_is_hung_up_on() -> None:
    async def story(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        start = runtime.now()
        try:
            await client.acquire("k", 0)
        except Indefinite:
            return (runtime.now() - start) // MS

    came, heard = played([[]], story)
    assert 890 <= came <= 910
    assert heard == ["acquire", "closed"]


def test_an_answer_in_doubt_is_passed_on_as_one() -> None:
    async def story(client: ConnectionLockClient, runtime: SimRuntime) -> Any:
        await client.acquire("k", 0)

    doubt = {"type": "error", "code": codes.CRASH, "text": "who knows"}
    assert isinstance(played([[doubt]], story)[0], Indefinite)
