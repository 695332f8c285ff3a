"""``foreshock campaign`` as a person and a script meet it: its words, its document, its exit codes."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import msgspec
import pytest
from tests.commands import Started, foreshock, run_here

from foreshock.harness.campaign.document import CampaignDocument
from foreshock.harness.store import TEST

TARGETS = Path(__file__).with_name("strange_targets.py")
SMALL = """\
name = "small"
seeds = 2
[defaults]
backend = "sim"
time-limit = 1
[matrix]
target = ["raft", "zab"]
"""


def campaign_file(folder: Path, text: str) -> str:
    path = folder / "campaign.toml"
    path.write_text(text)
    return str(path)


def test_the_table_of_tests_and_nothing_else_in_a_dry_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = campaign_file(tmp_path, SMALL)
    code, out, _ = run_here(capsys, "campaign", file, "--dry-run", "--store", str(tmp_path / "store"))
    assert code == 0
    assert out.splitlines() == [
        "raft register sim, seed 0",
        "zab register sim, seed 0",
        "raft register sim, seed 1",
        "zab register sim, seed 1",
        "4 tests",
    ]
    code, out, _ = run_here(capsys, "campaign", file, "--dry-run", "--json", "--shard", "1/2")
    first = json.loads(out)
    code, out, _ = run_here(capsys, "campaign", file, "--dry-run", "--json", "--shard", "2/2")
    second = json.loads(out)
    assert first["planned"] + second["planned"] == 4
    assert len({test["key"] for test in first["tests"] + second["tests"]}) == 4
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("axis", ["nodes", "concurrency"])
def test_a_value_that_is_long_or_steers_a_terminal_is_cut_and_escaped(
    axis: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    value = "\\u001b[31m" + "k" * 5_000
    file = campaign_file(tmp_path, f'{SMALL}{axis} = ["{value}"]\n')
    code, _, err = run_here(capsys, "campaign", file, "--dry-run")
    assert code == 4
    assert f"{axis}=\\x1b[31mkkk" in err
    assert "\x1b" not in err
    assert len(err) < 2_000


def test_the_verdict_where_all_is_and_the_command_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, store = campaign_file(tmp_path, SMALL), tmp_path / "a store"
    code, out, err = run_here(capsys, "campaign", file, "--jobs", "1", "--store", str(store))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "✓ VALID  4 tests: 4 passed"
    (folder,) = (store / "campaigns" / "small").iterdir()
    words = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:]}
    assert words["campaign"] == str(folder)
    assert words["again"] == f"foreshock campaign {file} --jobs 1 --store '{store}'"
    assert words["report"] == str(folder / "campaign.html")
    assert len(list(store.glob(f"*/*/{TEST}"))) == 4
    assert not list(store.glob("*/*/report.html"))  # pages of what failed alone


def test_json_is_one_document_and_a_quiet_one_says_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMALL.replace('"zab"]', '"naive-raft"]\nnemesis = "partition,kill"').replace(
        "limit = 1", "limit = 5"
    )
    file, store = campaign_file(tmp_path, text.replace("seeds = 2", "seeds = 1")), str(tmp_path / "store")
    code, out, err = run_here(capsys, "campaign", file, "--json", "--store", store)
    document = msgspec.json.decode(out, type=CampaignDocument)
    assert code == document.exit == 1
    assert document.complete
    assert {row.outcome for row in document.rows if row.cell["target"] == "raft"} == {"passed"}
    failed = [row for row in document.rows if row.cell["target"] == "naive-raft"]
    assert {row.outcome for row in failed} == {"failed"}
    for row in failed:
        first, second = (attempt.summary for attempt in row.attempts)
        assert first is not None
        assert second is not None
        assert (Path(first.run) / "report.html").is_file()
        assert not (Path(second.run) / "report.html").exists()  # it would be the same
        assert (Path(first.run) / "history.jsonl").read_bytes() == (
            Path(second.run) / "history.jsonl"
        ).read_bytes()
    assert "FAILED  naive-raft register partition,kill sim, seed 0 (2 attempts): linearizable:" in err
    assert document.groups
    code, out, err = run_here(
        capsys, "campaign", file, "--quiet", "--store", store, "--rerun", "0", "--fresh"
    )
    assert (code, out, err) == (1, "✗ INVALID  2 tests: 1 passed, 1 failed\n", "")


def test_a_target_that_fails_in_one_run_of_two_is_flaky_and_said_to_stray(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMPAIGN_TEST_MOOD", str(tmp_path / "mood"))
    text = SMALL.replace('["raft", "zab"]', f'"{TARGETS}:Moody"').replace(
        "seeds = 2", "seeds = 1\nkeep = 'failures'"
    )
    file = campaign_file(tmp_path, text)
    code, out, err = run_here(capsys, "campaign", file, "--json", "--store", str(tmp_path / "store"))
    document = msgspec.json.decode(out, type=CampaignDocument)
    (row,) = document.rows
    assert (row.outcome, row.verdict, code) == ("flaky", "invalid", 1)
    verdicts = [attempt.summary.verdict for attempt in row.attempts if attempt.summary is not None]
    assert verdicts == ["invalid", "valid", "invalid"]
    assert "had two histories from one seed" in document.harness_errors[0]
    assert "FLAKY" in err
    assert len(list((tmp_path / "store").glob(f"*/*/{TEST}"))) == 2  # that of the valid one is not kept


def test_a_test_that_takes_its_process_along_costs_itself_alone_and_is_run_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMPAIGN_TEST_MOOD", str(tmp_path / "died"))
    text = SMALL.replace('["raft", "zab"]', f'["raft", "{TARGETS}:DyingOnce"]').replace(
        "seeds = 2", "rerun = 0"
    )
    file = campaign_file(tmp_path, text)
    code, out, _ = run_here(
        capsys, "campaign", file, "--json", "--jobs", "2", "--store", str(tmp_path / "store")
    )
    plain, dying = msgspec.json.decode(out, type=CampaignDocument).rows
    assert (code, plain.outcome, len(plain.attempts), dying.outcome) == (0, "passed", 1, "passed")
    first, second = dying.attempts
    assert first.error == (
        "the process that ran it ended with signal SIGKILL (which the kernel sends where memory runs out); "
        "the last that it said: so long, and thanks"
    )
    assert second.summary is not None
    assert second.summary.verdict == "valid"


def test_a_test_that_hangs_is_given_up_with_its_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.harness.campaign.rows.LOST_MAX", 2)
    text = SMALL.replace('["raft", "zab"]', f'"{TARGETS}:Hanging"').replace(
        "seeds = 2", "rerun = 0\ngive-up-after = 1"
    )
    file = campaign_file(tmp_path, text)
    code, out, err = run_here(capsys, "campaign", file, "--json", "--store", str(tmp_path / "store"))
    (row,) = msgspec.json.decode(out, type=CampaignDocument).rows
    assert (code, row.outcome) == (3, "error")
    assert [attempt.error for attempt in row.attempts] == ["it took longer than 1 s and was given up"] * 2
    assert "(2 attempts): it took longer than 1 s" in err


def test_fail_fast_stops_and_says_that_more_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = SMALL.replace('["raft", "zab"]', '"naive-raft"\nnemesis = "partition,kill"').replace(
        "limit = 1", "limit = 5"
    )
    file = campaign_file(tmp_path, text.replace("seeds = 2", "seeds = 30"))
    code, out, _ = run_here(
        capsys, "campaign", file, "--fail-fast", "--jobs", "1", "--store", str(tmp_path / "store")
    )
    assert code == 1
    assert out.startswith("✗ INVALID  1 of 30 tests: 1 failed (not complete: the same command goes on)")


def test_junit_goes_where_it_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, junit = campaign_file(tmp_path, SMALL.replace("seeds = 2", "seeds = 1")), tmp_path / "out.xml"
    code, _, _ = run_here(
        capsys, "campaign", file, "--junit", str(junit), "--jobs", "1", "--store", str(tmp_path / "store")
    )
    assert code == 0
    assert junit.read_text().count("<testcase") == 2
    code, _, err = run_here(
        capsys, "campaign", file, "--junit", str(tmp_path), "--store", str(tmp_path / "store")
    )
    assert code == 4
    assert "is a folder: give --junit the name of a file" in err


def test_a_pipe_gets_lines_and_a_campaign_for_a_time_ends_then(tmp_path: Path) -> None:
    text = SMALL.replace("seeds = 2", 'for = "2s"\nseeds = { from = 7 }').replace('["raft", "zab"]', '"raft"')
    done = foreshock("campaign", campaign_file(tmp_path, text), "--json", "--store", str(tmp_path / "store"))
    assert done.code == 0
    document = msgspec.json.decode(done.out, type=CampaignDocument)
    assert document.complete
    assert sorted(row.seed for row in document.rows) == list(range(7, 7 + document.done))
    assert document.done >= 2
    assert 2 <= document.seconds < 30


def test_a_full_disk_is_one_sentence_and_the_same_command_goes_on(tmp_path: Path) -> None:
    def no_large_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    text = (
        SMALL.replace("seeds = 2", "seeds = 1")
        .replace("time-limit = 1\n", "")
        .replace('["raft", "zab"]', '"raft"')
    )
    file, store = campaign_file(tmp_path, text + "time-limit = [0.5, 10]\n"), str(tmp_path / "store")
    arguments = ("campaign", file, "--jobs", "1", "--store", store, "--json")
    with Started(*arguments, before=no_large_files) as stopped:
        first = stopped.finish()
    assert first.code == 3
    assert (first.document["done"], first.document["complete"]) == (1, False)
    sentence = (
        f"the disk of the store {store} takes no more (File too large): what is done is kept; make room"
    )
    assert first.err.count(sentence) == first.err.count("File too large") == 1
    second = foreshock(*arguments)
    assert second.code == 0
    assert (second.document["done"], second.document["complete"]) == (2, True)
    assert second.document["directory"] == first.document["directory"]
    assert (
        len(list((tmp_path / "store").glob("*/*/summary.json"))) == 2 + 1
    )  # that of the test without room, too
