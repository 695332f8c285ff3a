"""docs/checking.md: its history, its commands, and what they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import documents

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "checking.md").read_text()
SHOWN = list(documents.commands(DOCUMENT))


def test_it_shows_a_conviction_and_an_acquittal() -> None:
    assert {shown.code for shown in SHOWN} == {0, 1}
    assert any("--explain" in shown.arguments for shown in SHOWN)


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: " ".join(shown.arguments[2:]) or "plain")
def test_a_command_says_what_is_quoted(
    shown: documents.Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (table,) = documents.blocks(DOCUMENT, "csv")
    Path("shop.csv").write_text(table)
    said = documents.run(shown)
    assert said.code == shown.code, said.out
    assert documents.missing(shown.quoted, said.out) is None, said.out
