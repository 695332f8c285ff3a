"""The generator of the lock workload: each process acquires, uses, renews and releases, one lock at a time.

What a process holds is learned from its completions alone and is part of the (immutable) generator. The holder of a
re-entrant lock now and then acquires it again, and uses it once more after each release that leaves it the lock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from foreshock.harness.generator.base import PENDING, Context, Generator, Pending
from foreshock.harness.operation import Operation, OperationType
from foreshock.harness.randomness import RandomStream
from foreshock.harness.services import LOCK_KINDS

MILLISECOND_NS = 1_000_000
RELEASE_ATTEMPTS_MAX = 3
DEEPER_ONE_IN = 4
"""How often the holder of a re-entrant lock acquires it again in place of its next step."""


class LockPlan(NamedTuple):
    """The fixed part: how processes choose what to do."""

    locks: int
    """Keys are ``0 .. locks-1``."""
    try_weight: int
    timed_weight: int
    blocking_weight: int
    timed_wait_ms_max: int
    blocking_wait_ms: int
    uses_max: int
    use_margin_ms: int
    """A process with less belief left than this does not start a use."""
    kind: str = "mutex"
    """One of ``LOCK_KINDS``."""
    permits: int = 1
    """How many may hold a semaphore at once."""
    readers_percent: int = 0
    """How many acquires of a read-write lock are a reader's."""
    depth_max: int = 1
    """How often a process holds a re-entrant lock at once."""

    def wanted(self, wait_ms: int, mode: str | None) -> object:
        """The value of an acquire that waits so long, in a mode; of a mutex where that is ``None``."""
        if mode is None:
            return wait_ms
        return {"wait_ms": wait_ms, "mode": mode, "permits": self.permits if mode == "permit" else 1}


class Holding(NamedTuple):
    """What one process holds, as far as it knows."""

    key: int
    sent_ns: int
    """When the last acquire or renew was called."""
    uses_left: int
    token: int | None = None
    until_ns: int | None = None
    """When belief runs out; ``None`` where grants have no time to live."""
    ttl_ns: int | None = None
    granted: bool = False
    mode: str | None = None
    """As it was asked for; ``None`` for a mutex."""
    permits: int = 1
    depth: int = 1
    """How often it holds the lock, which may be more than once where that is re-entrant."""
    releases: int = 0
    """Releases that were refused; after some the process gives up on the lock."""


@dataclass(frozen=True, slots=True)
class LockHolders(Generator):
    """Every free process goes one step further with its lock, without end."""

    plan: LockPlan
    holdings: Mapping[int, Holding]

    def op(self, ctx: Context) -> tuple[Operation, Generator] | Pending:
        """The next step of a random free process."""
        thread = ctx.some_free()
        if thread is None:
            return PENDING
        process = ctx.process(thread)
        holding = self.holdings.get(process)
        if holding is None:
            key, (f, value) = ctx.rng.below(self.plan.locks), ("acquire", self._wanted(ctx.rng))
        else:
            key, (f, value) = holding.key, self._step(holding, ctx.time_ns, ctx.rng)
        return Operation(f=f, key=key, value=value, process=process, time_ns=ctx.time_ns), self

    def update(self, ctx: Context, event: Operation) -> Generator:
        """Learns what the process holds now."""
        process = event.process
        if process is None or process < 0:
            return self
        holding = self.holdings.get(process)
        now_ns = event.time_ns if event.time_ns is not None else ctx.time_ns
        match event.type:
            case OperationType.INVOKE:
                after = self._invoked(holding, event, now_ns, ctx.rng)
            case OperationType.OK:
                after = _succeeded(holding, event)
            case OperationType.FAIL:
                after = _failed(holding, event)
            case OperationType.INFO:
                after = None  # nobody goes on under this process number
        return self if after is holding else self._with(process, after)

    def _wanted(self, rng: RandomStream) -> object:
        wait_ms = self._wait_ms(rng)
        modes = LOCK_KINDS[self.plan.kind]
        if len(modes) < 2:
            return self.plan.wanted(wait_ms, modes[0] if modes else None)
        return self.plan.wanted(wait_ms, modes[0 if rng.chance(self.plan.readers_percent, 100) else 1])

    def _wait_ms(self, rng: RandomStream) -> int:
        plan = self.plan
        ticket = rng.below(plan.try_weight + plan.timed_weight + plan.blocking_weight)
        if ticket < plan.try_weight:
            return 0
        if ticket < plan.try_weight + plan.timed_weight:
            return rng.between(1, plan.timed_wait_ms_max)
        return plan.blocking_wait_ms

    def _step(self, holding: Holding, now_ns: int, rng: RandomStream) -> tuple[str, object]:
        if holding.releases or not holding.uses_left:
            return "release", holding.token
        if holding.until_ns is not None and holding.ttl_ns is not None:
            left_ns = holding.until_ns - now_ns
            if left_ns < self.plan.use_margin_ms * MILLISECOND_NS:
                return "release", holding.token
            # Renew when half of the time is gone, and now and then well before.
            if left_ns < holding.ttl_ns // 2 or rng.chance(1, 10):
                return "renew", holding.token
        if holding.mode is None:
            return "use", {"token": holding.token, "until_ns": holding.until_ns}
        if (
            holding.mode == "reentrant"
            and holding.depth < self.plan.depth_max
            and rng.chance(1, DEEPER_ONE_IN)
        ):
            return "acquire", self.plan.wanted(0, holding.mode)
        return "use", {
            "token": holding.token,
            "until_ns": holding.until_ns,
            "mode": holding.mode,
            "permits": holding.permits,
        }

    def _invoked(
        self, holding: Holding | None, event: Operation, now_ns: int, rng: RandomStream
    ) -> Holding | None:
        if event.f in ("acquire", "renew") and holding is not None and holding.granted:
            return holding._replace(sent_ns=now_ns)
        if event.f == "acquire" and isinstance(event.key, int):
            uses = rng.between(1, self.plan.uses_max)
            if not isinstance(event.value, Mapping):
                return Holding(event.key, now_ns, uses_left=uses)
            mode, permits = event.value["mode"], event.value["permits"]
            return Holding(event.key, now_ns, uses_left=uses, mode=mode, permits=permits)
        return holding

    def _with(self, process: int, holding: Holding | None) -> LockHolders:
        holdings = {p: h for p, h in self.holdings.items() if p != process}
        if holding is not None:
            holdings[process] = holding
        return replace(self, holdings=holdings)


def _succeeded(holding: Holding | None, event: Operation) -> Holding | None:
    if holding is None:
        return None
    if event.f == "release":
        return None if holding.depth <= 1 else holding._replace(depth=holding.depth - 1, uses_left=1)
    if event.f == "use":
        return holding._replace(uses_left=max(0, holding.uses_left - 1))
    grant = event.result if isinstance(event.result, Mapping) else {}
    ttl_ms = grant.get("ttl_ms")
    ttl_ns = None if ttl_ms is None else ttl_ms * MILLISECOND_NS
    return holding._replace(
        token=grant.get("token"),
        until_ns=None if ttl_ns is None else holding.sent_ns + ttl_ns,
        ttl_ns=ttl_ns,
        granted=True,
        depth=grant.get("depth", 1) if event.f == "acquire" else holding.depth,
    )


def _failed(holding: Holding | None, event: Operation) -> Holding | None:
    if holding is None or not holding.granted:
        return None
    if event.f == "acquire":
        return holding  # not once more, but still as often as before
    if event.f == "release":
        releases = holding.releases + 1
        return holding._replace(releases=releases) if releases < RELEASE_ATTEMPTS_MAX else None
    # A refused use or renew: belief is over, but the lock may still be ours to give back.
    return holding._replace(uses_left=0)
