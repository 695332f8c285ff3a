from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from foreshock.harness.operation import Operation, OperationType
from foreshock.workloads.rotating_keys import Effect, KeyJournal, Kind, Mix, RotatingKeys

REGISTER = (Kind("write", Effect.WRITE, 1), Kind("read", Effect.READ, 2), Kind("cas", Effect.CAS, 1))
CACHE = (Kind("put", Effect.WRITE, 3), Kind("get", Effect.READ, 6), Kind("delete", Effect.DELETE, 1))


def keys(kinds: tuple[Kind, ...], active_keys: int, updates_per_key: int, readers: int = 0) -> RotatingKeys:
    mix = Mix.of(kinds, updates_per_key=updates_per_key, readers=readers)
    return RotatingKeys.over(mix, active_keys=active_keys)


class Registers:
    """Answers as correct registers would, at the moment of completion."""

    def __init__(self) -> None:
        self.values: dict[Any, Any] = {}

    def __call__(self, operation: Operation) -> Operation:
        kind, result = OperationType.OK, None
        if operation.f in ("read", "get"):
            result = self.values.get(operation.key)
        elif operation.f == "cas":
            assert isinstance(operation.value, list)
            old, new = operation.value
            if self.values.get(operation.key) == old:
                self.values[operation.key] = new
            else:
                kind = OperationType.FAIL
        else:
            self.values[operation.key] = operation.value
        return msgspec.structs.replace(operation, type=kind, result=result)


def written(operations: list[Operation]) -> list[Any]:
    values = []
    for operation in operations:
        if operation.f == "cas":
            assert isinstance(operation.value, list)
            values.append(operation.value[1])
        elif operation.value is not None:
            values.append(operation.value)
    return values


def test_written_values_are_distinct_and_never_the_initial_one(play: Any) -> None:
    for kinds in (REGISTER, CACHE):
        played = play(keys(kinds, 3, 20), Registers()).run(3000)
        values = written(played.invoked)
        assert len(values) > 300
        assert len(set(values)) == len(values)
        assert all(isinstance(value, int) and value > 0 for value in values)


def test_a_key_retires_after_its_updates_and_never_comes_back(play: Any) -> None:
    played = play(keys(REGISTER, 3, 20), Registers()).run(4000)
    updates = Counter(operation.key for operation in played.invoked if operation.f != "read")
    assert len(updates) > 10
    assert max(updates.values()) == 20
    assert sum(count < 20 for count in updates.values()) <= 3
    retired: set[Any] = set()
    so_far: Counter[Any] = Counter()
    for operation in played.invoked:
        assert operation.key not in retired
        so_far[operation.key] += operation.f != "read"
        if so_far[operation.key] == 20:
            retired.add(operation.key)


def test_only_so_many_keys_are_active_at_a_time(play: Any) -> None:
    played = play(keys(REGISTER, 3, 50), Registers()).run(500)
    assert {operation.key for operation in played.invoked[:60]} == {0, 1, 2}


def test_a_compare_and_set_expects_what_was_seen_and_so_often_succeeds(play: Any) -> None:
    played = play(keys(REGISTER, 4, 200), Registers()).run(6000)
    outcomes = Counter(e.type for e in played.events if e.f == "cas" and e.type is not OperationType.INVOKE)
    assert outcomes[OperationType.OK] > outcomes[OperationType.FAIL] // 3
    known = {None, *written(played.invoked)}
    assert all(e.value[0] in known - {None} for e in played.invoked if e.f == "cas")


def test_the_mix_is_by_weight(play: Any) -> None:
    played = play(keys(CACHE, 4, 200), Registers()).run(8000)
    by_f = Counter(operation.f for operation in played.invoked)
    total = by_f.total()
    assert 0.5 < by_f["get"] / total < 0.7
    assert 0.05 < by_f["delete"] / total < 0.15


def test_some_processes_only_read(play: Any) -> None:
    played = play(keys(REGISTER, 4, 200, readers=2), Registers(), concurrency=5).run(2000)
    by_process = {p: {e.f for e in played.invoked if e.process == p} for p in range(5)}
    assert by_process[0] == by_process[1] == {"read"}
    assert by_process[2] == by_process[3] == by_process[4] == {"read", "write", "cas"}


def test_the_generator_is_immutable(play: Any) -> None:
    first = keys(REGISTER, 2, 5)
    one = play(first, Registers(), seed=3).run(400).events
    assert (first.slots, first.next_key, first.next_value) == (keys(REGISTER, 2, 5).slots, 2, 1)
    assert one == play(first, Registers(), seed=3).run(400).events


def test_the_journal_knows_which_keys_are_live() -> None:
    journal = KeyJournal(updates_per_key=2)
    for key, update in ((0, True), (1, True), (0, True), (1, False), (2, False)):
        journal.note(Operation(f="write", key=key), update=update)
    assert journal.live(10) == [1, 2]
    assert journal.live(1) == [2]
    assert journal.retired(10) == [0]
