"""Every command that a page shows is one that can be given: its options are there, and its test is one that we run.

What some of them say when they run is held by the tests of their own pages.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import click
import pytest
from tests import documents
from tests.commands import run_here
from tests.documents import Shown

from foreshock.harness.backends.docker import DockerBackend
from foreshock.harness.cli.group import COMMANDS, cli

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]
}
OTHERS = {"apt-get", "dask", "make", "pip", "pytest", "python"}
"""Programs that are not ours."""
ELLIPSIS = "..."
"""In place of the rest of a command."""


def ours() -> list[tuple[str, Shown]]:
    return [
        (page, shown)
        for page, text in sorted(PAGES.items())
        for shown in documents.commands(text)
        if shown.command.split()[0] not in OTHERS and ELLIPSIS not in shown.command.split()
    ]


OURS = ours()


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A folder with what pages speak of: the examples, a target of the reader's own, nodes of others, schedules."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        DockerBackend, "available", lambda _self: None
    )  # what it would do is shown without an engine
    monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert run_here(capsys, "new-target", "mydb", "--service", "register,lock")[0] == 0
    for node in ("raft.py", "lin_kv_proxy.rb", "node.rb", "promise.rb", "errors.rb"):
        shutil.copy(ROOT / "examples" / "maelstrom_node.py", node)
    (tmp_path / "store" / "latest").mkdir(parents=True)
    for name in ("faults.toml", "store/latest/schedule.toml", "slow-leader.toml"):
        shutil.copy(ROOT / "examples" / "isolated_master.toml", name)
    return tmp_path


def test_pages_show_commands_of_every_kind() -> None:
    shown = {shown.arguments[0] for _, shown in OURS}
    assert shown >= {"test", "campaign", "zoo", "hunt", "replay", "shrink", "check", "serve", "compare"}
    assert len(OURS) > 90


@pytest.mark.parametrize(
    ("page", "shown"), OURS, ids=[f"{page}-{number}" for number, (page, _) in enumerate(OURS)]
)
def test_a_command_is_one_that_can_be_given(
    page: str, shown: Shown, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *arguments = shown.arguments
    if name == "test":
        code, _, err = run_here(capsys, name, *arguments, "--dry-run")
        assert code == 0, (page, shown.command, err)
    else:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, (page, shown.command, sorted(COMMANDS))
        command.make_context(name, arguments)
