"""Scratch folders: gone after use, and after a kill -9 as soon as anybody looks; never those of the living."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from foreshock.harness.scratch import PREFIX, abandoned, remove_abandoned, scratch_folder

HOLD = """
import sys
from foreshock.harness.scratch import scratch_folder
with scratch_folder("test") as folder:
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_while_it_is_used_and_gone_afterwards(temporary: Path) -> None:
    with scratch_folder("test") as folder:
        (folder / "deep" / "er").mkdir(parents=True)
        assert folder.parent == temporary
        assert list(abandoned()) == []
    assert list(temporary.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_holds_is_not(temporary: Path) -> None:
    command = [sys.executable, "-c", HOLD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert remove_abandoned() == []
        process.kill()
        process.wait(30)
        assert list(abandoned()) == [left]
        with scratch_folder("test") as folder:
            assert list(temporary.iterdir()) == [folder]


def test_what_is_not_ours_is_left_alone(temporary: Path) -> None:
    (temporary / f"{PREFIX}of-somebody").mkdir()  # nobody owns it in our way
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "owner").touch()
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    assert remove_abandoned() == []
    assert len(list(temporary.iterdir())) == 3
