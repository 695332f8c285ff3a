"""The page in a real browser: it paints, nothing complains, nothing hostile runs, and the keys do what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import pytest
from benchmarks.reports import store
from tests.reports import runs, service_runs, zoos
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
        "locks": service_runs.lock_run,
        "cache": service_runs.cache_run,
        "nasty": service_runs.nasty_run,
    }
    return {name: HtmlReporter().report(make(root / name)).as_uri() for name, make in makers.items()}


@pytest.mark.parametrize(
    "name", ["valid", "register", "lock", "hostile", "killed", "single", "locks", "cache", "nasty"]
)
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
    # What breaks a line where nobody expects it is written out.
    shown = runs.HOSTILE.replace("\u2028", "\\u2028")
    assert shown in browser.evaluate("document.querySelector('.tip').textContent")
    assert browser.evaluate("document.body.dataset.owned ?? 'nobody'") == "nobody"
    assert browser.evaluate("document.images.length") == 0
    assert browser.complaints() == []


def test_nothing_that_a_run_holds_is_run_or_asked_for(browser: Browser, pages: dict[str, str]) -> None:
    """Locks, a cache, faults, logs, figures and errors that would all like to be markup, and 1 MB of it."""
    flag = (
        "window.flag = [];"
        "for (const name of ['alert', 'confirm', 'prompt', 'eval']) window[name] = () => flag.push(name);"
    )
    browser.open(pages["nasty"], height=9000, on_new_document=flag)
    browser.until(f"Number({PAINTED}) > 0")
    browser.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    box = "document.querySelector('canvas').getBoundingClientRect()"
    left, top, width, height = browser.evaluate(f"[{box}.left, {box}.top, {box}.width, {box}.height]")
    for step in range(24):
        browser.mouse(
            "mouseMoved", left + 66 + (width - 90) * step / 24, top + height - 40 - (step % 12) * 16
        )
    browser.evaluate("document.querySelector('canvas').focus()")
    read = set()
    for key in "jjjjjjjjjjnnnnnnpk":
        browser.press(key)
        read.add(browser.evaluate(STATUS))
    assert len(read) > 5
    assert browser.evaluate("window.flag") == []
    assert browser.evaluate("document.body.dataset.owned ?? 'nobody'") == "nobody"
    foreign = "img, iframe, object, embed, form, base, svg script"
    assert browser.evaluate(f"document.querySelectorAll('{foreign}').length") == 0
    assert not browser.evaluate("/[\\u0000\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)")
    names = "[...document.querySelectorAll('*')].flatMap((one) => one.getAttributeNames())"
    assert not [name for name in browser.evaluate(names) if name.startswith("on")]
    links = browser.evaluate("[...document.links].map((link) => link.protocol)")
    assert set(links) == {"file:"}
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "blob:", "data:"))] == []


@pytest.mark.parametrize("name", ["register", "locks", "cache", "nasty"])
def test_every_link_of_a_page_leads_somewhere(browser: Browser, pages: dict[str, str], name: str) -> None:
    browser.open(pages[name])
    here, links = browser.evaluate(
        "[location.pathname, [...document.links].map((link) => [link.pathname, link.hash])]"
    )
    assert len(links) > 8
    for path, anchor in links:
        if path == here:
            assert browser.evaluate(f"document.getElementById({anchor[1:]!r}) !== null"), anchor
        else:
            assert Path(unquote(path)).is_file(), path


def test_who_held_a_lock_is_painted_with_overlaps_in_red_and_read_under_the_pointer(
    browser: Browser, pages: dict[str, str]
) -> None:
    browser.open(pages["locks"], height=6000)
    browser.until(f"Number({PAINTED}) > 0")
    box = "document.querySelector('canvas').getBoundingClientRect()"
    left, top, width, height = browser.evaluate(f"[{box}.left, {box}.top, {box}.width, {box}.height]")
    red = browser.evaluate(
        "(() => { const canvas = document.querySelector('canvas');"
        "const data = canvas.getContext('2d').getImageData(0, canvas.height - 58, canvas.width, 32).data; let red = 0;"
        "for (let i = 0; i < data.length; i += 4) red += data[i] > 150 && data[i + 1] < 90 && data[i + 2] < 120;"
        "return red; })()"
    )
    assert red > 20
    # Lock 0 is the upper of two lanes of 16 px above the foot; 6.5 s of 9.501 s.
    browser.mouse("mouseMoved", left + 64 + (width - 82) * 6.5 / 9.501, top + height - 26 - 32 + 8)
    browser.until("!document.querySelector('.tip').hidden")
    tip = browser.evaluate("document.querySelector('.tip').textContent")
    assert "lock 0 held" in tip
    assert "process 5" in tip
    assert "another process held it too" in tip


def test_a_row_of_a_table_leads_to_its_moment(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["locks"])
    browser.until(f"Number({PAINTED}) > 0")
    before = browser.evaluate(STATUS)
    browser.evaluate("document.querySelector('#locks tbody a[data-zoom]').click()")
    browser.until(f"{STATUS} !== {before!r}")
    start, end = browser.evaluate(f"{STATUS}.match(/[0-9.]+(?= s)/g).map(Number)")
    assert start < 6 < end < 9


def test_operations_are_read_out_one_after_the_other_by_keys(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["locks"])
    browser.until(f"Number({PAINTED}) > 0")
    browser.evaluate("document.querySelector('canvas').focus()")
    for key, words in (
        ("j", "acquire outcome ok process 0"),
        ("j", "release outcome ok process 0"),
        ("k", "acquire"),
    ):
        browser.press(key)
        browser.until(f"{STATUS}.startsWith({words!r})")
    assert browser.evaluate("document.querySelector('.tip').hidden") is False
    assert browser.evaluate("document.querySelector('.status').getAttribute('aria-live')") == "polite"


def test_the_path_from_the_verdict_is_walked_by_keys_alone(browser: Browser, pages: dict[str, str]) -> None:
    browser.open(pages["register"])
    browser.until("document.documentElement.classList.contains('js')")
    focused = "document.activeElement.textContent.trim()"
    browser.press("Tab", code="Tab", windowsVirtualKeyCode=9)
    assert browser.evaluate(focused) == "Skip to the report"
    seen = []
    for _ in range(5):
        browser.press("Tab", code="Tab", windowsVirtualKeyCode=9)
        seen.append(browser.evaluate("document.activeElement.hash"))
    assert seen == ["#violation-1", "#core-1", "#fault-1", "#said-1", "#rerun-1"]
    browser.press("Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    browser.until("location.hash === '#rerun-1'")
    assert runs.REPLAY in browser.evaluate("document.querySelector('#rerun-1').textContent")


@pytest.mark.parametrize("name", ["register", "locks", "cache"])
def test_a_screen_reader_meets_named_pictures_landmarks_and_headings_in_order(
    browser: Browser, pages: dict[str, str], name: str
) -> None:
    browser.open(pages[name])
    browser.until(f"Number({PAINTED}) > 0")
    browser.send("Accessibility.enable")
    nodes = [node for node in browser.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    named: dict[str, list[str]] = {}
    for node in nodes:
        named.setdefault(node["role"]["value"], []).append(str(node.get("name", {}).get("value", "")))
    assert len(named["image"]) > 6
    for role in ("image", "link", "button", "navigation", "heading"):
        assert all(text.strip() for text in named[role]), role
    assert [len(named.get(role, [])) for role in ("banner", "main", "navigation")] == [1, 1, 1]
    levels = browser.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["register", "locks", "cache"])
def test_every_word_stands_out_from_what_is_behind_it(
    browser: Browser, pages: dict[str, str], name: str, dark: bool
) -> None:
    browser.open(pages[name], dark=dark)
    browser.until("document.documentElement.classList.contains('js')")
    assert browser.evaluate(_FAINT) == []


_FAINT = """(() => {
  const channels = (text) => {
    const numbers = text.match(/-?[0-9.]+(e-?[0-9]+)?/g).map(Number);
    const unit = text.startsWith("color(") ? 255 : 1;
    return [numbers[0] * unit, numbers[1] * unit, numbers[2] * unit, numbers[3] ?? 1];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const behind = (one) => {
    const layers = [];
    for (let at = one; at; at = at.parentElement) layers.unshift(channels(getComputedStyle(at).backgroundColor));
    return layers.reduce((under, layer) => over(layer, under), [255, 255, 255, 1]);
  };
  const light = (color) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const share = color[i] / 255;
    return sum + weight * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  }, 0);
  // What is written on a bar of a drawing is held by the contrast of the tokens.
  const onBars = ["order-number", "hold-label"];
  const faint = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !one.checkVisibility() || onBars.some((name) => one.classList.contains(name))) continue;
    if (["SCRIPT", "STYLE", "TITLE", "title", "desc"].includes(one.tagName)) continue;
    const style = getComputedStyle(one), ground = behind(one);
    const ink = over(channels(one instanceof SVGElement ? style.fill : style.color), ground);
    const [low, high] = [light(ink), light(ground)].sort((a, b) => a - b), ratio = (high + 0.05) / (low + 0.05);
    const words = one.textContent.slice(0, 40);
    if (ratio < 4.5) faint.push(`${one.tagName}.${one.getAttribute("class")} ${ratio.toFixed(2)} ${words}`);
  }
  return faint;
})()"""


def test_a_page_of_very_many_operations_opens_and_answers_to_keys(browser: Browser, tmp_path: Path) -> None:
    """260,000 operations of locks, which is more operations and more holds than are embedded one by one."""
    store(tmp_path, "lock", 260_000)
    page = HtmlReporter().report(tmp_path)
    assert page.stat().st_size < 5_000_000
    browser.open(page.as_uri())
    browser.until(f"Number({PAINTED}) > 0")
    assert "operations are drawn only as density" in browser.evaluate(
        "document.querySelector('.left-out').textContent"
    )
    whole = browser.evaluate(STATUS)
    browser.evaluate("document.querySelector('canvas').focus()")
    browser.press("+")
    browser.until(f"{STATUS} !== {whole!r}")
    browser.press("n")
    browser.until(f"/fault|lock|unknown|failed|slow/.test({STATUS})")
    browser.press("j")
    browser.until(f"{STATUS}.includes('outcome')")
    assert browser.complaints() == []


def test_a_page_prints_with_its_pictures_and_without_its_tools(
    browser: Browser, pages: dict[str, str]
) -> None:
    browser.open(pages["locks"])
    browser.until(f"Number({PAINTED}) > 0")
    browser.send("Emulation.setEmulatedMedia", media="print")
    for gone in ("nav", ".tools", ".command button"):
        assert not browser.evaluate(f"document.querySelector({gone!r}).checkVisibility()"), gone
    for there in ("h1", ".plot-holds", "canvas", ".command code"):
        assert browser.evaluate(f"document.querySelector({there!r}).checkVisibility()"), there
    assert len(browser.send("Page.printToPDF", printBackground=True)["data"]) > 50_000


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

    for shown in (".trail a", ".replay code", "#fault-1 .drawing", "#said-1 .log", "#rerun-1 code"):
        assert height(shown) > 0, shown
    for shown in ("h1 .word", ".outcomes", "#faults table", ".counterexample-1", ".plot-rate", "noscript"):
        assert height(shown) > 0, shown
    for useless in ("canvas", ".tools", ".command button"):
        assert height(useless) == 0, useless


@pytest.mark.parametrize("name", ["register", "hostile", "locks", "cache", "nasty"])
def test_a_narrow_window_never_scrolls_sideways(browser: Browser, pages: dict[str, str], name: str) -> None:
    browser.open(pages[name], width=420)
    browser.until(f"Number({PAINTED}) > 0")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 420
    # What is wider than the window takes the focus, and so scrolls by keys.
    unreachable = (
        "[...document.querySelectorAll('.scroll, .drawing, .log')].filter((each) => each.tabIndex < 0"
        " && each.checkVisibility({contentVisibilityAuto: true}) && each.scrollWidth > each.clientWidth + 1"
        " && !each.querySelector('a[href], button, summary, input')).length"
    )
    browser.until(f"{unreachable} === 0")


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
