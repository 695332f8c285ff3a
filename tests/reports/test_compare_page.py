"""Two runs and two campaigns side by side: what is said of them, on the terminal and on a page in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.reports import campaigns, looking, runs
from tests.reports.browser import Browser, chromium

from foreshock.harness.cli.main import main
from foreshock.harness.comparison import CampaignComparison, RunComparison
from foreshock.harness.store import HISTORY, TEST
from foreshock.reports.compare import CompareReporter

in_browser = pytest.mark.skipif(
    chromium() is None, reason="no Chromium is installed: pages cannot be looked at"
)


def compare(first: Path, second: Path, page: Path) -> RunComparison | CampaignComparison:
    return CompareReporter().compare(first, second, page)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a valid, an invalid, a hostile and a killed run, and campaigns."""
    root = tmp_path_factory.mktemp("store")
    makers: dict[str, Callable[[Path], Path]] = {
        "20260101T000001-aaaaaa": runs.valid_run,
        "20260101T000002-bbbbbb": runs.invalid_register_run,
        "20260101T000003-cccccc": runs.hostile_run,
        "20260101T000004-dddddd": runs.killed_run,
        "20260101T000005-eeeeee": runs.single_run,
    }
    for name, make in makers.items():
        (make(root / "raft-register" / name) / "report.html").write_text("<p>the report")
    campaigns.failing_campaign(root, "20260102T000000-000001")
    campaigns.failing_campaign(root, "20260103T000000-000002")
    return root


def run_of(stored: Path, letter: str) -> Path:
    return next(path for path in (stored / "raft-register").iterdir() if path.name.endswith(letter * 6))


@pytest.fixture(scope="module")
def pages(stored: Path) -> dict[str, Path]:
    """The pages of comparisons."""
    mended = campaigns.folder(stored, "20260104T000000-000003")
    before = campaigns.folder(stored, "20260103T000000-000002")
    rows = [
        campaigns.row(campaigns.cell(), seed, "failed" if seed == 4 else "passed", seconds=2.0)
        for seed in range(8)
    ]
    failed = [row for row in rows if row.outcome == "failed"]
    group = campaigns.group(failed, core=("read ok",))
    campaigns.write(
        mended, campaigns.document(mended, rows, groups=(group,), started="2026-01-07T09:00:00+00:00")
    )
    hostile = campaigns.hostile_campaign(stored / "hostile")
    pairs = {
        "runs": (run_of(stored, "a"), run_of(stored, "b")),
        "the same": (run_of(stored, "b"), run_of(stored, "b")),
        "hostile": (run_of(stored, "c"), run_of(stored, "a")),
        "killed": (run_of(stored, "d"), run_of(stored, "e")),
        "campaigns": (before, mended),
        "hostile campaigns": (hostile, before),
    }
    folder = stored / "comparisons"
    folder.mkdir()
    for name, (first, second) in pairs.items():
        compare(first, second, folder / f"{name}.html")
    return {name: folder / f"{name}.html" for name in pairs}


ALL = ("runs", "the same", "hostile", "killed", "campaigns", "hostile campaigns")


@pytest.mark.parametrize("name", ALL)
def test_every_page_is_whole_and_its_links_lead_somewhere(pages: dict[str, Path], name: str) -> None:
    page = looking.read(pages[name])
    reports = [
        a["href"] for tag, a in page.elements if tag == "a" and str(a.get("href")).endswith("report.html")
    ]
    assert len(reports) >= (1 if "campaigns" in name and "hostile" not in name else 0)


def test_two_runs_are_told_by_what_was_asked_for_and_what_came_of_it(stored: Path, tmp_path: Path) -> None:
    found = compare(run_of(stored, "a"), run_of(stored, "b"), tmp_path / "page.html")
    assert isinstance(found, RunComparison)
    assert [(each.setting, each.first, each.second) for each in found.settings] == [
        ("bug", "none", "raft/stale-leader-reads")
    ]
    assert found.summary == "1 setting differs: bug; A valid, B invalid"
    assert not found.same_plan
    assert found.same_seed
    assert found.equal_settings > 10
    assert {row.checker: (row.first, row.second) for row in found.checkers}["linearizable"] == (
        "valid",
        "invalid",
    )
    figures = {(figure.group, figure.name): figure for figure in found.figures}
    for name in ("p50", "p90", "p99", "max"):
        figure = figures["all operations", name]
        assert figure.unit == "ns"
        assert figure.first
        assert figure.second
    assert figures["all operations", "p50"].told is not None
    assert found.recoveries
    assert found.divergence is not None
    assert found.divergence.event is not None


def test_a_run_beside_itself_differs_in_nothing(stored: Path, tmp_path: Path) -> None:
    found = compare(run_of(stored, "b"), run_of(stored, "b"), tmp_path / "page.html")
    assert isinstance(found, RunComparison)
    assert found.summary == "The same plan, the same seed: the same history, byte for byte"
    assert (found.settings, found.versions, found.notes) == ((), (), ())
    assert found.divergence is not None
    assert found.divergence.event is None
    assert not any(figure.told for figure in found.figures)
    assert "The histories are the same" in looking.read(tmp_path / "page.html").text


def test_the_first_event_that_differs_is_found_and_said(stored: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(run_of(stored, "a"), copied)
    lines = (copied / HISTORY).read_bytes().splitlines(keepends=True)
    event = json.loads(lines[40])
    event["time_ns"] += 1
    (copied / HISTORY).write_bytes(b"".join([*lines[:40], json.dumps(event).encode() + b"\n", *lines[41:]]))
    (copied / "history.parquet").unlink(missing_ok=True)
    found = compare(run_of(stored, "a"), copied, tmp_path / "page.html")
    assert isinstance(found, RunComparison)
    parting = found.divergence
    assert parting is not None
    assert parting.event == 40
    assert f"{event['time_ns'] / 1e9:.9f} s" in parting.second
    assert f"{(event['time_ns'] - 1) / 1e9:.9f} s" in parting.first
    assert event["f"] in parting.first
    assert parting.at_s == pytest.approx(event["time_ns"] / 1e9)
    assert "the last that both have" in looking.read(tmp_path / "page.html").text


def test_histories_of_different_seeds_are_not_held_against_each_other(stored: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run_of(stored, "a"), other)
    document = json.loads((other / TEST).read_text())
    document["plan"]["seed"] = 8
    (other / TEST).write_text(json.dumps(document))
    found = compare(run_of(stored, "a"), other, tmp_path / "page.html")
    assert isinstance(found, RunComparison)
    assert found.same_plan
    assert not found.same_seed
    assert found.divergence is None
    assert any("seeds differ" in note for note in found.notes)
    # A fault of 8 s in a run of 20 s: what it slowed down is in one block of 1 s and in the next.
    (note,) = (
        note for note in found.notes if note.startswith("The longest fault lasted longer than a block")
    )
    assert re.search(r"in A it lasted \S+ s, and a block is \S+ m?s; in B it", note), note


def test_a_run_without_a_verdict_is_compared_for_what_it_recorded(pages: dict[str, Path]) -> None:
    assert "A has no verdict: its harness ended before it wrote one" in looking.read(pages["killed"]).text


def test_that_a_campaign_took_longer_is_not_said_of_the_tests_alone(tmp_path: Path) -> None:
    """They were run at another hour, and what the machine did besides then is in no figure of theirs."""
    folders = []
    for number, seconds in enumerate((1.0, 2.0), start=1):
        folders.append(campaigns.folder(tmp_path, f"2026010{number}T000000-00000{number}"))
        rows = [campaigns.row(campaigns.cell(), seed, seconds=seconds + seed / 100) for seed in range(8)]
        campaigns.write(folders[-1], campaigns.document(folders[-1], rows))
    found = compare(folders[0], folders[1], tmp_path / "page.html")
    assert isinstance(found, CampaignComparison)
    assert found.duration.told
    assert found.duration.says.startswith("the tests, or only the load of the machine, changed: B took 1.9")


def test_campaigns_are_told_by_the_tests_that_changed(
    stored: Path, pages: dict[str, Path], tmp_path: Path
) -> None:
    before = campaigns.folder(stored, "20260103T000000-000002")
    after = campaigns.folder(stored, "20260104T000000-000003")
    found = compare(before, after, tmp_path / "page.html")
    assert isinstance(found, CampaignComparison)
    changes = [(test.change, test.seed, test.first, test.second) for test in found.changed]
    assert changes == [
        ("broken", 4, "passed", "failed"),
        ("mended", 0, "failed", "passed"),
        ("mended", 1, "failed", "passed"),
    ]
    assert (found.both, found.only_first, found.only_second) == (6, 42, 2)
    assert [(kind.state, kind.first, kind.second) for kind in found.kinds] == [("new", 0, 1), ("gone", 2, 0)]
    kinds = compare(campaigns.passing_campaign(tmp_path / "small"), before, tmp_path / "small.html")
    assert isinstance(kinds, CampaignComparison)
    assert [kind.state for kind in kinds.kinds] == ["new"]
    other = campaigns.folder(tmp_path / "other")
    campaigns.write(other, campaigns.document(other, [campaigns.row(campaigns.cell("zab"), 0)]))
    kinds = compare(other, before, tmp_path / "other.html")
    assert isinstance(kinds, CampaignComparison)
    assert [kind.state for kind in kinds.kinds] == ["alone"]  # the other campaign has no such test
    assert "1 newly went wrong, 2 were mended, 1 kind of failure is new" in found.summary
    assert found.durations[0].place == "raft · register · kill · sim"
    # Seeds 2, 3 and 5 passed on both sides: 1 s, 1.25 s and 1.75 s have become 2 s.
    assert found.durations[0].tests == 3
    assert found.durations[0].ratio == pytest.approx(1.6)
    text = looking.read(pages["campaigns"]).text
    assert "went wrong" in text
    assert "mended" in text


class TestCommand:
    """``foreshock compare``."""

    def test_names_lead_to_runs_and_campaigns_and_the_page_lands_in_the_store(
        self, stored: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", "--store", str(stored), "aaaaaa", "latest~3"]) == 0
        said = capsys.readouterr().out
        assert "1 setting differs: bug; A valid, B invalid" in said
        assert "raft/stale-leader-reads" in said
        assert "linearizable" in said
        page = stored / "comparisons" / "20260101T000001-aaaaaa--20260101T000002-bbbbbb.html"
        assert str(page) in said.replace("\n", "")
        looking.read(page)
        assert main(["compare", "--store", str(stored), "nightly~1", "nightly", "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["compared"] == "campaigns"
        assert document["first"]["name"] < document["second"]["name"]

    def test_json_is_one_document_with_the_figures_and_quiet_is_one_sentence(
        self, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        page = tmp_path / "mine.html"
        arguments = [
            "compare",
            "--store",
            str(stored),
            str(run_of(stored, "a")),
            "bbbbbb",
            "--html",
            str(page),
        ]
        assert main([*arguments, "--json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["compared"] == "runs"
        assert {figure["name"] for figure in document["figures"]} >= {
            "p50",
            "p90",
            "p99",
            "max",
            "ok operations",
        }
        assert document["page"] == str(page)
        assert page.is_file()
        assert main([*arguments, "--quiet"]) == 0
        assert capsys.readouterr().out == "1 setting differs: bug; A valid, B invalid\n"

    def test_hostile_words_do_not_steer_the_terminal(
        self, stored: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["compare", "--store", str(stored), "cccccc", "aaaaaa"]) == 0
        said = capsys.readouterr().out
        assert "\\u2028" in said
        assert "\u2028" not in said

    @pytest.mark.parametrize(
        ("names", "problem"),
        [
            (("nothing", "aaaaaa"), "there is no run 'nothing'"),
            (("aaaaaa", "nightly"), "is a run and 'nightly' a campaign: compare two runs, or two campaigns"),
            (("latest~9", "aaaaaa"), "has no run that far back"),
            (("nightly~7", "nightly"), "of the campaign 'nightly'"),
            (("weekly~1", "nightly"), "there is no campaign 'weekly'"),
            (("", "aaaaaa"), "an empty name names no run and no campaign"),
            (("latest~99999", "aaaaaa"), "too far back"),
            (("aaaaaa", "bbbbbb", "--html", "/nowhere/page.html"), "there is no folder"),
        ],
    )
    def test_what_cannot_be_compared_is_a_usage_error_in_one_sentence(
        self, stored: Path, capsys: pytest.CaptureFixture[str], names: tuple[str, ...], problem: str
    ) -> None:
        assert main(["compare", "--store", str(stored), *names]) == 4
        said = capsys.readouterr()
        assert problem in said.err
        assert said.out == ""
        assert "Traceback" not in said.err

    def test_a_broken_file_is_a_harness_error_that_names_it(
        self, stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / TEST).write_text("{")
        assert main(["compare", "--store", str(stored), str(broken), "aaaaaa"]) == 3
        assert "test.json is not JSON" in capsys.readouterr().err


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@in_browser
@pytest.mark.parametrize("name", ALL)
def test_every_page_opens_without_a_complaint_and_fits_a_narrow_window(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    looking.open_quietly(browser, pages[name])
    assert looking.unpainted(browser) == []
    browser.send(
        "Emulation.setDeviceMetricsOverride", width=420, height=900, deviceScaleFactor=1, mobile=False
    )
    assert browser.evaluate("document.documentElement.scrollWidth") <= 420
    browser.close_page()


@in_browser
def test_both_lines_stand_on_one_scale_and_follow_into_the_dark(
    browser: Browser, pages: dict[str, Path]
) -> None:
    looking.open_quietly(browser, pages["runs"], dark=True)
    for plot in ("plot-rate", "plot-p50", "plot-p99", "plot-spread"):
        lines = browser.evaluate(
            f"['a', 'b'].map((side) => document.querySelector('.{plot} .series.' + side).getBoundingClientRect().width)"
        )
        assert min(lines) > 50, plot
    assert browser.evaluate("document.querySelectorAll('.plot-faults .fault-bar').length") > 2
    assert browser.evaluate("getComputedStyle(document.querySelector('.series.a')).strokeDasharray") != "none"
    paper = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
    assert max(browser.evaluate(paper)) < 40
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert min(browser.evaluate(paper)) > 240
    browser.close_page()


@in_browser
def test_without_javascript_everything_that_is_said_is_there(
    browser: Browser, pages: dict[str, Path]
) -> None:
    for name, shown in (
        ("runs", ("table.settings", "table.figures", ".plot-rate", ".parting")),
        ("campaigns", ("#changed table", "#kinds table")),
    ):
        browser.open(pages[name].as_uri(), scripts=False)
        for selector in ("h1 .sentence", ".side.a", ".side.b", *shown):
            assert looking.height_without_scripts(browser, selector) > 0, selector
        browser.close_page()
