"""The recorder: indexes, what is on disk when, and disks that fail."""

from __future__ import annotations

import errno
import json
import os
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.errors import HarnessError, PlugInError, UsageError
from foreshock.harness.history import History
from foreshock.harness.operation import NEMESIS, Operation, OperationType
from foreshock.harness.recorder import ERROR_CHARACTERS_MAX, HistoryRecorder

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO


def clock() -> Any:
    return count(0, 1_000_000).__next__


def write(process: int, value: Any = 1) -> Operation:
    return Operation("write", key=1, value=value, process=process, node="n1")


def test_an_invocation_is_on_disk_before_invoke_returns(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    recorder = HistoryRecorder(path, clock())
    invocation = recorder.invoke(write(0))
    assert (invocation.index, invocation.time_ns, invocation.type) == (0, 0, OperationType.INVOKE)
    assert json.loads(path.read_text())["index"] == 0
    completion = recorder.complete(invocation, OK, 7)
    assert (completion.index, completion.type, completion.result, completion.value) == (1, OK, 7, 1)
    assert json.loads(path.read_text().splitlines()[1])["result"] == 7


def test_a_batch_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: writes.append(len(data)) or real(fd, data))
    recorder = HistoryRecorder(tmp_path / "history.jsonl", clock())
    staged = [recorder.stage_invocation(write(process)) for process in range(5)]
    assert writes == []
    recorder.flush()
    assert len(writes) == 1
    for invocation in staged:
        recorder.stage_completion(invocation, OK)
    recorder.close()
    assert len(writes) == 2
    assert len(History.read(tmp_path)) == 5


def test_what_is_read_back_is_what_was_in_memory(tmp_path: Path) -> None:
    recorder = HistoryRecorder(tmp_path / "history.jsonl", clock())
    first = recorder.invoke(write(0, [1, {"a": "\u2028"}]))
    nemesis = recorder.invoke(Operation("kill", value=("n1",), process=NEMESIS))
    recorder.complete(first, FAIL, error="it was not there")
    recorder.complete(nemesis, INFO, {"n1": "killed"}, "boom")
    under_way = recorder.invoke(write(1, 2))
    history = recorder.history()
    assert list(history) == list(History.read(tmp_path))
    assert [(row.type, row.complete_index) for row in history] == [(FAIL, 2), (INFO, 3), (INFO, -1)]
    recorder.complete(under_way, OK)
    recorder.close()
    assert list(recorder.history()) == list(History.read(tmp_path))
    assert len(history) == 3
    assert history[2].complete_index == -1


def test_it_counts_the_operations_of_clients_and_their_latency() -> None:
    recorder = HistoryRecorder(None, clock())
    assert recorder.recent_latency_ms() == (0.0, 0.0)
    for process, kind in ((0, OK), (1, FAIL), (2, INFO), (NEMESIS, OK), (0, OK)):
        recorder.complete(recorder.invoke(write(process)), kind)
    assert (recorder.ok, recorder.fail, recorder.info) == (2, 1, 1)
    assert recorder.recent_latency_ms() == (1.0, 1.0)


def test_a_completion_without_an_invocation_under_way_is_refused() -> None:
    recorder = HistoryRecorder(None, clock())
    invocation = recorder.invoke(write(0))
    recorder.complete(invocation, OK)
    with pytest.raises(UsageError, match="is not under way"):
        recorder.complete(invocation, OK)
    with pytest.raises(UsageError, match="is not under way"):
        recorder.complete(write(0), OK)


def test_a_result_that_json_cannot_hold_leaves_the_operation_under_way() -> None:
    recorder = HistoryRecorder(None, clock())
    invocation = recorder.invoke(write(0))
    with pytest.raises(PlugInError, match="cannot hold"):
        recorder.complete(invocation, OK, object())
    assert recorder.complete(invocation, INFO).index == 1


def test_an_operation_without_a_process_is_refused() -> None:
    with pytest.raises(PlugInError, match="names no process"):
        HistoryRecorder(None, clock()).invoke(Operation("read"))


def test_error_texts_are_cut_and_made_valid(tmp_path: Path) -> None:
    recorder = HistoryRecorder(tmp_path / "history.jsonl", clock())
    recorder.complete(recorder.invoke(write(0)), INFO, error="\udcff" + "x" * 9999)
    recorder.close()
    (row,) = History.read(tmp_path)
    assert row.error is not None
    assert row.error.startswith("\\udcffxxx")
    assert len(row.error) < ERROR_CHARACTERS_MAX + 10


@pytest.mark.parametrize(
    "operation",
    [
        Operation("\ud800", process=0),
        Operation("read", process=0, node="\udc80"),
        Operation("read", "\ud800", process=0),
    ],
)
def test_names_that_are_not_valid_unicode_are_refused(operation: Operation) -> None:
    recorder = HistoryRecorder(None, clock())
    with pytest.raises(PlugInError, match="not valid Unicode"):
        recorder.invoke(operation)
    assert len(recorder.history()) == 0


class Disk:
    """``os.write`` with room for so many bytes, which writes what still fits and then fails, as a disk does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        self._real = os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, fd: int, data: Any) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = self._real(fd, bytes(data)[: self.room])
        self.room -= written
        return written


@pytest.mark.parametrize("room", [0, 1, 50, 130, 200])
def test_a_full_disk_is_said_in_a_sentence_and_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    path = tmp_path / "history.jsonl"
    recorder = HistoryRecorder(path, clock())
    first = recorder.invoke(write(0))
    disk = Disk(monkeypatch, room)
    for process in range(1, 4):
        recorder.stage_invocation(write(process))
    with pytest.raises(HarnessError, match=r"history\.jsonl.*No space left on device"):
        recorder.flush()
    content = path.read_bytes()
    assert content.endswith(b"\n")
    assert 1 <= len(content.splitlines()) <= 3
    with pytest.raises(HarnessError, match="No space left"):
        recorder.invoke(write(9))
    assert recorder.complete(first, OK).type is OK
    assert recorder.ok == 1
    recorder.close()
    assert disk.room == 0
    assert [row.process for row in History.read(path)] == list(range(len(content.splitlines())))
    assert [row.type for row in recorder.history()] == [OK, INFO, INFO, INFO]


def test_when_there_is_room_again_the_completions_since_are_written_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = HistoryRecorder(tmp_path / "history.jsonl", clock())
    first = recorder.invoke(write(0))
    disk = Disk(monkeypatch, 10)
    recorder.stage_invocation(write(1))
    with pytest.raises(HarnessError):
        recorder.flush()
    recorder.complete(first, OK)
    disk.room = 1 << 20
    recorder.close()
    assert list(History.read(tmp_path)) == list(recorder.history())


def test_a_file_that_cannot_be_opened_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="cannot be written: No such file"):
        HistoryRecorder(tmp_path / "none" / "history.jsonl", clock())


def test_nothing_is_recorded_after_close(tmp_path: Path) -> None:
    recorder = HistoryRecorder(tmp_path / "history.jsonl", clock())
    under_way = recorder.invoke(write(0))
    recorder.close()
    recorder.close()
    with pytest.raises(UsageError, match="closed"):
        recorder.invoke(write(1))
    with pytest.raises(UsageError, match="not under way"):
        recorder.complete(under_way, OK)
    assert recorder.history() is recorder.history()
    assert [row.type for row in recorder.history()] == [INFO]


def test_it_never_writes_behind_another_history(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    recorder = HistoryRecorder(path, clock())
    recorder.invoke(write(0))
    recorder.close()
    before = path.read_bytes()
    with pytest.raises(HarnessError, match="holds a history already"):
        HistoryRecorder(path, clock())
    assert path.read_bytes() == before
