"""The server's pages in a real browser: a filter, a run opened, and a real test watched from beginning to report."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.commands import Started, until
from tests.harness.server.conftest import HOSTILE_NAME
from tests.harness.server.serving import Serving
from tests.reports.browser import Browser, chromium

pytestmark = pytest.mark.skipif(
    chromium() is None, reason="no Chromium is installed: pages cannot be looked at"
)

ROWS = "document.querySelectorAll('.runs tbody tr').length"


def seen(browser: Browser, condition: str) -> None:
    """Wait until the condition holds, also across a change to another page, which ends what was asked of the last."""

    def holds() -> bool:
        try:
            return bool(browser.evaluate(condition))
        except AssertionError as error:
            if "navigated" not in str(error) and "context" not in str(error):
                raise
            return False

    until(holds, condition)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def test_runs_are_filtered_and_opened(browser: Browser, server: Serving) -> None:
    browser.open(server.address)
    assert browser.evaluate(ROWS) == 50
    browser.evaluate("void document.querySelector('.tab.invalid').click()")
    seen(browser, "location.search === '?verdict=invalid' && document.readyState === 'complete'")
    assert browser.evaluate(ROWS) == 31
    browser.evaluate("document.querySelector('input[name=text]').value = 'reason of number 6'")
    browser.evaluate("void document.querySelector('.filters button').click()")
    seen(browser, "location.search.includes('text=') && document.readyState === 'complete'")
    assert browser.evaluate("document.querySelector('.tab[aria-current]').textContent").startswith("invalid")
    assert 1 <= browser.evaluate(ROWS) < 31
    assert browser.complaints() == []


def test_a_report_works_in_the_origin_of_its_own(browser: Browser, server: Serving) -> None:
    browser.open(f"{server.address}store/raft-register-kill/20260101T100000-000001/")
    browser.until("Number(document.querySelector('canvas')?.dataset.painted) > 0")
    assert browser.evaluate("self.origin") == "null"
    assert browser.complaints() == []


@pytest.mark.parametrize("area", ["store", "live", "files"])
def test_hostile_names_and_values_run_nothing(browser: Browser, server: Serving, area: str) -> None:
    folder = quote(HOSTILE_NAME, safe="")
    browser.open(f"{server.address}{area}/{folder}/20260101T110000-000002/")
    browser.until("document.readyState === 'complete'")
    assert browser.evaluate("document.body.dataset.owned ?? 'nobody'") == "nobody"
    assert browser.evaluate("document.images.length") == 0
    assert browser.complaints() == []


def test_a_list_shows_what_is_new_by_itself(browser: Browser, tmp_path: Path) -> None:
    from tests.harness.server import stores

    running = stores.running_run(tmp_path)
    with Serving(tmp_path) as own:
        browser.open(own.address)
        assert browser.evaluate(ROWS) == 1
        stores.quick_run(tmp_path, 5)
        browser.until(f"{ROWS} === 2")
        stores.write_live(running, phase="healing")
        browser.until("document.querySelector('.card-phase').textContent.startsWith('healing')")
        assert browser.complaints() == []
        browser.open("about:blank")


def test_a_real_test_is_watched_from_its_beginning_to_its_report(browser: Browser, tmp_path: Path) -> None:
    arguments = (
        "test",
        "--target",
        "raft",
        "--workload",
        "register",
        "--nemesis",
        "kill",
        "--backend",
        "process",
    )
    limits = ("--nodes", "3", "--time-limit", "60", "--interval", "1", "--store", str(tmp_path), "-q")
    with Serving(tmp_path) as own, Started(*arguments, *limits) as test:
        until(lambda: any(tmp_path.glob("raft-*/*/live.json")), "the test")
        browser.open(f"{own.address}store/latest/")
        seen(browser, "location.pathname.startsWith('/live/')")
        count = "Number(document.querySelector('[data-field=ok]').textContent.replaceAll(/\\D/g, ''))"
        seen(browser, f"{count} > 20")
        before = browser.evaluate(count)
        seen(browser, f"{count} > {before}")
        seen(browser, "Number(document.getElementById('chart').dataset.painted) > 2")
        seen(browser, "document.querySelectorAll('#fault-rows tr').length > 0")
        assert browser.evaluate("document.querySelectorAll('.node').length") == 3
        assert browser.evaluate("document.getElementById('last-rows').rows.length") == 12
        test.signal(signal.SIGINT)  # enough has been seen
        assert test.finish().code == 130
        seen(browser, "location.pathname.startsWith('/store/')")
        seen(browser, "Number(document.querySelector('canvas')?.dataset.painted) > 0")
        assert "Valid" in browser.evaluate("document.title")
        assert browser.complaints() == []
        browser.open("about:blank")
