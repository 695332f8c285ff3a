"""``foreshock convert``: from any format into any that can be written, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.harness.test_history import sample

from foreshock.harness.errors import HarnessError
from foreshock.harness.formats.reading import detected, read_history
from foreshock.harness.formats.writing import write_history
from foreshock.harness.registry import Kind, names

Command = Callable[..., Any]


@pytest.fixture
def history(tmp_path: Path) -> Path:
    write_history(sample(), tmp_path / "in.jsonl")
    return tmp_path / "in.jsonl"


@pytest.mark.parametrize("target", ["out.edn", "out.csv.gz", "out.parquet", "out.jsonl.zst", "out.edn.zst"])
def test_the_name_says_the_format(command: Command, history: Path, target: str) -> None:
    said = command("convert", history, target)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{target}: 6 operations (")
    out = history.parent / target
    assert list(read_history(out)) == list(sample())
    assert out.read_bytes()[:2] == {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5"}.get(
        out.suffix, out.read_bytes()[:2]
    )
    assert {path.name for path in history.parent.iterdir()} == {"in.jsonl", target}


def test_formats_may_be_named_and_json_told(command: Command, history: Path) -> None:
    said = command("convert", history, "out.txt", "--from", "foreshock", "--to", "csv", "--json")
    assert said.document == {
        "verdict": "valid",
        "exit": 0,
        "file": "out.txt",
        "format": "csv",
        "operations": 6,
    }
    assert detected(history.parent / "out.txt").name == "csv"
    assert command("convert", "out.txt", "back.jsonl", "-q").out == ""
    assert (history.parent / "back.jsonl").read_bytes() == history.read_bytes()


def test_the_same_history_makes_the_same_file(command: Command, history: Path) -> None:
    for ending in (".edn.gz", ".csv.zst", ".jsonl"):
        assert (
            command("convert", history, f"a{ending}").code
            == command("convert", history, f"b{ending}").code
            == 0
        )
        assert (history.parent / f"a{ending}").read_bytes() == (history.parent / f"b{ending}").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["in.jsonl", "in.jsonl"], "in.jsonl is the file that is read: give OUT another name"),
        (["in.jsonl", "./in.jsonl"], "is the file that is read"),
        (["in.jsonl", "link.jsonl"], "link.jsonl is the file that is read"),
        (["in.jsonl", "out.txt"], "the name 'out.txt' tells no format (.csv, .edn, .jsonl, .parquet"),
        (["in.jsonl", "out.gz"], "tells no format"),
        (
            ["in.jsonl", "out.edn", "--to", "kv"],
            "the format 'kv' can only be read: write csv, edn, foreshock, parquet",
        ),
        (["in.jsonl", "out.edn", "--to", "end"], "there is no format 'end'"),
        (["in.jsonl", "out.edn", "--from", "etc"], "there is no format 'etc'"),
        (["in.jsonl", "out.edn", "--from", "csv"], "in.jsonl, line 1 is not comma-separated values"),
        (["none", "out.edn"], "the history 'none' cannot be read"),
        (["noise", "out.edn"], "noise is in none of the known formats"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(
    command: Command, history: Path, arguments: list[str], complaint: str
) -> None:
    (history.parent / "noise").write_bytes(b"\x00")
    (history.parent / "link.jsonl").symlink_to(history)
    before = history.read_bytes()
    said = command("convert", *arguments)
    assert said.code == 4
    assert complaint in said.err
    assert len(said.err.splitlines()) == 1
    assert history.read_bytes() == before
    assert {path.name for path in history.parent.iterdir()} == {"in.jsonl", "noise", "link.jsonl"}


def test_a_file_that_cannot_be_written_is_a_harness_error_and_what_was_there_stays(
    command: Command, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("convert", history, "nowhere/out.edn").code == 4
    out = history.parent / "out.edn.gz"
    out.write_text("as before")

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("foreshock.harness.formats.writing.packed", full)
    with pytest.raises(HarnessError, match="cannot be written: No space left on device"):
        write_history(sample(), out)
    assert out.read_text() == "as before"
    assert {path.name for path in history.parent.iterdir()} == {"in.jsonl", "out.edn.gz"}


def test_everything_that_is_promised_is_registered() -> None:
    assert set(names(Kind.FORMATS)) >= {"foreshock", "parquet", "edn", "etcd", "kv", "csv"}
