"""The page of ``foreshock check``: what it says, and that a real browser shows it, also without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.checkers.model_trials import in_order
from tests.checkers.random_histories import context, history_of
from tests.reports.browser import Browser, chromium
from tests.reports.runs import HOSTILE

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.errors import HarnessError
from foreshock.reports.checked import DRAWN_KEYS_MAX, CheckReporter

needs_browser = pytest.mark.skipif(
    chromium() is None, reason="no Chromium is installed: pages cannot be looked at"
)


def stale(first: Any, second: Any) -> list[Any]:
    return in_order((0, "write", first, None), (1, "write", second, None), (2, "read", None, first))


def entry(file: str, histories: dict[Any, list[Any]], model: str = "cas-register") -> dict[str, Any]:
    """What ``foreshock check --json`` says of one file."""
    result = LinearizableChecker(model).check(history_of(histories), context())
    found = [msgspec.to_builtins(each, enc_hook=str) for each in result.counterexamples]
    return {
        "file": file,
        "verdict": result.verdict.word,
        "reason": result.reason,
        "operations": sum(map(len, histories.values())),
        "seconds": 0.001,
        "keys": [each["key"] for each in found],
        "counterexamples": found,
    }


def document(*entries: dict[str, Any]) -> dict[str, Any]:
    verdict = "invalid" if any(each["verdict"] == "invalid" for each in entries) else "valid"
    return {"verdict": verdict, "exit": 1, "seconds": 0.01, "histories": list(entries)}


def page(tmp_path: Path, *entries: dict[str, Any]) -> str:
    return CheckReporter().write(document(*entries), tmp_path / "page.html").read_text()


def test_it_tells_every_illegal_key_of_every_file(tmp_path: Path) -> None:
    legal = in_order((0, "write", 1, None), (1, "read", None, 1))
    html = page(
        tmp_path,
        entry("one.jsonl", {"a": stale(1, 2), "b": stale(3, 4), "c": legal}),
        entry("two.log", {None: legal}),
    )
    assert html.count('class="drawing"') == 2
    assert html.count("Why no order works") == 2
    assert "2 histories: 1 invalid, 1 valid" in html
    assert html.count("process 1 had already overwritten it with write 2") == 1
    # Each reason once: where the key is told, in the line of a folded one, and in the name of its drawing.
    for reason in ("the value could be 2, but not 1", "the value could be 4, but not 3"):
        assert html.count(reason) == 2
    assert "two.log" in html


def test_a_history_without_times_has_numbers_of_events_and_no_empty_columns(tmp_path: Path) -> None:
    found = entry("one", {"a": stale(1, 2)})
    for row in found["counterexamples"][0]["operations"]:
        row |= {"invoke_ns": 0, "complete_ns": -1, "node": None}
    html = page(tmp_path, found)
    assert "the history has no times" in html
    for title in ("Took", "Invoked", "Node"):
        assert f">{title}</th>" not in html
    assert "never" not in html.split('id="main"')[1].split("<script")[0]
    assert '<td class="n">4-5</td>' in html
    assert "the history has no times" not in page(tmp_path, entry("one", {"a": stale(1, 2)}))


def test_one_file_is_told_once(tmp_path: Path) -> None:
    html = page(tmp_path, entry("one", {None: stale(1, 2)}))
    assert '<span class="sentence">the history is not linearizable</span>' in html
    assert html.count("cannot be explained") == 2
    html = page(tmp_path, entry("one", {"a": stale(1, 2), "b": stale(3, 4), "c": stale(5, 6)}))
    assert "is not linearizable, nor are 2 other keys</span>" in html


def test_of_very_many_keys_the_first_are_drawn_and_the_others_listed(tmp_path: Path) -> None:
    count = DRAWN_KEYS_MAX + 5
    html = page(tmp_path, entry("many", {key: stale(1, 2) for key in range(count)}))
    assert html.count('class="drawing"') == DRAWN_KEYS_MAX
    assert "5 more illegal keys" in html


def test_what_could_not_be_read_is_listed_with_its_error(tmp_path: Path) -> None:
    html = page(tmp_path, {"file": "broken.edn", "verdict": "unknown", "error": "line 3 is broken"})
    assert "line 3 is broken" in html


def test_values_of_a_megabyte_make_no_large_page(tmp_path: Path) -> None:
    long = "x" * (1 << 20)
    html = page(tmp_path, entry("long", {long: stale(long, long + "y")}))
    assert "(1,048,578 characters)" in html or "characters)" in html
    assert len(html) < 200_000


def test_a_folder_of_a_check_is_rendered_and_no_other(tmp_path: Path) -> None:
    assert CheckReporter().report(tmp_path) is None
    (tmp_path / "check.json").write_text(json.dumps(document(entry("one", {1: stale(1, 2)}))))
    assert CheckReporter().report(tmp_path) == tmp_path / "check.html"
    for broken in ("{", '{"verdict": 3}'):
        (tmp_path / "check.json").write_text(broken)
        with pytest.raises(HarnessError):
            CheckReporter().report(tmp_path)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@needs_browser
@pytest.mark.parametrize("scripts", [True, False])
@pytest.mark.parametrize("dark", [True, False])
def test_a_browser_shows_the_drawing_and_nothing_hostile_happens(
    browser: Browser, tmp_path: Path, scripts: bool, dark: bool
) -> None:
    hostile = entry(HOSTILE, {HOSTILE: stale(HOSTILE, [HOSTILE]), 2: stale(1, 2)})
    path = CheckReporter().write(document(hostile), tmp_path / "page.html")
    browser.open(path.as_uri(), scripts=scripts, dark=dark)
    assert browser.complaints() == []
    assert [url for url in browser.requests() if not url.startswith(("file:", "data:"))] == []
    if not scripts:
        return
    assert browser.evaluate("document.body.dataset.owned ?? 'nobody'") == "nobody"
    assert browser.evaluate("document.images.length") == 0
    assert browser.evaluate("document.querySelectorAll('.drawing svg').length") == 2
    assert browser.evaluate("document.querySelector('.drawing svg').getBoundingClientRect().height") > 100
    assert browser.evaluate("document.querySelectorAll('.drawing .impossible').length") == 2
    assert HOSTILE[:40] in browser.evaluate("document.body.textContent")
    assert browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
