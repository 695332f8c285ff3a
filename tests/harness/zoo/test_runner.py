"""A run of the zoo: what is found, missed and survived; what is kept; and what counts."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from tests.harness.zoo.small_zoo import FOUND, MISSED

from foreshock.harness.journal_folder import JournalFolder
from foreshock.harness.zoo import runner
from foreshock.harness.zoo.document import (
    BugRow,
    CorrectRow,
    ZooDocument,
    exit_code,
    summary_of,
    unhunted_row,
)
from foreshock.harness.zoo.journal import DOCUMENT, JOURNAL, PLAN, Journal, open_journal
from foreshock.harness.zoo.plan import Zoo, plan_zoo
from foreshock.harness.zoo.runner import Standing, Watcher, ZooRun
from foreshock.harness.zoo.view import one_line

pytestmark = pytest.mark.usefixtures("zoo_of_one")


class Noting(Watcher):
    def __init__(self) -> None:
        self.rows: list[BugRow] = []
        self.standings: list[Standing] = []

    def hunted(self, row: BugRow) -> None:
        self.rows.append(row)

    def show(self, standing: Standing) -> None:
        self.standings.append(standing)


def planned(*wanted: str, tests: int = 4) -> Zoo:
    return plan_zoo(wanted, tests=tests, time_limit=2, first_seed=0)


def run(zoo: Zoo, store: Path, watcher: Watcher | None = None) -> ZooDocument:
    journal, _ = open_journal(store, zoo.digest(), fresh=False)
    return ZooRun(zoo, journal, watcher or Watcher(), jobs=2).run()


def test_what_is_wrong_is_found_what_is_not_there_is_missed_and_what_is_right_survives(
    tmp_path: Path,
) -> None:
    watcher = Noting()
    document = run(planned(), tmp_path, watcher)
    rows = {row.name: row for row in document.bugs}
    found = rows[FOUND]
    assert found.found
    assert found.seed == found.tests - 1
    assert found.verdict == "invalid"
    assert found.simulated_seconds == 20 * found.tests
    assert found.run is not None
    assert (Path(found.run) / "report.html").is_file()
    assert f"--seed {found.seed}" in found.replay
    missed = rows[MISSED]
    assert (missed.found, missed.seed, missed.tests, missed.verdict) == (False, None, 2, "valid")
    assert missed.reason.startswith("not found in 2 of 2 tests")
    assert rows["raft/unknown"].reason == "no target has it among its exhibits"
    assert [(row.target, row.workload, row.tests, row.valid) for row in document.correct] == [
        ("raft", "register", 2, 2),
        ("raft", "lock", 2, 2),
        ("solid", "", 0, 0),
    ]
    assert document.complete
    assert document.exit == 1
    assert document.summary == "1 of 3 exhibits found; no false alarm in 4 tests of correct targets"
    assert {row.name for row in watcher.rows} == {FOUND, MISSED}
    assert watcher.standings[-1].tests == 4
    assert "found 1 of 2, missed 1  correct 4 of 4 tests" in one_line(watcher.standings[-1])


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo = planned("raft", tests=6)

    class Stopping(Watcher):
        def show(self, standing: Standing) -> None:
            if standing.tests >= 2:
                first.stop()

    journal, resumed = open_journal(tmp_path, zoo.digest(), fresh=False)
    assert not resumed
    first = ZooRun(zoo, journal, Stopping(), jobs=1)
    half = first.run()
    assert not half.complete
    assert half.exit == 130
    assert 2 <= half.tests < 6
    with (journal.directory / JOURNAL).open("ab") as file:
        file.write(b'{"test": "torn')  # as a kill in the middle of a line leaves it
    started = []
    start = runner.Workers.start_test
    monkeypatch.setattr(
        runner.Workers,
        "start_test",
        lambda self, job, request: (started.append(request.seed), start(self, job, request)),
    )
    again, resumed = open_journal(tmp_path, zoo.digest(), fresh=False)
    assert resumed
    assert again.directory == journal.directory
    whole = ZooRun(zoo, again, Watcher(), jobs=1).run()
    assert whole.complete
    assert whole.exit == 0
    assert whole.tests == 6
    assert len(started) == 6 - half.tests
    assert len(Journal(JournalFolder(journal.directory, JOURNAL)).results) == 6


class Opening(NamedTuple):
    directory: Path
    resumed: bool


def opened(store: Path, digest: str, *, fresh: bool = False) -> Opening:
    """What a run that begins and ends at once is given."""
    journal, resumed = open_journal(store, digest, fresh=fresh)
    journal.close()
    return Opening(journal.directory, resumed)


def test_another_zoo_a_finished_one_and_fresh_begin_anew(tmp_path: Path) -> None:
    first = opened(tmp_path, "digest-1")
    assert not first.resumed
    assert opened(tmp_path, "digest-1") == (first.directory, True)
    assert not opened(tmp_path, "digest-2").resumed
    fresh = opened(tmp_path, "digest-1", fresh=True)
    assert not fresh.resumed
    for run in (first, fresh):
        (run.directory / DOCUMENT).write_text("{}")
    assert not opened(tmp_path, "digest-1").resumed


def test_a_run_that_is_under_way_is_left_alone_and_a_broken_plan_is_passed_over(tmp_path: Path) -> None:
    journal, _ = open_journal(tmp_path, "digest-1", fresh=False)
    other = opened(tmp_path, "digest-1")
    assert not other.resumed
    assert other.directory != journal.directory
    journal.close()
    (other.directory / PLAN).write_text("{garbage")
    assert opened(tmp_path, "digest-1") == (journal.directory, True)


CORRECT = CorrectRow(
    target="raft", workload="lock", tests=3, planned=3, valid=3, invalid=0, unknown=0, harness_errors=0,
    operations=9, seconds=1.0, simulated_seconds=6.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("bugs", "change", "complete", "code"),
    [
        ((), {}, True, 0),
        ((), {"valid": 2, "unknown": 1}, True, 2),
        ((), {"valid": 2, "harness_errors": 1, "unknown": 1}, True, 3),
        ((), {"valid": 2, "invalid": 1, "harness_errors": 1}, True, 1),
        ((unhunted_row("x"),), {}, True, 1),
        ((unhunted_row("x"),), {}, False, 130),
        ((), {"valid": 2, "invalid": 1}, False, 1),
    ],
)
def test_the_worst_counts(
    bugs: tuple[BugRow, ...], change: dict[str, int], complete: bool, code: int
) -> None:
    assert exit_code(bugs, [msgspec.structs.replace(CORRECT, **change)], complete=complete) == code


def test_the_summary_says_what_there_was() -> None:
    assert summary_of([], []) == "nothing was asked for"
    assert summary_of([unhunted_row("x")], []) == "0 of 1 exhibits found"
    bad = msgspec.structs.replace(CORRECT, valid=1, invalid=1, unknown=1)
    assert summary_of([], [CORRECT, bad]) == "1 invalid in 6 tests of correct targets, 1 unknown"
