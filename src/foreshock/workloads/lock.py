"""The lock workload: acquire, use a guarded resource, renew, release; judged in three ways.

The operations in the history (``key`` names the lock, an integer):

======= ====================================== ================================== ===============================
f       value                                  result of ``ok``                   ``fail``
======= ====================================== ================================== ===============================
acquire ``wait_ms`` (0: try only); of any kind ``{"token": int or None,           it was not granted
        but a mutex ``{"wait_ms": int,         "ttl_ms": int or None}``, and
        "mode": str, "permits": int}``         ``"depth": int`` if re-entrant
renew   ``token`` (may be ``None``)            ``{"token": ..., "ttl_ms": ...}``  it is no longer held
release ``token`` (may be ``None``)            ``None``                           this client did not hold it
use     ``{"token": int or None,               ``{"seen": n, "wrote": n + 1}``;   refused by the resource (an old
        "until_ns": int or None}``, and, but   of a reader ``{"seen": n,          token) or by the client itself
        for a mutex, ``"mode": str,            "again": n}``; under a semaphore   (its belief ran out); nothing
        "permits": int``                       ``{"inside": n}``                  was written
======= ====================================== ================================== ===============================

``use`` is performed by the harness on its own resource, one counter a key that starts at 0: read it (``seen``), wait
a moment, write ``seen + 1`` (``wrote``). Two ok uses of a key with the same ``seen`` are a lost update. A reader does
not write but reads a second time (``again``): another count is a writer's that should not have been there. Under a
semaphore a use counts the users of the key with itself (``inside``): more than ``permits`` are too many.

A process *believes* that it holds the lock from the return of an ok acquire until the earliest of: the call of its
release; the call of its last acknowledged acquire or renew plus ``ttl_ms`` by the client's own clock (never, when
``ttl_ms`` is ``None``); the return of a renew that failed. ``until_ns`` is that expiry, in ns since the start of the
test. A process holds at most one lock at a time, uses it only while it believes, and tries to release it even when its
belief has run out.

The option ``kind`` says what the locks are. ``mutex``: held by one. ``reentrant``: held by one, who may acquire it
again and holds it until it has called as many releases; ``depth`` is how often it holds it now, and a depth of 1 is a
new grant; a release that fails ends the belief whole. ``read-write``: acquired in the mode ``read``, which readers
share, or ``write``, alone. ``semaphore``: in the mode ``permit``, by at most ``permits`` processes at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from foreshock.checkers.fencing import FencingChecker
from foreshock.checkers.guarded_resource import GuardedResourceChecker
from foreshock.checkers.liveness import LivenessChecker
from foreshock.checkers.mutex import MutexChecker
from foreshock.checkers.statistics import StatisticsChecker
from foreshock.harness.checker import Checker
from foreshock.harness.errors import Definite, UsageError
from foreshock.harness.generator.base import Liftable
from foreshock.harness.operation import Operation
from foreshock.harness.options import Options
from foreshock.harness.runtime import Runtime
from foreshock.harness.services import LOCK_KINDS, Grant, Key
from foreshock.harness.workload import Workload, WorkloadContext
from foreshock.workloads.calls import call
from foreshock.workloads.final_phase import PATIENCE_NS, Chore, Chores
from foreshock.workloads.guarded_resource import GuardedResource
from foreshock.workloads.lock_holders import MILLISECOND_NS, LockHolders, LockPlan

FINAL_WAIT_MS = 1_000
LEASE_MS_AWAITED_MAX = 120_000
"""The longest lease whose end is waited for; whether a system that grants longer ones recovers may stay unknown."""

Weight = Annotated[int, msgspec.Meta(ge=0, le=1000)]


class LockOptions(Options, frozen=True, kw_only=True):
    """What the locks are, how many, how they are asked for, and what is done under them."""

    kind: Annotated[
        Literal["mutex", "reentrant", "read-write", "semaphore"],
        msgspec.Meta(description="what the locks are; all but mutex need a client that says it has them"),
    ] = "mutex"
    permits: Annotated[
        int, msgspec.Meta(description="how many processes may hold a semaphore at once", ge=1, le=1000)
    ] = 2
    readers_percent: Annotated[
        int, msgspec.Meta(description="how many acquires of a read-write lock are a reader's", ge=0, le=100)
    ] = 60
    depth_max: Annotated[
        int, msgspec.Meta(description="how often a process holds a re-entrant lock at once", ge=1, le=1000)
    ] = 3
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
    beliefs: Annotated[
        bool,
        msgspec.Meta(
            description="whether it is a violation that two processes both believe that they hold the lock; without, "
            "only what tokens and the resource show is judged, which is all that fencing promises"
        ),
    ] = True


class LockWorkload(Workload[LockOptions]):
    """Mutual exclusion: as clients believe, as tokens tell, and as the guarded resource feels it."""

    name = "lock"
    service = "lock"
    lessens: ClassVar[Mapping[str, int]] = {"locks": 1, "tries": 0, "timed": 0, "blocking": 0, "uses_max": 1}
    Options = LockOptions

    def __init__(self, options: LockOptions, context: WorkloadContext) -> None:
        super().__init__(options, context)
        self._resource = GuardedResource(fencing=options.fencing)
        self._rng = context.runtime.random("workload/lock/use")
        self._held: dict[int, dict[Key, Grant]] = {}
        self._longest_ttl_ms = 0

    @classmethod
    def check_client(cls, options: LockOptions, client: type[Any]) -> None:
        """The client must have locks of the kind that is asked for; a semaphore's tokens cannot fence."""
        kinds = {"mutex", *getattr(client, "kinds", ())}
        if options.kind not in kinds:
            raise UsageError(
                f"the lock client {client.__name__} has no locks of kind {options.kind!r}: "
                f"it has {', '.join(sorted(kinds))} (-o kind=...)"
            )
        if options.kind == "semaphore" and options.fencing:
            raise UsageError(
                "fencing=true means nothing for kind=semaphore: of several holders at once the one with the "
                "oldest token is as good as any, so no resource can tell by tokens who is late"
            )

    def generator(self) -> Liftable:
        """Processes that acquire, use, renew and release, one lock each at a time."""
        return LockHolders(self._plan(), {})

    def _plan(self) -> LockPlan:
        options = self.options
        return LockPlan(
            locks=options.locks,
            try_weight=options.tries,
            timed_weight=options.timed,
            blocking_weight=options.blocking,
            timed_wait_ms_max=self._wait_ms(options.timed_wait_ms_max),
            blocking_wait_ms=self._wait_ms(options.blocking_wait_ms),
            uses_max=options.uses_max,
            use_margin_ms=4 * options.use_ms,
            kind=options.kind,
            permits=options.permits,
            readers_percent=options.readers_percent,
            depth_max=options.depth_max,
        )

    def final_generator(self) -> Liftable:
        """What is still held is given back; then every lock is had, used and released once."""
        return Chores(self._proof_of_life, self._patience_ns)

    def checkers(self) -> Mapping[str, Checker]:
        """Mutual exclusion in three ways, liveness after healing, and figures."""
        of_beliefs: dict[str, Checker] = {"mutex": MutexChecker()} if self.options.beliefs else {}
        return {
            **of_beliefs,
            "fencing": FencingChecker(),
            "guarded-resource": GuardedResourceChecker(),
            "liveness": LivenessChecker(
                operations=("acquire", "release"),
                every_key=True,
                operation_timeout_ms=self.context.operation_timeout_ms,
            ),
            "statistics": StatisticsChecker(),
        }

    async def invoke(self, client: Any, operation: Operation, runtime: Runtime) -> Any:
        """Call the lock's client, or use the guarded resource."""
        key, process = operation.key or 0, operation.process or 0
        if operation.f == "use":
            return await self._use(operation, runtime)
        held = self._held.setdefault(process, {})
        result = await self._ask(client, operation, runtime)
        if operation.f == "release":
            grant = held.pop(key, None)
            if grant is not None and (grant.depth or 1) > 1:
                held[key] = msgspec.structs.replace(grant, depth=(grant.depth or 1) - 1)
            return None
        if not isinstance(result, Grant):
            raise TypeError(f"{operation.f} of the lock client gave {result!r}: it must be a Grant")
        self._longest_ttl_ms = max(self._longest_ttl_ms, result.ttl_ms or 0)
        depth = result.depth if operation.f == "acquire" or key not in held else held[key].depth
        held[key] = msgspec.structs.replace(result, depth=depth)
        told: dict[str, Any] = {"token": result.token, "ttl_ms": result.ttl_ms}
        return told if operation.f == "renew" or result.depth is None else {**told, "depth": result.depth}

    @staticmethod
    async def _ask(client: Any, operation: Operation, runtime: Runtime) -> Any:
        """Call the client's method for an operation on a lock."""
        value = operation.value
        if operation.f == "acquire" and isinstance(value, Mapping):
            wanted = (value["wait_ms"], value["mode"], value["permits"])
            return await call(runtime, client.acquire_mode, operation.key, *wanted)
        return await call(runtime, getattr(client, operation.f), operation.key, value)

    async def _use(self, operation: Operation, runtime: Runtime) -> dict[str, int]:
        """Read, wait a moment, write; not past the belief that the operation carries, as far as the client can tell.

        Half way it looks at its clock, and writes if it can do so before its belief runs out. What makes it stand
        still after that it cannot know: then only a resource that checks tokens is safe.
        """
        value: Any = operation.value
        key, token, until_ns, mode = operation.key or 0, value["token"], value["until_ns"], value.get("mode")
        if until_ns is not None and runtime.now() >= until_ns:
            raise Definite("the client's belief in its lock had run out before the use")
        mean_ns = self.options.use_ms * MILLISECOND_NS
        use_ns = self._rng.between(mean_ns // 2, mean_ns * 3 // 2)
        if mode == "permit":
            return await self._stay(key, use_ns, until_ns, runtime)
        seen = self._resource.read(key, token, shared=mode == "read")
        await runtime.sleep(use_ns // 2)
        rest_ns = use_ns - use_ns // 2
        if until_ns is not None and runtime.now() + rest_ns >= until_ns:
            raise Definite("the client's belief in its lock ran out during the use; nothing was written")
        await runtime.sleep(rest_ns)
        if mode == "read":
            return {"seen": seen, "again": self._resource.read(key, token, shared=True)}
        self._resource.write(key, token, seen + 1)
        return {"seen": seen, "wrote": seen + 1}

    async def _stay(self, key: Key, stay_ns: int, until_ns: int | None, runtime: Runtime) -> dict[str, int]:
        """A use under a semaphore: be one of its users for a while, and count them."""
        inside = self._resource.enter(key)
        try:
            left_ns = stay_ns if until_ns is None else until_ns - runtime.now()
            await runtime.sleep(min(stay_ns, left_ns))
        finally:
            self._resource.leave(key)
        return {"inside": inside}

    def _wait_ms(self, wanted_ms: int) -> int:
        """A wait that ends well before the operation's time-out.

        A waiter that times out is unknown, and may be granted the lock with nobody there to give it back: were all
        waits so long, a correct lock could never be had again.
        """
        return max(1, min(wanted_ms, self.context.operation_timeout_ms // 2))

    def _patience_ns(self) -> int:
        """How long the end may take: what a lost client holds is nobody else's before its lease has run out."""
        return PATIENCE_NS + min(self._longest_ttl_ms, LEASE_MS_AWAITED_MAX) * MILLISECOND_NS

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
                Chore.of(Operation(f="release", key=key, value=grant.token), once=True)
                for key, grant in locks.items()
                for _ in range(grant.depth or 1)
            ]
            for locks in held
        ]
        modes = LOCK_KINDS[self.options.kind]
        wanted = self._plan().wanted(self._wait_ms(FINAL_WAIT_MS), modes[-1] if modes else None)
        asked = [0] * len(processes)
        for lock in range(self.options.locks):
            place = min(
                range(len(processes)),
                key=lambda p: (lock in held[p], bool(held[p]), asked[p], (p - lock) % len(processes)),
            )
            asked[place] += 1
            acquire = Operation(f="acquire", key=lock, value=wanted)
            chores[place] += [Chore.of(acquire), _GIVE_BACK]
        return chores


def _release_what_was_acquired(acquired: Operation | None) -> Operation:
    if acquired is None or not isinstance(acquired.result, Mapping):
        raise TypeError(f"there is no grant in {acquired!r}")
    return Operation(f="release", key=acquired.key, value=acquired.result["token"])


_GIVE_BACK: Final = Chore(_release_what_was_acquired, needs_ok=True, may_be_refused=True)
"""A lease that ran out before its release is had all the same: nothing is gained by asking again and again."""
