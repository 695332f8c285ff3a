"""Durable records: what was written comes back, a torn tail is cut, and anything else is refused by its place."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.targets.reference.chaos import Chaos
from tests.targets.reference.raft.harness import QUICK, World
from tests.targets.reference.raft.schedules import knobs_of

from foreshock.targets.reference.node.consensus import Entry, Record, Snapshot
from foreshock.targets.reference.node.raft import Raft
from foreshock.targets.reference.node.storage import FILE_NAME, CorruptStorage, Storage


class MemoryFiles:
    """The files port in memory."""

    def __init__(self, files: dict[str, bytes] | None = None) -> None:
        self.files = dict(files or {})

    def names(self) -> list[str]:
        return sorted(self.files)

    def read(self, name: str) -> bytes:
        return self.files[name]

    def append(self, name: str, data: bytes) -> None:
        self.files[name] = self.files.get(name, b"") + data

    def truncate(self, name: str, length: int) -> None:
        self.files[name] = self.files[name][:length]

    def replace(self, name: str, data: bytes) -> None:
        self.files[name] = data

    def remove(self, name: str) -> None:
        self.files.pop(name, None)


def entry(position: int, term: int = 1, data: Any = "data") -> Entry:
    return Entry(position, term, "command", data)


RECORDS = [
    Record(1, "state", {"term": 1, "vote": "n1"}),
    Record(2, "entries", (entry(1), entry(2))),
    Record(3, "entries", (entry(3, data={"text": "ünï\ncode \ud800", "list": [1, 2.5, None]}),)),
    Record(4, "state", {"term": 2, "vote": None}),
    Record(5, "entries", (entry(2, term=2), entry(3, term=2))),
]


def written(records: list[Record], **identity: str) -> MemoryFiles:
    files = MemoryFiles()
    storage = Storage(files, **identity)
    storage.load()
    for record in records:
        storage.append([record])
    return files


def loaded(files: MemoryFiles, **identity: str) -> list[tuple[str, Any]]:
    return [(record.kind, plain(record.data)) for record in Storage(files, **identity).load()]


def plain(data: Any) -> Any:
    return [plain(item) for item in data] if isinstance(data, list | tuple) else data


def test_a_new_node_has_no_records_and_a_file_with_a_header() -> None:
    files = MemoryFiles()
    assert Storage(files).load() == []
    assert files.names() == [FILE_NAME]
    assert loaded(files) == []


def test_what_was_written_comes_back_compacted() -> None:
    assert loaded(written(RECORDS)) == [
        ("state", {"term": 2, "vote": None}),
        ("entries", plain([entry(1), entry(2, term=2), entry(3, term=2)])),
    ]


def test_records_written_after_a_restart_go_on_from_the_others() -> None:
    files = written(RECORDS)
    for position in (4, 5):
        storage = Storage(files)
        storage.load()
        storage.append([Record(1, "entries", (entry(position, term=2),))])
    assert loaded(files)[1] == ("entries", plain([entry(1)] + [entry(i, term=2) for i in range(2, 6)]))


def test_a_snapshot_makes_the_file_anew() -> None:
    files = written(RECORDS)
    storage = Storage(files)
    storage.load()
    storage.append([Record(1, "entries", (entry(4, term=2),))])
    before = len(files.read(FILE_NAME))
    snapshot = Snapshot(3, 2, ("n1",), {"state": 1})
    storage.append([Record(2, "snapshot", snapshot), Record(3, "entries", (entry(5, term=2),))])
    assert len(files.read(FILE_NAME)) < before
    storage.append([Record(4, "entries", (entry(6, term=2),))])
    assert loaded(files) == [
        ("state", {"term": 2, "vote": None}),
        ("snapshot", plain(snapshot)),
        ("entries", plain([entry(i, term=2) for i in (4, 5, 6)])),
    ]


@pytest.mark.parametrize(("term", "left"), [(2, [3]), (7, [])])
def test_entries_behind_a_snapshot_stay_only_if_the_log_held_its_last(term: int, left: list[int]) -> None:
    snapshot = Snapshot(2, term, ("n1",), {})
    records = Storage(written([*RECORDS, Record(6, "snapshot", snapshot)])).load()
    assert [e[0] for record in records if record.kind == "entries" for e in record.data] == left


@pytest.mark.parametrize("identity", [{"cluster": "other"}, {"node": "other"}])
def test_the_file_of_another_cluster_or_node_is_refused(identity: dict[str, str]) -> None:
    with pytest.raises(CorruptStorage, match="other"):
        Storage(written(RECORDS), **identity).load()


def test_a_file_of_another_format_or_none_at_all_is_refused() -> None:
    for data in (b"", b"hello\n", b'{"format": 1}\n', written(RECORDS).read(FILE_NAME)[3:]):
        with pytest.raises(CorruptStorage, match="header"):
            Storage(MemoryFiles({FILE_NAME: data})).load()


def test_truncation_takes_every_entry_after_a_position() -> None:
    files = written([*RECORDS, Record(6, "truncate", 2)])
    assert loaded(files)[1] == ("entries", plain([entry(1), entry(2, term=2)]))
    storage = Storage(files)
    storage.load()
    storage.append([Record(1, "entries", (entry(3, term=4),)), Record(2, "truncate", 0)])
    assert loaded(files) == [("state", {"term": 2, "vote": None})]


def test_truncation_leaves_the_snapshot_alone() -> None:
    snapshot = Snapshot(2, 2, ("n1",), {})
    records = [*RECORDS, Record(6, "snapshot", snapshot), Record(7, "truncate", 2)]
    assert [kind for kind, _ in loaded(written(records))] == ["state", "snapshot"]
    with pytest.raises(ValueError, match="cannot go on from position 1: it begins after 2"):
        written([*records, Record(8, "truncate", 1)])
    with pytest.raises(ValueError, match="cannot go on from position 3"):
        written([*records, Record(8, "truncate", 3)])


def accepted(sequence: int, *slots_and_rounds: tuple[int, int]) -> Record:
    data = [[slot, [number, "n1"], "command", slot * 10 + number] for slot, number in slots_and_rounds]
    return Record(sequence, "accepted", data)


def test_acceptances_may_leave_gaps_and_replace_earlier_ones_of_their_slot_alone() -> None:
    files = written([accepted(1, (1, 1), (7, 1)), accepted(2, (5, 2), (3, 1)), accepted(3, (7, 3))])
    assert loaded(files) == [("accepted", accepted(1, (1, 1), (3, 1), (5, 2), (7, 3)).data)]


def test_a_snapshot_drops_the_acceptances_that_it_covers_and_no_others() -> None:
    files = written([accepted(1, (1, 1), (2, 1), (3, 1), (9, 1))])
    storage = Storage(files)
    storage.load()
    snapshot = Snapshot(2, 5, ("n1",), {})
    storage.append([Record(1, "snapshot", snapshot), accepted(2, (4, 2))])
    expected = [("snapshot", plain(snapshot)), ("accepted", accepted(1, (3, 1), (4, 2), (9, 1)).data)]
    assert loaded(files) == expected
    storage.append([Record(3, "snapshot", snapshot._replace(position=9))])
    assert loaded(files) == [("snapshot", plain(snapshot._replace(position=9)))]
    with pytest.raises(ValueError, match="slot 9 is accepted, but the snapshot at 9 covers it"):
        storage.append([accepted(4, (9, 3))])


def prefixes() -> list[list[tuple[str, Any]]]:
    return [loaded(written(RECORDS[:count])) for count in range(len(RECORDS) + 1)]


def test_any_cut_behind_the_header_leaves_the_records_before_it() -> None:
    whole = written(RECORDS).read(FILE_NAME)
    header = len(written([]).read(FILE_NAME))
    known = prefixes()
    ends = [len(written(RECORDS[:count]).read(FILE_NAME)) for count in range(len(RECORDS) + 1)]
    for length in range(header, len(whole)):
        files = MemoryFiles({FILE_NAME: whole[:length]})
        complete = max(i for i, end in enumerate(ends) if end <= length)
        assert loaded(files) == known[complete]
        assert len(files.read(FILE_NAME)) == ends[complete], "the torn tail is gone"


def test_any_flipped_bit_is_refused_or_costs_the_last_record_alone() -> None:
    whole = written(RECORDS).read(FILE_NAME)
    last = len(written(RECORDS[:-1]).read(FILE_NAME))
    known = prefixes()
    for offset in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << bit
            files = MemoryFiles({FILE_NAME: bytes(damaged)})
            if offset >= last:
                assert loaded(files) == known[-2]
                continue
            with pytest.raises(CorruptStorage) as refusal:
                Storage(files).load()
            assert refusal.value.file == FILE_NAME
            assert refusal.value.offset <= offset


def test_a_lost_or_repeated_line_is_corruption() -> None:
    lines = written(RECORDS).read(FILE_NAME).splitlines(keepends=True)
    for broken in (lines[:2] + lines[3:], lines[:3] + lines[2:]):
        with pytest.raises(CorruptStorage, match="stands where"):
            Storage(MemoryFiles({FILE_NAME: b"".join(broken)})).load()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 500))
def test_garbage_anywhere_is_cut_or_refused_and_never_believed(garbage: bytes, at: int) -> None:
    whole = written(RECORDS).read(FILE_NAME)
    at = min(at, len(whole))
    files = MemoryFiles({FILE_NAME: whole[:at] + garbage})
    try:
        result = loaded(files)
    except CorruptStorage:
        return
    assert result in prefixes()


def test_a_replica_recovered_from_storage_is_the_one_recovered_from_every_record() -> None:
    """Compaction in the file and replay in memory keep the same rules, under schedules with snapshots and repair."""
    entries_behind_snapshots = 0
    for seed in range(40):
        world = World(3, seed=seed, knobs=knobs_of(seed), joiners=1)
        Chaos(world, seed).run(1500)
        for node in world.nodes.values():
            raw = Raft.recover(node.name, node.members, node.disk, QUICK, lambda _: 0, 0)
            compacted = Storage(written(node.disk)).load()
            again = Raft.recover(node.name, node.members, compacted, QUICK, lambda _: 0, 0)
            assert again.describe() == raw.describe()
            assert again.log._entries == raw.log._entries
            assert again.snapshot == raw.snapshot
            entries_behind_snapshots += raw.snapshot is not None and raw.log.last > raw.log.base
    assert entries_behind_snapshots > 0


def test_what_was_put_in_place_with_the_file_is_never_taken_for_a_torn_tail() -> None:
    files = MemoryFiles()
    storage = Storage(files)
    storage.load()
    storage.append([Record(1, "state", {"term": 3}), Record(2, "entries", (entry(1), entry(2)))])
    storage.append([Record(3, "snapshot", Snapshot(2, 1, ("n1",), {"data": "x" * 50}))])
    placed = files.files[FILE_NAME]
    storage.append([Record(4, "entries", (entry(3),))])
    header_end = placed.index(b"\n") + 1
    for length in range(header_end, len(placed)):
        with pytest.raises(CorruptStorage, match=r"at byte \d+"):
            Storage(MemoryFiles({FILE_NAME: placed[:length]})).load()
        flipped = bytearray(placed)
        flipped[length] ^= 1
        with pytest.raises(CorruptStorage):
            Storage(MemoryFiles({FILE_NAME: bytes(flipped)})).load()


def test_a_torn_tail_that_is_cut_is_told() -> None:
    files = MemoryFiles()
    storage = Storage(files)
    storage.load()
    assert storage.torn == ""
    storage.append([Record(1, "entries", (entry(1),))])
    whole = len(files.files[FILE_NAME])
    storage.append([Record(2, "entries", (entry(2),))])
    files.files[FILE_NAME] = files.files[FILE_NAME][: whole + 5]
    again = Storage(files)
    assert len(again.load()) == 1
    assert again.torn == f"cuts 5 bytes of an unfinished write off its log, at byte {whole}"
