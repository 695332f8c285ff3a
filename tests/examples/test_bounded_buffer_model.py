"""The example of a user's model decides histories through the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.commands import foreshock

from foreshock.harness.cli.main import main

MODEL = str(Path(__file__).parents[2] / "examples" / "bounded_buffer_model.py") + ":BoundedBuffer"


def history_file(folder: Path, *operations: tuple[str, Any, str, Any]) -> str:
    """Operations one after the other: name, value, how it ended, result."""
    lines = []
    for number, (f, value, end, result) in enumerate(operations):
        call, ret = 2 * number, 2 * number + 1
        begun = {"index": call, "type": "invoke", "process": number, "f": f, "value": value, "time_ns": call}
        ended = {"index": ret, "invoke": call, "type": end, "process": number, "f": f, "time_ns": ret}
        ended |= {"result": result} if end == "ok" else {"error": "full" if end == "fail" else "timeout"}
        lines += [begun, ended]
    path = folder / "history.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(path)


PUT_TWO = (("put", 1, "ok", None), ("put", 2, "ok", None))


@pytest.mark.parametrize(
    ("operations", "code"),
    [
        ((*PUT_TWO, ("put", 3, "fail", None), ("take", None, "ok", 1)), 0),
        ((*PUT_TWO, ("take", None, "ok", 2)), 1),
        ((*PUT_TWO, ("put", 3, "ok", None)), 1),
        ((*PUT_TWO, ("take", None, "info", None), ("put", 3, "ok", None), ("take", None, "ok", 2)), 0),
        ((("put", 1, "info", None), ("take", None, "ok", None), ("take", None, "ok", 1)), 0),
        ((("put", 1, "info", None), ("take", None, "ok", 1), ("take", None, "ok", 1)), 1),
    ],
)
def test_a_users_model_decides(
    tmp_path: Path, operations: tuple[tuple[str, Any, str, Any], ...], code: int
) -> None:
    path = history_file(tmp_path, *operations)
    assert main(["check", path, "--model", MODEL]) == code


def test_its_parameter_is_an_option(tmp_path: Path) -> None:
    path = history_file(tmp_path, *PUT_TWO, ("put", 3, "ok", None))
    assert main(["check", path, "--model", MODEL, "-o", "capacity=3"]) == 0


def test_its_words_are_in_the_explanation(tmp_path: Path) -> None:
    path = history_file(tmp_path, *PUT_TWO, ("take", None, "ok", 2))
    told = foreshock("check", path, "--model", MODEL, "--explain")
    assert "take -> 2" in told.out
    assert "2 to be the oldest" in told.out


def test_an_operation_that_it_does_not_have_is_told(tmp_path: Path) -> None:
    told = foreshock("check", history_file(tmp_path, ("juggle", 1, "ok", None)), "--model", MODEL)
    assert told.code not in (0, 1)
    assert "has no operation 'juggle'" in told.err
