"""The lock workload: acquire, use a guarded resource, renew, release; judged in three ways.

The operations in the history (``key`` names the lock, an integer):

======= ====================================== ================================== ===============================
f       value                                  result of ``ok``                   ``fail``
======= ====================================== ================================== ===============================
acquire ``wait_ms`` (0: try only)              ``{"token": int or None,           it was not granted
                                               "ttl_ms": int or None}``
renew   ``token`` (may be ``None``)            as of acquire                      it is no longer held
release ``token`` (may be ``None``)            ``None``                           this client did not hold it
use     ``{"token": int or None,               ``{"seen": n, "wrote": n + 1}``    refused by the resource (an old
        "until_ns": int or None}``                                                token) or by the client itself
                                                                                  (its belief ran out); nothing
                                                                                  was written
======= ====================================== ================================== ===============================

``use`` is performed by the harness on its own resource, one counter a key that starts at 0: read it (``seen``), wait
a moment, write ``seen + 1`` (``wrote``). Two ok uses of a key with the same ``seen`` are a lost update. A process
*believes* that it holds the lock from the return of an ok acquire until the earliest of: the call of its release;
the call of its last acknowledged acquire or renew plus ``ttl_ms`` by the client's own clock (never, when ``ttl_ms``
is ``None``); the return of a renew that failed. ``until_ns`` is that expiry, in ns since the start of the test. A
process holds at most one lock at a time, uses it only while it believes, and tries to release it even when its
belief has run out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from foreshock.checkers.fencing import FencingChecker
from foreshock.checkers.guarded_resource import GuardedResourceChecker
from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.mutex import MutexChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.checker import Checker
from foreshock.harness.errors import Definite
from foreshock.harness.generator.base import Liftable
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import Grant, Key
from foreshock.harness.workload import Workload, WorkloadContext
from foreshock.workloads.calls import call
from foreshock.workloads.final_phase import Chore, Chores
from foreshock.workloads.guarded_resource import GuardedResource
from foreshock.workloads.lock_holders import MILLISECOND_NS, LockHolders, LockPlan

FINAL_WAIT_MS = 1_000

Weight = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class LockOptions(Options, frozen=True, kw_only=True):
    """How many locks, how they are asked for, and what is done under them."""

    locks: Annotated[
        int, msgspec.Meta(description="how many locks the processes compete for", ge=1, le=1000)
    ] = 2
    tries: Annotated[
        Weight, msgspec.Meta(description="how many acquires do not wait at all, as a weight")
    ] = 1
    timed: Annotated[
        Weight, msgspec.Meta(description="how many acquires wait for a random short time, as a weight")
    ] = 1
    blocking: Annotated[
        int, msgspec.Meta(description="how many acquires wait for long, as a weight", ge=1, le=1000)
    ] = 1
    timed_wait_ms_max: Annotated[
        int, msgspec.Meta(description="the longest wait of a timed acquire, in ms", ge=1, le=600_000)
    ] = 500
    blocking_wait_ms: Annotated[
        int,
        msgspec.Meta(
            description="the wait of a blocking acquire, in ms; half an operation's time-out at most",
            ge=1,
            le=600_000,
        ),
    ] = 2_000
    uses_max: Annotated[
        int, msgspec.Meta(description="the most uses of the resource under one grant", ge=1, le=1000)
    ] = 5
    use_ms: Annotated[
        int,
        msgspec.Meta(
            description="about how long a use takes between its read and its write, in ms", ge=0, le=10_000
        ),
    ] = 10
    fencing: Annotated[
        bool, msgspec.Meta(description="whether the guarded resource checks fencing tokens")
    ] = False


class LockWorkload(Workload[LockOptions]):
    """Mutual exclusion: as clients believe, as tokens tell, and as the guarded resource feels it."""

    name = "lock"
    service = "lock"
    Options = LockOptions

    def __init__(self, options: LockOptions, context: WorkloadContext) -> None:
        super().__init__(options, context)
        self._resource = GuardedResource(fencing=options.fencing)
        self._rng = context.runtime.random("workload/lock/use")
        self._held: dict[int, dict[Key, int | None]] = {}

    def generator(self) -> Liftable:
        """Processes that acquire, use, renew and release, one lock each at a time."""
        options = self.options
        plan = LockPlan(
            locks=options.locks,
            try_weight=options.tries,
            timed_weight=options.timed,
            blocking_weight=options.blocking,
            timed_wait_ms_max=self._wait_ms(options.timed_wait_ms_max),
            blocking_wait_ms=self._wait_ms(options.blocking_wait_ms),
            uses_max=options.uses_max,
            use_margin_ms=4 * options.use_ms,
        )
        return LockHolders(plan, {})

    def final_generator(self) -> Liftable:
        """What is still held is given back; then every lock is had, used and released once."""
        return Chores(self._proof_of_life)

    def checkers(self) -> Mapping[str, Checker]:
        """Mutual exclusion in three ways, liveness after healing, and figures."""
        return {
            "mutex": MutexChecker(),
            "fencing": FencingChecker(),
            "guarded-resource": GuardedResourceChecker(),
            "liveness": LivenessChecker(operations=("acquire", "release"), every_key=True),
            "statistics": StatisticsChecker(),
        }

    async def invoke(self, client: Any, operation: Operation, runtime: Runtime) -> Any:
        """Call the lock's client, or use the guarded resource."""
        key, process = operation.key or 0, operation.process or 0
        if operation.f == "use":
            return await self._use(operation, runtime)
        result = await call(runtime, getattr(client, operation.f), operation.key, operation.value)
        held = self._held.setdefault(process, {})
        if operation.f == "release":
            held.pop(key, None)
            return None
        if not isinstance(result, Grant):
            raise TypeError(f"{operation.f} of the lock client gave {result!r}: it must be a Grant")
        held[key] = result.token
        return {"token": result.token, "ttl_ms": result.ttl_ms}

    async def _use(self, operation: Operation, runtime: Runtime) -> dict[str, int]:
        """Read, wait a moment, write; not past the belief that the operation carries."""
        value: Any = operation.value
        key, token, until_ns = operation.key or 0, value["token"], value["until_ns"]
        start_ns = runtime.now()
        called_ns = start_ns if operation.time_ns is None else operation.time_ns
        left_ns = None if until_ns is None else until_ns - called_ns
        if left_ns is not None and left_ns <= 0:
            raise Definite("the client's belief in its lock had run out before the use")
        seen = self._resource.read(key, token)
        use_ns = self.options.use_ms * MILLISECOND_NS
        await runtime.sleep(self._rng.between(use_ns // 2, use_ns * 3 // 2))
        if left_ns is not None and runtime.now() - start_ns >= left_ns:
            raise Definite("the client's belief in its lock ran out during the use; nothing was written")
        self._resource.write(key, token, seen + 1)
        return {"seen": seen, "wrote": seen + 1}

    def _wait_ms(self, wanted_ms: int) -> int:
        """A wait that ends well before the operation's time-out.

        A waiter that times out is unknown, and may be granted the lock with nobody there to give it back: were all
        waits so long, a correct lock could never be had again.
        """
        return max(1, min(wanted_ms, self.context.operation_timeout_ms // 2))

    def _proof_of_life(self, processes: Sequence[int]) -> list[list[Chore]]:
        """By thread: give back what its process may hold, then have each lock of its share once.

        A process that died in the test holds its lock until its session ends: acquires are tried until then. A living
        one whose releases were all refused (there was no leader, say) may hold a lock that it has given up on, and
        every request of its keeps its session alive. So a lock is asked for by a process that holds nothing, where
        there is one, and never by its own holder, who would be refused for ever.
        """
        held = [self._held.get(process, {}) for process in processes]
        chores = [
            [
                Chore.of(Operation(f="release", key=key, value=token), once=True)
                for key, token in locks.items()
            ]
            for locks in held
        ]
        asked = [0] * len(processes)
        for lock in range(self.options.locks):
            place = min(
                range(len(processes)),
                key=lambda p: (lock in held[p], bool(held[p]), asked[p], (p - lock) % len(processes)),
            )
            asked[place] += 1
            acquire = Operation(f="acquire", key=lock, value=self._wait_ms(FINAL_WAIT_MS))
            chores[place] += [Chore.of(acquire), Chore(_release_what_was_acquired, needs_ok=True)]
        return chores


def _release_what_was_acquired(acquired: Operation | None) -> Operation:
    if acquired is None or not isinstance(acquired.result, Mapping):
        raise TypeError(f"there is no grant in {acquired!r}")
    return Operation(f="release", key=acquired.key, value=acquired.result["token"])
