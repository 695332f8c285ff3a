"""The page on plug-ins: its commands work, its examples are there, its tables name what there is, all of it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from tests.commands import run_here
from tests.documents import commands

from foreshock.harness import Checker, Nemesis, Reporter, Target, Workload
from foreshock.harness.registry import Kind
from foreshock.harness.services import SERVICES

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "plug-ins.md").read_text()
SHOWN = [shown.arguments for shown in commands(PAGE)]


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_command_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    assert len(SHOWN) == 5
    for words in SHOWN:
        short = ["--no-report", "--interval", "1"] if words[0] == "test" else []
        short += ["--time-limit", "2"] if "process" in words else []
        code, out, err = run_here(capsys, *words, *short)
        assert code == 0, (words, out, err)


def test_what_it_links_to_is_there() -> None:
    for link in re.findall(r"\]\(([^)]+\.\w+)\)", PAGE):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.parametrize(
    ("title", "base"),
    [
        ("A target", Target),
        ("A workload", Workload),
        ("A nemesis", Nemesis),
        ("A checker", Checker),
        ("A reporter", Reporter),
    ],
)
def test_a_section_names_every_member_of_its_class(title: str, base: type[Any]) -> None:
    members = {name for name in vars(base) if not name.startswith("_")} | set(base.__annotations__)
    members -= {"Options", "bug", "bug_name", "changes_members", "knows_primaries", "options", "seed"}
    told = section(title)
    assert sorted(name for name in members if not re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", told)) == []


@pytest.mark.parametrize(
    ("title", "base"), [("A target", Target), ("A workload", Workload), ("A nemesis", Nemesis)]
)
def test_the_signatures_are_the_real_ones(title: str, base: type[Any]) -> None:
    found = re.findall(r"`(\w+)\(([\w, ]*)\)`[^|]*\|", section(title).split("### Clients")[0])
    assert len(found) > 4
    for name, arguments in found:
        parameters = list(inspect.signature(getattr(base, name)).parameters)
        assert [word for word in parameters if word != "self"] == [w for w in arguments.split(", ") if w], (
            name
        )


def test_the_methods_of_each_service_are_the_real_ones() -> None:
    for service, protocol in SERVICES.items():
        (row,) = re.findall(rf"^\| `{service}` \| ([^|]+) \|", PAGE, re.MULTILINE)
        for name, arguments in re.findall(r"`(\w+)\(([\w, ]*)\)`", row):
            assert list(inspect.signature(getattr(protocol, name)).parameters)[1:] == arguments.split(", ")


def test_the_groups_are_those_that_are_looked_at() -> None:
    groups = re.findall(r"`(?:foreshock)?\.(\w+)`", PAGE.split("The groups are ")[1].split("\n\n")[0])
    assert set(groups) == {kind.value for kind in Kind} - {"bugs"}


def test_the_error_that_it_quotes_is_the_one_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (quoted,) = re.findall(r"^foreshock: the target .*$", PAGE, re.MULTILINE)
    (tmp_path / "mydb.py").write_text(
        "from foreshock.harness import Target\nclass MyDB(Target):\n    def command(self): return ['true']\n"
    )
    monkeypatch.chdir(tmp_path)
    code, _, err = run_here(capsys, "test", "--target", "mydb.py:MyDB", "--backend", "process")
    assert (code, err) == (3, f"{quoted}\n")
