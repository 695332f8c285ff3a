"""What a simulated disk keeps and what it loses."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.simulation.programs import MS, Town

from foreshock.harness.capabilities import DiskFault
from foreshock.harness.randomness import RandomStream
from foreshock.harness.simulation.disk import SimDisk
from foreshock.harness.simulation.knobs import SimKnobs
from foreshock.harness.simulation.scheduler import Scheduler


class Bench:
    """A disk alone, with time to pass."""

    def __init__(self, seed: int = 1, **knobs: Any) -> None:
        self.scheduler = Scheduler(events_max=10**6, time_max_ns=10**15)
        self.tokens: list[object] = []
        self.refused: list[object] = []
        self.crashes = RandomStream(seed, "crash")
        self.disk = SimDisk(
            self.scheduler,
            SimKnobs(**knobs),
            RandomStream(seed, "disk"),
            lambda token, _: self.tokens.append(token),
            lambda token, _: self.refused.append(token),
        )

    def settle(self) -> None:
        heap = self.scheduler.heap
        while heap:
            heap.sort()
            self.scheduler.now, _, function, first, second = heap.pop(0)
            function(first, second)


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.binary(min_size=1, max_size=8)),
        st.tuples(st.just("truncate"), st.integers(0, 40)),
        st.tuples(st.just("sync"), st.none()),
        st.tuples(st.just("settle"), st.none()),
        st.tuples(st.just("replace"), st.binary(max_size=8)),
    ),
    max_size=25,
)


@given(OPERATIONS, st.integers(0, 2**32), st.sampled_from([0, 50, 100]), st.sampled_from([0, 50, 100]))
@settings(max_examples=300, deadline=None)
def test_a_crash_leaves_what_was_synced_and_at_most_a_torn_prefix_of_the_rest(
    operations: list[tuple[str, Any]], seed: int, keeps: int, tears: int
) -> None:
    bench = Bench(seed, crash_keeps_percent=keeps, crash_tears_percent=tears)
    disk = bench.disk
    now: bytes | None = None
    possible: list[bytes | None] = [None]  # what a crash may leave, the durable content first
    asked: list[int] = []
    for name, value in operations:
        if name == "append":
            before = now or b""
            now = before + value
            possible.extend(before + value[:size] for size in range(1, len(value) + 1))
            disk.append("log", value)
        elif name == "truncate" and now is not None:
            now = now[: min(value, len(now))]
            possible.append(now)
            disk.truncate("log", len(now))
        elif name == "sync" and now is not None:
            asked.append(len(possible) - 1)
            disk.sync("log", len(asked))
        elif name == "settle":
            bench.settle()
            if asked:
                possible = possible[asked[-1] :]
                asked = [0 for _ in asked]
        elif name == "replace":
            disk.replace("log", value)
            now = value
            possible.append(now)
        assert (disk.read("log") if now is not None else None) == now
        assert disk.used_bytes == len(now or b"")
    disk.crash(bench.crashes)
    left = disk.read("log") if "log" in disk.names() else None
    assert left in possible
    if keeps == 0:
        assert left == possible[0]
    assert disk.used_bytes == len(left or b"")
    bench.settle()
    assert (disk.read("log") if "log" in disk.names() else None) == left, (
        "a sync from before the crash did something"
    )


def test_syncs_complete_in_the_order_in_which_they_were_asked_for() -> None:
    bench = Bench(sync_min_ns=0, sync_mean_ns=10 * MS, sync_stall_ppm=300_000, sync_stall_ns=50 * MS)
    for number in range(200):
        bench.disk.append(f"file{number % 3}", b"x")
        bench.disk.sync(f"file{number % 3}", number)
    bench.settle()
    assert bench.tokens == list(range(200))
    assert bench.scheduler.now > 50 * MS


def test_what_is_appended_after_a_sync_was_asked_for_is_not_part_of_it() -> None:
    bench = Bench(crash_keeps_percent=0)
    bench.disk.append("log", b"synced")
    bench.disk.sync("log", 1)
    bench.disk.append("log", b" not synced")
    bench.settle()
    bench.disk.crash(bench.crashes)
    assert bench.disk.read("log") == b"synced"


def test_a_truncation_that_was_not_synced_is_undone_by_a_crash() -> None:
    bench = Bench(crash_keeps_percent=0)
    bench.disk.append("log", b"0123")
    bench.disk.append("log", b"456789")
    bench.disk.sync("log", 1)
    bench.settle()
    bench.disk.truncate("log", 2)
    bench.disk.append("log", b"new")
    assert bench.disk.read("log") == b"01new"
    bench.disk.crash(bench.crashes)
    assert bench.disk.read("log") == b"0123456789"


def test_a_replacement_that_was_not_synced_leaves_the_old_file_or_the_new_one_whole() -> None:
    left = set()
    for seed in range(50):
        bench = Bench(seed=seed, crash_keeps_percent=50, crash_tears_percent=100)
        bench.disk.append("log", b"old")
        bench.disk.sync("log", 1)
        bench.settle()
        bench.disk.replace("log", b"the new one")
        assert bench.disk.read("log") == b"the new one"
        bench.disk.crash(bench.crashes)
        left.add(bench.disk.read("log"))
    assert left == {b"old", b"the new one"}


def test_a_crash_sometimes_keeps_a_prefix_and_sometimes_tears_an_append() -> None:
    left = set()
    for seed in range(200):
        bench = Bench(seed)
        bench.disk.append("log", b"aaaa")
        bench.disk.append("log", b"bbbb")
        bench.disk.crash(bench.crashes)
        left.add(bench.disk.read("log") if bench.disk.names() else None)
    assert {None, b"aaaa", b"aaaabbbb", b"aa", b"aaaabb"} <= left


def test_a_full_disk_says_so_and_keeps_what_it_has() -> None:
    bench = Bench(disk_capacity_bytes=10)
    bench.disk.append("log", b"12345678")
    with pytest.raises(OSError, match="10 bytes is full") as caught:
        bench.disk.append("log", b"abc")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="full"):
        bench.disk.replace("other", b"abc")
    bench.disk.truncate("log", 4)
    bench.disk.replace("other", b"abc")
    bench.disk.remove("log")
    bench.disk.remove("log")
    assert bench.disk.names() == ["other"]
    assert bench.disk.used_bytes == 3


def test_a_file_that_is_not_there_is_a_file_not_found_error() -> None:
    disk = Bench().disk
    for attempt in (disk.read, lambda name: disk.sync(name, 1), lambda name: disk.truncate(name, 0)):
        with pytest.raises(FileNotFoundError):
            attempt("missing")


def test_a_cut_past_the_end_is_refused() -> None:
    disk = Bench().disk
    disk.append("log", b"abc")
    with pytest.raises(ValueError, match="cannot cut 'log' to 4 bytes: it has 3"):
        disk.truncate("log", 4)


def twice_written(end: Callable[[Town], None]) -> Town:
    """A node that has synced ``one``, was still syncing ``two``, had just written ``three``, and then ended so."""
    town = Town("n1", knobs=SimKnobs(crash_keeps_percent=0))
    disk = town.machine("n1").disk

    def write(data: bytes, token: str | None) -> None:
        disk.append("log", data)
        if token is not None:
            disk.sync("log", token)

    town.run(
        lambda: write(b"one", "first"),
        100 * MS,
        lambda: write(b"two", "second"),
        lambda: write(b"three", None),
        lambda: end(town),
        lambda: town.world.start("n1"),
        100 * MS,
    )
    assert town.kinds("n1") == [("start",), ("synced", "first"), ("start",)], (
        "a sync of an earlier life was told"
    )
    return town


def test_a_killed_node_finds_all_that_it_had_written_synced_or_not() -> None:
    town = twice_written(lambda town: town.world.kill("n1"))
    assert town.machine("n1").disk.read("log") == b"onetwothree"


def test_a_node_whose_power_was_cut_finds_only_what_was_synced() -> None:
    town = twice_written(lambda town: town.world.cut_power("n1"))
    assert town.machine("n1").disk.read("log") == b"one"


def test_what_a_killed_program_had_asked_to_sync_is_durable_and_the_rest_goes_with_the_power() -> None:
    def end(town: Town) -> None:
        town.world.kill("n1")
        town.world.start("n1")

    town = twice_written(end)
    assert town.machine("n1").disk.read("log") == b"onetwothree"
    town.world.kill("n1")
    town.world.cut_power("n1")
    assert town.machine("n1").disk.read("log") == b"onetwo"


def test_a_full_disk_takes_nothing_more_and_a_mended_one_does() -> None:
    disk = Bench().disk
    disk.append("log", b"abcd")
    disk.break_down(DiskFault(kind="full"))
    with pytest.raises(OSError, match="full") as caught:
        disk.append("log", b"e")
    assert caught.value.errno == errno.ENOSPC
    disk.truncate("log", 2)
    disk.replace("log", b"xy")
    assert disk.try_write() == "ENOSPC"
    disk.mend()
    disk.append("log", b"z")
    assert (disk.read("log"), disk.try_write()) == (b"xyz", "ok")


def test_a_read_only_disk_refuses_every_change() -> None:
    disk = Bench().disk
    disk.append("log", b"abcd")
    disk.break_down(DiskFault(kind="read-only"))
    changes: list[Callable[[], None]] = [
        lambda: disk.append("log", b"e"),
        lambda: disk.truncate("log", 1),
        lambda: disk.replace("log", b""),
        lambda: disk.remove("log"),
    ]
    for change in changes:
        with pytest.raises(OSError, match="read-only") as caught:
            change()
        assert caught.value.errno == errno.EROFS
    assert (disk.read("log"), disk.try_write()) == (b"abcd", "EROFS")


def test_a_slow_sync_takes_longer_by_exactly_so_much() -> None:
    times = []
    for fault in (None, DiskFault(kind="slow-sync", delay_ms=300)):
        bench = Bench()
        bench.disk.append("log", b"abcd")
        if fault is not None:
            bench.disk.break_down(fault)
        bench.disk.sync("log", 1)
        bench.settle()
        times.append(bench.scheduler.now)
    assert times[1] - times[0] == 300 * MS


def test_what_a_failing_sync_was_to_make_durable_is_lost_and_who_asked_is_told() -> None:
    bench = Bench()
    disk = bench.disk
    disk.append("log", b"kept")
    disk.sync("log", 1)
    bench.settle()
    disk.break_down(DiskFault(kind="failing-sync"))
    disk.append("log", b" lost")
    disk.append("new", b"never there")
    disk.sync("log", 2)
    disk.sync("new", 3)
    bench.settle()
    assert (bench.tokens, bench.refused) == ([1], [2, 3])
    assert (disk.names(), disk.read("log"), disk.used_bytes) == (["log"], b"kept", 4)
    disk.mend()
    disk.sync("log", 4)
    bench.settle()
    assert bench.tokens == [1, 4]


def test_a_part_of_the_syncs_fails_by_the_seed() -> None:
    outcomes = []
    for seed in (1, 1, 2):
        bench = Bench()
        bench.disk.append("log", b"x")
        bench.disk.sync("log", 0)
        bench.settle()
        bench.disk.break_down(DiskFault(kind="failing-sync", percent=50, seed=seed))
        for token in range(1, 40):
            bench.disk.sync("log", token)
            bench.settle()
        outcomes.append(bench.refused)
    assert outcomes[0] == outcomes[1] != outcomes[2]
    assert 5 < len(outcomes[0]) < 35


def test_flipped_bits_spare_the_last_two_writes_and_nothing_is_written() -> None:
    bench = Bench()
    disk = bench.disk
    disk.append("log", bytes(range(256)) * 20)
    for data in (b"last but one", b"last"):
        disk.append("log", data)
    before = disk.read("log")
    disk.break_down(DiskFault(kind="bit-flip", seed=5))
    seen = disk.read("log")
    wrong = [place for place in range(len(before)) if seen[place] != before[place]]
    assert len(wrong) == 10  # one a block
    assert max(wrong) < 256 * 20
    assert seen == disk.read("log")
    assert not disk.try_read()
    disk.mend()
    assert (disk.read("log"), disk.try_read()) == (before, True)


def test_only_what_flipped_bits_or_a_refusal_can_lead_to_is_the_disks_doing() -> None:
    disk = Bench().disk
    assert not disk.may_have_caused(OSError())
    disk.break_down(DiskFault(kind="full"))
    assert disk.may_have_caused(OSError())
    assert not disk.may_have_caused(ValueError())
    disk.break_down(DiskFault(kind="bit-flip"))
    assert disk.may_have_caused(ValueError())
