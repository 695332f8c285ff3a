from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from foreshock.harness.operation import Operation, OperationType
from foreshock.workloads.lock_holders import LockHolders, LockPlan

MS = 1_000_000
PLAN = LockPlan(
    locks=2,
    try_weight=1,
    timed_weight=1,
    blocking_weight=1,
    timed_wait_ms_max=50,
    blocking_wait_ms=200,
    uses_max=4,
    use_margin_ms=20,
)


class Locks:
    """A correct lock service whose grants last ``ttl_ms``, if at all; some requests crash or are refused."""

    def __init__(self, ttl_ms: int | None = None, *, crash_every: int = 0) -> None:
        self.owners: dict[Any, tuple[int, int]] = {}
        self.ttl_ms = ttl_ms
        self.tokens = 0
        self.count = 0
        self.crash_every = crash_every

    def __call__(self, operation: Operation) -> Operation:
        self.count += 1
        process = operation.process or 0
        if self.crash_every and self.count % self.crash_every == 0 and operation.f != "use":
            self.owners = {key: owner for key, owner in self.owners.items() if owner[0] != process}
            return msgspec.structs.replace(operation, type=OperationType.INFO)
        result = self.result(operation, process)
        kind = OperationType.FAIL if result is False else OperationType.OK
        return msgspec.structs.replace(operation, type=kind, result=result or None)

    def result(self, operation: Operation, process: int) -> Any:
        owner = self.owners.get(operation.key)
        match operation.f:
            case "acquire":
                if owner is not None:
                    return False
                self.tokens += 1
                self.owners[operation.key] = (process, self.tokens)
                return {"token": self.tokens, "ttl_ms": self.ttl_ms}
            case "renew":
                mine = owner == (process, operation.value)
                return {"token": operation.value, "ttl_ms": self.ttl_ms} if mine else False
            case "release":
                if owner != (process, operation.value):
                    return False
                del self.owners[operation.key]
                return None
        return {"seen": 0, "wrote": 1}


def test_a_process_uses_only_what_it_holds_and_gives_it_back(play: Any) -> None:
    played = play(LockHolders(PLAN, {}), Locks()).run(5000)
    holding: dict[Any, tuple[Any, Any]] = {}
    uses: Counter[Any] = Counter()
    for event in played.events:
        process = event.process
        if event.type is OperationType.OK and event.f == "acquire":
            assert process not in holding
            holding[process] = (event.key, event.result["token"])
            uses[process] = 0
        elif event.type is OperationType.INVOKE and event.f == "use":
            assert holding[process] == (event.key, event.value["token"])
            assert event.value["until_ns"] is None
            uses[process] += 1
        elif event.type is OperationType.INVOKE and event.f == "release":
            assert holding.pop(process) == (event.key, event.value)
            assert 1 <= uses[process] <= PLAN.uses_max
    assert len({event.key for event in played.invoked}) == 2
    assert Counter(event.f for event in played.invoked)["renew"] == 0


def test_acquires_try_wait_shortly_and_wait_long(play: Any) -> None:
    played = play(LockHolders(PLAN, {}), Locks()).run(2000)
    waits = {event.value for event in played.invoked if event.f == "acquire"}
    assert {0, 200} < waits
    assert all(0 <= wait <= 50 for wait in waits - {200})


def test_a_use_never_starts_when_belief_has_run_out_and_grants_are_renewed(play: Any) -> None:
    played = play(LockHolders(PLAN, {}), Locks(ttl_ms=100)).run(8000, step_ns=4 * MS)
    until: dict[Any, int] = {}
    sent: dict[Any, int] = {}
    for event in played.events:
        process = event.process
        if event.type is OperationType.INVOKE and event.f in ("acquire", "renew"):
            sent[process] = event.time_ns
        elif event.type is OperationType.OK and event.f in ("acquire", "renew"):
            until[process] = sent[process] + 100 * MS
        elif event.type is OperationType.INVOKE and event.f == "use":
            assert event.value["until_ns"] == until[process]
            assert event.time_ns + PLAN.use_margin_ms * MS <= until[process] + MS
    counts = Counter(event.f for event in played.invoked)
    assert counts["renew"] > 20
    assert counts["use"] > 50


def test_a_refused_renewal_ends_in_a_release_and_refused_releases_are_given_up(play: Any) -> None:
    def answer(operation: Operation) -> Operation:
        if operation.f == "acquire":
            return msgspec.structs.replace(
                operation, type=OperationType.OK, result={"token": 1, "ttl_ms": 30}
            )
        return msgspec.structs.replace(operation, type=OperationType.FAIL)

    played = play(LockHolders(PLAN, {}), answer, concurrency=1).run(600)
    fs = [event.f for event in played.invoked]
    assert "acquire" in fs[1:]
    for place, f in enumerate(fs[:-4]):
        if f in ("use", "renew"):
            assert fs[place + 1 : place + 5] == ["release", "release", "release", "acquire"]


def test_a_process_that_crashed_is_forgotten(play: Any) -> None:
    played = play(LockHolders(PLAN, {}), Locks(crash_every=7), concurrency=3).run(4000)
    assert len(played.generator.holdings) <= 3
    crashed = set()
    for event in played.events:
        assert event.process not in crashed
        if event.type is OperationType.INFO:
            crashed.add(event.process)
    assert len(crashed) > 20
