"""What a target claims of itself, for ``foreshock zoo``: what it promises under which faults, and what must be found.

Both are tests that anyone can run by hand: the zoo only runs many of them, in the simulator, over many seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from foreshock.harness.request import Request


class Promise(msgspec.Struct, frozen=True, kw_only=True):
    """Under any of ``nemeses``, alone or together, every test of ``workload`` is valid.

    ``options`` are those of ``-o`` under which the promise holds; every other option is free, as long as requests can
    be served at all: with operations that are given up within milliseconds, or with limits that let hardly a request
    in, a test may end unknown for want of anything that succeeded, and never invalid. A target makes one
    promise for each workload and each set of options that matters, so that ``Target.promises`` read together are
    the target's guarantee. What is not promised is not demanded.
    """

    workload: str
    nemeses: tuple[str, ...] = ()
    options: Mapping[str, Any] = {}
    concurrency: str = Request().concurrency
    """How many processes the tests have, where the default (a multiple of the nodes) is too few to compete."""
    because: str = ""
    """In one sentence for the docs: why this and no more."""

    def request(self, target: str, nemeses: tuple[str, ...], seed: int, *, time_limit: float) -> Request:
        """One test of the promise, under some of its nemeses."""
        return Request(
            target=target,
            workload=self.workload,
            nemesis=",".join(nemeses) or "none",
            backend="sim",
            seed=seed,
            time_limit=time_limit,
            options=self.options,
            concurrency=self.concurrency,
        )


class Exhibit(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong that ordinary workloads and nemeses must find: a planted bug, a naive target, a known weakness.

    ``name`` is the bug's where one is planted (``raft/vote-not-persisted``), else the target's or the finding's own
    (``naive-lock``, ``redis-lock/stalled-client``). ``request`` is the test without backend and seed; within
    ``budget`` simulated tests, whose seeds count up from 0, one must be invalid. ``shows`` says in one sentence
    what a reader will see.
    """

    name: str
    request: Request
    budget: int = 20
    shows: str = ""
