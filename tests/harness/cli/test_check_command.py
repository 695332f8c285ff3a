"""``foreshock check``: histories of our own format, decided and explained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def event(index: int, **fields: Any) -> str:
    return json.dumps({"index": index, "time_ns": index * 1000, **fields})


def operation(index: int, process: int, f: str, value: Any, result: Any, key: int = 1) -> list[str]:
    common = {"process": process, "f": f}
    return [
        event(index, type="invoke", key=key, value=value, **common),
        event(index + 1, type="ok", invoke=index, result=result, **common),
    ]


GOOD = [*operation(0, 0, "write", 5, None), *operation(2, 1, "read", None, 5)]
STALE = [*GOOD, *operation(4, 0, "write", 6, None), *operation(6, 1, "read", None, 5)]
ELSEWHERE = [*operation(8, 2, "read", None, 9, key=2)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, lines in {"good": GOOD, "stale": STALE, "two": [*STALE, *ELSEWHERE]}.items():
        made[name] = tmp_path / f"{name}.jsonl"
        made[name].write_text("\n".join(lines) + "\n")
    return made


def test_the_json_holds_the_promised_keys(command: Command, files: dict[str, Path]) -> None:
    said = command("check", files["good"], files["stale"], "--json")
    document = said.document
    assert said.code == document["exit"] == 1
    assert document["verdict"] == "invalid"
    good, stale = document["histories"]
    assert (good["file"], good["verdict"], good["operations"]) == (str(files["good"]), "valid", 2)
    assert (good["keys"], good["counterexample"]) == ([], None)
    assert (stale["verdict"], stale["operations"], stale["keys"]) == ("invalid", 4, [1])
    assert stale["counterexample"]["key"] == 1
    assert stale["counterexample"]["core"] == [0, 4, 6] or len(stale["counterexample"]["core"]) <= 4
    assert document["seconds"] == pytest.approx(good["seconds"] + stale["seconds"], abs=2e-6)


def test_every_illegal_key_is_reported(command: Command, files: dict[str, Path]) -> None:
    (entry,) = command("check", files["two"], "--json").document["histories"]
    assert sorted(entry["keys"]) == [1, 2]
    assert len(entry["counterexamples"]) == 2


def test_a_person_sees_a_line_a_file_and_the_counterexample_when_it_is_asked_for(
    command: Command, files: dict[str, Path]
) -> None:
    said = command("check", files["good"], files["stale"])
    assert said.code == 1
    first, second = said.out.splitlines()
    assert first.startswith(f"✓ VALID  {files['good']}  ")
    assert second.startswith(f"✗ INVALID  {files['stale']}  ")
    explained = command("check", files["stale"], "--explain").out
    assert "<- impossible" in explained
    assert "possible just before" in explained
    assert command("check", files["good"], "-q").out == ""


def test_a_key_that_must_be_decided_by_nobody_is_valid_and_an_empty_history_too(
    command: Command, tmp_path: Path
) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    assert command("check", "empty.jsonl").code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "cas-regster"), "there is no model 'cas-regster' (did you mean 'cas-register'"),
        (("--format", "edm"), "there is no format 'edm'"),
        (("--memory", "lots"), "'lots' is not a size"),
        (("--deadline", "0"), "--deadline"),
        (("missing.jsonl",), "the history 'missing.jsonl' cannot be read: No such file or directory"),
        (("noise.bin",), "noise.bin is in none of the known formats (csv"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, command: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    said = command("check", files["good"], *arguments)
    assert said.code == 4
    assert sentence in said.err
