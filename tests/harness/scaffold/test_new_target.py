"""``foreshock new-target`` writes what works as it stands: each check here is one that its user would make."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.commands import run_here

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with targets of each service alone, and one of all of them."""
    from foreshock.harness.scaffold import SERVICES, write_target

    folder = tmp_path_factory.mktemp("own")
    for service in SERVICES:
        write_target(f"only-{service}", folder, (service,))
    write_target("mydb", folder, SERVICES)
    return folder


def test_it_says_what_to_run_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = run_here(capsys, "new-target", "mydb")
    assert code == 0
    assert out.startswith("wrote mydb.py and test_mydb.py; they work as they stand:\n")
    assert (
        "  foreshock test --target mydb.py:Mydb --workload register --nemesis kill --backend process" in out
    )
    assert "  pytest test_mydb.py\n" in out
    assert {path.name for path in tmp_path.iterdir()} == {"mydb.py", "test_mydb.py"}
    code, out, _ = run_here(capsys, "new-target", "my-db", "--service", "lock,register", "--json")
    assert json.loads(out)["target"] == "my_db.py:MyDb"
    assert json.loads(out)["services"] == ["register", "lock"]


@pytest.mark.parametrize("service", ["register", "lock", "cache"])
def test_the_target_survives_kills_and_pauses(
    service: str, written: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(written)
    words = ["--workload", service, "--backend", "process", "--time-limit", "2", "--interval", "0.7"]
    code, out, err = run_here(
        capsys,
        "test",
        "--target",
        "mydb.py:Mydb",
        *words,
        "--nemesis",
        "kill,pause",
        "--seed",
        "2",
        "--no-report",
        "--json",
    )
    found = json.loads(out)
    assert (code, found["verdict"], found["harness_errors"]) == (0, "valid", []), (out, err)
    assert sum(found["faults"].values()) > 0


def test_its_test_passes(written: Path) -> None:
    done = subprocess.run(
        [BIN / "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_only_register.py"],
        cwd=written,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_it_is_clean_to_linters_and_the_type_checker(written: Path) -> None:
    files = sorted(str(path) for path in written.glob("*.py"))
    assert len(files) == 8
    for command in (
        ["ruff", "check", "--isolated", "--select", "E4,E7,E9,F,W,I,B,UP,ANN001,ANN201", *files],
        ["ruff", "format", "--isolated", "--check", *files],
        ["mypy", "--strict", *files],
    ):
        done = subprocess.run(
            [BIN / command[0], *command[1:]],
            cwd=written,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["redis"], "a file redis.py would hide the library 'redis' from the programs beside it"),
        (["json"], "'json' is taken by Python itself: choose another name, such as my_json"),
        (["class"], "'class' is taken by Python itself"),
        (["9lives"], "'9lives' is no name for a target: use letters, digits, hyphens and underscores"),
        (["../up"], "'../up' is no name for a target"),
        (["a" * 41], "is no name for a target"),
        ([""], "'' is no name for a target"),
        (["test_db"], "'test_db' is a name by which pytest knows tests"),
        (
            ["mydb", "--service", "registre"],
            "no template for the service 'registre' (did you mean 'register'?)",
        ),
        (["mydb", "--directory", "nowhere"], "there is no folder 'nowhere' to write into"),
    ],
)
def test_what_cannot_be_is_one_sentence_and_nothing_is_written(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run_here(capsys, "new-target", *words)
    assert (code, out) == (4, "")
    assert sentence in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["mydb.py", "test_mydb.py"])
def test_nothing_is_overwritten(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text("mine")
    code, _, err = run_here(capsys, "new-target", "mydb")
    assert code == 4
    assert f"{name} is there already, and is left as it is" in err
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]
