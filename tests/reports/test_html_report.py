"""What the page of a run says, for runs in every state."""

from __future__ import annotations

import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.reports import runs, service_runs, tapes

from foreshock.harness.errors import HarnessError
from foreshock.harness.registry import Kind, load
from foreshock.reports import explorer_data
from foreshock.reports.html import HtmlReporter
from foreshock.reports.rendering import embed_json

VOID = {"meta", "link", "br", "img", "input", "hr"}
MAKERS = (
    runs.valid_run,
    runs.invalid_register_run,
    runs.invalid_lock_run,
    runs.hostile_run,
    runs.killed_run,
    runs.empty_run,
    runs.single_run,
    service_runs.lock_run,
    service_runs.cache_run,
    service_runs.nasty_run,
)


class Page(HTMLParser):
    """A page taken apart; raises where an element is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("script", "style"):
            self.scripts.append(data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))

    def having(self, tag: str, css_class: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and css_class in (attributes.get("class") or "").split()
        ]


def page_of(run: Path) -> Page:
    return Page(HtmlReporter().report(run).read_text(encoding="utf-8"))


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_every_page_is_well_formed_self_contained_and_names_its_drawings(
    tmp_path: Path, make: object
) -> None:
    assert callable(make)
    page = page_of(make(tmp_path))
    assert page.open == []
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "href", "action", "srcset", "data", "poster"):
                assert not re.match(r"[a-z]+:(?!,$)|//", value or ""), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
        if tag == "svg" and attributes.get("role") == "img" and "aria-labelledby" in attributes:
            assert set((attributes["aria-labelledby"] or "").split()) <= set(identifiers)
    style = "".join(part for part in page.scripts if ":root" in part)
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__name__)
def test_every_relative_link_leads_to_a_file_or_a_place_in_the_page(tmp_path: Path, make: object) -> None:
    assert callable(make)
    page = page_of(make(tmp_path))
    links = [attributes["href"] or "" for tag, attributes in page.elements if tag == "a"]
    identifiers = {attributes.get("id") for _, attributes in page.elements}
    assert links
    for link in links:
        if link.startswith("#"):
            assert link[1:] in identifiers, link
        else:
            assert (tmp_path / unquote(link)).is_file(), link


def test_a_valid_run_shows_its_figures_its_plan_and_its_plots(tmp_path: Path) -> None:
    page = page_of(runs.valid_run(tmp_path))
    assert "Valid" in page.text
    assert "all 5 keys are linearizable, and every checker accepted the history" in page.text
    assert "1 500" in page.text
    assert "Why it is" not in page.text
    assert "snapshot_after_entries 1000" in page.text
    assert "zones over clusters" in page.text
    assert runs.REPLAY in page.text
    assert "Why operations were not ok" in page.text
    assert "timeout after … ms" in page.text
    assert len(page.having("table", "not-ok")) == 1
    for plot in ("plot-faults", "plot-rate", "plot-latency", "plot-availability", "seismogram"):
        assert len(page.having("svg", plot)) == 1, plot
    assert page.having("path", "p99")
    assert len(page.having("path", "area")) > 10


def test_each_plot_is_shaded_where_the_ledger_holds_a_fault(tmp_path: Path) -> None:
    page = page_of(runs.valid_run(tmp_path))
    bands = page.having("rect", "band")
    # The trace at the top and the four plots on the same axis.
    assert len(bands) == 5 * len(tapes.PARTITIONS)
    colors = {shade["name"]: shade["color"] for shade in runs.SHADES}
    assert {band["fill"] for band in bands} == {colors["partition"], colors["kill"]}
    # A window runs from when the fault was seen to take until it was healed.
    first = min(float(bar["x"] or 0) for bar in page.having("rect", "fault-bar"))
    assert first == pytest.approx(92 + (1080 - 92 - 72) * 6.02 / 60, abs=1)


def test_marks_stay_few_whatever_the_history(tmp_path: Path) -> None:
    page = page_of(runs.valid_run(tmp_path))
    drawn = [tag for tag, _ in page.elements if tag in ("rect", "path", "circle", "line", "text")]
    assert len(drawn) < 2000


def test_a_red_verdict_leads_to_core_fault_logs_and_command(tmp_path: Path) -> None:
    page = page_of(runs.invalid_register_run(tmp_path))
    text = page.text
    assert "Invalid" in text
    assert "1 harness error, beside the verdict" in text
    assert "n3 did not answer for 5 s after its restart" in text
    steps = (
        "The violation",
        "process 104 read 901 after process 102 had replaced it by 902",
        "3 operations that together prove it; without any one of them the proof fails",
        "Possible just before: 902 903",
        "partition on n1, n2 (n1, n2 | n3, n4, n5), in force for 4.02 s at that moment",
        "term 4: cannot reach a majority, stepping down",
    )
    assert [step for step in steps if step not in text] == []
    places = [text.index(step, text.index("Why it is invalid")) for step in steps]
    assert places == sorted(places)
    # At the top, at the end of the path, and at the end of the page.
    assert text.count(runs.REPLAY) == 3


def test_the_counterexample_draws_every_operation_its_order_and_where_it_dies(tmp_path: Path) -> None:
    page = page_of(runs.invalid_register_run(tmp_path))
    assert len(page.having("rect", "op")) == 5
    assert len(page.having("path", "open")) == 1
    assert len(page.having("rect", "impossible")) == 1
    assert len(page.having("rect", "order")) == 5
    assert len(page.having("path", "thread")) == 4
    assert len(page.having("line", "death")) == 1
    assert "needed the value to be 901" in page.text
    assert "at this return no order is left" in page.text


def test_a_counterexample_without_rows_is_looked_up_in_the_history(tmp_path: Path) -> None:
    page = page_of(runs.invalid_register_run(tmp_path, with_rows=False))
    assert len(page.having("rect", "op")) == 5
    assert "read → 901" in page.text


def test_two_lock_holders_are_drawn_as_overlapping_holds(tmp_path: Path) -> None:
    page = page_of(runs.invalid_lock_run(tmp_path))
    holds = page.having("rect", "hold")
    assert len(holds) == 2
    assert len(page.having("rect", "overlap")) == 1
    assert "two holders at once for 43 ms" in page.text
    assert "holds the lock, token 33" in page.text
    left, right = (
        (float(hold["x"] or 0), float(hold["x"] or 0) + float(hold["width"] or 0)) for hold in holds
    )
    assert max(left[0], right[0]) < min(left[1], right[1])


def test_the_violation_that_the_headline_speaks_of_is_told_first(tmp_path: Path) -> None:
    run = runs.invalid_lock_run(tmp_path)
    results = json.loads((run / "results.json").read_text())
    mutex = results["checkers"]["mutex"]
    (example,) = mutex["counterexamples"]
    other = {**mutex, "counterexamples": [{**example, "reason": "the update of one was lost"}]}
    results["checkers"] = {"guarded-resource": other, "mutex": mutex}
    (run / "results.json").write_text(json.dumps(results))
    text = page_of(run).text
    told = text[text.index("Why it is invalid") :]
    assert told.index("processes 7 and 8 both held the lock") < told.index("the update of one was lost")


def test_hostile_values_are_text_and_never_markup(tmp_path: Path) -> None:
    html = HtmlReporter().report(runs.hostile_run(tmp_path)).read_text(encoding="utf-8")
    page = Page(html)
    assert [tag for tag, _ in page.elements].count("script") == 2
    assert not [tag for tag, _ in page.elements if tag in ("img", "iframe", "object", "embed", "form")]
    assert runs.HOSTILE.split("{")[0] in "".join(page.words)
    assert "{{7*7}}" in "".join(page.words)
    assert "background:url" not in html
    assert "\x1b" not in html


def test_nothing_on_a_page_hides_or_is_endless(tmp_path: Path) -> None:
    html = HtmlReporter().report(service_runs.nasty_run(tmp_path)).read_text(encoding="utf-8")
    page = Page(html)
    shown = "".join(page.words) + "".join(
        value or "" for tag, attributes in page.elements for value in attributes.values() if tag != "style"
    )
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]", shown)
    assert "a\\u0000b\\u001b[31m\\u202egnp.exe" in shown
    assert "more characters)" in shown
    # Fourteen values of 1.1 MB came in, many times over.
    assert len(html) < 3_000_000


def test_only_the_pages_own_script_may_run(tmp_path: Path) -> None:
    page = page_of(runs.hostile_run(tmp_path))
    (policy,) = [
        attributes["content"]
        for tag, attributes in page.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]+';", policy)


def test_embedded_json_cannot_end_its_element() -> None:
    embedded = embed_json(json.dumps({"a": "</script><!--", "b": "\u2028&"}, ensure_ascii=False).encode())
    assert not set("<>&\u2028") & set(embedded)
    assert json.loads(embedded) == {"a": "</script><!--", "b": "\u2028&"}


def test_a_killed_harness_leaves_a_page_that_says_how_to_decide_it(tmp_path: Path) -> None:
    page = page_of(runs.killed_run(tmp_path))
    assert "Unknown" in page.text
    assert "the harness ended before it wrote a verdict" in page.text
    assert f"foreshock analyze {tmp_path}" in page.text
    assert "5 operations never completed" in page.text
    assert "1 fault not known to be healed" in page.text
    assert "never healed" in page.text
    assert page.having("svg", "plot-rate")


def test_an_empty_history_leaves_a_page_that_says_why(tmp_path: Path) -> None:
    page = page_of(runs.empty_run(tmp_path))
    assert "the cluster did not become healthy in 60 s: n4 refused connections" in page.text
    assert "The history is empty" in page.text
    assert not page.having("svg", "plot-rate")


def test_a_run_with_nothing_but_a_plan_still_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "test.json").write_text("{}")
    page = page_of(tmp_path)
    assert "Unknown" in page.text
    assert "The plan was not stored." in page.text


def test_an_interrupted_run_says_so(tmp_path: Path) -> None:
    runs.store(tmp_path, result=runs.results("valid", "fine so far", interrupted=True))
    assert "The test was interrupted" in page_of(tmp_path).text


def test_a_checker_that_convicts_without_an_example_still_leads_the_page(tmp_path: Path) -> None:
    check = {"verdict": "invalid", "reason": "12 updates were lost", "method": "counting"}
    runs.store(
        tmp_path, result=runs.results("invalid", "guarded: 12 updates were lost", checkers={"guarded": check})
    )
    page = page_of(tmp_path)
    assert "Why it is invalid" in page.text
    assert "12 updates were lost" in page.text


def test_a_large_history_is_thinned_and_the_page_says_what_it_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explorer_data, "WHOLE_MAX", 500)
    page = page_of(runs.valid_run(tmp_path))
    assert "1 000 of 1 500 operations are drawn only as density" in page.text
    document = json.loads(next(part for part in page.scripts if part.startswith('{"count"')))
    assert document["count"] == 500
    assert document["grid"]["columns"] > 0


def test_parquet_alone_is_enough(tmp_path: Path) -> None:
    runs.invalid_register_run(tmp_path, count=500, parquet=True)
    (tmp_path / "history.jsonl").unlink()
    assert len(page_of(tmp_path).having("rect", "op")) == 5


def test_a_table_that_is_older_than_the_lines_or_half_written_is_not_read(tmp_path: Path) -> None:
    runs.invalid_register_run(tmp_path, count=500, parquet=True)
    whole = page_of(tmp_path).text
    table, lines = tmp_path / "history.parquet", tmp_path / "history.jsonl"
    table.write_bytes(table.read_bytes()[:2_000])
    assert page_of(tmp_path).text == whole
    tapes.register_tape(20).history().write_parquet(table)
    os.utime(table, ns=(0, lines.stat().st_mtime_ns - 1))
    assert page_of(tmp_path).text == whole


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("test.json", "{", r"test\.json is not JSON"),
        ("test.json", '{"plan": 3}', r"test\.json is not what a run leaves there"),
        ("results.json", "[]", r"results\.json does not hold a JSON object"),
        ("results.json", '{"verdict": "perhaps"}', r"results\.json holds the verdict 'perhaps'"),
        ("results.json", '{"reason": "x"}', r"results\.json is not what a run leaves there"),
        ("faults.jsonl", "x\n", r"faults\.jsonl, line 1 is not a ledger entry"),
        ("history.jsonl", '{"index":0}\n{"index":1}\n', r"history\.jsonl.*line 1"),
    ],
)
def test_a_broken_file_is_named_in_one_sentence(tmp_path: Path, name: str, content: str, said: str) -> None:
    runs.single_run(tmp_path)
    (tmp_path / name).write_text(content)
    with pytest.raises(HarnessError, match=said):
        HtmlReporter().report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_folder_that_is_no_run_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match=r"is not a stored run: it holds no test\.json"):
        HtmlReporter().report(tmp_path)


def test_a_page_that_cannot_be_written_is_an_error_and_leaves_nothing_behind(tmp_path: Path) -> None:
    runs.empty_run(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(HarnessError, match="cannot be written"):
        HtmlReporter().report(tmp_path)
    assert not list(tmp_path.glob(".report*"))


def test_the_same_run_gives_the_same_page(tmp_path: Path) -> None:
    runs.invalid_register_run(tmp_path, count=500)
    first = HtmlReporter().report(tmp_path).read_bytes()
    assert HtmlReporter().report(tmp_path).read_bytes() == first


def test_the_reporter_is_found_under_its_entry_point() -> None:
    assert load(Kind.REPORTERS, "html") is HtmlReporter


def test_of_many_faults_during_the_core_those_nearest_the_violation_are_told(tmp_path: Path) -> None:
    runs.invalid_register_run(tmp_path, count=500)
    kills = [("kill", ("n5",), 10.0 + number / 1000, 10.0005 + number / 1000) for number in range(20)]
    ledger = runs.faults_lines([("partition", ("n1",), 9.9, 14.0), *kills])
    # Never verified, so that each of the short faults lies within the core from when it was planned.
    lines = [line for line in ledger.splitlines(keepends=True) if '"event": "verified"' not in line]
    (tmp_path / "faults.jsonl").write_text("".join(lines))
    text = page_of(tmp_path).text
    assert "and 13 faults more while the core was under way" in text
    assert "partition on n1 (n1 | n2, n3, n4, n5), in force for 141 ms at that moment" in text
