"""``foreshock check`` and its kin with what would lose something, or end them wrongly."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.cli import judging

Command = Callable[..., Any]

TABLE = (
    "process,f,value,result,type,invoke_ns,complete_ns\n0,write,1,,ok,10,20\n0,read,,1,ok,30,40\n"
    "0,read,,2,ok,50,60\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "in.csv"
    path.write_text(TABLE)
    return path


OUTPUTS = [("check", "in.csv", "--html"), ("convert", "in.csv", "--to", "csv")]


@pytest.mark.parametrize("before", OUTPUTS, ids=["check", "convert"])
class TestWhatIsThere:
    """What stands where a file is to be written."""

    def test_what_is_no_regular_file_is_refused_and_stays(
        self, before: tuple[str, ...], command: Command, table: Path
    ) -> None:
        os.mkfifo("pipe")
        Path("link").symlink_to("pipe")
        for name in ("pipe", "link"):
            said = command(*before, name)
            assert (said.code, said.out) == (4, "")
            assert f"{name} is no regular file, and would be lost" in said.err
        assert Path("pipe").is_fifo()
        assert Path("link").is_symlink()

    @pytest.mark.parametrize("way", ["itself", "hard link", "link"])
    def test_a_history_that_is_read_is_refused_and_stays(
        self, before: tuple[str, ...], way: str, command: Command, table: Path
    ) -> None:
        name = "in.csv" if way == "itself" else "other"
        if way == "link":
            Path(name).symlink_to(table)
        elif way == "hard link":
            Path(name).hardlink_to(table)
        said = command(*before, name)
        assert (said.code, said.out) == (4, "")
        assert f"{name} is the file that is read" in said.err
        assert table.read_text() == TABLE

    def test_a_link_is_followed_to_the_file(
        self, before: tuple[str, ...], command: Command, table: Path
    ) -> None:
        Path("deep").mkdir()
        Path("deep/target").write_text("as before")
        Path("link").symlink_to("deep/target")
        Path("dangling").symlink_to("deep/new")
        for name, target in (("link", "deep/target"), ("dangling", "deep/new")):
            assert command(*before, name).code in (0, 1)
            assert Path(name).is_symlink()
            assert len(Path(target).read_text()) > 50
        assert {path.name for path in Path("deep").iterdir()} == {"target", "new"}

    @pytest.mark.parametrize(
        ("name", "sentence"),
        [
            ("", "is empty: name the file to write"),
            (".", ". is a folder"),
            ("folder", "folder is a folder"),
            ("folder/", "folder/ is a folder"),
            ("nowhere/page", "there is no folder 'nowhere'"),
            ("nowhere/", "there is no folder 'nowhere/'"),
            ("in.csv/page", "cannot be written to: Not a directory"),
            ("circle", "cannot be written to: "),
        ],
    )
    def test_what_is_no_name_of_a_file_is_refused(
        self, before: tuple[str, ...], name: str, sentence: str, command: Command, table: Path
    ) -> None:
        Path("folder").mkdir()
        Path("circle").symlink_to("circle")
        said = command(*before, name)
        assert (said.code, said.out) == (4, "")
        assert sentence in said.err
        assert len(said.err.splitlines()) == 1

    def test_the_file_that_stdout_goes_to_is_refused(self, before: tuple[str, ...], table: Path) -> None:
        shown = table.parent / "shown"
        with shown.open("w") as stdout:
            done = subprocess.run(
                [sys.executable, "-m", "foreshock", *before, "shown"],
                cwd=table.parent,
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (done.returncode, shown.read_text()) == (4, "")
        assert "shown is where stdout goes" in done.stderr


def test_reading_takes_nothing_of_the_deadline(
    command: Command, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock_s = [1000.0]
    left_s = []
    read, check = judging.read, LinearizableChecker.check

    def slow(*arguments: Any) -> Any:
        clock_s[0] += 100
        return read(*arguments)

    def noting(self: LinearizableChecker, history: Any, context: Any) -> Any:
        left_s.append(context.deadline_ns / 1e9 - clock_s[0])
        return check(self, history, context)

    with monkeypatch.context() as patch:
        patch.setattr("time.monotonic", lambda: clock_s[0])
        patch.setattr("time.monotonic_ns", lambda: round(clock_s[0] * 1e9))
        patch.setattr(judging, "read", slow)
        patch.setattr(LinearizableChecker, "check", noting)
        assert command("check", "in.csv", "--deadline", "20").code == 1
    assert left_s == [20.0]


MODELS = """\
from foreshock.checkers.models.register import Register

class Leaves(Register):
    def step(self, state, f, value, result):
        raise SystemExit(0)

class LeavesAtOnce(Register):
    def __init__(self):
        raise SystemExit(0)

class Needs(Register):
    def __init__(self, start: int):
        super().__init__(start)

number = 3
"""
CHECKERS = """\
from foreshock.harness import Checker

class Leaves(Checker):
    name = "leaves"

    def check(self, history, context):
        raise SystemExit(0)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "models.py:Leaves"),
        ("--model", "models.py:LeavesAtOnce"),
        ("--checker", "checkers.py:Leaves"),
    ],
)
def test_a_plug_in_that_exits_is_a_harness_error_and_no_valid(
    arguments: tuple[str, ...], command: Command, table: Path
) -> None:
    Path("models.py").write_text(MODELS)
    Path("checkers.py").write_text(CHECKERS)
    said = command("check", "in.csv", *arguments)
    assert said.code == 3
    assert f"SystemExit: 0 ({arguments[1].partition(':')[0]}, line " in said.err
    assert "VALID" not in said.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--deadline", "nan"), "nan is no number of seconds"),
        (("--deadline", "inf"), "inf is not in the range 0<x<=1000000000.0"),
        (("--deadline", "1e300"), "1e+300 is not in the range"),
        (("--model", "semaphore", "-o", f"permits={10**22}"), "it has more than 64 bits"),
        (("--model", "counter", "-o", f"initial={-(2**63) - 1}"), "it has more than 64 bits"),
        (
            ("--model", "models.py:Needs"),
            "'models.py:Needs' needs the option 'start': give it with -o start=",
        ),
        (("--checker", "sequential", "-o", "model=counter"), "'model' is given with --model counter"),
        (("--checker", "session", "-o", "guarantees=none"), "there is no session guarantee 'none'"),
    ],
)
def test_a_value_out_of_reach_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, command: Command, table: Path
) -> None:
    Path("models.py").write_text(MODELS)
    said = command("check", "in.csv", *arguments)
    assert (said.code, said.out) == (4, "")
    assert sentence in said.err


def test_the_greatest_deadline_and_the_greatest_number_are_taken(command: Command, table: Path) -> None:
    assert command("check", "in.csv", "--deadline", "1e9", "-o", "initial=1").code == 1
    Path("lock.csv").write_text("process,f,type,invoke_ns,complete_ns\n0,acquire,ok,1,2\n")
    said = command("check", "lock.csv", "--model", "semaphore", "-o", f"permits={2**63 - 1}")
    assert said.code == 0
    assert "linearizable: 1 operation on 1 key\n" in said.out


def test_closed_standard_input_is_one_sentence(table: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m foreshock check - <&-"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "foreshock: standard input (-) is closed: there is nothing to read\n"


def test_session_guarantees_are_an_option(command: Command, table: Path) -> None:
    table.write_text(
        "process,f,value,result,type,invoke_ns,complete_ns\n0,write,1,,ok,10,20\n1,write,2,,ok,30,40\n"
        "1,read,,2,ok,50,60\n1,read,,1,ok,70,80\n"
    )
    broken = "monotonic-reads"
    assert command("check", "in.csv", "--checker", "session", "-o", f"guarantees={broken}").code == 1
    kept = "monotonic-writes, writes-follow-reads"
    assert command("check", "in.csv", "--checker", "session", "-o", f"guarantees={kept}").code == 0
    assert "guarantees = ''" in command("list", "checkers", "session").out


def test_a_history_without_keys_is_not_named_by_its_key(command: Command, table: Path) -> None:
    said = command("check", "in.csv", "--deadline", "1e-9")
    assert said.code == 2
    assert "1 of 1 key undecided: the history: " in said.out


def test_what_is_no_class_is_not_listed(command: Command, table: Path) -> None:
    Path("models.py").write_text(MODELS)
    said = command("list", "models", "models.py:number")
    assert (said.code, said.out) == (4, "")
    assert "'models.py:number' is no class, but 3: give the class of a model" in said.err


def test_an_option_that_must_be_given_says_so(command: Command, table: Path) -> None:
    Path("models.py").write_text(MODELS)
    assert "start (required)  int" in command("list", "models", "models.py:Needs").out
    (option,) = command("list", "models", "models.py:Needs", "--json").document["options"]
    assert (option["name"], option["required"], option["default"]) == ("start", True, None)
