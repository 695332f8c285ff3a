"""``foreshock check``: histories of our own format, decided and explained."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.errors import HarnessError
from foreshock.reports.checked import CheckReporter

Command = Callable[..., Any]


def event(index: int, **fields: Any) -> str:
    return json.dumps({"index": index, "time_ns": index * 1000, **fields})


def operation(index: int, process: int, f: str, value: Any, result: Any, key: int = 1) -> list[str]:
    common = {"process": process, "f": f}
    return [
        event(index, type="invoke", key=key, value=value, **common),
        event(index + 1, type="ok", invoke=index, result=result, **common),
    ]


GOOD = [*operation(0, 0, "write", 5, None), *operation(2, 1, "read", None, 5)]
STALE = [*GOOD, *operation(4, 0, "write", 6, None), *operation(6, 1, "read", None, 5)]
ELSEWHERE = [*operation(8, 2, "read", None, 9, key=2)]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    made = {}
    for name, lines in {"good": GOOD, "stale": STALE, "two": [*STALE, *ELSEWHERE]}.items():
        made[name] = tmp_path / f"{name}.jsonl"
        made[name].write_text("\n".join(lines) + "\n")
    return made


def test_the_json_holds_the_promised_keys(command: Command, files: dict[str, Path]) -> None:
    said = command("check", files["good"], files["stale"], "--json")
    document = said.document
    assert said.code == document["exit"] == 1
    assert document["verdict"] == "invalid"
    good, stale = document["histories"]
    assert (good["file"], good["verdict"], good["operations"]) == (str(files["good"]), "valid", 2)
    assert (good["keys"], good["counterexample"]) == ([], None)
    assert (stale["verdict"], stale["operations"], stale["keys"]) == ("invalid", 4, [1])
    assert stale["counterexample"]["key"] == 1
    assert stale["counterexample"]["core"] == [0, 4, 6] or len(stale["counterexample"]["core"]) <= 4
    assert document["seconds"] == pytest.approx(good["seconds"] + stale["seconds"], abs=2e-6)


def test_every_illegal_key_is_reported(command: Command, files: dict[str, Path]) -> None:
    (entry,) = command("check", files["two"], "--json").document["histories"]
    assert sorted(entry["keys"]) == [1, 2]
    assert len(entry["counterexamples"]) == 2


def test_a_person_sees_a_line_a_file_and_the_counterexample_when_it_is_asked_for(
    command: Command, files: dict[str, Path]
) -> None:
    said = command("check", files["good"], files["stale"])
    assert said.code == 1
    first, second = said.out.splitlines()
    assert first.startswith(f"✓ VALID  {files['good']}  ")
    assert second.startswith(f"✗ INVALID  {files['stale']}  ")
    explained = command("check", files["stale"], "--explain").out
    assert "<- impossible" in explained
    assert "Why no order works:" in explained
    assert explained.count("cannot be explained") == 1
    assert command("check", files["good"], "-q").out == ""


@pytest.mark.parametrize("content", ["", event(0, type="invoke", process=-1, f="kill", value=None) + "\n"])
def test_a_history_of_no_client_is_unknown_and_says_so(
    command: Command, tmp_path: Path, content: str
) -> None:
    (tmp_path / "empty.jsonl").write_text(content)
    said = command("check", "empty.jsonl")
    assert said.code == 2
    assert said.out.startswith("? UNKNOWN  empty.jsonl  it holds no operation of a client")
    (entry,) = command("check", "empty.jsonl", "--json").document["histories"]
    assert (entry["verdict"], entry["operations"], entry["counterexample"]) == ("unknown", 0, None)


def test_the_seconds_are_those_of_deciding(command: Command, files: dict[str, Path]) -> None:
    document = command("check", files["two"], "--json").document
    (entry,) = document["histories"]
    assert entry["explained_s"] > 0
    assert entry["read_s"] > 0
    assert document["seconds"] == entry["seconds"]


def test_nothing_is_explained_that_nobody_asked_to_see(
    command: Command, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    check = LinearizableChecker.check

    def noting(self: LinearizableChecker, history: Any, context: Any) -> Any:
        asked.append(context.explains)
        return check(self, history, context)

    monkeypatch.setattr(LinearizableChecker, "check", noting)
    said = command("check", files["two"])
    assert "key 1 is not linearizable: read 5 by process 1 (events 6-7) cannot be explained" in said.out
    assert "(2 of 2 keys illegal)" in said.out
    command("check", files["two"], "--json")
    command("check", files["two"], "--explain")
    command("check", files["two"], "--html", "page.html")
    assert asked == [False, True, True, True]


def test_a_plain_check_of_a_small_file_imports_nothing_that_it_does_not_need(files: dict[str, Path]) -> None:
    heavy = ("pandas", "pyarrow", "numba", "rich", "jinja2", "asyncio", "docker")
    program = (
        "import sys; from foreshock.harness.cli.main import main; "
        f"code = main(['check', {str(files['stale'])!r}]); "
        f"print(code, [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "1 []"


def test_standard_input_is_a_file_too(
    command: Command, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(files["stale"].read_bytes())))
    said = command("check", "-", "--json")
    assert said.code == 1
    assert said.document["histories"][0]["file"] == "-"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(range(256)))))
    said = command("check", "-")
    assert said.code == 4
    assert "standard input is in none of the known formats" in said.err


def test_a_checker_is_chosen_by_name_and_gets_its_options(command: Command, files: dict[str, Path]) -> None:
    assert command("check", files["stale"], "--checker", "staleness").code == 1
    assert command("check", files["stale"], "--checker", "staleness", "-o", "bound_ms=1000").code == 0
    assert command("check", files["stale"], "-o", "fast_paths=false").code == 1
    assert command("check", files["stale"], "-o", "initial=7").code == 1
    said = command("check", files["stale"], "--checker", "statistics", "--json")
    assert said.code == 0
    assert said.document["histories"][0]["counterexample"] is None


MODEL = """\
from foreshock.checkers.models.register import Register

class Mine(Register):
    name = "mine"

    def __init__(self, start: int = 0) -> None:
        super().__init__(start)
"""


def test_a_model_of_ones_own_has_options_of_its_own(
    command: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(MODEL)
    (tmp_path / "start.jsonl").write_text("\n".join(operation(0, 0, "read", None, 5)) + "\n")
    assert command("check", "start.jsonl", "--model", "mine.py:Mine").code == 1
    assert command("check", "start.jsonl", "--model", "mine.py:Mine", "-o", "start=5").code == 0
    shown = command("list", "models", "mine.py:Mine").out
    assert "start = 0" in shown


def test_what_was_found_is_written_as_a_page(command: Command, files: dict[str, Path]) -> None:
    said = command("check", files["good"], files["two"], "--html", "found.html")
    assert said.code == 1
    assert said.out.splitlines()[-1] == "page  found.html"
    page = Path("found.html").read_text()
    assert page.count("<figure") + page.count("<svg") > 2
    assert "Why no order works" in page
    quiet = command("check", files["two"], "--html", "again.html", "--json")
    assert quiet.document["exit"] == 1
    assert Path("again.html").is_file()


def test_a_page_that_cannot_be_written_leaves_the_verdict(
    command: Command, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: CheckReporter, document: Any, path: Path) -> Path:
        raise HarnessError(f"the report {path} cannot be written: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(CheckReporter, "write", fail)
        for file, code, word in ((files["good"], 3, "valid"), (files["stale"], 1, "invalid")):
            said = command("check", file, "--html", "page.html", "--json")
            assert (said.code, said.document["exit"], said.document["verdict"]) == (code, code, word)
            assert "the disk is full" in said.err
    Path("taken").mkdir()
    assert command("check", files["good"], "--html", "taken").code == 4
    said = command("check", files["good"], "--html", "nowhere/page.html")
    assert said.code == 4
    assert "there is no folder 'nowhere' to write it to" in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--model", "cas-regster"), "there is no model 'cas-regster' (did you mean 'cas-register'"),
        (("--format", "edm"), "there is no format 'edm'"),
        (("--memory", "lots"), "'lots' is not a size"),
        (("--deadline", "0"), "--deadline"),
        (("-o", "intial=3"), "have no option 'intial' (did you mean 'initial'"),
        (("-o", "fast_paths=perhaps"), "the option 'fast_paths' cannot be 'perhaps': expected true or false"),
        (("-o", "initial"), "'initial' is not KEY=VALUE"),
        (("--checker", "linearisable"), "there is no checker 'linearisable' (did you mean 'linearizable'"),
        (("--checker", "staleness", "--model", "register"), "the checker 'staleness' takes no model"),
        (
            ("--checker", "statistics", "-o", "x=1"),
            "the checker 'statistics' has no option 'x', nor any other",
        ),
        (("--model", "semaphore", "-o", "permits=0"), "a semaphore has a whole number of permits"),
        (("missing.jsonl",), "the history 'missing.jsonl' cannot be read: No such file or directory"),
        (("noise.bin",), "noise.bin is in none of the known formats (csv"),
    ],
)
def test_what_cannot_be_checked_is_one_sentence(
    arguments: tuple[str, ...], sentence: str, command: Command, files: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "noise.bin").write_bytes(bytes(range(256)))
    said = command("check", files["good"], *arguments)
    assert said.code == 4
    assert sentence in said.err
