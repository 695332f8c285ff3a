"""Watching hosts, on hosts that are made up; and what a test would run on real ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from relay_target import specification

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.backends.blocking_calls import BlockingCalls
from foreshock.harness.backends.ssh import SshBackend, watch
from foreshock.harness.backends.ssh.connections import Connection, ConnectionLost, HostKeyError
from foreshock.harness.backends.ssh.host import SshHost
from foreshock.harness.backends.ssh.options import SshOptions
from foreshock.harness.backends.ssh.watch import HostWatch
from foreshock.harness.capabilities import Kill, Partition, Pause
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult
from foreshock.harness.rehearsal.recording import Recorder
from foreshock.harness.safety import objections


class MadeUp:
    """A connection whose host does as it is told: answers with its boot, is out of reach, shows another key."""

    def __init__(self) -> None:
        self.boot = "b1"
        self.up = True
        self.refuses = 0
        self.stranger = False
        self.busy = False
        self.asked = 0
        self.opened = 0

    def run(self, script: str, timeout_ms: int, *, root: bool = False) -> HostResult:
        if not self.up:
            raise HarnessError("a script on node n1 did not end within 1 s")
        return HostResult(exit_code=0, stdout=f"{self.boot}\n", stderr="")

    def idle(self) -> bool:
        self.asked += 1
        return not self.busy

    def open(self) -> None:
        self.opened += 1
        if self.stranger:
            raise HostKeyError("the key of the host of node n1 has changed")
        if self.refuses:
            self.refuses -= 1
            raise ConnectionLost("the host of node n1 cannot be reached")
        self.up = True


class Watched:
    def __init__(self) -> None:
        self.there = MadeUp()
        self.reports: list[str] = []
        self.mended: list[bool] = []
        self.mending_fails = 0
        calls = BlockingCalls("watched", 4)
        self.host = SshHost("n1", cast(Connection, self.there), calls, "/scratch")
        self.watch = HostWatch(self.host, "b1", self.mend, self.reports.append)

    async def mend(self, rebooted: bool) -> str:
        assert self.host.lost, "nobody else uses the host before it is mended"
        if self.mending_fails:
            self.mending_fails -= 1
            raise HarnessError("it cannot be undone")
        self.mended.append(rebooted)
        return "all was undone"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Watched], Any]], None]:
    monkeypatch.setattr(watch, "BEAT_S", 0.001)
    monkeypatch.setattr(watch, "_FIRST_PAUSE_S", 0.001)

    def run(course: Callable[[Watched], Any]) -> None:
        async def main() -> None:
            it = Watched()
            it.watch.start()
            try:
                async with asyncio.timeout(60):
                    await course(it)
            finally:
                await it.watch.stop()
                await it.watch.stop()

        asyncio.run(main())

    return run


async def until(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


def test_a_lost_connection_is_opened_until_it_holds_and_mended_before_anybody_uses_it(
    watched: Callable[..., None],
) -> None:
    async def course(it: Watched) -> None:
        it.there.refuses, it.mending_fails = 3, 2
        it.there.up = False
        await until(lambda: it.host.lost)
        waiting = asyncio.create_task(it.host.run("true", timeout_ms=60_000))
        await until(lambda: bool(it.reports))
        assert (await waiting).exit_code == 0
        assert it.mended == [False]
        assert it.there.opened == 6
        assert not it.watch.rebooted
        (report,) = it.reports
        assert report.startswith("the host of node n1 was out of reach in mid-test (")
        assert report.endswith(": all was undone")

    watched(course)


def test_a_host_that_was_started_anew_is_known_by_its_boot(watched: Callable[..., None]) -> None:
    async def course(it: Watched) -> None:
        it.there.boot = "b2"  # so fast that the connection seemed to hold
        await until(lambda: bool(it.reports))
        assert it.mended == [True]
        assert it.watch.rebooted
        assert it.reports[0].startswith("the host of node n1 was started anew in mid-test")
        it.there.boot = "b3"
        await until(lambda: len(it.reports) == 2)

    watched(course)


def test_a_host_whose_key_has_changed_meanwhile_is_left_alone(watched: Callable[..., None]) -> None:
    async def course(it: Watched) -> None:
        it.there.up, it.there.stranger = False, True
        await until(lambda: bool(it.reports))
        assert it.reports == ["the key of the host of node n1 has changed; it is left alone from now on"]
        assert it.host.lost
        with pytest.raises(HarnessError, match=r"is lost, and was not there again within 0\.01 s"):
            await it.host.run("true", timeout_ms=10)
        assert it.there.opened == 1

    watched(course)


def test_a_host_that_is_busy_is_not_lost(watched: Callable[..., None]) -> None:
    async def course(it: Watched) -> None:
        it.there.busy, it.there.boot = True, "not asked"
        await until(lambda: it.there.asked > 5)
        assert not it.host.lost
        it.there.boot, it.there.busy = "b1", False
        assert (await it.host.run("true")).exit_code == 0

    watched(course)


def test_what_would_be_run_touches_nothing_but_ours(tmp_path: Path) -> None:
    """The backend's own scripts, as a dry run shows them, under the rules for scripts on other people's machines."""
    recorder = Recorder()
    hosts = {"n1": "root@n1", "n2": "ann@n2"}
    spec = msgspec.structs.replace(
        specification(tmp_path, nodes=2),
        needs=frozenset({Kill, Pause, Partition}),
        options=SshOptions(hosts=hosts),
    )

    async def main(runtime: AsyncioRuntime) -> None:
        cluster: Any = SshBackend().rehearsal(spec, runtime, recorder)
        await cluster.deploy()
        await cluster.cut({"n1": frozenset({"n2"})})
        await cluster.kill(frozenset({"n1"}))
        await cluster.pause(frozenset({"n2"}))
        await cluster.resume(frozenset({"n2"}))
        await cluster.teardown()

    runtime = AsyncioRuntime(1)
    runtime.run(main(runtime))
    commands = recorder.taken()
    assert {command.where.partition(" (")[0] for command in commands} == {"n1", "n2"}
    as_root = [command.text for command in commands if command.where.endswith("as root)")]
    assert all("FORESHOCK" in text for text in as_root)
    assert any("--dport 22 -j RETURN" in text for text in as_root)
    assert {problem for command in commands for problem in objections(command.text)} == set()
