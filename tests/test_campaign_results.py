"""What is made of a finished campaign: data frames, JUnit, tables, and the examples that are built on them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pandas as pd
import pytest

import foreshock
from foreshock.harness.campaign.document import CAMPAIGN, Attempt, CampaignDocument, CampaignRow
from foreshock.harness.cli.main import main
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.history import History
from foreshock.harness.junit import cases_of, write_junit
from foreshock.harness.loading import read_campaign
from foreshock.harness.publish import report_all
from foreshock.harness.store import read_json
from foreshock.harness.summary import TestSummary

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CAMPAIGN_FILE = """
name = "small"
seeds = [3, 5]
rerun = 0
[defaults]
target = "raft"
workload = "register"
backend = "sim"
time-limit = 8
interval = 2
[matrix]
nemesis = ["partition", "kill"]
rate = [50, 100]
[[adjust]]
where = { nemesis = "partition", rate = 100 }
bug = "raft/stale-leader-reads"
"""


class Made:
    """A campaign that was run, its store, and the files that were asked for with it."""

    def __init__(self, folder: Path) -> None:
        self.store = folder / "store"
        self.junit = folder / "campaign.xml"
        file = folder / "small.toml"
        file.write_text(CAMPAIGN_FILE)
        words = [str(file), "--store", str(self.store), "--junit", str(self.junit), "--quiet"]
        self.exit = main(["campaign", *words, "--reporter", "csv", "--reporter", "parquet"])
        (self.folder,) = (self.store / "campaigns" / "small").iterdir()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield Made(tmp_path_factory.mktemp("small"))


# --- data frames ------------------------------------------------------------------------------------------


def test_a_campaign_is_one_row_an_attempt_with_typed_columns(made: Made) -> None:
    tests = foreshock.load(made.folder)
    assert made.exit == 1
    assert len(tests) == 8
    assert list(tests["verdict"].cat.categories) == ["valid", "unknown", "invalid"]
    assert (tests["verdict"] > "unknown").sum() == 2
    assert set(tests.loc[tests["verdict"] == "invalid", "seed"]) == {3, 5}
    assert isinstance(tests["started"].dtype, pd.DatetimeTZDtype)
    assert str(tests["started"].dtype.tz) == "UTC"
    kinds = {
        "seed": "Int64",
        "exit": "Int64",
        "operations_ok": "Int64",
        "duration_s": "Float64",
        "complete": "boolean",
    }
    assert {name: str(tests[name].dtype) for name in kinds} == kinds
    assert pd.api.types.is_numeric_dtype(tests["rate"])  # a dimension of the matrix
    assert set(tests["rate"]) == {50, 100}
    failed = tests[tests["verdict"] == "invalid"].iloc[0]
    assert (failed["checker"], failed["impossible"], failed["outcome"]) == (
        "linearizable",
        "read ok",
        "failed",
    )
    assert failed["faults_partition"] == failed["faults"] > 0
    assert tests.loc[tests["nemeses"] == "kill", "faults_partition"].sum() == 0
    assert Path(failed["run"]).is_dir()


def test_a_store_a_run_and_the_campaigns_of_a_name_load_too(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_campaign = foreshock.load(made.folder.parent)
    store = foreshock.load(made.store)
    assert sorted(by_campaign["run"]) == sorted(store["run"])
    assert "campaign" not in store
    assert set(by_campaign["campaign"]) == {"small"}
    run = store["run"].iloc[0]
    assert foreshock.load(run)["seed"].tolist() == [store["seed"].iloc[0]]
    assert len(foreshock.load("latest", store=made.store)) == 1
    assert (made.store / "latest").resolve() == Path(
        foreshock.load("latest", store=made.store)["run"].iloc[0]
    ).resolve()
    monkeypatch.chdir(made.store.parent)
    assert len(foreshock.load()) == 8


def test_a_run_that_was_killed_is_a_row_without_a_verdict(made: Made, tmp_path: Path) -> None:
    whole = Path(foreshock.load(made.store)["run"].iloc[0])
    killed = tmp_path / "store" / "raft-register" / whole.name
    shutil.copytree(whole, killed)
    for name in ("results.json", "summary.json"):
        (killed / name).unlink()
    (row,) = foreshock.load(tmp_path / "store").itertuples()
    assert pd.isna(row.verdict)
    assert pd.isna(row.exit)
    assert (row.target, row.seed, row.state != "finished") == (
        "raft",
        foreshock.load(whole)["seed"].iloc[0],
        True,
    )


def test_operations_say_which_faults_were_in_force(made: Made) -> None:
    tests = foreshock.load(made.folder)
    run = tests[tests["verdict"] == "invalid"]["run"].iloc[0]
    operations, faults = foreshock.load_history(run), foreshock.load_faults(run)
    assert len(operations) == len(History.read(run).clients())
    assert (operations["latency_ms"].dropna() >= 0).all()
    assert operations.loc[operations["complete_ns"] < 0, "latency_ms"].isna().all()
    assert set(operations["faults"]) == {"", "partition"}
    for row in operations.itertuples():
        at = row.invoke_ns / 1e9
        cut = ((faults["planned_s"] <= at) & (faults["healed_s"] > at)).any()
        assert (row.faults == "partition") == cut
    assert len(foreshock.load_history(run, nemesis=True)) == len(History.read(run)) > len(operations)
    assert (faults["healed_s"] > faults["planned_s"]).all()


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda path: path / "missing", UsageError, "is not there: give a store's folder"),
        (lambda path: (path.write_text("") and path) or path, UsageError, "is no folder"),
        (lambda path: None, UsageError, "None names nothing"),
        (lambda path: "", UsageError, "'' names nothing"),
        (
            lambda path: (path.mkdir(), (path / "photo.png").touch()) and path,
            UsageError,
            "nothing to load in",
        ),
        (
            lambda path: (path.mkdir(), (path / CAMPAIGN).write_text('{"name": 1}')) and path,
            HarnessError,
            "is not what a campaign writes",
        ),
    ],
    ids=["missing", "a file", "nothing", "no name", "something else", "a broken document"],
)
def test_what_cannot_be_loaded_is_said_in_a_sentence(
    make: object, error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words):
        foreshock.load(make(tmp_path / "given"))  # type: ignore[operator]


def test_an_empty_store_has_every_column_and_no_row(tmp_path: Path) -> None:
    tests = foreshock.load(tmp_path)
    assert tests.empty
    assert {"verdict", "seed", "started", "core"} <= set(tests.columns)


def test_a_folder_whose_name_is_no_text_does_not_keep_the_others_from_being_loaded(tmp_path: Path) -> None:
    for name in (b"plain", b"\xff\xfe"):
        run = tmp_path / os.fsdecode(name) / "20260101T000000-000000"
        run.mkdir(parents=True)
        (run / "test.json").write_text("{}")
    runs = foreshock.load(tmp_path)["run"]
    assert sorted("plain" in run for run in runs) == [False, True]
    assert any(r"\udcff\udcfe" in run for run in runs)


def test_columns_have_the_same_types_whether_or_not_there_are_rows(made: Made, tmp_path: Path) -> None:
    full, empty = foreshock.load(made.store), foreshock.load(tmp_path)
    assert {name: str(full[name].dtype) for name in empty} == {name: str(empty[name].dtype) for name in empty}


def test_checkers_as_a_dimension_do_not_hide_who_judged(made: Made, tmp_path: Path) -> None:
    document = read_campaign(made.folder)
    rows = tuple(
        msgspec.structs.replace(row, cell={**row.cell, "checker": "statistics"}) for row in document.rows
    )
    (tmp_path / "campaign.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(document, rows=rows))
    )
    tests = foreshock.load(tmp_path)
    assert set(tests["checkers"]) == {"statistics"}
    assert set(tests["checker"].dropna()) == {"linearizable"}


def test_the_name_is_there_without_pandas_being_imported() -> None:
    code = "import sys, foreshock; assert 'pandas' not in sys.modules; print(foreshock.load.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600
    )
    assert done.stdout == "load\n"


# --- JUnit ------------------------------------------------------------------------------------------------

SCHEMA = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {
            "name",
            "tests",
            "failures",
            "errors",
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
        },
        {"properties", "testcase", "system-out", "system-err"},
    ),
    "properties": (set(), {"property"}),
    "property": ({"name", "value"}, set()),
    "testcase": (
        {"name", "time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err"},
    ),
    "failure": ({"type", "message"}, set()),
    "error": ({"type", "message"}, set()),
    "skipped": ({"type", "message"}, set()),
    "system-out": (set(), set()),
}
"""Of Jenkins' junit-10.xsd: which attributes and which children each element may have."""
REQUIRED = {
    "testsuite": {"name", "tests", "failures", "errors"}, "testcase": {"name"}, "property": {"name", "value"},
}  # fmt: skip


def check_schema(element: ElementTree.Element) -> None:
    attributes, children = SCHEMA[element.tag]
    assert set(element.attrib) <= attributes
    assert set(element.attrib) >= REQUIRED.get(element.tag, set())
    if "time" in element.attrib:
        assert re.fullmatch(r"\d*\.\d*", element.attrib["time"])
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        check_schema(child)


def test_the_junit_file_of_a_campaign_has_one_case_a_test_and_keeps_to_the_schema(made: Made) -> None:
    root = ElementTree.parse(made.junit).getroot()
    check_schema(root)
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("8", "2", "0")
    cases = root.findall("testsuite/testcase")
    assert len(cases) == 8
    assert len({(case.get("classname"), case.get("name")) for case in cases}) == 8
    failure = root.find(".//failure")
    assert failure is not None
    assert "is not linearizable" in failure.attrib["message"]
    assert re.search(r"again: foreshock test --target raft .* --seed [35]", failure.text or "")
    runs = {
        each.attrib["value"]
        for each in root.iterfind(".//property")
        if each.attrib["name"].startswith("run of ")
    }
    assert runs == set(foreshock.load(made.folder)["run"])


def campaign_of(*rows: CampaignRow) -> CampaignDocument:
    return CampaignDocument(
        name="many", directory="/x", exit=1, verdict="invalid", complete=True, summary="", started="", seconds=1.5,
        planned=len(rows), done=len(rows), jobs=1, rows=rows,
    )  # fmt: skip


def row(outcome: str, *attempts: Attempt) -> CampaignRow:
    return msgspec.convert(
        {"key": outcome, "cell": {"target": "a/b.py:C"}, "seed": 1, "outcome": outcome, "attempts": attempts},
        CampaignRow,
        from_attributes=True,
    )


def attempt(number: int = 1, **fields: object) -> Attempt:
    usual = {
        "run": "/r", "target": "t", "workload": "w", "backend": "sim", "seed": 1, "verdict": "valid", "exit": 0,
        "reason": "fine",
    }  # fmt: skip
    return Attempt(number=number, seconds=0.5, summary=TestSummary(**{**usual, **fields}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made_row", "tag", "message"),
    [
        (row("passed", attempt()), None, ""),
        (row("failed", attempt(verdict="invalid", reason="broken")), "failure", "broken"),
        (
            row("flaky", attempt(), attempt(2, verdict="invalid", reason="broken")),
            "failure",
            "in 1 of 2 attempts: broken",
        ),
        (row("unknown", attempt(verdict="unknown", reason="no time")), "error", "no time"),
        (row("error", attempt(harness_errors=("no engine",))), "error", "no engine"),
        (row("error", Attempt(number=1, error="its worker died")), "error", "its worker died"),
        (row("passed", Attempt(number=1, error="its worker died"), attempt(2)), None, ""),
        (row("waiting"), "skipped", "it was not run"),
        (row("failed", attempt(verdict="invalid", reason="<b>\x00\x1b[31m\ud800 ]]> &")), "failure", "<b>"),
    ],
    ids=["passed", "failed", "flaky", "unknown", "harness error", "lost", "lost once", "not run", "hostile"],
)
def test_each_outcome_is_what_a_ci_system_should_make_of_it(
    made_row: CampaignRow, tag: str | None, message: str, tmp_path: Path
) -> None:
    path = write_junit(tmp_path / "junit.xml", "many", cases_of(campaign_of(made_row)))
    root = ElementTree.parse(path).getroot()
    check_schema(root)
    (case,) = root.iter("testcase")
    problems = [child for child in case if child.tag != "system-out"]
    assert [child.tag for child in problems] == ([] if tag is None else [tag])
    if problems:
        assert message in problems[0].attrib["message"]
        assert not re.search("[\x00-\x08\x1b]", problems[0].attrib["message"])


def test_a_test_on_the_command_line_writes_junit_where_it_is_told_to(tmp_path: Path) -> None:
    words = [
        "--target",
        "raft",
        "--workload",
        "register",
        "--backend",
        "sim",
        "--time-limit",
        "1",
        "--repeat",
        "2",
    ]
    path = tmp_path / "tests.xml"
    assert (
        main(
            [
                "test",
                *words,
                "--seed",
                "1",
                "--store",
                str(tmp_path),
                "--quiet",
                "--no-report",
                "--junit",
                str(path),
            ]
        )
        == 0
    )
    root = ElementTree.parse(path).getroot()
    check_schema(root)
    assert [case.get("name") for case in root.iter("testcase")] == ["seed 1", "seed 2"]


def test_a_junit_file_that_cannot_be_written_is_said_before_anything_is_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path, words in ((tmp_path, "is a folder"), (tmp_path / "missing" / "x.xml", "there is no folder")):
        code = main(["test", "--backend", "sim", "--store", str(tmp_path / "store"), "--junit", str(path)])
        assert code == 4
        assert words in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_disk_that_does_not_take_the_junit_file_is_a_harness_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HarnessError, match=r"x\.xml cannot be written: Not a directory"):
        write_junit(tmp_path / "file" / "x.xml", "name", [])


def test_a_configuration_may_ask_for_reporters_and_for_junit(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        'target = "raft"\nworkload = "register"\nbackend = "sim"\ntime-limit = 1\nseed = 1\nreport = false\n'
        f'reporter = ["junit", "csv"]\njunit = "{tmp_path / "tests.xml"}"\n'
    )
    assert main(["test", "--config", str(file), "--store", str(tmp_path / "store"), "--quiet"]) == 0
    (run,) = (tmp_path / "store" / "raft-register").iterdir()
    assert {"junit.xml", "operations.csv"} <= {path.name for path in run.iterdir()}
    assert not (run / "report.html").exists()
    assert (tmp_path / "tests.xml").read_text().count("<testcase") == 1


# --- tables and reporters of one's own --------------------------------------------------------------------


def test_tables_of_a_campaign_hold_what_load_says(made: Made) -> None:
    loaded = foreshock.load(made.folder)
    table = pd.read_parquet(made.folder / "tests.parquet")
    assert table["run"].tolist() == loaded["run"].tolist()
    assert table["started"].tolist() == loaded["started"].tolist()
    text = pd.read_csv(made.folder / "tests.csv")
    assert list(text.columns) == list(loaded.columns)
    assert text["reason"].tolist() == loaded["reason"].tolist()


def test_tables_of_a_run_hold_its_history_again(made: Made) -> None:
    run = Path(foreshock.load(made.folder)["run"].iloc[0])
    written, errors = report_all(run, ["csv", "parquet", "junit"], defaults=False)
    assert errors == []
    assert [path.name for path in written] == ["operations.csv", "history.parquet", "junit.xml"]
    assert main(["check", str(run / "operations.csv"), "--model", "cas-register", "--quiet"]) == 0
    assert len(History.read(run / "history.parquet")) == len(History.read(run))


def test_reporters_on_request_keep_silent_when_nobody_asks(made: Made, tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    folder.mkdir()
    shutil.copy(made.folder / CAMPAIGN, folder)
    written, errors = report_all(folder)
    assert errors == []
    assert {path.suffix for path in written} == {".html"}


def test_the_reports_of_a_campaign_are_written_again_by_its_folder(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(made.folder), "--reporter", "junit", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["harness_errors"] == []
    assert str(made.folder / "junit.xml") in document["reports"]
    assert (made.folder / "junit.xml").read_bytes() == made.junit.read_bytes()


@pytest.mark.parametrize(
    ("reporter", "words"),
    [
        ("junitt", "there is no reporter 'junitt' (did you mean 'junit'?)"),
        ("{tmp}/gone.py:Mine", "there is no file"),
        ("{tmp}/mine.py:Nothing", "has no class 'Nothing'"),
        ("{tmp}/mine.py:NoReporter", "is not a subclass of foreshock.harness.Reporter"),
        ("{tmp}/mine.py:Half", "does not define report: write def report(self, run: Path) -> Path | None"),
    ],
)
def test_a_reporter_that_is_none_is_said_before_anything_is_deployed(
    reporter: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from foreshock.harness import Reporter\nclass NoReporter: pass\nclass Half(Reporter): name = 'half'\n"
    )
    given = reporter.format(tmp=tmp_path)
    code = main(["test", "--backend", "sim", "--store", str(tmp_path / "store"), "--reporter", given])
    assert code in (3, 4)
    assert words in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


def test_a_reporter_that_fails_is_a_sentence_beside_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from foreshock.harness import Reporter\nclass Bad(Reporter):\n    name = 'bad'\n    on_request = True\n"
        "    def report(self, run):\n        raise ValueError('no paper')\n"
    )
    words = [
        "--target",
        "raft",
        "--workload",
        "register",
        "--backend",
        "sim",
        "--time-limit",
        "1",
        "--no-report",
        "--seed",
        "1",
    ]
    code = main(
        [
            "test",
            *words,
            "--store",
            str(tmp_path / "s"),
            "--json",
            "--reporter",
            f"{tmp_path / 'mine.py'}:Bad",
        ]
    )
    document = json.loads(capsys.readouterr().out)
    assert (code, document["verdict"]) == (3, "valid")
    assert "no paper" in document["harness_errors"][0]
    assert read_json(Path(document["run"]) / "summary.json")["exit"] == 3


# --- the examples -----------------------------------------------------------------------------------------


def test_the_reporter_of_the_examples_writes_a_table_and_each_failure(made: Made) -> None:
    written, errors = report_all(
        made.folder, [f"{EXAMPLES / 'markdown_reporter.py'}:Markdown"], defaults=False
    )
    assert (errors, [path.name for path in written]) == ([], ["summary.md"])
    text = written[0].read_text()
    assert text.count("| ✅ | raft") == 6
    assert text.count("| ❌ | raft") == 2
    assert text.count("\n`foreshock test --target raft") == 2


def test_the_analysis_of_the_examples_runs_as_a_script(made: Made) -> None:
    script = EXAMPLES / "campaign_analysis.py"
    done = subprocess.run(
        [sys.executable, str(script), str(made.folder)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("8 tests, 2 of them invalid\n")
    (partition,) = re.findall(r"^partition +4 +2 +[\d.]+ +0\.5$", done.stdout, re.MULTILINE)
    assert partition
    assert re.search(r"^(raft)? +no fault +[\d.]+ +[\d.]+$", done.stdout, re.MULTILINE)
    assert "again: foreshock test --target raft" in done.stdout
    assert script.read_text().count("# %%") >= 5


def test_the_document_of_a_campaign_is_read_as_it_was_written(made: Made) -> None:
    document = read_campaign(made.folder)
    assert (document.name, document.done, len(document.rows)) == ("small", 8, 8)
