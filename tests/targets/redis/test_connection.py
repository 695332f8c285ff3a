"""How a command on a connection may end, with a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.cluster import Endpoint
from foreshock.harness.errors import Definite, HarnessError, Indefinite, OperationError
from foreshock.harness.runtime import TimeoutExpired
from foreshock.targets.redis.connection import RedisConnection, RedisError
from foreshock.targets.redis.scripts import Script

ECHO = Script(lua="return {KEYS[1], ARGV[1]}", meaning=lambda _, keys, arguments: [keys[0], arguments[0]])


def test_replies_are_text_numbers_nothing_and_lists(
    real_server: Endpoint, real_runtime: AsyncioRuntime
) -> None:
    async def act() -> None:
        redis = RedisConnection(real_runtime, real_server, 5_000)
        assert await redis.execute("SET", "text", b"\xffbytes", "PX", 100_000) == "OK"
        assert (await redis.execute("GET", "text")).encode("utf-8", "surrogateescape") == b"\xffbytes"
        assert await redis.execute("MGET", "text", "nobody") == ["\udcffbytes", None]
        assert await redis.execute("DEL", "text") == 1
        for _ in range(2):  # by its text, and then by its digest
            assert await redis.run_script(ECHO, ["k"], [7]) == ["k", "7"]
        await redis.close()
        await redis.close()

    real_runtime.run(act())


def test_a_refusal_has_its_code_and_leaves_the_connection_usable(
    real_server: Endpoint, real_runtime: AsyncioRuntime
) -> None:
    async def act() -> None:
        redis = RedisConnection(real_runtime, real_server, 5_000)
        await redis.execute("DEL", "list")
        await redis.execute("RPUSH", "list", 1)
        for words, code in (
            (["GET", "list"], "WRONGTYPE"),
            (["GET"], "ERR"),
            (["EVALSHA", "0" * 40, 0], "NOSCRIPT"),
        ):
            with pytest.raises(RedisError) as refused:
                await redis.execute(*words)
            assert refused.value.code == code
            assert isinstance(refused.value, Definite)
        await redis.execute("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(RedisError) as refused:
            await redis.execute("SET", "a", 1)
        await redis.execute("CONFIG", "SET", "maxmemory", 0)
        assert refused.value.code == "OOM"
        await redis.close()

    real_runtime.run(act())


def test_an_answer_that_is_late_is_not_taken_for_the_next(
    real_server: Endpoint, real_runtime: AsyncioRuntime
) -> None:
    async def act() -> None:
        redis = RedisConnection(real_runtime, real_server, 100)
        other = RedisConnection(real_runtime, real_server, 5_000)
        await redis.execute("SET", "a", "old")
        await other.execute("CLIENT", "PAUSE", 300, "ALL")
        with pytest.raises(Indefinite, match="within 100 ms"):
            await redis.execute("GETDEL", "a")
        assert await redis.execute("SET", "b", "new", "GET", timeout_ms=5_000) is None
        assert await redis.execute("GET", "b") == "new"
        await redis.close()
        await other.close()

    real_runtime.run(act())


def test_one_command_at_a_time_and_a_cancelled_one_leaves_no_answer_behind(
    real_server: Endpoint, real_runtime: AsyncioRuntime
) -> None:
    async def act() -> None:
        redis = RedisConnection(real_runtime, real_server, 5_000)
        blocked = real_runtime.spawn(redis.execute("BLPOP", "nothing", 0), name="blocked")
        await real_runtime.sleep(0)
        with pytest.raises(HarnessError, match="one at a time"):
            await redis.execute("PING")
        with pytest.raises(TimeoutExpired):
            await real_runtime.timeout(blocked.wait(), 20_000_000)
        blocked.cancel()
        while not blocked.done():
            await real_runtime.sleep(0)
        assert await redis.execute("PING") == "PONG"
        await redis.close()

    real_runtime.run(act())


def test_a_server_that_went_away_costs_one_refusal_and_comes_back(
    make_real_server: Callable[..., Any], real_runtime: AsyncioRuntime
) -> None:
    server = make_real_server("--appendonly", "yes", "--appendfsync", "everysec")
    redis = RedisConnection(real_runtime, server.endpoint, 5_000)

    async def problem() -> OperationError | None:
        try:
            await redis.execute("PING")
        except OperationError as error:
            return error
        return None

    async def act() -> None:
        assert await redis.execute("SET", "a", 1) == "OK"
        assert await redis.execute("SET", "gone", 1, "PX", 1) == "OK"
        server.kill()
        # The kernel tells of the death in its own time; nothing is sent once nobody listens.
        while not isinstance(refused := await problem(), Definite):
            await real_runtime.sleep(0)
        assert "no connection" in str(refused)
        server.start()
        assert (
            await redis.execute("GET", "a") == "1"
        )  # a kill takes nothing of what was written, synced or not
        assert await redis.execute("GET", "gone") is None
        # One that is restarted while nothing is under way is no trouble at all.
        server.kill()
        server.start()
        for _ in range(3):
            await real_runtime.sleep(0)  # the loop hears of the end of the old one
        assert await redis.execute("GET", "a") == "1"
        await redis.close()

    real_runtime.run(act())


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", RedisError, "LOADING"),
        (b"-READONLY You can't write against a read only replica.\r\n", RedisError, "READONLY"),
        (b"!what is this\r\n", Indefinite, "broke"),
        (b"$100\r\nhalf of it", Indefinite, "broke"),
    ],
)
def test_answers_that_are_none(
    real_runtime: AsyncioRuntime, answer: bytes, error: type[Exception], words: str
) -> None:
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        while line := await reader.readline():
            if line.strip() == b"SETINFO":  # of the library's own handshake
                writer.write(b"+OK\r\n")
            elif line.strip() == b"GET":
                asked += 1
                writer.write(answer)
                if not answer.endswith(b"\r\n"):
                    break
        writer.close()

    async def act() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
        redis = RedisConnection(real_runtime, endpoint, 5_000)
        for times in (1, 2):  # the connection is made anew each time
            with pytest.raises(error, match=words):
                await redis.execute("GET", "a")
            assert asked == times
        await redis.close()
        server.close()

    real_runtime.run(act())


def test_a_server_that_does_not_pick_up_was_never_sent_anything(real_runtime: AsyncioRuntime) -> None:
    async def act() -> None:
        silent = await asyncio.start_server(lambda *_: asyncio.sleep(0), "127.0.0.1", 0)
        endpoint = Endpoint("127.0.0.1", silent.sockets[0].getsockname()[1])
        redis = RedisConnection(real_runtime, endpoint, 50)
        with pytest.raises(Definite, match=r"no connection to .* within 50 ms"):
            await redis.execute("GET", "a")  # the library's handshake has no answer
        await redis.close()
        silent.close()

    real_runtime.run(act())
