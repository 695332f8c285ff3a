"""What the page of the zoo says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.reports import looking, runs, zoos
from tests.reports.browser import Browser, chromium
from tests.reports.test_html_report import Page

from foreshock.harness.errors import HarnessError
from foreshock.harness.zoo.journal import DOCUMENT
from foreshock.reports.zoo import ZooReporter

in_browser = pytest.mark.skipif(
    chromium() is None, reason="no Chromium is installed: pages cannot be looked at"
)


def page_of(directory: Path) -> Page:
    path = ZooReporter().report(directory)
    assert path == directory / "zoo.html"
    return Page(path.read_text(encoding="utf-8"))


def test_a_good_zoo_lists_families_with_links_to_what_was_seen(tmp_path: Path) -> None:
    page = page_of(zoos.good_zoo(tmp_path / "zoo"))
    assert page.open == []
    assert "4 of 4 exhibits found; no false alarm in 25 tests" in page.text
    for title in (
        "Planted bugs: raft: 1 of 1 found",
        "Planted bugs: zab",
        "wrong by themselves",
        "Known weaknesses",
    ):
        assert title in page.text
    links = [attributes["href"] for name, attributes in page.elements if name == "a"]
    assert "runs/raft-register/1/report.html" in links
    assert sum(str(link).endswith("report.html") for link in links) == 1  # none to a report that is not there
    assert "it cannot be simulated" in page.text
    assert "#why" not in links
    assert not page.having("tr", "impossible")


def test_a_bad_zoo_begins_with_its_false_alarms_and_hostile_words_stay_words(tmp_path: Path) -> None:
    page = page_of(zoos.bad_zoo(tmp_path / "zoo"))
    assert page.open == []
    assert "Tests of correct targets that were not valid" in page.text
    assert "foreshock test --seed 17" in page.text
    assert len(page.having("tr", "impossible")) == 2
    assert runs.HOSTILE.split()[0] in page.text
    assert [name for name, _ in page.elements].count("script") == 1


def test_what_is_no_zoo_is_not_its_business_and_a_broken_one_is_named(tmp_path: Path) -> None:
    assert ZooReporter().report(tmp_path) is None
    (tmp_path / DOCUMENT).write_text('{"exit": "no"}')
    with pytest.raises(HarnessError, match=r"zoo\.json is not what a run of the zoo writes"):
        ZooReporter().report(tmp_path)


def test_a_run_that_was_interrupted_has_a_page_that_says_so(tmp_path: Path) -> None:
    directory = zoos.good_zoo(tmp_path / "zoo")
    text = (directory / DOCUMENT).read_text().replace('"complete": true', '"complete": false')
    (directory / DOCUMENT).rename(directory / f"incomplete-{DOCUMENT}")
    (directory / f"incomplete-{DOCUMENT}").write_text(text)
    assert "This run was interrupted" in page_of(directory).text


def test_a_zoo_that_was_moved_keeps_its_links(tmp_path: Path) -> None:
    zoos.good_zoo(tmp_path / "zoo")
    (tmp_path / "zoo").rename(tmp_path / "zoo #2")
    path = ZooReporter().report(tmp_path / "zoo #2")
    assert path is not None
    page = looking.read(path)
    links = [attributes.get("href") for name, attributes in page.elements if name == "a"]
    assert "runs/raft-register/1/report.html" in links


def test_every_hunt_is_drawn_with_its_seed_and_what_it_took(tmp_path: Path) -> None:
    page = page_of(zoos.good_zoo(tmp_path / "zoo"))
    assert page.having("svg", "plot-hunts")
    assert "1.5 s · seed 3, 4 of 20" in page.text
    assert len(page.having("circle", "hunt-sign")) == 4
    missed = page_of(zoos.bad_zoo(tmp_path / "bad"))
    assert len(missed.having("path", "missed")) == 1
    assert "1.5 s · 4 of 20" in missed.text


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("zoos")
    found = {}
    for name, make in (("good", zoos.good_zoo), ("bad", zoos.bad_zoo)):
        path = ZooReporter().report(make(root / name))
        assert path is not None
        looking.read(path)
        found[name] = path
    return found


@in_browser
@pytest.mark.parametrize("name", ["good", "bad"])
def test_the_page_opens_without_a_complaint_in_the_dark_narrow_and_on_paper(
    browser: Browser, pages: dict[str, Path], name: str
) -> None:
    looking.open_quietly(browser, pages[name], dark=True, width=420)
    assert looking.unpainted(browser) == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= 420
    paper = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
    assert max(browser.evaluate(paper)) < 40
    browser.send("Emulation.setEmulatedMedia", media="print")
    assert min(browser.evaluate(paper)) > 240
    browser.close_page()


@in_browser
def test_the_filter_and_the_heads_choose_and_order_the_exhibits(
    browser: Browser, pages: dict[str, Path]
) -> None:
    looking.open_quietly(browser, pages["good"])
    rows = "[...document.querySelectorAll('.family tbody tr')].filter((row) => !row.hidden)"
    names = f"{rows}.map((row) => row.cells[0].textContent)"
    assert len(browser.evaluate(names)) == 4
    browser.evaluate("document.querySelector('input[type=search]').focus()")
    browser.send("Input.insertText", text="naive LOCK")
    assert browser.evaluate(names) == ["naive-lock"]
    assert browser.evaluate("document.querySelector('form .status').textContent") == "1 shown"
    assert (
        browser.evaluate(
            "[...document.querySelectorAll('.family')].filter((family) => !family.hidden).length"
        )
        == 1
    )
    browser.press("Escape")
    assert len(browser.evaluate(names)) == 4
    head = "document.querySelectorAll('#correct th')[0]"
    targets = "[...document.querySelectorAll('#correct tbody tr')].map((row) => row.cells[0].textContent)"
    browser.evaluate(f"{head}.querySelector('button').click(), {head}.querySelector('button').click()")
    assert browser.evaluate(targets) == ["shm-lock", "raft"]
    browser.close_page()


@in_browser
def test_what_was_missed_can_be_chosen_and_its_command_copied(
    browser: Browser, pages: dict[str, Path]
) -> None:
    looking.open_quietly(browser, pages["bad"])
    browser.evaluate("document.querySelector('button.toggle[data-state=found]').click()")
    assert browser.evaluate("document.querySelector('.family').hidden")
    browser.evaluate("document.querySelector('button.toggle[data-state=found]').click()")
    browser.evaluate("document.querySelector('.family details').open = true")
    browser.evaluate("document.querySelector('.family button[data-copy]').click()")
    browser.until(
        "['Copied', 'Selected'].includes(document.querySelector('.family button[data-copy]').textContent)"
    )
    assert browser.complaints() == []
    browser.close_page()


@in_browser
def test_without_javascript_every_exhibit_is_there(browser: Browser, pages: dict[str, Path]) -> None:
    browser.open(pages["good"].as_uri(), scripts=False)
    for shown in ("h1 .word", ".family table", ".plot-hunts", "#correct table"):
        assert looking.height_without_scripts(browser, shown) > 0, shown
    assert looking.height_without_scripts(browser, "form") == 0
    browser.close_page()
