"""What is shown while a test runs, on a pipe and on a terminal."""

from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from foreshock.harness.ledger import Fault
from foreshock.harness.patient_console import PatientConsole
from foreshock.harness.progress import LineProgress, Snapshot, choose_progress, elapsed, fault_text, one_line
from foreshock.harness.terminal_view import TerminalView, panel, sparkline

SNAPSHOT = Snapshot(
    phase="main",
    elapsed_s=12.4,
    time_limit_s=60.0,
    ok=1000,
    fail=20,
    info=3,
    rate=99.6,
    p50_ms=1.25,
    p99_ms=250.0,
    faults=("partition ring (3 s)", "kill n3 (0 s)"),
    nodes={"n1": "running", "n2": "paused", "n3": "killed", "n4": "lost"},
)


def test_a_line_says_all_that_matters() -> None:
    assert one_line(SNAPSHOT) == (
        "main 12 of 60 s  ok 1000 fail 20 info 3  100/s  p50 1.2 ms p99 250.0 ms  "
        "faults: partition ring (3 s), kill n3 (0 s)"
    )


def test_a_phase_past_its_limit_waits_for_what_is_in_flight() -> None:
    late = msgspec.structs.replace(SNAPSHOT, elapsed_s=63.0)
    assert elapsed(late) == "60 of 60 s, last operations ending"
    assert elapsed(msgspec.structs.replace(SNAPSHOT, time_limit_s=None)) == "12 s"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"kind": "ring"}, "partition ring (2 s)"),
        (None, "partition n1,n2 (2 s)"),
        ({"processes": [3, 14], "duration_ms": 500}, "partition of p3,p14 (2 s)"),
    ],
)
def test_a_fault_is_told_by_its_kind_or_what_it_struck_and_its_age(value: object, text: str) -> None:
    fault = Fault(id=0, kind="partition", nodes=("n1", "n2"), value=value, planned_ns=1_000_000_000)
    assert fault_text(fault, 3_900_000_000) == text


def test_a_pipe_gets_each_phase_at_once_and_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    progress = LineProgress(every_s=3600)
    progress.phase("running lock for 60 s")
    progress.show(SNAPSHOT)
    assert capsys.readouterr().err == "foreshock: running lock for 60 s\n"
    progress = LineProgress(every_s=0)
    progress.show(SNAPSHOT)
    assert capsys.readouterr().err == f"foreshock: {one_line(SNAPSHOT)}\n"


def test_a_reader_that_went_away_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    LineProgress(every_s=0).show(SNAPSHOT)
    with TerminalView(PatientConsole(file=Gone(), force_terminal=True)) as view:
        view.phase("healing")
        view.show(SNAPSHOT)


def test_the_panel_shows_operations_rate_faults_and_nodes() -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    console.print(panel(SNAPSHOT, (0.0, 50.0, 100.0)))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "main  12 of 60 s",
        "ok 1000",
        "fail 20",
        "info 3",
        "p50 1.2 ms",
        "p99 250.0 ms",
        "▁▅█ 100/s",
        "partition ring (3 s) · kill n3 (0 s)",
        "● n1 running",
        "‖ n2 paused",
        "✗ n3 killed",
        "! n4 lost",
    ):
        assert words in text
    assert len({len(line) for line in text.splitlines()}) == 1


def test_before_the_first_operation_only_the_nodes_are_shown() -> None:
    console = Console(file=io.StringIO(), width=110, force_terminal=False)
    console.print(
        panel(msgspec.structs.replace(SNAPSHOT, ok=0, fail=0, info=0, phase="deploy", nodes={}), ())
    )
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "not there yet" in text
    assert "p50" not in text


def test_a_sparkline_has_its_highest_bar_at_the_greatest_value() -> None:
    assert sparkline((0.0, 0.0)) == "▁▁"
    assert sparkline((0.0, 4.0, 8.0)) == "▁▅█"
    assert sparkline(()) == ""


def test_progress_suits_where_stderr_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    assert type(choose_progress(quiet=False, as_json=False)) is LineProgress
    monkeypatch.setattr("sys.stderr", Terminal())
    assert type(choose_progress(quiet=False, as_json=False)) is TerminalView
    assert type(choose_progress(quiet=False, as_json=True)) is LineProgress
    assert type(choose_progress(quiet=True, as_json=False)).__name__ == "SilentProgress"
