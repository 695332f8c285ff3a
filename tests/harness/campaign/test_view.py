"""What a person sees while a campaign runs."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from tests.harness.campaign.pretended import planned_test, summary

from foreshock.harness.campaign.document import Attempt, CampaignTest
from foreshock.harness.campaign.executor import Job, Running
from foreshock.harness.campaign.rows import row_of
from foreshock.harness.campaign.runner import Standing
from foreshock.harness.campaign.view import LineWatcher, LiveWatcher, one_line, panel
from foreshock.harness.progress import Snapshot

SHOT = Snapshot(
    phase="main",
    elapsed_s=3,
    time_limit_s=10,
    ok=90,
    fail=8,
    info=2,
    rate=41.6,
    p50_ms=1,
    p99_ms=2,
    faults=("kill n1 (2 s)",),
    nodes={},
)


def standing(planned: int | None = 10, left_s: float | None = None, stopping: str = "") -> Standing:
    running = (
        Running(Job(planned_test(7, "docker"), 2), "worker 1", 12.3, "running register", SHOT),
        *(Running(Job(planned_test(seed, "sim"), 1), f"worker {seed}", 1.0) for seed in range(20)),
    )
    return Standing(
        elapsed_s=65,
        left_s=left_s,
        planned=planned,
        done=4,
        counts={"passed": 3, "failed": 1},
        running=running,
        stopping=stopping,
    )


def drawn(shown: Standing) -> str:
    out = io.StringIO()
    Console(file=out, width=160, force_terminal=False).print(panel(shown))
    return out.getvalue()


def test_the_panel_shows_how_far_it_is_and_every_test_that_runs() -> None:
    text = drawn(standing())
    assert "4 of 10 tests" in text
    assert "3 passed  1 failed" in text
    line = next(line for line in text.splitlines() if "worker 1 " in line)
    for part in ("raft, seed 7 (attempt 2)", "12 s", "main", "100 operations  42/s", "kill n1 (2 s)"):
        assert part in line
    assert "and 5 more" in text
    assert "ending what is under way" in drawn(standing(stopping="interrupted"))


def test_a_campaign_for_a_time_shows_what_is_left_of_it() -> None:
    text = drawn(standing(planned=None, left_s=30))
    assert "4 tests, 30 s left" in text
    assert one_line(standing(planned=None, left_s=30)).startswith(
        "65 s, 30 s left  4 tests done  3 passed  1 failed"
    )


def test_one_line_for_a_pipe() -> None:
    assert one_line(standing()) == (
        "65 s  4 of 10 tests done  3 passed  1 failed  running: raft, seed 7 (12 s), raft, seed 0 (1 s) and 19 more"
    )


def ended(test: CampaignTest, *words: str) -> str:
    attempts = [Attempt(number=n, summary=summary(test, word)) for n, word in enumerate(words, start=1)]
    out = io.StringIO()
    watcher = LiveWatcher(Console(file=out, width=200, force_terminal=False))
    watcher.ended(row_of(test, attempts, rerun=0, running=False), test)
    return re.sub(r" +", " ", out.getvalue().strip())


def test_what_did_not_pass_stays_as_a_line_with_the_reason_of_its_worst_attempt() -> None:
    test = planned_test(3, "process")
    assert ended(test, "valid") == ""
    assert ended(test, "invalid") == "foreshock: FAILED raft, seed 3: invalid"
    assert ended(test, "valid", "invalid", "valid") == "foreshock: FLAKY raft, seed 3 (3 attempts): invalid"
    assert ended(test, "error") == "foreshock: ERROR raft, seed 3: it broke"


def test_a_live_view_draws_on_a_terminal_and_leaves_it_clean() -> None:
    out = io.StringIO()
    with LiveWatcher(Console(file=out, width=120, height=30, force_terminal=True)) as watcher:
        watcher._last_s = 0.0
        watcher.show(standing())
        watcher.say("a line that stays")
    text = out.getvalue()
    assert "4 of 10 tests" in text
    assert "a line that stays" in text
    assert text.rstrip().endswith("\x1b[2K") or "\x1b[?25h" in text  # the cursor is shown again


def test_lines_go_to_stderr_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    watcher = LineWatcher()
    watcher.show(standing())
    assert capsys.readouterr().err == ""
    watcher._last_s -= 60
    watcher.show(standing())
    watcher.show(standing())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("4 of 10 tests done") == 1
