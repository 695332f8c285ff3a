"""Bad input and bad luck: one clear sentence, the right exit code, the history so far, nothing left running."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import resource
import select
import signal
import socket
import subprocess
import termios
import time
from pathlib import Path

import pytest
from tests.commands import (
    BREAKING,
    FORESHOCK,
    PLUG_INS,
    WAIT_S,
    Started,
    broken_run,
    foreshock,
    nothing_left,
    only_run,
    recorded,
    run_here,
    until,
)

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import processes_of_run

SIMULATED = ("--backend", "sim", "--time-limit", "2", "--no-report", "--seed", "1")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


# --- plug-ins -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "name", "sentence"),
    [
        ("--target", "CannotBeMade", "cannot be made: RuntimeError: no licence (bad_plug_ins.py, line "),
        (
            "--workload",
            "WorkloadCannotBeMade",
            "cannot be made: RuntimeError: no keys (bad_plug_ins.py, line ",
        ),
        (
            "--nemesis",
            "NemesisCannotBeMade",
            "cannot be made: RuntimeError: no sword (bad_plug_ins.py, line ",
        ),
        ("--target", "RaftLacksCas", "it has no method 'cas' (write: async def cas(self, key: Key, old: "),
        (
            "--target",
            "RaftLacksCas",
            "a method 'write' that takes (key) (write: async def write(self, key: Key, ",
        ),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_said_before_anything_is_deployed(
    option: str, name: str, sentence: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_here(capsys, "test", *SIMULATED, option, f"{PLUG_INS}:{name}", "--store", store)
    assert code == 3
    assert sentence in err
    assert out == ""
    assert (
        not list(store.glob("*/*/history.jsonl"))
        or only_run(store).joinpath("history.jsonl").stat().st_size == 0
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (
            "import nothing_like_this\n",
            "does not import: ModuleNotFoundError: No module named 'nothing_like_this'",
        ),
        ("def (\n", "does not import: SyntaxError: invalid syntax"),
        ("import sys\nsys.exit(7)\n", "does not import: SystemExit: 7"),
        ("X = 1\n", "is not a subclass of foreshock.harness.Target"),
    ],
)
def test_a_plug_in_that_does_not_import_says_why(
    content: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.py").write_text(content)
    code, out, err = run_here(capsys, "test", *SIMULATED, "--target", f"{tmp_path}/broken.py:X")
    assert code == 3
    assert err.startswith("foreshock: ")
    assert sentence in err
    assert out == ""


@pytest.mark.parametrize(
    ("option", "name", "code", "verdict", "sentence"),
    [
        (
            "--target",
            "RaftOpenRaises",
            3,
            "unknown",
            "no client could be opened: ValueError: no password given",
        ),
        ("--target", "RaftOperationsRaise", 2, "unknown", "not one of "),
        ("--target", "RaftReadsWhatIsNotJson", 3, None, "the operation 'read' cannot be recorded"),
        ("--target", "RaftMakesLackingClients", 3, "unknown", "it has no method 'cas'"),
        (
            "--target",
            "SetUpRaises",
            3,
            "unknown",
            "RuntimeError: cannot create the table (bad_plug_ins.py, line ",
        ),
        (
            "--target",
            "SetUpHangs",
            3,
            "unknown",
            "was not set up within 60 s: give it longer with --ready-timeout",
        ),
        ("--workload", "GeneratorRaises", 3, "unknown", "the main phase failed: RuntimeError: no more ideas"),
        (
            "--workload",
            "GeneratorRaisesLater",
            3,
            "valid",
            "the main phase failed: RuntimeError: no more ideas",
        ),
        ("--workload", "GeneratorExits", 3, "valid", "the main phase failed: SystemExit: 0 (bad_plug_ins.py"),
        ("--workload", "CheckerExits", 3, "unknown", "the checker 'exits' raised SystemExit: 0"),
        ("--workload", "FinalRaises", 3, "valid", "the final phase failed: RuntimeError: no end"),
        (
            "--workload",
            "CheckerRaises",
            3,
            "unknown",
            "the checker 'raises' raised RuntimeError: I lost count",
        ),
        ("--workload", "CheckersRaise", 3, "unknown", "RuntimeError: no checkers today"),
        (
            "--workload",
            "CheckerReturnsNothing",
            3,
            "unknown",
            "check(history, context) returned None: return CheckResult(",
        ),
    ],
)
def test_a_plug_in_that_raises_is_one_sentence_beside_the_verdict(
    option: str,
    name: str,
    code: int,
    verdict: str | None,
    sentence: str,
    store: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, out, err = run_here(
        capsys, "test", *SIMULATED, option, f"{PLUG_INS}:{name}", "--store", store, "--json"
    )
    document = json.loads(out)
    assert (found, document["exit"]) == (code, code)
    assert verdict is None or document["verdict"] == verdict
    told = [error for error in [document["reason"], *document["harness_errors"]] if sentence in error]
    assert told
    assert code == 2 or told[-1] in err
    assert json.loads((only_run(store) / "results.json").read_text()) == document
    assert recorded(store) or document["operations"] == {"ok": 0, "fail": 0, "info": 0}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("NemesisRaises", "the nemesis operation 'kill' failed: RuntimeError: the sword broke"),
        ("NemesisExits", "the nemesis operation 'kill' failed: SystemExit: 0"),
        ("NemesisNeverHeals", "healing failed: RuntimeError: no cure (bad_plug_ins.py, line "),
    ],
)
def test_a_nemesis_that_fails_is_a_harness_error_and_its_faults_are_healed(
    name: str, sentence: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    breaking = ("--nemesis", f"{PLUG_INS}:{name}", "--interval", "0.2", "--store", store, "--json")
    code, out, _ = run_here(capsys, "test", *SIMULATED, *breaking)
    document = json.loads(out)
    assert (code, document["verdict"]) == (3, "valid")
    assert any(sentence in error for error in document["harness_errors"])
    ledger = [json.loads(line) for line in (only_run(store) / "faults.jsonl").read_text().splitlines()]
    assert [e["id"] for e in ledger if e["event"] == "planned"] == [
        e["id"] for e in ledger if e["event"] == "healed"
    ]


@pytest.mark.parametrize("error", [RuntimeError("out of ink"), SystemExit("out of ink")])
def test_a_reporter_that_raises_never_changes_the_verdict(
    error: BaseException, store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def report(_self: object, _run: Path) -> Path:
        raise error

    monkeypatch.setattr("foreshock.reports.html.HtmlReporter.report", report)
    arguments = [word for word in SIMULATED if word != "--no-report"]
    code, out, err = run_here(capsys, "test", *arguments, "--store", store)
    assert code == 3
    assert "VALID" in out
    raised = f"the reporter 'html' raised {type(error).__name__}: out of ink (test_bad_luck.py, line "
    assert f"foreshock: {raised}" in err
    results = json.loads((only_run(store) / "results.json").read_text())
    assert (results["verdict"], results["exit"]) == ("valid", 3)


# --- the machine --------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_without_an_engine_docker_is_a_sentence_and_auto_takes_processes(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    code, out, err = run_here(capsys, "test", "--backend", "docker", "--store", store)
    assert (code, out) == (4, "")
    assert "no Docker engine answers at tcp://127.0.0.1:1 (Connection refused): start one" in err
    assert not store.exists()
    short = ("--time-limit", "1", "--nodes", "3", "--no-report", "--store", store, "--json")
    code, out, _ = run_here(capsys, "test", *short)
    assert code == 0
    assert json.loads(out)["backend"] == "process"
    assert run_here(capsys, "clean")[0] == 0
    assert run_here(capsys, "heal")[0] == 0


@pytest.mark.parametrize(
    ("below", "code", "sentence"),
    [("file", 4, "is a file"), ("file/store", 3, "cannot be made: Not a directory (choose another store")],
)
def test_a_store_that_cannot_be_is_a_sentence(
    below: str, code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    found, out, err = run_here(capsys, "test", *SIMULATED, "--store", tmp_path / below)
    assert (found, out) == (code, "")
    assert sentence in err


def test_a_store_without_permission_is_a_sentence(
    store: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Path, *_arguments: object, **_more: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    code, out, err = run_here(capsys, "test", *SIMULATED, "--store", store)
    assert (code, out) == (3, "")
    assert "cannot be made: Permission denied (choose another store with --store)" in err


@pytest.mark.slow
def test_a_disk_that_is_full_keeps_what_was_recorded(store: Path) -> None:
    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    arguments = (
        "--backend",
        "sim",
        "--time-limit",
        "60",
        "--nemesis",
        "kill",
        "--seed",
        "1",
        "--store",
        str(store),
    )
    with Started("test", *arguments, "--json", before=little_room) as test:
        result = test.finish()
    assert result.code == 3
    document = result.document
    run = only_run(store)
    assert any(
        f"the history '{run}/history.jsonl' cannot be written: File too large" in error
        for error in document["harness_errors"]
    )
    assert document["verdict"] == "valid"
    assert document["complete"] is False
    again = foreshock("analyze", str(run), "--json").document
    assert again["verdict"] == "valid"
    assert abs(sum(again["operations"].values()) - sum(document["operations"].values())) <= 10


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "Exits",
            "node n1 ended at its start with exit status 7; its log ends: starting | the disk is upside down",
        ),
        ("NeverReady", "node n1 was not ready within 1 s; its log ends: waiting for nothing"),
    ],
)
def test_a_node_that_does_not_come_up_is_a_sentence_and_is_gone(
    name: str, sentence: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--backend", "process", "--ready-timeout", "1", "--store", store)
    code, out, _ = run_here(capsys, "test", "--target", f"{PLUG_INS}:{name}", *arguments)
    assert code == 3
    assert f"UNKNOWN  nothing was recorded, so nothing is known: {sentence}" in out
    run = only_run(store)
    assert (run / "report.html").is_file()
    assert (run / "nodes" / "n1" / "node.log").is_file()
    nothing_left(run)


def test_a_port_that_is_taken_is_a_sentence(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = f"port_wanted={holder.getsockname()[1]}"
        arguments = ("--backend", "process", "-o", port, "--no-report", "--store", store)
        code, out, _ = run_here(capsys, "test", "--target", f"{PLUG_INS}:PortTaken", *arguments)
    assert code == 3
    assert "node n1 ended at its start with exit status 1; its log ends: port" in out
    assert "Address already in use" in out
    nothing_left(only_run(store))


@pytest.mark.docker
def test_an_image_that_fails_to_build_is_a_sentence(store: Path) -> None:
    arguments = ("--backend", "docker", "--no-report", "--store", str(store), "--json")
    result = foreshock("test", "--target", f"{PLUG_INS}:NoSuchPackage", *arguments)
    assert result.code == 3
    document = result.document
    (error,) = document["harness_errors"]
    assert error.startswith("the image with foreshock-has-no-such-package could not be built: E: ")
    assert error.endswith(" (the last lines of the output are in harness.log)")
    assert f"foreshock: {error}\n" in result.err
    assert live_runs.registered_runs() == []


# --- broken files -------------------------------------------------------------------------------------------


def stored_run(store: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run_here(capsys, "test", *SIMULATED, "--store", store)[0] == 0
    return only_run(store)


def test_a_broken_history_is_named_by_line(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored_run(store, capsys)
    history = run / "history.jsonl"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text("".join([*lines[:10], "nonsense\n", *lines[11:]]))
    for arguments in (("check", history), ("analyze", run)):
        code, out, err = run_here(capsys, *arguments)
        assert (code, out) == (4, "")
        assert "history.jsonl, line 11 is not an event of a history" in err


def test_one_broken_file_does_not_hide_the_verdict_on_another(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    history = stored_run(store, capsys) / "history.jsonl"
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"index":0,"type":"invoke","process":0,"f":"read","key":1,"time_ns":1}\n{"index":\n\n')
    code, out, err = run_here(capsys, "check", broken, history, "--json")
    document = json.loads(out)
    assert (code, document["exit"]) == (4, 4)
    assert [entry["verdict"] for entry in document["histories"]] == ["unknown", "valid"]
    assert "broken.jsonl, line 2" in document["histories"][0]["error"]
    assert "broken.jsonl, line 2" in err


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("test.json", "{", "test.json is not JSON"),
        ("test.json", "{}", "test.json does not hold the plan of a test"),
        ("history.jsonl", None, "history.jsonl"),
        ("faults.jsonl", "nonsense\n", "faults.jsonl, line 1 is not a ledger entry"),
        ("results.json", "[]", "results.json does not hold a JSON object"),
    ],
)
def test_a_broken_file_of_a_run_is_named(
    name: str, content: str | None, sentence: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = stored_run(store, capsys)
    if content is None:
        (run / name).unlink()
    else:
        (run / name).write_text(content)
    code, out, err = run_here(capsys, "analyze", run)
    assert code in (3, 4)
    assert out == ""
    assert sentence in err


# --- the end of the harness ---------------------------------------------------------------------------------


def test_a_stored_run_is_judged_without_the_file_of_its_target(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own.py"
    own.write_text("from foreshock.targets.reference.raft_target import Raft\nclass Mine(Raft):\n    pass\n")
    assert run_here(capsys, "test", *SIMULATED, "--target", f"{own}:Mine", "--store", store)[0] == 0
    own.unlink()
    assert run_here(capsys, "analyze", "latest", "--store", store)[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_interrupt_stops_heals_checks_and_reports(store: Path, number: signal.Signals) -> None:
    with Started("test", "--backend", "process", *BREAKING, "--store", str(store), "--json") as test:
        run = broken_run(test, store)
        test.signal(number)
        result = test.finish()
    document = result.document
    assert result.code == document["exit"] == 130
    assert (document["verdict"], document["interrupted"], document["complete"]) == ("valid", True, True)
    assert set(document["checkers"]) >= {"mutex", "liveness"}
    assert document["harness_errors"] == []
    assert (run / "report.html").is_file()
    ledger = [json.loads(line) for line in (run / "faults.jsonl").read_text().splitlines()]
    assert {e["id"] for e in ledger if e["event"] == "planned"} == {
        e["id"] for e in ledger if e["event"] in ("healed", "failed")
    }
    nothing_left(run)


@pytest.mark.slow
def test_the_second_interrupt_heals_and_leaves(store: Path) -> None:
    with Started("test", "--backend", "process", *BREAKING, "--store", str(store)) as test:
        run = broken_run(test, store)
        test.signal(signal.SIGINT)
        test.wait_for_line("interrupted: stopping")
        test.signal(signal.SIGINT)
        result = test.finish()
    assert result.code == 130
    assert "UNKNOWN  the test was interrupted before its history was checked" in result.out
    assert not (run / "report.html").exists()
    nothing_left(run)
    assert foreshock("analyze", str(run), "-q").code == 0


def test_an_interrupt_while_nodes_are_deployed_tears_them_down(store: Path) -> None:
    arguments = (
        "--target",
        f"{PLUG_INS}:NeverReady",
        "--backend",
        "process",
        "--store",
        str(store),
        "--json",
    )
    with Started("test", *arguments) as test:
        test.wait_for_line("deploying")
        until(lambda: bool(processes_of_run(only_run(store).name.lower())), "the process of a node")
        test.signal(signal.SIGTERM)
        result = test.finish()
    assert result.code == result.document["exit"] == 130
    assert result.document["reason"] == "nothing was recorded, so nothing is known: the test was interrupted"
    nothing_left(only_run(store))


def test_an_interrupt_while_checking_ends_the_checkers_as_unknown(store: Path) -> None:
    with Started(
        "test", *SIMULATED, "--workload", f"{PLUG_INS}:CheckerIsEndless", "--store", str(store)
    ) as test:
        test.wait_for_line("the endless checker has begun")
        test.signal(signal.SIGINT)
        result = test.finish()
    assert result.code == 130
    assert "UNKNOWN  endless: it was interrupted" in result.out
    results = json.loads((only_run(store) / "results.json").read_text())
    assert (results["exit"], results["interrupted"]) == (130, True)


@pytest.mark.slow
def test_two_tests_at_once_do_not_disturb_each_other(store: Path, tmp_path: Path) -> None:
    breaking = ("--nemesis", "partition,kill,pause", "--interval", "0.5", "--time-limit", "4", "--nodes", "3")
    arguments = ("--backend", "process", *breaking, "--no-report", "--json")
    with (
        Started("test", *arguments, "--store", str(store)) as one,
        Started("test", *arguments, "--store", str(tmp_path / "other")) as other,
    ):
        one.wait_for_line("running")
        other.wait_for_line("running")
        assert foreshock("clean").out == "nothing to clean\n"
        for result in (one.finish(), other.finish()):
            assert (result.code, result.document["harness_errors"]) == (0, [])


@pytest.mark.slow
def test_the_terminal_is_left_clean(store: Path) -> None:
    keeper, terminal = pty.openpty()
    before = termios.tcgetattr(terminal)
    arguments = ("--backend", "process", "--nodes", "3", "--time-limit", "60", "--store", str(store))
    process = subprocess.Popen(
        [*FORESHOCK, "test", *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"},
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # the terminal on which Ctrl-C is its signal
    )
    shown, pressed = bytearray(), False
    try:
        deadline = time.monotonic() + WAIT_S
        while process.poll() is None:
            assert time.monotonic() < deadline, shown.decode(errors="replace")
            if select.select([keeper], [], [], 0.05)[0]:
                shown += os.read(keeper, 65536)
            # Not before the view has shown what is looked for below.
            if not pressed and recorded(store) > 60 and b"p50" in shown and b"rate" in shown:
                os.write(keeper, b"\x03")
                pressed = True
        while select.select([keeper], [], [], 0)[0]:
            shown += os.read(keeper, 65536)
        assert termios.tcgetattr(terminal) == before
    finally:
        process.kill()
        process.wait()
        os.close(keeper)
        os.close(terminal)
    text = shown.decode()
    assert process.returncode == 130
    assert "interrupted: stopping, healing, checking" in text
    assert "VALID" in text
    assert "^C" not in text
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # the cursor was hidden, and is shown again
    assert [word for word in ("operations", "p50", "rate", "faults", "n1 running") if word not in text] == []
