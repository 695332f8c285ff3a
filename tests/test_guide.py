"""The guide: its commands say what it says they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import documents
from tests.documents import Shown

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "guide.md").read_text()
SHOWN = list(documents.commands(GUIDE))


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: str(shown.code))
def test_a_command_ends_as_shown_and_says_what_is_quoted(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    documents.hold(shown, "if that is right: python -m tests.documents docs/guide.md, and read what it wrote")


def test_it_shows_a_verdict_of_each_kind_that_is_a_proof() -> None:
    assert [shown.code for shown in SHOWN] == [0, 1]
