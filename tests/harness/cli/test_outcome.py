from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.cli.outcome import show_outcome
from foreshock.harness.judge import NOT_CHECKED, Judgement
from foreshock.harness.publish import Outcome


def test_the_command_that_decides_can_be_pasted_whatever_the_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    fields: dict[str, Any] = dict.fromkeys(Judgement.__struct_fields__)
    fields |= {"verdict": "unknown", "reason": NOT_CHECKED, "operations": {"ok": 0, "fail": 0, "info": 0}}
    fields |= {"checkers": {}, "faults": {}, "harness_errors": (), "replay": "foreshock test"}
    show_outcome(
        Outcome(judgement=Judgement(**fields), run=tmp_path / "st ore" / "run", reports=()), quiet=False
    )
    assert "foreshock analyze 'st ore/run'" in capsys.readouterr().out
