"""What the harness could not do is tried again when a campaign goes on, and counts no more where it is done then."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest
from tests.commands import run_here
from tests.harness.campaign.pretended import Interrupting, Pretended, journal_in, planned_test, run, summary

from foreshock.harness.campaign.document import JOURNAL, Attempt, CampaignDocument
from foreshock.harness.campaign.journal import Line
from foreshock.harness.errors import UsageError
from foreshock.harness.junit import cases_of

TARGETS = Path(__file__).with_name("strange_targets.py")
TESTS = [planned_test(seed) for seed in range(4)]
FILE = f"""\
name = "absent"
seeds = 2
rerun = 0
[defaults]
backend = "sim"
time-limit = 1
[matrix]
target = ["raft", "{TARGETS}:NeedsAFile"]
"""


def attempts_in(document: CampaignDocument) -> list[tuple[str, int]]:
    """The lines of the journal: which test, and which attempt."""
    lines = (Path(document.directory) / JOURNAL).read_bytes().splitlines()
    read = [msgspec.json.decode(line, type=Line) for line in lines if line]
    return [(line.test, line.attempt.number) for line in read if line.attempt is not None]


@pytest.mark.parametrize("word", ["error", "lost"])
def test_errors_are_tried_again_and_nothing_else_is(word: str, tmp_path: Path) -> None:
    first = Pretended({0: ["invalid"], 1: [word], 2: ["error", "valid", "valid"]})
    half = run(tmp_path, TESTS, first, watcher=Interrupting(3))
    assert [row.outcome for row in half.rows] == ["failed", "error", "flaky", "waiting"]
    second = Pretended({})
    whole = run(tmp_path, TESTS, second)
    assert second.started == [(1, 1), (3, 1)]
    assert whole.directory == half.directory
    assert [row.outcome for row in whole.rows] == ["failed", "passed", "flaky", "passed"]
    assert [len(row.attempts) for row in whole.rows] == [3, 1, 3, 1]
    assert [case.tag for case in cases_of(whole)] == ["failure", "", "error", ""]
    key = TESTS[1].key
    assert [number for test, number in attempts_in(whole) if test == key] == [1, 2, 3, 1]


def test_a_campaign_whose_errors_are_done_later_exits_with_0(tmp_path: Path) -> None:
    half = run(tmp_path, TESTS, Pretended({0: ["error"]}), watcher=Interrupting(2))
    assert half.exit == 130
    whole = run(tmp_path, TESTS, Pretended({}))
    assert (whole.exit, whole.verdict, whole.summary) == (0, "valid", "4 tests: 4 passed")
    assert whole.groups == ()


def test_one_that_has_failed_to_be_done_once_begins_anew_as_well(tmp_path: Path) -> None:
    """Otherwise it would be flaky, for an engine that was down."""
    journal = journal_in(tmp_path)
    journal.add(TESTS[0].key, Attempt(number=1, summary=summary(TESTS[0], "error")))
    journal.close()
    whole = run(tmp_path, TESTS[:1], Pretended({}))
    assert [(row.outcome, len(row.attempts)) for row in whole.rows] == [("passed", 1)]


def test_what_fails_to_be_done_again_is_tried_as_often_as_at_first(tmp_path: Path) -> None:
    run(tmp_path, TESTS, Pretended({0: ["error"]}), watcher=Interrupting(2))
    second = Pretended({0: ["error", "error", "invalid"]})
    half = run(tmp_path, TESTS, second, watcher=Interrupting(1))
    assert second.started == [(0, 1), (0, 2), (0, 3)]
    assert (half.rows[0].outcome, half.rows[0].verdict) == ("flaky", "invalid")
    third = Pretended({0: ["valid"]})
    whole = run(tmp_path, TESTS, third)  # now it is settled, by what counts: its second three attempts
    assert third.started == [(2, 1), (3, 1)]
    assert (whole.rows[0].verdict, len(whole.rows[0].attempts), whole.exit) == ("invalid", 3, 1)


def test_a_campaign_that_ended_is_gone_on_with_where_that_is_asked_for_alone(tmp_path: Path) -> None:
    ended = run(tmp_path, TESTS, Pretended({1: ["error"]}))
    assert (ended.complete, ended.exit) == (True, 3)
    again = Pretended({})
    mended = run(tmp_path, TESTS, again, retry_errors=True)
    assert (mended.directory, again.started) == (ended.directory, [(1, 1)])
    assert (mended.complete, mended.exit, mended.summary) == (True, 0, "4 tests: 4 passed")
    nothing = Pretended({})
    assert run(tmp_path, TESTS, nothing, retry_errors=True) == msgspec.structs.replace(
        mended, seconds=pytest.approx(mended.seconds, abs=1)
    )
    assert nothing.started == []
    assert run(tmp_path, TESTS, Pretended({})).directory != ended.directory


def test_the_newest_campaign_is_the_one_whose_errors_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = itertools.count(1)
    monkeypatch.setattr(
        "foreshock.harness.journal_folder.time.strftime", lambda _: f"2001010{next(names)}T000000"
    )
    run(tmp_path, TESTS, Pretended({1: ["error"]}))
    newest = run(tmp_path, TESTS, Pretended({}))
    executor = Pretended({})
    assert run(tmp_path, TESTS, executor, retry_errors=True).directory == newest.directory
    assert executor.started == []


def test_there_must_be_a_campaign_whose_errors_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--retry-errors: .*/c has no campaign of these tests"):
        run(tmp_path, TESTS, Pretended({}), retry_errors=True)
    assert list(tmp_path.iterdir()) == []


def test_what_was_done_before_the_time_was_up_still_counts_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=10)
    monkeypatch.setattr("foreshock.harness.campaign.runner.time.monotonic", lambda: float(next(clock)))
    script = {0: ["invalid"], 1: ["error"], 3: ["unknown"]}
    long = Pretended(script)
    first = run(tmp_path, map(planned_test, itertools.count()), long, for_s=900, endless=True)
    assert first.complete
    assert first.done > 4
    later = Pretended(script | {1: ["valid"]})
    last = run(
        tmp_path,
        map(planned_test, itertools.count()),
        later,
        for_s=900,
        endless=True,
        retry_errors=True,
    )
    assert later.started == [(1, 1)]
    assert (last.done, last.verdict, last.exit) == (first.done, "invalid", 1)
    assert {row.seed: row.outcome for row in last.rows} == {
        row.seed: "passed" if row.seed == 1 else row.outcome for row in first.rows
    }


def test_of_very_many_tests_under_way_the_last_may_have_been_the_first_to_end(tmp_path: Path) -> None:
    """On a large cluster; when the campaign goes on, what it found counts."""
    journal, last = journal_in(tmp_path), planned_test(1_000)
    journal.add(last.key, Attempt(number=1, summary=summary(last, "invalid")))
    journal.close()
    executor = Pretended({1_000: ["invalid"] * 3})
    tests = map(planned_test, itertools.count())
    found = run(tmp_path, tests, executor, for_s=0.0, endless=True)
    assert executor.started == [(1_000, 2), (1_000, 3)]
    assert [(row.seed, row.outcome) for row in found.rows] == [(1_000, "failed")]
    assert (found.verdict, found.exit) == ("invalid", 1)


def test_the_command_says_how_errors_are_tried_again_and_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mood, store, junit = tmp_path / "mood", str(tmp_path / "store"), tmp_path / "junit.xml"
    monkeypatch.setenv("CAMPAIGN_TEST_MOOD", str(mood))
    (tmp_path / "absent.toml").write_text(FILE)
    words = ("campaign", str(tmp_path / "absent.toml"), "--jobs", "1", "--store", store)
    code, out, _ = run_here(capsys, *words)
    assert code == 3
    assert out.startswith("? UNKNOWN  4 tests: 2 passed, 2 error")
    assert "errors     2 tests could not be done: the same with --retry-errors tries them again" in out
    mood.write_text("")
    code, out, err = run_here(capsys, *words, "--retry-errors", "--json", "--junit", str(junit))
    document = msgspec.json.decode(out, type=CampaignDocument)
    assert (code, document.exit, document.summary) == (0, 0, "4 tests: 4 passed")
    assert "where 2 tests were done, and 2 that the harness could not do are tried again" in err
    assert junit.read_text().count("<testcase") == 4
    assert "<error" not in junit.read_text()
    code, _, err = run_here(capsys, *words, "--retry-errors", "--fresh")
    assert code == 4
    assert "--fresh begins anew, and --retry-errors goes on: give one of them" in err
