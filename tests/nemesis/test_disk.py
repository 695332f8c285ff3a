from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import msgspec
import pytest

from foreshock.harness.capabilities import DiskFault, DiskReading
from foreshock.harness.errors import FaultError, UsageError
from foreshock.harness.ledger import read_ledger
from foreshock.harness.operation import Operation
from foreshock.nemesis.disk import KINDS, DiskNemesis, DiskOptions, is_sound, shows

SHOWN = {
    "full": {"write": "ENOSPC"},
    "read-only": {"write": "EROFS"},
    "failing-sync": {"sync": "EIO"},
    "bit-flip": {"intact": False},
    "slow-sync": {},
}
SOUND: Mapping[str, Any] = {"write": "ok", "sync": "ok", "sync_ms": 1, "intact": True}


class Disks:
    """The recording cluster, with disks; ``ignores`` may name ``break_disks`` and ``mend_disks``."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.faults: dict[str, DiskFault] = {}
        self.late = 0
        """How many readings show nothing yet."""
        self.kinds = frozenset(KINDS)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def disk_kinds(self) -> frozenset[str]:
        return self.kinds

    async def break_disks(self, faults: Mapping[str, DiskFault]) -> None:
        if self._cluster._called("break_disks", sorted(faults)):
            self.faults |= faults

    async def mend_disks(self, nodes: frozenset[str]) -> None:
        if self._cluster._called("mend_disks", sorted(nodes)):
            self.faults = {name: fault for name, fault in self.faults.items() if name not in nodes}

    async def read_disks(self, nodes: frozenset[str]) -> Mapping[str, DiskReading]:
        self.late -= 1
        readings = {}
        for name in sorted(nodes):
            fault = self.faults.get(name) if self.late < 0 else None
            shown = {} if fault is None else {**SHOWN[fault.kind], "sync_ms": 1 + fault.delay_ms}
            readings[name] = DiskReading(**{**SOUND, **shown})
        return readings


class Bench:
    def __init__(self, world: Any, seed: int = 1, **options: Any) -> None:
        self.world = world
        self.disks = Disks(world.cluster)
        context = msgspec.structs.replace(world.context(seed), cluster=cast(Any, self.disks))
        self.nemesis = DiskNemesis(DiskOptions(**options), context)

    def perform(self, f: str, value: Any = None) -> Any:
        return asyncio.run(self.nemesis.invoke(Operation(f=f, value=value)))

    def fault(self) -> Any:
        return read_ledger(self.world.ledger_path)[-1]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_fault_is_recorded_before_it_is_made_verified_after_and_healed(world: Any, kind: str) -> None:
    bench = Bench(world)
    result = bench.perform("break-disk", kind)
    assert world.cluster.calls[0] == ("break_disks", result["nodes"])
    assert world.cluster.planned_before[0] == 1
    assert (bench.fault().kind, bench.fault().value) == ("disk", result)
    assert bench.fault().verified_ns is not None
    assert bench.fault().inverse["fault"] == "disk"
    assert {fault.kind for fault in bench.disks.faults.values()} == {kind}
    assert bench.perform("mend-disk") == {"nodes": result["nodes"]}
    assert bench.fault().healed_ns is not None
    assert bench.disks.faults == {}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_result_as_value_does_the_same_again_without_a_draw(world: Any, kind: str) -> None:
    bench = Bench(world, seed=3)
    result = bench.perform("break-disk", kind)
    faults = dict(bench.disks.faults)
    bench.perform("mend-disk")
    assert bench.perform("break-disk", result) == result
    assert bench.disks.faults == faults


def test_amounts_come_from_the_seed(world: Any) -> None:
    drawn = {str(Bench(world, seed).perform("break-disk", "slow-sync")) for seed in range(8)}
    assert len(drawn) > 4
    assert str(Bench(world, 2).perform("break-disk", "slow-sync")) in drawn


def test_a_table_may_say_whose_disks_and_how(world: Any) -> None:
    bench = Bench(world)
    asked = {"kind": "slow-sync", "nodes": ["n2", "n4"], "delay_ms": 77}
    assert bench.perform("break-disk", asked) == {"spec": None, **asked}
    assert set(bench.disks.faults.values()) == {DiskFault(kind="slow-sync", delay_ms=77)}
    assert bench.perform("break-disk", {"kind": "full", "spec": "primaries"})["nodes"] == ["n3"]


def test_a_fault_that_shows_late_is_waited_for_and_one_that_never_does_is_a_fault_error(world: Any) -> None:
    bench = Bench(world)
    bench.disks.late = 5
    bench.perform("break-disk", "full")
    assert bench.fault().verified_ns is not None
    world.cluster.ignores.add("break_disks")
    with pytest.raises(FaultError, match="break-disk did not take: nothing of read-only is seen on n2"):
        bench.perform("break-disk", {"kind": "read-only", "nodes": ["n2"]})
    assert bench.fault().failure is not None


def test_a_disk_that_shows_the_fault_before_is_not_said_to_have_taken_it(world: Any) -> None:
    bench = Bench(world)
    bench.disks.faults["n2"] = DiskFault(kind="slow-sync", delay_ms=200)
    slow = {"kind": "slow-sync", "nodes": ["n1", "n2"], "delay_ms": 100}
    with pytest.raises(FaultError, match="slow-sync is seen before on n2"):
        bench.perform("break-disk", slow)
    assert world.cluster.calls == []
    assert read_ledger(world.ledger_path) == ()
    bench.perform("break-disk", {**slow, "delay_ms": 300})


def test_a_fault_may_take_the_place_of_one_that_is_open(world: Any) -> None:
    bench = Bench(world)
    for _ in range(2):
        bench.perform("break-disk", {"kind": "full", "nodes": ["n2"]})
        assert bench.fault().verified_ns is not None


def test_a_disk_that_is_not_mended_is_a_fault_error_and_says_what_it_shows(world: Any) -> None:
    bench = Bench(world)
    bench.perform("break-disk", {"kind": "slow-sync", "nodes": ["n5"], "delay_ms": 60})
    world.cluster.ignores.add("mend_disks")
    with pytest.raises(FaultError, match=r"mend-disk did not take: n5: .*'sync_ms': 61"):
        bench.perform("mend-disk")
    assert bench.fault().healed_ns is None


def test_nodes_that_ended_by_themselves_are_started_and_those_that_others_hold_down_are_not(
    world: Any,
) -> None:
    bench = Bench(world)
    bench.perform("break-disk", {"kind": "full", "nodes": ["n1", "n2", "n3"]})
    world.ledger.planned("kill", frozenset({"n3"}), inverse={"backend": "recording"})
    world.cluster.down |= {"n1", "n3"}
    assert bench.perform("mend-disk") == {"nodes": ["n1", "n2", "n3"], "started": ["n1"]}
    assert world.cluster.down == {"n3"}


def test_nodes_whose_bits_are_flipped_are_started_again_so_that_they_read(world: Any) -> None:
    bench = Bench(world)
    world.cluster.down.add("n2")
    bench.perform("break-disk", {"kind": "bit-flip", "nodes": ["n1", "n2"]})
    assert world.cluster.calls[-2:] == [("kill", ["n1"]), ("start", ["n1"])]


def test_a_kind_that_the_cluster_lacks_is_said_before_anything_happens(world: Any) -> None:
    disks = Disks(world.cluster)
    disks.kinds = frozenset({"full"})
    context = msgspec.structs.replace(world.context(), cluster=cast(Any, disks))
    with pytest.raises(UsageError, match="by 'read-only' here: take some of full"):
        DiskNemesis(DiskOptions(kinds="full,read-only"), context)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("fulll", "'fulll' is not known"),
        (None, "it needs a value"),
        ({"nodes": ["n1"]}, "its table needs a kind"),
        ({"kind": "full", "nodes": ["n9"]}, "there is no node 'n9'"),
        ({"kind": "full", "spec": "everybody"}, "its spec 'everybody' is not known"),
        ({"kind": "rust", "spec": "one"}, "its kind 'rust' is not known"),
        ({"kind": "slow-sync", "delay_ms": "long"}, "its delay_ms 'long' must be a whole number"),
        ({"kind": "slow-sync", "delay_ms": 0}, "its delay_ms 0 must be a whole number from 1 to 60000"),
        ({"kind": "bit-flip", "percent": 0}, "its percent 0 must be a whole number from 1 to 100"),
        ({"kind": "bit-flip", "percent": 300}, "its percent 300 must be a whole number"),
    ],
)
def test_a_schedules_value_is_looked_at_before_anything_is_deployed(value: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DiskNemesis.check_value("break-disk", value, ("n1", "n2"))


@pytest.mark.parametrize(
    "value",
    ["full", {"kind": "bit-flip", "nodes": ["n1"], "percent": 5, "seed": 3}, {"kind": "full", "spec": "all"}],
)
def test_a_value_that_makes_sense_passes(value: Any) -> None:
    DiskNemesis.check_value("break-disk", value, ("n1", "n2"))
    DiskNemesis.check_value("mend-disk", None, ("n1", "n2"))


def test_every_kind_is_told_from_a_sound_disk_and_from_every_other() -> None:
    for kind, shown in SHOWN.items():
        reading = DiskReading(**{**SOUND, **shown, "sync_ms": 100 if kind == "slow-sync" else 1})
        kinds = [other for other in SHOWN if shows(reading, DiskFault(kind=cast(Any, other), delay_ms=90))]
        assert kinds == [kind]
        assert is_sound(reading, 90) is False
    assert is_sound(DiskReading(**SOUND), 90)
