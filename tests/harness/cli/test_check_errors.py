"""``foreshock check``: what goes wrong with one file, or in a model, costs no other file its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.harness.cli.test_check_command import Command, files

from foreshock.checkers.linearizable import LinearizableChecker

__all__ = ["files"]


BOOM = """
class Boom:
    name = "boom"

    def initial(self):
        return 0

    def is_read(self, f):
        return f == "read"

    def step(self, state, f, value, result):
        return 1 // (value - 6) if f == "write" else state

    def describe(self, f, value, result):
        return f
"""


def test_what_goes_wrong_with_one_file_leaves_the_others_their_verdicts(
    command: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    model = tmp_path / "boom.py"
    model.write_text(BOOM)
    said = command("check", files["good"], files["stale"], "--model", f"{model}:Boom", "--json")
    assert said.code == said.document["exit"] == 3
    good, stale = said.document["histories"]
    assert (good["operations"], good["verdict"]) == (2, "valid")
    sentence = (
        "the model 'boom' failed on write 6: ZeroDivisionError: integer division or modulo by zero "
        "(boom.py, line 12, in step)"
    )
    assert stale["error"] == said.document["error"] == f"{files['stale']}: {sentence}"
    assert said.err.count(sentence) == 1


def test_what_nobody_expected_in_one_file_is_the_error_of_that_file(
    command: Command, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    check = LinearizableChecker.check

    def breaking(self: LinearizableChecker, history: Any, context: Any) -> Any:
        if len(history) == 2:
            raise KeyError("lost")
        return check(self, history, context)

    monkeypatch.setattr(LinearizableChecker, "check", breaking)
    said = command("check", files["good"], files["stale"], "--json")
    assert said.code == said.document["exit"] == 1
    good, stale = said.document["histories"]
    assert f"{files['good']}: unexpected KeyError: 'lost'" in good["error"]
    assert stale["verdict"] == "invalid"
    alone = command("check", files["good"])
    assert alone.code == 3
    assert "unexpected KeyError" in alone.err


def test_what_a_model_says_of_an_operation_names_the_file(command: Command, files: dict[str, Path]) -> None:
    said = command("check", files["good"], "--model", "mutex", "--json")
    assert said.code == 4
    sentence = "the model 'mutex' has no operation 'read'; it knows acquire, release"
    assert said.document["error"].replace("'write'", "'read'") == f"{files['good']}: {sentence}"
    missing = files["good"].with_name("missing.jsonl")
    assert command("check", missing, "--json").document["error"].count(str(missing)) == 1
