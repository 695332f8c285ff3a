"""How attempts add up: flakes and failures, what is run again, what stops a campaign, what it exits with."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.harness.campaign.pretended import Interrupting, Pretended, journal_in, planned_test, run

from foreshock.harness.campaign.document import CAMPAIGN, JOURNAL, CampaignDocument, CampaignRow
from foreshock.harness.campaign.executor import Finished, Job
from foreshock.harness.campaign.journal import Journal
from foreshock.harness.campaign.runner import Campaign, Watcher, Ways
from foreshock.harness.errors import HarnessError
from foreshock.harness.journal_folder import InUse, JournalFolder
from foreshock.harness.store import HISTORY


def outcomes(document: CampaignDocument) -> list[str]:
    return [row.outcome for row in document.rows]


CASES = {
    "valid": (["valid"], "passed", "valid", 0, 1),
    "invalid each time": (["invalid"], "failed", "invalid", 1, 3),
    "invalid once": (["invalid", "valid", "valid"], "flaky", "invalid", 1, 3),
    "invalid, then what the harness could not do": (
        ["invalid", "error", "invalid"],
        "flaky",
        "invalid",
        1,
        3,
    ),
    "invalid, then undecided": (["invalid", "unknown", "unknown"], "flaky", "invalid", 1, 3),
    "undecided is not run again": (["unknown"], "unknown", "unknown", 2, 1),
    "not done each time": (["error"], "error", "unknown", 3, 3),
    "not done once": (["error", "valid", "valid"], "flaky", "unknown", 3, 3),
    "lost once": (["lost", "valid"], "passed", "valid", 0, 2),
    "lost twice, then invalid": (["lost", "lost", "invalid"], "failed", "invalid", 1, 5),
    "lost each time": (["lost"], "error", "unknown", 3, 3),
    "interrupted by somebody else": (["interrupted", "valid"], "passed", "valid", 0, 2),
    "invalid, lost, invalid, invalid": (["invalid", "lost", "invalid", "invalid"], "failed", "invalid", 1, 4),
}


@pytest.mark.parametrize("case", CASES)
def test_what_the_attempts_of_a_test_come_to(case: str, tmp_path: Path) -> None:
    script, outcome, verdict, code, attempts = CASES[case]
    document = run(tmp_path, [planned_test(1)], Pretended({1: script}))
    (row,) = document.rows
    assert (row.outcome, row.verdict, document.exit, len(row.attempts)) == (outcome, verdict, code, attempts)
    assert document.complete
    assert [attempt.number for attempt in row.attempts] == list(range(1, attempts + 1))


@pytest.mark.parametrize(
    ("words", "code", "verdict"),
    [
        (["valid", "unknown"], 2, "unknown"),
        (["unknown", "error"], 3, "unknown"),
        (["error", "invalid", "unknown"], 1, "invalid"),
        (["valid", "valid"], 0, "valid"),
        ([], 0, "valid"),
    ],
)
def test_the_worst_test_counts(words: list[str], code: int, verdict: str, tmp_path: Path) -> None:
    tests = [planned_test(seed) for seed in range(len(words))]
    document = run(tmp_path, tests, Pretended({seed: [word] for seed, word in enumerate(words)}))
    assert (document.exit, document.verdict) == (code, verdict)


def test_rerun_says_how_often(tmp_path: Path) -> None:
    assert (
        len(run(tmp_path / "0", [planned_test(1)], Pretended({1: ["invalid"]}), rerun=0).rows[0].attempts)
        == 1
    )
    assert (
        len(run(tmp_path / "4", [planned_test(1)], Pretended({1: ["invalid"]}), rerun=4).rows[0].attempts)
        == 5
    )


def stored(tmp_path: Path, name: str, history: str) -> str:
    (tmp_path / name).mkdir()
    (tmp_path / name / HISTORY).write_text(history)
    return str(tmp_path / name)


def test_in_the_simulator_one_run_that_comes_again_byte_for_byte_is_enough(tmp_path: Path) -> None:
    first, second = stored(tmp_path, "a", "the same"), stored(tmp_path, "b", "the same")
    script = {1: [f"invalid:why@{first}", f"invalid:why@{second}"]}
    document = run(tmp_path, [planned_test(1, "sim")], Pretended(script))
    assert [len(row.attempts) for row in document.rows] == [2]
    assert (outcomes(document), document.harness_errors) == (["failed"], ())


def test_a_simulated_test_that_strays_from_its_seed_is_said_to(tmp_path: Path) -> None:
    first, second = stored(tmp_path, "a", "one history"), stored(tmp_path, "b", "another")
    script = {1: [f"invalid:why@{first}", f"invalid:why@{second}", f"invalid:why@{second}"]}
    document = run(tmp_path, [planned_test(1, "sim")], Pretended(script))
    assert [len(row.attempts) for row in document.rows] == [3]
    (error,) = document.harness_errors
    assert "seed 1 had two histories from one seed" in error
    assert document.exit == 1


def test_what_fails_is_run_again_before_what_is_new(tmp_path: Path) -> None:
    executor = Pretended({0: ["invalid"]})
    run(tmp_path, [planned_test(seed) for seed in range(3)], executor)
    assert executor.started == [(0, 1), (0, 2), (0, 3), (1, 1), (2, 1)]


def test_fail_fast_stops_at_the_first_failure_when_it_was_run_again(tmp_path: Path) -> None:
    tests = [planned_test(seed) for seed in range(5)]
    executor = Pretended({1: ["invalid"]})
    document = run(tmp_path, tests, executor, fail_fast=True)
    assert executor.started == [(0, 1), (1, 1), (1, 2), (1, 3)]
    assert outcomes(document) == ["passed", "failed", "waiting", "waiting", "waiting"]
    assert (document.exit, document.complete, document.done, document.planned) == (1, False, 2, 5)
    again = Pretended({1: ["invalid"]})
    assert run(tmp_path, tests, again).complete
    assert again.started == [(2, 1), (3, 1), (4, 1)]


def test_an_interrupted_campaign_goes_on_where_it_was_and_runs_nothing_twice(tmp_path: Path) -> None:
    tests = [planned_test(seed) for seed in range(6)]
    first = Pretended({2: ["invalid"]}, room=2)
    half = run(tmp_path, tests, first, watcher=Interrupting(3))
    assert first.interrupts == 1
    assert (half.exit, half.complete, half.verdict) == (1, False, "invalid")
    assert half.summary == "3 of 6 tests: 3 passed; failed so far, and to be run again: 1 (1 invalid)"
    # seed 2 has failed once by then: its proof is kept, and what was ended early is run again
    second = Pretended({2: ["invalid"]})
    whole = run(tmp_path, tests, second)
    assert whole.complete
    assert outcomes(whole) == ["passed", "passed", "failed", "passed", "passed", "passed"]
    assert sorted(second.started) == [(2, 2), (2, 3), (4, 1), (5, 1)]
    assert whole.started == half.started
    assert whole.seconds >= half.seconds


def test_an_interrupted_campaign_without_failures_exits_with_130(tmp_path: Path) -> None:
    document = run(
        tmp_path, [planned_test(seed) for seed in range(4)], Pretended({}), watcher=Interrupting(1)
    )
    assert (document.exit, document.verdict, document.done) == (130, "unknown", 1)


def test_a_journal_that_ends_in_half_a_line_is_gone_on_with(tmp_path: Path) -> None:
    tests = [planned_test(seed) for seed in range(3)]
    half = run(tmp_path, tests, Pretended({}), watcher=Interrupting(1))
    with (Path(half.directory) / JOURNAL).open("ab") as file:
        file.write(b'{"test":"torn","attempt":{"num')
    executor = Pretended({})
    assert run(tmp_path, tests, executor).complete
    assert executor.started == [(1, 1), (2, 1)]
    assert (
        run(tmp_path, tests, Pretended({})).directory != half.directory
    )  # what is complete is not gone on with


def test_fresh_begins_anew_and_two_at_once_have_folders_of_their_own(tmp_path: Path) -> None:
    first = journal_in(tmp_path)
    second = journal_in(tmp_path)  # as another process that is given the same file meanwhile
    assert first.directory != second.directory
    assert (first.beside, second.beside) == ((), (first.directory,))
    with pytest.raises(InUse):
        JournalFolder(first.directory, JOURNAL)
    second.close()
    assert journal_in(tmp_path, fresh=True).directory not in (first.directory, second.directory)
    assert journal_in(tmp_path, digest="other").directory != second.directory
    resumed = journal_in(tmp_path)
    assert resumed.directory == second.directory


def test_until_the_time_is_up_there_are_always_fresh_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=10)
    monkeypatch.setattr("foreshock.harness.campaign.runner.time.monotonic", lambda: float(next(clock)))
    endless = (planned_test(seed) for seed in itertools.count())
    document = run(tmp_path, endless, Pretended({}), for_s=600, endless=True)
    assert document.complete
    assert document.exit == 0
    seeds = [row.seed for row in document.rows]
    assert seeds == list(range(len(seeds)))
    assert document.planned == document.done == len(seeds) > 3


@pytest.mark.parametrize("words", ["No space left on device", "Disk quota exceeded", "File too large"])
def test_a_full_disk_stops_it_and_the_test_that_hit_it_is_run_again(words: str, tmp_path: Path) -> None:
    tests = [planned_test(seed) for seed in range(4)]
    executor = Pretended({1: [f"error:results.json cannot be written: {words}"]})
    document = run(tmp_path, tests, executor)
    assert executor.started == [(0, 1), (1, 1)]
    assert (document.exit, document.complete, document.done) == (3, False, 1)
    (error,) = document.harness_errors
    assert f"the disk of the store {tmp_path} takes no more ({words})" in error
    assert "make room, and give the same command again" in error
    later = Pretended({})
    assert run(tmp_path, tests, later).exit == 0
    assert later.started == [(1, 1), (2, 1), (3, 1)]


def test_a_node_whose_own_disk_is_full_does_not_stop_it(tmp_path: Path) -> None:
    tests = [planned_test(seed) for seed in range(3)]
    said = "error:the node n1 was not ready: OSError: [Errno 28] No space left on device"
    document = run(tmp_path, tests, Pretended({1: [said, "valid", "valid"]}))
    assert (document.complete, document.done, document.harness_errors) == (True, 3, ())


@pytest.mark.parametrize("after", [2, 4])
def test_a_folder_that_is_removed_stops_it_and_is_told(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Removing(Pretended):
        def finished(self, timeout_s: float) -> Sequence[Finished]:
            if len(self.started) == after:
                shutil.rmtree(tmp_path / "campaigns", ignore_errors=True)
            return super().finished(timeout_s)

    for name in ("WRITE_EVERY_S", "WRITE_SHARE"):
        monkeypatch.setattr(f"foreshock.harness.campaign.journal.{name}", 0)
    executor = Removing({})
    document = run(tmp_path, [planned_test(seed) for seed in range(4)], executor)
    assert len(executor.started) == after
    assert (document.exit, document.complete, document.verdict) == (3, False, "unknown")
    assert [text for text in document.harness_errors if "was removed while it ran" in text]


def test_a_journal_that_the_disk_does_not_take_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tests = [planned_test(seed) for seed in range(4)]
    add = Journal.add

    def full(self: Journal, test: str, attempt: object) -> None:
        if test == tests[2].key:
            raise HarnessError("tests.jsonl cannot be written: No space left on device")
        add(self, test, attempt)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Journal, "add", full)
        document = run(tmp_path, tests, Pretended({}))
    assert (document.exit, document.done, len(document.harness_errors)) == (3, 2, 1)
    later = Pretended({})
    assert run(tmp_path, tests, later).complete
    assert later.started == [(2, 1), (3, 1)]


def test_what_was_found_counts_when_there_is_nowhere_to_run_more(tmp_path: Path) -> None:
    class Leaving(Pretended):
        def finished(self, timeout_s: float) -> Sequence[Finished]:
            if self.started[-1:] == [(2, 1)]:
                raise HarnessError("the scheduler is gone")
            return super().finished(timeout_s)

    document = run(tmp_path, [planned_test(seed) for seed in range(4)], Leaving({1: ["invalid"]}), rerun=0)
    assert (document.exit, document.verdict, document.complete) == (1, "invalid", False)
    assert document.harness_errors == ("the scheduler is gone",)
    assert outcomes(document) == ["passed", "failed", "waiting", "waiting"]
    (path,) = tmp_path.glob(f"campaigns/*/*/{CAMPAIGN}")
    on_disk = msgspec.json.decode(path.read_bytes(), type=CampaignDocument)
    assert on_disk == document


def test_axes_and_cells_keep_the_order_of_the_file(tmp_path: Path) -> None:
    journal = journal_in(tmp_path)
    axes = {"target": ("zab", "raft"), "rate": ("100",), "nodes": ("5", "3")}
    ways = Ways(name="c", planned=1, axes=axes)
    document = Campaign(ways, iter([planned_test(1)]), journal, Pretended({}), Watcher()).run()
    journal.close()
    on_disk = msgspec.json.decode((Path(document.directory) / CAMPAIGN).read_bytes(), type=CampaignDocument)
    assert list(on_disk.axes.items()) == list(axes.items())
    assert list(on_disk.rows[0].cell) == list(document.rows[0].cell)


def test_the_document_in_the_folder_is_the_one_that_is_returned(tmp_path: Path) -> None:
    document = run(tmp_path, [planned_test(1), planned_test(2)], Pretended({2: ["invalid:why"]}))
    on_disk = msgspec.json.decode((Path(document.directory) / CAMPAIGN).read_bytes(), type=CampaignDocument)
    assert on_disk == document
    assert document.summary == "2 tests: 1 passed, 1 failed"
    assert [group.reason for group in document.groups] == ["why"]
    assert [row for row in document.rows if isinstance(row, CampaignRow) and row.outcome == "failed"]


def test_each_ctrl_c_is_passed_on_once(tmp_path: Path) -> None:
    class Twice(Interrupting):
        def ended(self, row: object, test: object) -> None:
            self.campaign.interrupt()
            self.campaign.interrupt()

    executor = Pretended({}, room=3)
    run(tmp_path, [planned_test(seed) for seed in range(3)], executor, watcher=Twice(0))
    assert executor.interrupts == 2


def test_what_the_executor_could_not_heal_is_told_and_makes_the_exit_code_3(tmp_path: Path) -> None:
    executor = Pretended({})
    executor.errors.append("run r1: partition n1: the container is gone")
    document = run(tmp_path, [planned_test(1)], executor)
    assert (document.exit, document.verdict, document.harness_errors) == (3, "valid", tuple(executor.errors))


def test_a_test_that_has_no_room_does_not_hold_up_those_of_other_backends(tmp_path: Path) -> None:
    class Crowded(Pretended):
        def can_start(self, job: Job) -> bool:
            return job.test.request.backend == "sim" or (3, 1) in self.started

    tests = [
        planned_test(0, "docker"),
        planned_test(1, "docker"),
        planned_test(2, "sim"),
        planned_test(3, "sim"),
    ]
    executor = Crowded({})
    assert run(tmp_path, tests, executor).complete
    assert executor.started == [(2, 1), (3, 1), (0, 1), (1, 1)]


def test_a_store_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnessError, match=r"the campaign's folder .* cannot be made: Not a directory"):
        journal_in(tmp_path / "file")
