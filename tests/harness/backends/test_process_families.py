"""Nodes whose processes leave their group, as PostgreSQL's do: signals reach all of them, and no other."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from tests.commands import until

from foreshock.harness.backends.process.child import Child
from foreshock.harness.backends.process_identity import (
    alive,
    descendants_outside_group,
    identify,
    stopped,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="who descends from whom is told by /proc")
PROGRAM = """
import os, time
for depth in range(2):  # a worker with a session of its own, and a worker of that worker
    if os.fork():
        break
    os.setsid()
print(os.getpid(), flush=True)
while True:
    time.sleep(600)
"""


def test_signals_reach_workers_with_sessions_of_their_own(tmp_path: Path) -> None:
    async def test() -> None:
        child = Child("n1", tmp_path, tmp_path / "log")
        child.prepare({})
        child.start([sys.executable, "-c", PROGRAM], dict(os.environ))
        try:
            until(lambda: len(child.log_tail().split()) == 3, "the third process")
            assert child.identity is not None
            strays = descendants_outside_group(child.identity)
            every = {one for pid in child.log_tail().split() if (one := identify(int(pid))) is not None}
            assert (len(every), strays) == (3, every - {child.identity})
            await child.pause()
            until(lambda: all(map(stopped, every)), "the stop of every process")
            await child.resume()
            until(lambda: not any(map(stopped, every)), "the going on of every process")
        finally:
            await child.kill()
        assert not any(alive(each) for each in every)

    asyncio.run(test())
