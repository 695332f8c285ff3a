from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import foreshock
from foreshock.harness.cli.group import COMMANDS
from foreshock.harness.cli.main import main

SOURCE = Path(foreshock.__file__).parents[1]
HEAVY = ("pandas", "numpy", "pyarrow", "numba", "docker", "paramiko", "rich", "asyncio", "jinja2")


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from foreshock.harness.cli.main import main\n"
        "status = main(['--help'])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(status)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert all(name in result.stdout for name in COMMANDS)
    assert result.stderr.strip() == "[]"


@pytest.mark.parametrize("command", [*COMMANDS])
def test_every_command_has_help_with_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert "Try: foreshock " + command in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["tset"], "there is no command 'tset' (did you mean 'test'"),
        (["test", "--traget", "raft"], "--traget"),
        (["test", "--backend", "sim", "--target", "rafft"], "did you mean 'raft'"),
        (["test", "--backend", "sim", "--rate", "fast"], "'fast' is not a valid float"),
        (["test", "--backend", "sim", "-o", "heartbeat"], "'heartbeat' is not KEY=VALUE"),
        (
            ["test", "--backend", "sim", "--time-limit", "0"],
            "--time-limit 0.0 is out of bounds: expected a number > 0.0",
        ),
        (["list", "targts"], "did you mean 'targets'?"),
        (["analyze", "nowhere"], "there is no run 'nowhere'"),
        (["check", "nowhere.jsonl"], "cannot be read: No such file"),
    ],
)
def test_a_wrong_command_line_is_one_sentence_and_exit_code_4(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(arguments) == 4
    captured = capsys.readouterr()
    assert sentence in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_under_json_an_error_is_one_json_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["test", "--backend", "sim", "--target", "rafft", "--json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert document["exit"] == 4
    assert "rafft" in document["error"]


def test_anything_unexpected_is_a_harness_error_and_never_an_invalid(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "foreshock.harness.cli.group.importlib.import_module",
        lambda _name: (_ for _ in ()).throw(ZeroDivisionError("x")),
    )
    assert main(["list"]) == 3
    assert "unexpected ZeroDivisionError: x" in capsys.readouterr().err


def test_a_name_has_its_options_listed_with_defaults_and_units(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "targets", "raft", "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["options"]
    assert all(option["text"] for option in described["options"])


def test_the_list_names_what_is_registered(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--json"]) == 0
    overview = json.loads(capsys.readouterr().out)
    assert {entry["name"] for entry in overview["backends"]} >= {"sim", "process", "docker"}
    assert {entry["name"] for entry in overview["workloads"]} >= {"register", "lock", "cache"}
    assert not [e for entries in overview.values() for e in entries if e["summary"].startswith("!")]


def test_what_is_no_exception_at_all_is_no_invalid_either(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "foreshock.harness.cli.group.importlib.import_module",
        lambda _name: (_ for _ in ()).throw(BaseExceptionGroup("x", [GeneratorExit()])),
    )
    assert main(["list"]) == 3
    assert "unexpected BaseExceptionGroup: x" in capsys.readouterr().err


def test_what_exits_by_itself_is_no_valid(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "foreshock.harness.cli.group.importlib.import_module",
        lambda _name: (_ for _ in ()).throw(SystemExit(0)),
    )
    assert main(["list"]) == 3
    assert "a plug-in ended the program: SystemExit: 0" in capsys.readouterr().err


def test_the_entry_point_imports_next_to_nothing_before_it_is_ready_for_an_interrupt() -> None:
    program = (
        "import sys, importlib\n"
        "before = {*sys.modules}\n"
        "import foreshock.harness.cli.main\n"
        "print(*sorted({*sys.modules} - before))\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [
        "__future__",
        "foreshock",
        "foreshock.harness",
        "foreshock.harness.cli",
        "foreshock.harness.cli.main",
    ]


@pytest.mark.parametrize("module", ["click", "msgspec", "foreshock.harness.cli.group"])
def test_an_interrupt_while_the_command_is_imported_is_no_traceback(module: str) -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from foreshock.harness.cli.main import main\n"
        "sys.exit(main(['--help']))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "foreshock: interrupted\n")


@pytest.mark.parametrize(
    ("redirection", "code"),
    [
        (">&-", 0),
        ("2>&-", 0),
        (">&- 2>&-", 0),
        ("--json >/dev/full", 3),
        ("--json >/dev/full 2>/dev/full", 3),
    ],
)
def test_output_that_goes_nowhere_is_no_traceback_and_no_invalid(redirection: str, code: int) -> None:
    command = f"{sys.executable} -m foreshock list targets {redirection}"
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (result.returncode, "Traceback" in result.stderr) == (code, False)


def test_a_full_stdout_is_said_and_what_it_cannot_encode_is_spelt(tmp_path: Path) -> None:
    test = f"{sys.executable} -m foreshock test --backend sim --time-limit 1 --store {tmp_path}/store -q"
    full = subprocess.run(["sh", "-c", f"{test} >/dev/full"], capture_output=True, text=True, check=False)
    assert (full.returncode, full.stderr) == (
        3,
        "foreshock: what was to be said cannot be written: No space left on device\n",
    )
    plain = {**os.environ, "PYTHONIOENCODING": "ascii"}
    spelt = subprocess.run(test.split(), env=plain, capture_output=True, text=True, check=False)
    assert (spelt.returncode, spelt.stdout[:13]) == (0, "\\u2713 VALID ")


def test_a_campaign_whose_output_goes_nowhere_runs_its_tests(tmp_path: Path) -> None:
    file = tmp_path / "small.toml"
    file.write_text('[matrix]\ntarget = "raft"\nbackend = "sim"\n[defaults]\ntime-limit = 1\n')
    command = f"{sys.executable} -m foreshock campaign {file} --store {tmp_path}/store <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    (document,) = tmp_path.glob("store/campaigns/small/*/campaign.json")
    assert '"complete":true' in document.read_text().replace(" ", "")


def test_under_json_a_plug_in_that_prints_does_not_spoil_the_document(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plug_in = tmp_path / "talkative.py"
    plug_in.write_text(
        "from foreshock.targets.reference.raft_target import Raft\n"
        "print('imported')\n"
        "class Talkative(Raft):\n"
        "    def client(self, service, context):\n"
        "        print('a client')\n"
        "        return super().client(service, context)\n"
    )
    arguments = [
        "--backend",
        "sim",
        "--time-limit",
        "1",
        "--seed",
        "1",
        "--no-report",
        "--store",
        str(tmp_path),
    ]
    assert main(["test", "--target", f"{plug_in}:Talkative", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["verdict"] == "valid"
    assert "imported\n" in captured.err
    assert "a client\n" in captured.err
