"""memcached, for real: a plain set after an invalidation leaves a stale copy, and marks keep it from that."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.commands import foreshock, hunt

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.cluster import Endpoint, Node
from foreshock.harness.errors import UsageError
from foreshock.harness.plan import resolve
from foreshock.harness.request import Request
from foreshock.harness.target import ClientContext
from foreshock.targets.caches.redis_client import Copy
from foreshock.targets.external.memcached import Memcached, MemcachedOptions, seconds

LONG_LIVED = [
    "ttl_ms=60000",
    "consistency=bounded-staleness",
    "staleness_bound_ms=1500",
    "updates_per_key=10",
]
BUSY = ["--time-limit", "4", "--rate", "300", "--concurrency", "4n"]
needs_memcached = pytest.mark.skipif(shutil.which("memcached") is None, reason="memcached is not here")


def outcome(store: Path, options: list[str], *words: str) -> dict[str, Any]:
    """What ``foreshock test`` says of a test."""
    chosen = [word for option in options for word in ("-o", option)]
    command = ["test", "--target", "memcached", "--workload", "cache", "--backend", "process", "--json"]
    return foreshock(*command, "--store", str(store), *words, *chosen).document


def test_times_are_whole_seconds_and_the_bound_is_how_long_a_copy_can_be_used_after_it_was_read() -> None:
    assert [seconds(time_ms) for time_ms in (0, 1, 1_000, 1_001)] == [0, 1, 1, 2]
    stated = Memcached.stated_options(MemcachedOptions(ttl_ms=2_500, patience_ms=1_500), "cache")
    assert stated == {"consistency": "bounded-staleness", "staleness_bound_ms": 5_000}


def test_it_is_not_simulated_and_says_so() -> None:
    with pytest.raises(UsageError, match="cannot be simulated: use --backend process or docker"):
        resolve(Request(target="memcached", workload="cache", backend="sim"))


@pytest.fixture
def server() -> Iterator[Endpoint]:
    """A memcached that is up."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(["memcached", "-l", "127.0.0.1", "-p", str(port), "-u", "nobody"])
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        yield Endpoint(host="127.0.0.1", port=port)
    finally:
        process.kill()
        process.wait()


def client(target: Memcached, runtime: AsyncioRuntime, server: Endpoint, process: int) -> Any:
    """A client of one process, to a cluster of an origin that is never asked and the server."""
    nodes = tuple(
        Node(name, index, server, server, {}, "/nowhere", "run") for index, name in enumerate(("n1", "n2"))
    )
    context = ClientContext(runtime, nodes[0], nodes, process, f"p{process}", 5_000)
    made: Any = target.client("cache", context)
    return made._copies


@needs_memcached
@pytest.mark.parametrize(("mode", "left"), [("aside", 1), ("leases", None)])
def test_an_old_value_that_is_set_after_the_invalidation_stays_unless_marks_are_asked_for(
    server: Endpoint, mode: Any, left: int | None
) -> None:
    runtime = AsyncioRuntime(1)
    target = Memcached(MemcachedOptions(mode=mode), seed=1)

    async def interleave() -> Copy | None:
        slow, writer, reader = (client(target, runtime, server, process) for process in range(3))
        assert await slow.look_up("n2", 7, "slow") is None
        await writer.invalidate("n2", 7)  # the origin has another value by now
        await slow.fill("n2", 7, "slow", Copy(1, 1, "old"), 60_000)
        found: Copy | None = await reader.look_up("n2", 7, "reader")
        if found is None:  # and a fill that nobody disturbed is there for all
            await reader.fill("n2", 7, "reader", Copy(2, 2, "new"), 60_000)
            kept = await slow.look_up("n2", 7, "again")
            assert kept == Copy(2, 2, "new")
        for each in (slow, writer, reader):
            await each.close()
        return found

    found = runtime.run(interleave())
    assert (None if found is None else found.version) == left


@needs_memcached
@pytest.mark.slow
def test_staleness_comes_out_where_it_is_not_promised_and_the_promise_is_kept(tmp_path: Path) -> None:
    strictly = ["mode=aside", "consistency=linearizable"]
    with ThreadPoolExecutor(3) as pool:
        marks = pool.submit(outcome, tmp_path / "marks", ["mode=leases", *LONG_LIVED], *BUSY, "--seed", "1")
        faults = ("--time-limit", "4", "--nemesis", "kill,stall", "--interval", "1", "--seed", "1")
        promised = pool.submit(outcome, tmp_path / "promised", ["mode=aside"], *faults)
        hunt(lambda seed: outcome(tmp_path / str(seed), strictly, *BUSY, "--seed", str(seed)), "linearizable")
        valid = [marks.result(), promised.result()]
    assert [(result["verdict"], result["harness_errors"]) for result in valid] == [("valid", [])] * 2
    assert valid[0]["figures"]["hit_rate"] > 0.2
