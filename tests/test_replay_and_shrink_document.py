"""The page on hunts, replays and shrinking: its commands, one after the other, say what it says they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests import documents

from foreshock.harness.cli.group import cli

DOCUMENT = (Path(__file__).resolve().parent.parent / "docs" / "replay-and-shrink.md").read_text()
SHOWN = list(documents.commands(DOCUMENT))
MEND = "if that is right: python -m tests.documents docs/replay-and-shrink.md, and read what it wrote"


def test_the_commands_end_as_shown_and_say_what_is_quoted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [shown.arguments[0] for shown in SHOWN] == ["hunt", "replay", "shrink"]
    for shown in SHOWN:
        said = documents.run(shown)
        now = f"{shown.command} says now:\n{said.out}\n{MEND}"
        assert said.code == shown.code, now
        assert documents.missing(shown.quoted, said.out) is None, now


@pytest.mark.parametrize("name", ["hunt", "shrink"])
def test_the_options_and_defaults_in_its_tables_are_those_of_the_command(name: str) -> None:
    command = cli.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    options = {flag: option for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    section = DOCUMENT.partition(f"\n## {name.capitalize()}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"`(--[a-z-]+)(?: (\S+))?`", "".join(re.findall(r"^\| `--.*$", section, re.MULTILINE)))
    assert len(rows) >= 5
    for flag, shown in rows:
        assert flag in options
        default = options[flag].default
        if default is not None and not callable(default) and shown:  # some are worked out on each machine
            assert float(shown) == default if isinstance(default, int | float) else shown == default
