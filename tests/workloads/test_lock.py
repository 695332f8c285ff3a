from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

import pytest

from foreshock.harness.errors import Definite
from foreshock.harness.operation import Operation, OperationType
from foreshock.harness.services import Grant
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.stalls import Stalls
from foreshock.harness.workload import WorkloadContext
from foreshock.workloads.lock import LockOptions, LockWorkload

MS = 1_000_000


class Granting:
    """Grants everything to everybody."""

    service: ClassVar[str] = "lock"

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def acquire(self, key: Any, wait_ms: int) -> Grant:
        self.calls.append(("acquire", key, wait_ms))
        return Grant(token=len(self.calls), ttl_ms=300)

    def renew(self, key: Any, token: int | None) -> Grant:
        self.calls.append(("renew", key, token))
        return Grant()

    async def release(self, key: Any, token: int | None) -> None:
        self.calls.append(("release", key, token))


def run(story: Callable[[LockWorkload, SimRuntime], Coroutine[Any, Any, Any]], **options: Any) -> Any:
    runtime = SimRuntime(1)
    context = WorkloadContext(
        nodes=("n1",), concurrency=3, rate=0, time_limit_ns=10**9, seed=1, runtime=runtime
    )
    return runtime.run(story(LockWorkload(LockOptions(**options), context), runtime))


def use(key: int = 1, token: int | None = 1, until_ns: int | None = None, time_ns: int = 0) -> Operation:
    value = {"token": token, "until_ns": until_ns}
    return Operation(f="use", key=key, value=value, process=0, time_ns=time_ns)


def test_grants_become_plain_results_and_tokens_are_passed_even_when_there_are_none() -> None:
    client = Granting()

    async def story(workload: LockWorkload, runtime: SimRuntime) -> list[Any]:
        operations = [
            Operation(f="acquire", key=1, value=0, process=4),
            Operation(f="renew", key=1, value=1, process=4),
            Operation(f="release", key=1, value=None, process=4),
        ]
        return [await workload.invoke(client, operation, runtime) for operation in operations]

    assert run(story) == [{"token": 1, "ttl_ms": 300}, {"token": None, "ttl_ms": None}, None]
    assert client.calls == [("acquire", 1, 0), ("renew", 1, 1), ("release", 1, None)]


def test_a_client_that_gives_no_grant_is_named() -> None:
    class Silent(Granting):
        async def acquire(self, key: Any, wait_ms: int) -> Any:
            return None

    async def story(workload: LockWorkload, runtime: SimRuntime) -> Any:
        return await workload.invoke(Silent(), Operation(f="acquire", key=1, value=0, process=0), runtime)

    with pytest.raises(TypeError, match="acquire of the lock client gave None: it must be a Grant"):
        run(story)


def test_uses_one_after_the_other_count_up_and_uses_at_once_lose_an_update() -> None:
    async def story(workload: LockWorkload, runtime: SimRuntime) -> list[Any]:
        seen = [await workload.invoke(None, use(), runtime) for _ in range(2)]
        tasks = [runtime.spawn(workload.invoke(None, use(key=2), runtime), name="use") for _ in range(2)]
        return seen + [await task.wait() for task in tasks]

    first, second = {"seen": 0, "wrote": 1}, {"seen": 1, "wrote": 2}
    assert run(story) == [first, second, first, first]


def test_a_use_takes_about_as_long_as_it_should() -> None:
    async def story(workload: LockWorkload, runtime: SimRuntime) -> int:
        start = runtime.now()
        for _ in range(50):
            await workload.invoke(None, use(), runtime)
        return (runtime.now() - start) // 50

    assert 15 * MS < run(story, use_ms=20) < 25 * MS


@pytest.mark.parametrize(("until_ns", "said"), [(5 * MS, "ran out during"), (0, "had run out before")])
def test_nothing_is_written_when_belief_runs_out(until_ns: int, said: str) -> None:
    async def story(workload: LockWorkload, runtime: SimRuntime) -> Any:
        with pytest.raises(Definite, match=said):
            await workload.invoke(None, use(until_ns=until_ns), runtime)
        return await workload.invoke(None, use(until_ns=10**9), runtime)

    assert run(story, use_ms=20) == {"seen": 0, "wrote": 1}


def test_a_client_that_stood_still_before_the_use_or_before_its_check_finds_that_its_belief_ran_out() -> None:
    async def story(workload: LockWorkload, runtime: SimRuntime) -> Any:
        stalls = Stalls(runtime, 1)
        for wait_ns in (0, MS):
            using = stalls.held(0, workload.invoke(None, use(until_ns=runtime.now() + 40 * MS), runtime))
            task = runtime.spawn(using, name="use")
            await runtime.sleep(wait_ns)
            stalls.stall(frozenset({0}), 50 * MS)
            with pytest.raises(Definite, match=r"belief in its lock (had run|ran) out"):
                await task.wait()
        return await workload.invoke(None, use(until_ns=10**9), runtime)

    assert run(story, use_ms=20) == {"seen": 0, "wrote": 1}


def test_a_client_that_stands_still_after_its_check_writes_over_what_others_wrote_unless_tokens_are_checked() -> (
    None
):
    async def story(workload: LockWorkload, runtime: SimRuntime) -> Any:
        stalls = Stalls(runtime, 1)
        late = stalls.held(0, workload.invoke(None, use(until_ns=40 * MS), runtime))
        task = runtime.spawn(late, name="use")
        await runtime.sleep(16 * MS)
        stalls.stall(frozenset({0}), 200 * MS)
        other = await workload.invoke(None, use(token=2), runtime)
        assert other == {"seen": 0, "wrote": 1}
        return await task.wait()

    assert run(story, use_ms=20) == {"seen": 0, "wrote": 1}  # an update is lost
    with pytest.raises(Definite, match="refused token 1: it has seen 2"):
        run(story, use_ms=20, fencing=True)


def test_with_fencing_an_older_token_is_refused_at_the_write_too() -> None:
    async def story(workload: LockWorkload, runtime: SimRuntime) -> Any:
        slow = runtime.spawn(workload.invoke(None, use(token=1), runtime), name="slow")
        await runtime.sleep(MS)
        fast = runtime.spawn(workload.invoke(None, use(token=2), runtime), name="fast")
        with pytest.raises(Definite, match="refused token 1: it has seen 2"):
            await slow.wait()
        return await fast.wait()

    assert run(story, fencing=True) == {"seen": 0, "wrote": 1}


def test_in_the_end_what_is_held_is_given_back_and_every_lock_is_had_once(play: Any) -> None:
    async def story(workload: LockWorkload, runtime: SimRuntime) -> list[Any]:
        client = Granting()
        for process, key in ((0, 1), (2, 0)):
            await workload.invoke(client, Operation(f="acquire", key=key, value=0, process=process), runtime)
        await workload.invoke(client, Operation(f="release", key=0, value=2, process=2), runtime)

        def answer(operation: Operation) -> Operation:
            grant = {"token": 9, "ttl_ms": None} if operation.f == "acquire" else None
            return Operation(
                f=operation.f,
                key=operation.key,
                process=operation.process,
                type=OperationType.OK,
                result=grant,
            )

        played = play(workload.final_generator(), answer, concurrency=3).run(200)
        assert played.ended
        return [(e.process, e.f, e.key, e.value) for e in sorted(played.invoked, key=lambda e: e.process)]

    assert run(story, locks=2) == [
        (0, "release", 1, 1),
        (1, "acquire", 0, 1000),
        (1, "release", 0, 9),
        (2, "acquire", 1, 1000),
        (2, "release", 1, 9),
    ]


def test_in_the_end_nobody_asks_for_a_lock_that_it_gave_up_on_and_may_still_hold(play: Any) -> None:
    """Its own request would be refused for ever and keep its session alive: a healthy cluster would be convicted."""

    async def story(workload: LockWorkload, runtime: SimRuntime) -> list[Any]:
        client = Granting()
        for f, key in (("acquire", 0), ("acquire", 1), ("release", 1)):  # the releases of 0 were all refused
            await workload.invoke(client, Operation(f=f, key=key, value=0, process=0), runtime)

        def answer(operation: Operation) -> Operation:
            kind = OperationType.FAIL if operation.process == 0 else OperationType.OK
            grant = {"token": 9, "ttl_ms": None} if operation.f == "acquire" else None
            return Operation(
                f=operation.f, key=operation.key, process=operation.process, type=kind, result=grant
            )

        played = play(workload.final_generator(), answer, concurrency=2).run(500)
        assert played.ended
        return [(e.process, e.f, e.key) for e in sorted(played.invoked, key=lambda e: e.process)]

    assert run(story, locks=2) == [
        (0, "release", 0),
        (1, "acquire", 0),
        (1, "release", 0),
        (1, "acquire", 1),
        (1, "release", 1),
    ]
