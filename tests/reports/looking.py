"""What every page must be, whatever it is about: every link leads somewhere, and nobody's words run."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from tests.reports.browser import Browser
from tests.reports.test_html_report import Page


def read(path: Path) -> Page:
    """A page taken apart, whose elements are closed and whose links resolve."""
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    assert [name for name, _ in page.elements].count("script") == 1
    assert dead_links(path, page) == []
    return page


def dead_links(path: Path, page: Page) -> list[str]:
    """The links that lead to no anchor of the page and to no file beside it."""
    anchors = {attributes["id"] for _, attributes in page.elements if attributes.get("id")}
    dead = []
    for name, attributes in page.elements:
        href = attributes.get("href")
        if name not in ("a", "link") or not href or href == "data:,":
            continue
        if href.startswith("#"):
            dead += [] if href[1:] in anchors else [href]
        elif not (path.parent / unquote(href.partition("#")[0])).is_file():
            dead.append(href)
    return dead


def open_quietly(browser: Browser, path: Path, **how: int | bool) -> None:
    """Open a page, see that its scripts ran, and that nothing complained and nothing was fetched."""
    browser.open(path.as_uri(), **how)  # type: ignore[arg-type]
    browser.until("document.documentElement.classList.contains('js')")
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "blob:", "data:"))] == []
    assert browser.evaluate("document.body.dataset.owned ?? 'nobody'") == "nobody"
    assert browser.evaluate("document.images.length") == 0


def unpainted(browser: Browser) -> list[str]:
    """The drawings that take no place, and those whose marks do not."""
    found: list[str] = browser.evaluate(
        "[...document.querySelectorAll('svg.figure')].filter((svg) => svg.getBoundingClientRect().height < 20 "
        "|| ![...svg.querySelectorAll('path, rect, circle')].some((mark) => mark.getBoundingClientRect().width > 0))"
        ".map((svg) => svg.getAttribute('class'))"
    )
    return found


def focused(browser: Browser) -> str:
    """The text of the element that has the focus."""
    text: str = browser.evaluate("document.activeElement.textContent.replace(/\\s+/g, ' ').trim()")
    return text


def is_there(browser: Browser, selector: str) -> int:
    """The node that a selector finds, also where scripts are off; 0 for none."""
    document = browser.send("DOM.getDocument")["root"]["nodeId"]
    node: int = browser.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
    return node


def height_without_scripts(browser: Browser, selector: str) -> float:
    """How tall an element is in a page whose scripts are off; 0 where it is not shown."""
    node = is_there(browser, selector)
    assert node, selector
    try:
        return float(browser.send("DOM.getBoxModel", nodeId=node)["model"]["height"])
    except AssertionError:  # an element without a box
        return 0.0
