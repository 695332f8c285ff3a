"""What the page of the zoo says."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.reports import runs, zoos
from tests.reports.test_html_report import Page

from foreshock.harness.errors import HarnessError
from foreshock.harness.zoo.journal import DOCUMENT
from foreshock.reports.zoo import ZooReporter


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
