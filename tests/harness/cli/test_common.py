from __future__ import annotations

from pathlib import Path

import pytest

from foreshock.harness.cli.common import flatten_options, parse_assignments, read_config
from foreshock.harness.errors import UsageError

KNOWN = {"target": None, "time_limit": None, "nemesis": None, "options": None}


def test_a_configuration_uses_the_names_of_the_options(tmp_path: Path) -> None:
    path = tmp_path / "test.toml"
    path.write_text(
        'target = "raft"\ntime-limit = 5\nnemesis = ["kill", "pause"]\n[options.target]\nheartbeat_ms = 9\n'
    )
    content = read_config(path, KNOWN)
    assert content["time_limit"] == 5
    assert content["nemesis"] == "kill,pause"
    assert flatten_options(content["options"]) == {"target.heartbeat_ms": 9}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tagret = 1", r"no setting 'tagret' \(did you mean 'target'\?\)"),
        ("a = [", "is not TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_wrong_configuration_names_file_and_key(tmp_path: Path, text: str | None, sentence: str) -> None:
    path = tmp_path / "test.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        read_config(path, KNOWN)


def test_an_assignment_keeps_everything_after_the_first_equals_sign() -> None:
    assert parse_assignments(("a=1", "b=x=y", "c=")) == {"a": "1", "b": "x=y", "c": ""}
    with pytest.raises(UsageError, match="'=1' is not KEY=VALUE"):
        parse_assignments(("=1",))
