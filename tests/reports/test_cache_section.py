"""What a page tells of a cache: how old what was read was, hits, the origin's load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.reports import service_runs
from tests.reports.test_html_report import page_of

from foreshock.targets.caches.figures import CacheFigures


def test_the_page_tells_how_old_answers_were_and_what_was_demanded(tmp_path: Path) -> None:
    text = page_of(service_runs.cache_run(tmp_path)).text
    told = text[text.index("The test demanded") :]
    assert "The test demanded: session, nothing older than 500 ms." in told
    # Two gets of each second but the first, less the one that is five versions old, which counts once too.
    assert "18 of 80 gets (22.5 %) returned what had certainly been overwritten, for 4.79 s at most" in told
    assert "1 get returned what nobody had written" in told
    assert "p50 current 0" in told
    assert "max 4.79 s 5" in told
    assert "1 4 8 n3 8.800 s 4.79 s 5" in told
    assert "all 80 18 22.5 %" in told


def test_the_page_draws_ages_hits_and_the_origins_load(tmp_path: Path) -> None:
    page = page_of(service_runs.cache_run(tmp_path))
    for plot in ("plot-ages", "plot-ages-over-time", "plot-hits", "plot-origin"):
        assert len(page.having("svg", plot)) == 1, plot
    assert page.having("rect", "dead"), "what is older than the bound is marked"
    assert "hit rate 75.0 %" in page.text
    assert "origin requests 31" in page.text


@pytest.mark.parametrize(
    "over_time",
    [
        None, 3, {}, {"bucket_ms": 0}, {"bucket_ms": 10, "hits": [1], "misses": [1, 2], "bypasses": [0], "writes": [0]},
        {"bucket_ms": 10, "hits": ["1"], "misses": [1], "bypasses": [0], "writes": [0]},
        {"bucket_ms": 10**30, "hits": [1], "misses": [1], "bypasses": [0], "writes": [0]},
        {"bucket_ms": 10, "hits": [10**30], "misses": [1], "bypasses": [0], "writes": [0]},
        {"bucket_ms": 10, "hits": [], "misses": [], "bypasses": [], "writes": []},
    ],
)  # fmt: skip
def test_figures_that_cannot_be_drawn_are_not(tmp_path: Path, over_time: Any) -> None:
    page = page_of(service_runs.cache_run(tmp_path, figures={"hits": 3, "over_time": over_time}))
    assert not page.having("svg", "plot-hits")
    assert len(page.having("svg", "plot-ages")) == 1
    assert "hits 3" in page.text


def test_numbers_beyond_all_bounds_are_shown_and_stop_nothing(tmp_path: Path) -> None:
    run = service_runs.cache_run(tmp_path, figures={"hits": 10**400, "hit_rate": 1e308, "misses": -(10**30)})
    (run / "test.json").write_text(
        (run / "test.json").read_text().replace('"staleness_bound_ms": 500', '"staleness_bound_ms": 1e305')
    )
    text = page_of(run).text
    assert "hits 1000000000000" in text
    assert "misses -1000000000000" in text


def test_a_target_without_figures_is_said_to_have_none(tmp_path: Path) -> None:
    run = service_runs.cache_run(tmp_path, figures={"other": "words"})
    assert "The target gave no figures of its cache" in page_of(run).text


def test_figures_over_time_stay_few_however_long_a_test_is() -> None:
    figures = CacheFigures()
    for second in range(10_000):
        figures.note("hits", second * 1_000_000_000)
        figures.note("writes", second * 1_000_000_000)
    told = figures.as_dict()
    over_time = told["over_time"]
    assert told["hits"] == told["writes"] == sum(over_time["hits"]) == 10_000
    assert len(over_time["hits"]) == len(over_time["misses"]) <= 240
    assert over_time["bucket_ms"] * len(over_time["hits"]) >= 9_999_000
    assert (told["hit_rate"], told["origin_requests"]) == (1.0, 10_000)
