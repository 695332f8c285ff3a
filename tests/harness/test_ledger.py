from __future__ import annotations

import os
from pathlib import Path

import pytest

from foreshock.harness.errors import HarnessError
from foreshock.harness.ledger import FaultLedger, read_ledger


def ledger(path: Path) -> FaultLedger:
    clock = iter(range(0, 1_000_000, 10))
    return FaultLedger(path, now=lambda: next(clock))


def test_a_fault_is_on_disk_before_the_call_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "faults.jsonl"
    synced: list[bytes] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        real(fd)
        synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)
    book = ledger(path)
    book.planned("kill", frozenset({"n2"}), inverse={"backend": "process"})
    assert synced
    assert b'"kill"' in synced[-1]
    book.close()


def test_what_became_of_each_fault_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    book = ledger(path)
    cut = book.planned(
        "partition", frozenset({"n2", "n1"}), value={"kind": "one"}, inverse={"backend": "docker"}
    )
    kill = book.planned("kill", frozenset({"n3"}), inverse={"backend": "docker"})
    book.verified(cut, {"n1->n2": False})
    book.failed(kill, "n3 still runs")
    assert [fault.id for fault in book.open_faults()] == [cut, kill]
    book.healed(cut)
    assert [fault.id for fault in book.open_faults()] == [kill]
    assert read_ledger(path) == book.all()
    first = read_ledger(path)[0]
    assert (first.nodes, first.planned_ns, first.verified_ns, first.healed_ns) == (("n1", "n2"), 0, 20, 40)
    book.close()


def test_a_torn_last_line_is_left_out_and_a_broken_one_is_named(tmp_path: Path) -> None:
    path = tmp_path / "faults.jsonl"
    book = ledger(path)
    book.planned("kill", frozenset({"n1"}), inverse={"backend": "process"})
    book.close()
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event":"verif')
    assert len(read_ledger(path)) == 1
    path.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(HarnessError, match="line 1 is not a ledger entry"):
        read_ledger(path)
    for broken in (b'{"event":"healed","id":0}\n', b'{"event":"shrugged","id":0,"time_ns":1}\n'):
        path.write_bytes(whole + broken)
        with pytest.raises(HarnessError, match="line 2 is not a ledger entry"):
            read_ledger(path)


def test_no_ledger_means_no_faults(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "faults.jsonl") == ()


def test_a_ledger_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be written: No such file"):
        FaultLedger(tmp_path / "no" / "faults.jsonl", now=lambda: 0)
