"""The page of a campaign: what it says, and what a person can do with it in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.reports import campaigns, looking, runs
from tests.reports.browser import Browser, chromium
from tests.reports.test_contrast import DARK, LIGHT, TOKEN, contrast

from foreshock.harness.campaign.document import CAMPAIGN
from foreshock.harness.errors import HarnessError
from foreshock.reports.campaign import CampaignReporter
from foreshock.reports.campaign_matrix import COLUMNS_NICE, matrix_of
from foreshock.reports.campaign_tests import LINES_MAX, SEEDS_MAX, reported_run
from foreshock.reports.campaign_trends import CAMPAIGNS_MAX, past_campaigns
from foreshock.reports.rendering import _asset

MAKERS: dict[str, Callable[[Path], Path]] = {
    "failing": campaigns.failing_campaign,
    "passing": campaigns.passing_campaign,
    "under way": campaigns.campaign_under_way,
    "hostile": campaigns.hostile_campaign,
    "large": campaigns.large_campaign,
}
in_browser = pytest.mark.skipif(
    chromium() is None, reason="no Chromium is installed: pages cannot be looked at"
)


def report(folder: Path) -> Path:
    page = CampaignReporter().report(folder)
    assert page == folder / "campaign.html"
    return page


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("campaigns")
    campaigns.passing_campaign(root / "failing", "20260101T000000-000001")
    report(campaigns.failing_campaign(root / "failing", "20260102T000000-000002"))
    return {name: report(make(root / name)) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("name", MAKERS)
def test_every_page_is_whole_and_its_links_lead_somewhere(pages: dict[str, Path], name: str) -> None:
    looking.read(pages[name])


def test_the_failures_come_first_with_what_is_needed_to_look_into_them(pages: dict[str, Path]) -> None:
    page = looking.read(pages["failing"])
    assert "Invalid 2 of 48 tests failed" in page.text
    for word in ("1 kind of failure", "linearizable", "read ok x2", "partition", campaigns.REASON):
        assert word in page.text
    hrefs = [attributes.get("href") or "" for name, attributes in page.elements if name == "a"]
    assert "../../../raft-register-kill/20260105T090001-abc123/report.html" in hrefs
    assert "foreshock test --target raft --workload register --seed 0" in page.text
    text = page.text[page.text.index("1 kind of failure") :]
    assert text.index("Not settled") < text.index("Matrix") < text.index("Over runs")
    worst = [str(attributes["class"]).split()[-1] for attributes in page.having("details", "cell-tests")]
    assert worst == ["failed", "flaky", *["passed"] * 6]  # field by field, what went wrong first


def test_every_field_of_the_matrix_counts_its_tests_in_signs_and_in_words(pages: dict[str, Path]) -> None:
    page = looking.read(pages["failing"])
    labels = [
        str(attributes["aria-label"])
        for name, attributes in page.elements
        if name == "a" and "aria-label" in attributes and str(attributes["href"]).startswith("#cell")
    ]
    assert "raft · register · kill: 2 failed, 4 passed" in labels
    assert "zab · lock · kill: 1 flaky, 1 error, 1 unknown, 3 passed" in labels
    assert len(labels) == 8
    assert len(page.having("td", "failed")) == 1
    assert "backend: sim" in page.text  # it does not vary, so it is no axis


def test_flaky_unknown_and_undone_tests_are_told_apart(pages: dict[str, Path]) -> None:
    page = looking.read(pages["failing"])
    text = page.text[page.text.index("Tests whose attempts differ") :]
    text = text[text.index("Why") :]
    assert text.index("~ flaky") < text.index("? unknown") < text.index("! error")
    assert "the node n3 did not become healthy within 60 s" in text


def test_a_campaign_under_way_says_how_far_it_is(pages: dict[str, Path]) -> None:
    page = looking.read(pages["under way"])
    assert "Not complete 2 of 5 tests are done, none failed" in page.text  # in place of a verdict
    assert "Not complete: 2 of 5 tests are done, 1 under way" in page.text
    drawing = pages["under way"].read_text().partition("plot-durations")[2].partition("</svg>")[0]
    labels = re.findall(r">([^<]+ m?s)</text>", drawing)
    assert len(set(labels)) == len(labels) > 4  # all took as long, and yet the bins are told apart
    assert page.having("div", "progress")
    assert "2 waiting" in page.text
    assert not looking.read(pages["passing"]).having("div", "progress")


def test_a_failure_that_is_still_to_be_run_again_is_shown_as_it_stands(tmp_path: Path) -> None:
    folder = campaigns.folder(tmp_path)
    failed = campaigns.row(campaigns.cell(), 0, "failed")
    once = msgspec.structs.replace(failed, outcome="waiting", attempts=failed.attempts[:1])
    rows = [once, campaigns.row(campaigns.cell(), 1), campaigns.row(campaigns.cell(), 2, "waiting")]
    campaigns.write(
        folder, campaigns.document(folder, rows, groups=(campaigns.group([once]),), verdict="invalid")
    )
    page = looking.read(report(folder))
    assert "1 of 3 tests are done, 1 that did not pass to be run again" in page.text
    assert page.having("article", "failed")
    lines = [attributes for attributes in page.having("tr", "waiting") if attributes.get("id")]
    assert len(lines) == 1
    assert "Not listed: 1 waiting" in page.text
    shares = [
        attributes["class"] for name, attributes in page.elements if name == "i" and "style" in attributes
    ]
    assert shares[:2] == ["passed", "waiting"]  # a bar that fills up


def test_what_went_wrong_is_all_listed_and_what_passed_within_limits(pages: dict[str, Path]) -> None:
    page = looking.read(pages["large"])
    assert pages["large"].stat().st_size < 1_500_000
    assert len(page.elements) < 30_000
    rows = [attributes.get("id") or "" for name, attributes in page.elements if name == "tr"]
    assert len([row for row in rows if row.startswith("test-")]) <= LINES_MAX
    listed = [attributes for attributes in page.having("tr", "failed") if attributes.get("id")]
    assert len(listed) == 250
    assert "Not listed:" in page.text
    assert SEEDS_MAX < 10_000


def test_the_trend_counts_the_campaigns_of_the_name_up_to_this_one(tmp_path: Path) -> None:
    for day in range(1, 4):
        campaigns.passing_campaign(tmp_path, f"2026010{day}T000000-00000{day}")
    own = campaigns.failing_campaign(tmp_path, "20260104T000000-000004")
    campaigns.passing_campaign(tmp_path, "20260105T000000-000005")
    broken = campaigns.folder(tmp_path, "20260103T500000-00000b")
    broken.mkdir()
    (broken / CAMPAIGN).write_text('{"verdict": 3}')
    past = past_campaigns(own, "campaign.html")
    assert [campaign.name[:8] for campaign in past] == ["20260101", "20260102", "20260103", "20260104"]
    assert [campaign.current for campaign in past] == [False, False, False, True]
    assert (past[-1].tally.failed, past[0].tally.passed) == (2, 4)
    assert past[0].link is None  # it has no page
    page = looking.read(report(own))
    assert page.having("svg", "plot-trend-outcomes")
    assert "foreshock compare 20260103T000000-000003 20260104T000000-000004" in page.text
    assert not looking.read(report(campaigns.folder(tmp_path, "20260101T000000-000001"))).having(
        "svg", "plot-trend-outcomes"
    )


def test_no_more_than_the_newest_campaigns_are_read(tmp_path: Path) -> None:
    first = campaigns.passing_campaign(tmp_path, "20250101T000000-000000")
    for number in range(1, CAMPAIGNS_MAX + 5):
        shutil.copytree(first, campaigns.folder(tmp_path, f"20260101T{number:06d}-000001"))
    newest = campaigns.folder(tmp_path, f"20260101T{CAMPAIGNS_MAX + 4:06d}-000001")
    past = past_campaigns(newest, "campaign.html")
    assert len(past) == CAMPAIGNS_MAX
    assert past[-1].current


def test_a_store_that_was_moved_keeps_its_links(tmp_path: Path) -> None:
    campaigns.failing_campaign(tmp_path / "old")
    (tmp_path / "old").rename(tmp_path / "new #1")
    page = looking.read(report(campaigns.folder(tmp_path / "new #1")))
    hrefs = [attributes.get("href") or "" for name, attributes in page.elements if name == "a"]
    assert any(href.endswith("raft-register-kill/20260105T090001-abc123/report.html") for href in hrefs)


def test_where_the_attempt_that_was_run_again_has_no_report_the_first_one_s_is_linked(tmp_path: Path) -> None:
    failed = campaigns.row(campaigns.cell(), 0, "failed")
    runs = [tmp_path / "raft-register-kill" / f"2026010{number}T090000-aaaaaa" for number in range(1, 4)]
    attempts = tuple(
        msgspec.structs.replace(each, summary=msgspec.structs.replace(each.summary, run=str(run)))
        for each, run in zip(failed.attempts, runs, strict=True)
        if each.summary is not None
    )
    runs[0].mkdir(parents=True)
    (runs[0] / "report.html").write_text("the only one")
    again = msgspec.structs.replace(failed, attempts=attempts)
    folder = campaigns.folder(tmp_path)
    newest = campaigns.group([again], run=str(runs[-1]))
    campaigns.write(folder, campaigns.document(folder, [again], groups=(newest,)))
    page = looking.read(report(folder))
    hrefs = [attributes.get("href") or "" for name, attributes in page.elements if name == "a"]
    wanted = f"../../../raft-register-kill/{runs[0].name}/report.html"
    assert hrefs.count(wanted) == 3  # of the kind of failure, of its field, of the slowest tests
    assert reported_run(again) == str(runs[0])


def test_an_axis_of_many_values_goes_down_and_not_across() -> None:
    bugs = [f"raft/bug-{number}" for number in range(COLUMNS_NICE + 6)]
    rows = [
        campaigns.row(campaigns.cell(nemesis=nemesis, bug=bug), 0)
        for bug in bugs
        for nemesis in ("kill", "pause")
    ]
    matrix, cells = matrix_of(rows, {"bug": tuple(bugs), "nemesis": ("kill", "pause")})
    assert matrix.row_axes == ("target", "workload", "bug")
    assert matrix.column_axes == ("nemesis",)
    assert [header.label for header in matrix.heads[0]] == ["kill", "pause"]
    assert len(matrix.rows) == len(bugs)
    assert len(cells) == len(rows)


def test_places_that_nobody_asked_for_are_empty_and_values_keep_the_order_of_the_file() -> None:
    rows = [
        campaigns.row(campaigns.cell("zab", nemesis="pause"), 0),
        campaigns.row(campaigns.cell("raft"), 0),
    ]
    matrix, _ = matrix_of(rows, {"target": ("zab", "raft"), "nemesis": ("kill", "pause")})
    assert [row.names[0] for row in matrix.rows] == ["zab", "raft"]
    assert [[cell is not None for cell in row.cells] for row in matrix.rows] == [[False, True], [True, False]]


def test_what_is_no_campaign_is_not_its_business_and_a_broken_one_is_named(tmp_path: Path) -> None:
    assert CampaignReporter().report(tmp_path) is None
    (tmp_path / CAMPAIGN).write_text(json.dumps({"name": "x"}))
    with pytest.raises(HarnessError, match=r"campaign\.json is not what a campaign writes"):
        CampaignReporter().report(tmp_path)


def test_a_campaign_without_any_test_has_a_page(tmp_path: Path) -> None:
    folder = campaigns.folder(tmp_path)
    campaigns.write(folder, campaigns.document(folder, [], planned=10, complete=False, verdict="unknown"))
    page = looking.read(report(folder))
    assert "No test is known yet" in page.text
    assert "0 of 10 tests are done" in page.text


@pytest.mark.parametrize("style", ["campaign.css", "compare.css"])
def test_the_colours_of_outcomes_and_sides_can_be_read_in_both_themes(style: str) -> None:
    text = _asset(style)
    light = dict(TOKEN.findall(text[: text.index("@media")]))
    dark = dict(
        TOKEN.findall(text[text.index("@media") : text.index("}\n}") if "}\n}" in text else text.index(".")])
    )
    assert light
    assert light.keys() == dark.keys()
    for own, theme in ((light, LIGHT), (dark, DARK)):
        for name, color in own.items():
            for ground in ("paper", "surface", "sunken"):
                assert contrast(color, theme[ground]) >= 4.5, f"--{name} on --{ground}"


@in_browser
@pytest.mark.parametrize("name", MAKERS)
def test_every_page_opens_without_a_complaint_and_paints_everything(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    looking.open_quietly(browser, pages[name])
    assert looking.unpainted(browser) == []
    if name == "hostile":
        assert runs.HOSTILE.split("\u2028")[0] in browser.evaluate("document.body.textContent")
    browser.close_page()


@in_browser
def test_a_click_opens_the_tests_of_a_field_and_closes_those_before(
    browser: Browser, pages: dict[str, Path]
) -> None:
    looking.open_quietly(browser, pages["failing"])
    opened = "[...document.querySelectorAll('details.cell-tests[open] h3')].map((head) => head.textContent)"
    assert browser.evaluate(opened) == []
    for place in ("raft · register · kill", "zab · lock · kill"):
        link = f"document.querySelector('td.cell a[aria-label^={json.dumps(place)}]')"
        browser.evaluate(f"{link}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = browser.evaluate(
            f"(() => {{ const box = {link}.getBoundingClientRect(); return [box.x + 8, box.y + 8]; }})()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            browser.mouse(kind, x, y, button="left", clickCount=1)
        browser.until(f"{opened}.join() === {json.dumps(place)}")
    rows = browser.evaluate(
        "[...document.querySelectorAll('details[open] tbody tr')].map((row) => row.textContent.trim())"
    )
    assert len(rows) == 6
    assert "flaky" in rows[0]
    assert browser.complaints() == []
    browser.close_page()


@in_browser
def test_arrows_move_over_the_matrix_enter_opens_and_escape_comes_back(
    browser: Browser, pages: dict[str, Path]
) -> None:
    looking.open_quietly(browser, pages["failing"])
    browser.evaluate("document.querySelector('td.cell a').focus()")
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "ArrowRight", "ArrowLeft", "ArrowDown"):
        browser.press(key)
    label = "document.activeElement.getAttribute('aria-label')"
    assert browser.evaluate(label) == "zab · lock · kill: 1 flaky, 1 error, 1 unknown, 3 passed"
    browser.press("Enter", text="\r", code="Enter", windowsVirtualKeyCode=13)
    browser.until("document.activeElement.className === 'cell-body'")
    assert "flaky" in looking.focused(browser)
    browser.press("Escape")
    assert browser.evaluate(label).startswith("zab · lock · kill")
    browser.close_page()


@in_browser
def test_the_filter_and_the_heads_choose_and_order_the_tests(
    browser: Browser, pages: dict[str, Path]
) -> None:
    looking.open_quietly(browser, pages["failing"])
    shown = (
        "[...document.querySelectorAll('#tests tbody tr')].filter((row) => row.getClientRects().length)"
        ".map((row) => row.className).join()"
    )
    browser.evaluate("document.querySelector('button.toggle.failed').click()")
    assert browser.evaluate(shown) == "failed,failed"
    assert browser.evaluate("document.querySelector('#tests .status').textContent") == "2 tests"
    browser.evaluate("document.querySelector('#filter').focus()")
    browser.send("Input.insertText", text="zab healthy")
    assert browser.evaluate(shown) == ""
    browser.evaluate("document.querySelector('button.toggle.failed').click()")
    assert browser.evaluate(shown) == "error"
    browser.press("Escape")
    browser.evaluate("document.querySelector('details.cell-tests').open = true")
    seeds = "[...document.querySelectorAll('details[open] tbody tr')].map((row) => row.cells[1].textContent).join()"
    assert browser.evaluate(seeds) == "0,1,2,3,4,5"
    head = "document.querySelectorAll('details[open] th')[1]"
    browser.evaluate(f"{head}.querySelector('button').click(), {head}.querySelector('button').click()")
    assert browser.evaluate(seeds) == "5,4,3,2,1,0"
    assert browser.evaluate(f"{head}.getAttribute('aria-sort')") == "descending"
    browser.close_page()


@in_browser
def test_without_javascript_a_field_still_leads_to_its_tests(
    browser: Browser, pages: dict[str, Path]
) -> None:
    browser.open(f"{pages['failing'].as_uri()}#cell-1", scripts=False)
    assert looking.height_without_scripts(browser, "details[open] #cell-1") > 100
    assert not looking.is_there(browser, "details[open] #cell-2")
    for shown in (
        "h1 .word",
        "table.matrix",
        ".plot-durations",
        ".plot-trend-outcomes",
        ".group-of-failures",
    ):
        assert looking.height_without_scripts(browser, shown) > 0, shown
    assert looking.height_without_scripts(browser, "#tests .tools") == 0
    browser.close_page()


@in_browser
def test_a_link_from_elsewhere_opens_the_tests_of_its_field(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(f"{pages['large'].as_uri()}#cell-3")
    browser.until("document.querySelector('#cell-3').getClientRects().length > 0")
    assert browser.complaints() == []
    browser.close_page()


@in_browser
@pytest.mark.parametrize("name", ["failing", "hostile", "large"])
def test_a_narrow_window_never_scrolls_sideways(browser: Browser, pages: dict[str, Path], name: str) -> None:
    looking.open_quietly(browser, pages[name], width=420)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 420
    browser.close_page()


@in_browser
def test_the_page_follows_into_the_dark_and_prints_what_is_not_settled(
    browser: Browser, pages: dict[str, Path]
) -> None:
    looking.open_quietly(browser, pages["failing"], dark=True)
    paper = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
    assert max(browser.evaluate(paper)) < 40
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert min(browser.evaluate(paper)) > 240
    assert browser.evaluate("document.querySelector('.group-of-failures').getClientRects().length") > 0
    assert browser.evaluate("document.querySelector('details.cell-tests').getClientRects().length") == 0
    browser.close_page()
