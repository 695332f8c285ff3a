"""Where copies are kept: bounded, and on disk checksummed and suspect after a restart."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from foreshock.targets.reference.bugs.cache import DiskEntryTrustedAfterRestart
from foreshock.targets.reference.node.cache.disk_store import DiskStore
from foreshock.targets.reference.node.cache.store import SUSPECT, Copy, MemoryStore

MakeNodes = Callable[..., Any]


def copy(value: Any, version: int = 1, until_ns: int = 9) -> Copy:
    return Copy(version, version, value, until_ns)


def make_disk(files: Any, *, entries_max: int = 100, bytes_max: int = 1 << 20) -> DiskStore:
    return DiskStore(files, entries_max=entries_max, bytes_max=bytes_max)


def test_memory_forgets_what_was_used_least_recently() -> None:
    store = MemoryStore(entries_max=2, bytes_max=1 << 20)
    store.put("a", copy(1))
    store.put("b", copy(2))
    store.get("a")
    store.put("c", copy(3))
    assert [store.get(key) is not None for key in ("a", "b", "c")] == [True, False, True]
    assert len(store) == 2


def test_memory_keeps_within_its_bytes() -> None:
    store = MemoryStore(entries_max=1_000, bytes_max=2_000)
    for number in range(100):
        store.put(number, copy("x" * (number % 50)))
        assert store.bytes <= 2_000
    assert 5 < len(store) < 30
    store.put("large", copy("x" * 5_000))
    assert store.get("large") is None
    store.put(99, copy("y" * 5_000))
    assert store.get(99) is None, "what is replaced by something too large is gone as well"
    for number in range(100):
        store.remove(number)
    assert (len(store), store.bytes) == (0, 0)


def test_copies_on_disk_survive_and_are_suspect(memory_files: type[Any]) -> None:
    files = memory_files()
    store = make_disk(files)
    store.put("a", copy({"deep": [1]}, 7))
    store.put(1, copy(None, 8))
    store.put("a", copy("newer", 9))
    assert store.wants_sync()
    assert not store.wants_sync()
    again = make_disk(files)
    assert again.get("a") == Copy(9, 9, "newer", SUSPECT)
    assert again.get(1) == Copy(8, 8, None, SUSPECT)
    again.put("a", copy("newer", 9, until_ns=77))
    assert again.get("a") == Copy(9, 9, "newer", 77)
    assert not again.wants_sync(), "a copy that was confirmed is not written again"


def test_a_key_of_either_kind_is_its_own(memory_files: type[Any]) -> None:
    store = make_disk(memory_files())
    store.put(1, copy("number"))
    store.put("1", copy("text"))
    assert store.get(1) == copy("number")
    assert store.get("1") == copy("text")


def test_what_was_dropped_comes_back_only_as_suspect(memory_files: type[Any]) -> None:
    files = memory_files()
    store = make_disk(files)
    store.put("a", copy(1))
    store.remove("a")
    assert store.get("a") is None
    found = make_disk(files).get("a")
    assert found is not None
    assert found.until_ns == SUSPECT


@pytest.mark.parametrize("restart", [False, True])
def test_a_broken_record_is_a_copy_that_is_not_there(memory_files: type[Any], restart: bool) -> None:
    rng = random.Random(1)
    for _ in range(200):
        files = memory_files()
        store = make_disk(files, bytes_max=4_000)
        values = {key: rng.randrange(1 << 30) for key in range(60)}
        for key, value in values.items():
            store.put(key, copy(value))
        store.synced()
        name = rng.choice(files.names())
        data = bytearray(files.content[name])
        for _ in range(rng.randint(1, 3)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        files.content[name] = bytes(data[: rng.randint(1, len(data))])
        store = make_disk(files, bytes_max=4_000) if restart else store
        for key, value in values.items():
            found = store.get(key)
            assert found is None or found.value == value


def test_disk_keeps_within_its_bounds_and_drops_the_oldest_segment(memory_files: type[Any]) -> None:
    files = memory_files()
    store = make_disk(files, entries_max=50, bytes_max=4_000)
    for number in range(500):
        store.put(number, copy("x" * (number % 40)))
        if number % 7 == 0:
            store.synced()
    assert sum(len(data) for data in files.content.values()) <= 4_000
    assert len(store) <= 50
    assert store.get(499) is not None
    assert store.get(0) is None
    store.put("large", copy("x" * 2_000))
    assert store.get("large") is None
    assert len(make_disk(files, entries_max=3, bytes_max=4_000)) == 3


def test_a_segment_that_has_vanished_is_missed_like_any_copy(memory_files: type[Any]) -> None:
    files = memory_files()
    make_disk(files).put("a", copy(1))
    store = make_disk(files)
    files.content.clear()
    assert store.get("a") is None
    assert store.broken == 1


@pytest.mark.parametrize("mode", ["linearizable", "write-through"])
def test_a_copy_on_disk_is_confirmed_by_the_origin_before_it_is_used(
    make_nodes: MakeNodes, mode: str
) -> None:
    nodes = make_nodes(mode, store="disk")
    nodes.ask("n1", type="put", key="k", value="old")
    nodes.ask("n1", type="put", key="j", value="same")
    for key in ("k", "j"):
        nodes.ask("n2", type="get", key=key)
    nodes.cut = {"n2"}
    nodes.pass_ms(2_500)
    assert nodes.ask("n1", type="put", key="k", value="new")["type"] == "put_ok"
    nodes.start("n2")
    nodes.cut = set()
    assert nodes.ask("n2", type="status")["copies"] == 2
    assert nodes.ask("n2", type="get", key="k")["value"] == "new"
    confirmed = nodes.ask("n2", type="get", key="j")
    assert (confirmed["value"], confirmed["hit"]) == ("same", False)
    assert nodes.ask("n2", type="get", key="j")["hit"] is True


def test_the_planted_bug_uses_it_at_once(make_nodes: MakeNodes) -> None:
    nodes = make_nodes("linearizable", store="disk", bug=DiskEntryTrustedAfterRestart)
    nodes.ask("n1", type="put", key="k", value="old")
    nodes.ask("n2", type="get", key="k")
    nodes.cut = {"n2"}
    put = nodes.send("n1", type="put", key="k", value="new")
    nodes.pass_ms(1_250)
    assert nodes.reply(put)["type"] == "put_ok"
    nodes.start("n2")
    assert nodes.ask("n2", type="get", key="k")["value"] == "old"
