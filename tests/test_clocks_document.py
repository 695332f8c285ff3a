"""The page on clocks: a planted bug is found with real processes, and its mend stands the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import documents
from tests.commands import HUNT_MAX
from tests.documents import Shown

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "clocks.md").read_text()
SHOWN = list(documents.commands(PAGE))

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("shown", SHOWN, ids=["without-a-margin", "with-a-margin"])
def test_a_command_ends_as_shown_and_says_what_is_quoted(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for schedule in documents.blocks(PAGE, "toml"):
        if schedule.startswith("# "):  # the name of the file that the commands speak of
            (tmp_path / schedule.split()[1]).write_text(schedule)
    for _ in range(HUNT_MAX if shown.code == 1 else 1):  # whether a stale read falls into the lease is chance
        said = documents.run(shown)
        assert said.code in {shown.code, 0}, said.out
        if said.code == shown.code and documents.missing(shown.quoted, said.out) is None:
            return
    raise AssertionError(said.out)


def test_a_lease_without_a_margin_is_convicted_and_one_with_it_is_not() -> None:
    assert [shown.code for shown in SHOWN] == [1, 0]
