from __future__ import annotations

import os
from pathlib import Path

import pytest

from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.store import TEST, Store, read_json, write_json


def test_latest_points_at_the_newest_run_and_runs_are_listed_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = store.create("raft-lock"), store.create("raft-lock")
    for run in (first, second):
        write_json(run / TEST, {"run": run.name})
    assert store.find("latest") == second
    assert sorted(store.runs()) == sorted([first, second])
    assert store.find(first.name) == first
    assert store.find(str(first)) == first


def test_latest_is_the_newest_that_is_left_when_the_newest_is_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second = store.create("raft-lock"), store.create("zab-lock")
    for run in (first, second):
        write_json(run / TEST, {"run": run.name})
    store.forget(second)
    assert not second.parent.exists()
    assert store.find("latest") == first
    store.forget(first)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UsageError, match="no run in the store"):
        store.find("latest")


def test_a_folder_that_others_make_and_remove_meanwhile_takes_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, left = os.mkdir, [3]

    def meanwhile(path: Path, *arguments: int) -> None:
        mkdir(path, *arguments)
        if Path(path).name == "raft-lock" and left[0]:
            left[0] -= 1
            Path(path).rmdir()  # as a test does that ends at this moment, and was the last there

    monkeypatch.setattr(os, "mkdir", meanwhile)
    assert Store(tmp_path).create("raft-lock").is_dir()
    assert left == [0]


def test_a_run_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no run in the store"):
        Store(tmp_path).find("latest")
    with pytest.raises(UsageError, match="there is no run 'x'"):
        Store(tmp_path).find("x")


def test_a_test_name_cannot_leave_the_store(tmp_path: Path) -> None:
    run = Store(tmp_path).create("../../etc/passwd")
    assert tmp_path in run.parents


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {("not", "a", "name"): object})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"{", "is not JSON"), (b"[1]", "JSON object"), (None, "missing")]
)
def test_a_broken_document_is_named(tmp_path: Path, content: bytes | None, sentence: str) -> None:
    path = tmp_path / "test.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(HarnessError, match=sentence):
        read_json(path)


def test_a_store_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match="cannot be made: Not a directory"):
        Store(tmp_path / "file").create("x")
