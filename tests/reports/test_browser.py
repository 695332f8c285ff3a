"""The page in a real browser: it paints, nothing complains, nothing hostile runs, and the keys do what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.reports import runs, zoos
from tests.reports.browser import Browser, chromium

from foreshock.reports.html import HtmlReporter
from foreshock.reports.zoo import ZooReporter

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium is installed: pages cannot be looked at"
)

PAINTED = "document.querySelector('canvas')?.dataset.painted"
STATUS = "document.querySelector('#explorer .status').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("runs")
    makers = {
        "valid": runs.valid_run,
        "register": runs.invalid_register_run,
        "lock": runs.invalid_lock_run,
        "hostile": runs.hostile_run,
        "killed": runs.killed_run,
        "single": runs.single_run,
    }
    return {name: HtmlReporter().report(make(root / name)).as_uri() for name, make in makers.items()}


@pytest.mark.parametrize("name", ["valid", "register", "lock", "hostile", "killed", "single"])
def test_every_page_paints_its_operations_and_nothing_complains(
    browser: Browser, pages: dict[str, str], name: str
) -> None:
    browser.open(pages[name])
    browser.until(f"Number({PAINTED}) > 0")
    pixels = browser.evaluate(
        "(() => { const canvas = document.querySelector('canvas');"
        "const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;"
        "let painted = 0; for (let i = 3; i < data.length; i += 4) painted += data[i] > 0; return painted; })()"
    )
    assert pixels > 500
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "blob:", "data:"))] == []


def test_script_bearing_values_stay_text_also_under_the_pointer(
    browser: Browser, pages: dict[str, str]
) -> None:
    browser.open(pages["hostile"], height=6000)
    browser.until(f"Number({PAINTED}) === 40")
    box = "document.querySelector('canvas').getBoundingClientRect()"
    spot = browser.evaluate(f"[{box}.left, {box}.top]")
    # The first operation starts at time 0, at the left end of the first lane.
    browser.mouse("mouseMoved", spot[0] + 65, spot[1] + 14 + 260 + 26 + 4)
    browser.until(
        "!document.querySelector('.tip').hidden && document.querySelector('.tip').children.length > 5"
    )
    assert runs.HOSTILE in browser.evaluate("document.querySelector('.tip').textContent")
    assert browser.evaluate("document.body.dataset.owned ?? 'nobody'") == "nobody"
    assert browser.evaluate("document.images.length") == 0
    assert browser.complaints() == []


def test_keys_zoom_pan_and_step_from_anomaly_to_anomaly(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["register"])
    browser.until(f"Number({PAINTED}) > 0")
    whole = browser.evaluate(STATUS)
    browser.evaluate("document.querySelector('canvas').focus()")
    browser.press("+")
    browser.until(f"{STATUS} !== {whole!r}")
    zoomed = browser.evaluate(STATUS)
    browser.press("ArrowRight")
    browser.until(f"{STATUS} !== {zoomed!r}")
    browser.press("0")
    browser.until(f"{STATUS} === {whole!r}")
    seen = []
    for _ in range(100):
        browser.press("n")
        seen.append(browser.evaluate(STATUS))
        if "violation" in seen[-1]:
            break
    assert "violation: key 9" in seen[-1]
    assert any("fault: partition" in status for status in seen)


def test_the_violation_leads_to_its_moment_in_the_view(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["register"])
    browser.until(f"Number({PAINTED}) > 0")
    before = browser.evaluate(STATUS)
    browser.evaluate("document.querySelector('a[data-zoom]').click()")
    browser.until(f"{STATUS} !== {before!r}")
    start, end = browser.evaluate(f"{STATUS}.match(/[0-9.]+(?= s)/g).map(Number)")
    assert start < 10.041 < end
    assert end - start < 5


def test_without_javascript_the_verdict_and_the_tables_are_there(
    browser: Browser, pages: dict[str, str]
) -> None:
    browser.open(pages["register"], scripts=False)
    document = browser.send("DOM.getDocument")["root"]["nodeId"]

    def height(selector: str) -> float:
        node = browser.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        assert node, selector
        try:
            box = browser.send("DOM.getBoxModel", nodeId=node)
        except AssertionError:
            return 0.0
        return float(box["model"]["height"])

    for shown in ("h1 .word", ".outcomes", "#faults table", ".counterexample-1", ".plot-rate", "noscript"):
        assert height(shown) > 0, shown
    for useless in ("canvas", ".tools", ".command button"):
        assert height(useless) == 0, useless


@pytest.mark.parametrize("name", ["register", "hostile"])
def test_a_narrow_window_never_scrolls_sideways(browser: Browser, pages: dict[str, str], name: str) -> None:
    browser.open(pages[name], width=420)
    browser.until(f"Number({PAINTED}) > 0")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 420


def test_the_page_follows_the_system_into_the_dark(browser: Browser, pages: dict[str, str]) -> None:
    paper = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"
    browser.open(pages["valid"], dark=True)
    assert max(browser.evaluate(paper)) < 40
    browser.open(pages["valid"], dark=False)
    assert min(browser.evaluate(paper)) > 240


def test_the_command_can_be_copied(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["valid"])
    browser.until("document.documentElement.classList.contains('js')")
    browser.evaluate("document.querySelector('#again button[data-copy]').click()")
    browser.until(
        "['Copied', 'Selected'].includes(document.querySelector('#again button[data-copy]').textContent)"
    )
    assert browser.complaints() == []


@pytest.mark.parametrize("make", [zoos.good_zoo, zoos.bad_zoo], ids=["good", "bad"])
def test_the_page_of_the_zoo_complains_of_nothing_and_leads_to_the_reports(
    browser: Browser, tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    page = ZooReporter().report(make(tmp_path / "zoo"))
    assert page is not None
    browser.open(page.as_uri())
    browser.until("document.documentElement.classList.contains('js')")
    assert browser.evaluate("document.querySelectorAll('tbody tr').length") >= 2
    assert browser.evaluate("document.body.dataset.owned ?? 'nobody'") == "nobody"
    assert browser.complaints() == []
    link = browser.evaluate("document.querySelector('td a[href$=\"report.html\"]')?.href ?? ''")
    if link:
        browser.open(link)
        browser.until(f"Number({PAINTED}) > 0")
