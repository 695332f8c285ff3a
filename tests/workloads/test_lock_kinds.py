"""The lock workload for each kind of lock, and the planted mistakes that each of its checks finds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from foreshock.harness.errors import Definite, UsageError
from foreshock.harness.judge import Judgement
from foreshock.harness.operation import Operation, OperationType
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.request import Request
from foreshock.harness.runner import run_test
from foreshock.harness.services import LOCK_KINDS, ModalLockClient
from foreshock.harness.store import Store
from foreshock.targets.reference.lock_client import ReferenceLockClient
from foreshock.workloads.guarded_resource import GuardedResource
from foreshock.workloads.lock import LockOptions, LockWorkload
from foreshock.workloads.lock_holders import LockHolders, LockPlan

KINDS = tuple(LOCK_KINDS)


def plan(kind: str) -> LockPlan:
    return LockPlan(
        locks=2,
        try_weight=1,
        timed_weight=1,
        blocking_weight=1,
        timed_wait_ms_max=50,
        blocking_wait_ms=200,
        uses_max=4,
        use_margin_ms=20,
        kind=kind,
        permits=2,
        readers_percent=60,
        depth_max=3,
    )


class AlwaysGranted:
    """Grants everything; ``depth`` counts what each process has."""

    def __init__(self) -> None:
        self.depths: Counter[tuple[int, Any]] = Counter()
        self.tokens = 0

    def __call__(self, operation: Operation) -> Operation:
        place = (operation.process or 0, operation.key)
        result: Any = None
        if operation.f == "acquire":
            self.tokens += self.depths[place] == 0
            self.depths[place] += 1
            result = {"token": self.tokens, "ttl_ms": None, "depth": self.depths[place]}
        elif operation.f == "release":
            self.depths[place] -= 1
        return msgspec.structs.replace(operation, type=OperationType.OK, result=result)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_asked_for_in_its_modes_and_used_so(kind: str, play: Any) -> None:
    played = play(LockHolders(plan(kind), {}), AlwaysGranted()).run(4000)
    asked = [event.value for event in played.invoked if event.f == "acquire"]
    used = [event.value for event in played.invoked if event.f == "use"]
    modes = {value["mode"] if isinstance(value, Mapping) else None for value in asked}
    assert modes == (set(LOCK_KINDS[kind]) or {None})
    assert {value.get("mode") for value in used} == modes
    waits = {value["wait_ms"] if isinstance(value, Mapping) else value for value in asked}
    assert {0, 200} < waits
    assert {value.get("permits", 1) for value in used} == {2 if kind == "semaphore" else 1}


def test_a_reentrant_lock_is_held_several_times_released_as_often_and_used_in_between(play: Any) -> None:
    answer = AlwaysGranted()
    played = play(LockHolders(plan("reentrant"), {}), answer).run(6000)
    depths: Counter[Any] = Counter()
    deepest, used_after_a_release, released = 0, 0, set()
    for event in played.events:
        if event.type is OperationType.OK and event.f == "acquire":
            depths[event.process] += 1
            released.discard(event.process)
            deepest = max(deepest, depths[event.process])
        elif event.type is OperationType.INVOKE and event.f == "release":
            depths[event.process] -= 1
            assert depths[event.process] >= 0
            released.add(event.process)
        elif event.type is OperationType.INVOKE and event.f == "use":
            assert depths[event.process] > 0
            used_after_a_release += event.process in released
    assert deepest == 3
    assert used_after_a_release > 20


def test_whoever_is_not_granted_a_lock_once_more_still_holds_it(play: Any) -> None:
    answer = AlwaysGranted()

    def deeper_is_refused(operation: Operation) -> Operation:
        if operation.f == "acquire" and answer.depths[operation.process or 0, operation.key]:
            return msgspec.structs.replace(operation, type=OperationType.FAIL)
        return answer(operation)

    played = play(LockHolders(plan("reentrant"), {}), deeper_is_refused).run(3000)
    assert all(depth in (0, 1) for depth in answer.depths.values())
    assert Counter(event.f for event in played.invoked)["release"] > 100


class Plain:
    """A client without any kind but the mutex."""

    service: ClassVar[str] = "lock"


def test_a_kind_that_the_client_lacks_is_a_usage_error_and_so_is_a_fenced_semaphore() -> None:
    LockWorkload.check_client(LockOptions(), Plain)
    for kind in KINDS:
        LockWorkload.check_client(LockOptions(kind=kind), ReferenceLockClient)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Plain has no locks of kind 'semaphore': it has mutex"):
        LockWorkload.check_client(LockOptions(kind="semaphore"), Plain)
    with pytest.raises(UsageError, match="fencing=true means nothing for kind=semaphore"):
        LockWorkload.check_client(LockOptions(kind="semaphore", fencing=True), ReferenceLockClient)


def test_the_question_is_asked_before_anything_is_deployed() -> None:
    with pytest.raises(UsageError, match="has no locks of kind 'read-write'"):
        resolve(Request(target="tcp-lock", workload="lock", backend="sim", options={"kind": "read-write"}))


def test_the_reference_client_is_one_with_modes() -> None:
    assert {*ReferenceLockClient.kinds, "mutex"} == set(KINDS)
    assert callable(ModalLockClient.acquire_mode)


# --- the resource -------------------------------------------------------------------------------------------------


def test_a_reader_is_refused_after_a_later_writer_and_a_writer_after_anybody_later() -> None:
    resource = GuardedResource(fencing=True)
    resource.read(1, 5, shared=True)
    assert resource.read(1, 4, shared=True) == 0
    with pytest.raises(Definite, match="refused token 4: it has seen 5"):
        resource.write(1, 4, 1)
    resource.write(1, 6, 1)
    with pytest.raises(Definite, match="refused token 5: it has seen 6"):
        resource.read(1, 5, shared=True)
    assert resource.read(1, 7, shared=True) == 1


def test_the_users_under_a_semaphore_are_counted_by_key() -> None:
    resource = GuardedResource(fencing=False)
    assert [resource.enter(1), resource.enter(1), resource.enter(2)] == [1, 2, 1]
    resource.leave(1)
    assert resource.enter(1) == 2


# --- whole tests with a service that makes one mistake ------------------------------------------------------------

TARGET = """
from foreshock.harness.services import Grant
from foreshock.harness.target import Target

{mistake}


class Client:
    service = "lock"
    kinds = frozenset({{"reentrant", "read-write", "semaphore"}})
    locks = None

    def __init__(self, context):
        self.owner = context.process
        self.locks = LOCKS

    async def open(self):
        pass

    async def close(self):
        self.locks.end_session(self.owner)

    async def acquire(self, key, wait_ms):
        return self.granted(self.locks.apply(self.owner, ["acquire", key, False]), key)

    async def acquire_mode(self, key, wait_ms, mode, permits):
        reply = self.locks.apply(self.owner, ["acquire", key, False, mode, permits])
        return self.granted(reply, key)

    def granted(self, reply, key):
        if not reply.get("granted"):
            raise Definite(f"{{key}} is held")
        return Grant(token=reply["token"], depth=reply.get("depth"))

    async def renew(self, key, token):
        return Grant(token=token)

    async def release(self, key, token):
        if self.locks.apply(self.owner, ["release", key, token])["type"] == "error":
            raise Definite("not held")


class Mistaken(Target):
    default_nodes = 1
    services = {{"lock": Client}}

    def command(self, node):
        return ["true"]

    async def ready(self, node, runtime):
        return True

    def simulate(self, node, machine):
        return Idle()


class Idle:
    def on_start(self):
        pass


LOCKS = Service()
"""
IMPORTS = """
from foreshock.harness.errors import Definite
from foreshock.targets.reference.node.services import lock as module
from foreshock.targets.reference.node.services.lock import Hold, Locks
"""
CORRECT = "class Service(Locks): pass"
READERS_ENTER = """
class Service(Locks):
    def _acquire(self, session, key, wait, wish):
        lock = self._locks.get(key)
        if lock is not None and wish.mode == "read" and session not in lock.holders:
            return module._granted(self._grant(session, key, lock, wish))
        return super()._acquire(session, key, wait, wish)
"""
ONE_PERMIT_MORE = """
class Service(Locks):
    def _acquire(self, session, key, wait, wish):
        return super()._acquire(session, key, wait, wish._replace(permits=wish.permits + 1))
"""
FIRST_RELEASE_FREES = """
class Service(Locks):
    def _release(self, session, key, token):
        owner = self._owner(session, key, token)
        if not isinstance(owner, dict):
            self._locks[key].holders[session] = owner._replace(depth=1)
        return super()._release(session, key, token)
"""
TOKEN_PER_DEPTH = """
class Service(Locks):
    def _grant(self, session, key, lock, wish):
        hold = super()._grant(session, key, lock, wish)
        self._grants -= 1
        return hold
"""


def judged(tmp_path: Path, service: str, kind: str, **options: Any) -> Judgement:
    plug_in = tmp_path / "mistaken.py"
    plug_in.write_text(TARGET.format(mistake=IMPORTS + service))
    request = Request(
        target=f"{plug_in}:Mistaken",
        workload="lock",
        backend="sim",
        concurrency="4",
        time_limit=5,
        seed=1,
        options={"kind": kind, "locks": 1, "use_ms": 30, "readers_percent": 20, **options},
    )
    judgement = run_test(
        resolve(request), Store(tmp_path / "store"), SilentProgress(), report=False
    ).judgement
    assert judgement.harness_errors == ()
    return judgement


@pytest.mark.parametrize("kind", KINDS)
def test_a_correct_service_is_found_valid(kind: str, tmp_path: Path) -> None:
    judgement = judged(tmp_path, CORRECT, kind)
    assert judgement.verdict == "valid", judgement.reason


@pytest.mark.parametrize(
    ("kind", "service", "convicting"),
    [
        ("read-write", READERS_ENTER, {"mutex", "fencing", "guarded-resource"}),
        ("semaphore", ONE_PERMIT_MORE, {"mutex", "guarded-resource"}),
        ("reentrant", FIRST_RELEASE_FREES, {"mutex", "fencing", "guarded-resource"}),
        ("read-write", TOKEN_PER_DEPTH, {"fencing"}),
        ("semaphore", TOKEN_PER_DEPTH, {"fencing"}),
        ("reentrant", TOKEN_PER_DEPTH, {"fencing"}),
    ],
)
def test_each_mistake_is_found_by_the_checks_that_are_to_find_it(
    kind: str, service: str, convicting: set[str], tmp_path: Path
) -> None:
    judgement = judged(tmp_path, service, kind)
    found = {name for name, result in judgement.checkers.items() if result["verdict"] == "invalid"}
    assert found - {"liveness"} == convicting
