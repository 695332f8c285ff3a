"""Work that goes on where it was: nothing that was written is lost, and nobody takes what another has begun."""

from __future__ import annotations

import errno
from pathlib import Path

import msgspec
import pytest

from foreshock.harness.errors import HarnessError
from foreshock.harness.journal_folder import InUse, JournalFolder, claim_newest, make_folder
from foreshock.harness.store import write_json

JOURNAL = "lines.jsonl"


class Line(msgspec.Struct):
    number: int
    text: str = ""


def test_a_line_after_one_that_the_disk_took_half_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_folder(tmp_path, "d", JOURNAL, "the folder")
    folder.add(Line(1))

    def half(self: JournalFolder, file: object, data: bytes) -> None:
        file.write(data[:5])  # type: ignore[attr-defined]
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(JournalFolder, "_write", half)
        with pytest.raises(HarnessError, match="No space left on device"):
            folder.add(Line(2))
    folder.add(Line(3))  # somebody has made room
    assert [line.number for line in folder.read(Line)] == [1, 3]
    folder.close()


@pytest.mark.parametrize("torn", [b'{"number":9', b'{"number":9,"text":"\xc3', b"\xff\x00", b"[]"])
def test_a_line_that_a_killed_process_left_is_passed_over(torn: bytes, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "d", JOURNAL, "the folder")
    folder.add(Line(1))
    folder.close()
    with (folder.directory / JOURNAL).open("ab") as file:
        file.write(torn)
    again = claim_newest(tmp_path, "d", JOURNAL, lambda _: False)
    assert again is not None
    again.add(Line(2))
    assert [line.number for line in again.read(Line)] == [1, 2]
    again.close()


def test_a_folder_that_is_being_made_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands of the same work may begin at the same moment."""
    taken: list[object] = []

    def meanwhile(path: Path, value: object) -> None:
        write_json(path, value)
        taken.append(claim_newest(tmp_path, "d", JOURNAL, lambda _: False))

    monkeypatch.setattr("foreshock.harness.journal_folder.write_json", meanwhile)
    mine = make_folder(tmp_path, "d", JOURNAL, "the folder")
    assert taken == [None]
    with pytest.raises(InUse):
        JournalFolder(mine.directory, JOURNAL)
    assert [path.name for path in tmp_path.iterdir()] == [mine.directory.name]
    mine.close()
