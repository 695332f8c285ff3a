"""How long the page of a test takes to write and to paint, for histories of 100,000 and 1,000,000 operations.

Written: :class:`HtmlReporter` from a stored run, its history read too, in a process of its own. Painted: from the start
of the navigation to the frame after the one in which the view of all operations is painted, in a headless Chromium.
After a key: how long the view takes to paint again when it is zoomed, panned or sent to the next anomaly.

The peers, in the same run: for writing, the bare reading of the history (nothing can be quicker that looks at it) and
pandas reading the same file and drawing nothing; for painting, a page of the same browser that shows the same latencies
as inline SVG, one circle each (only as many as it can bear), and an empty page.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tests.reports import runs
from tests.reports.browser import Browser, chromium

from foreshock.harness.history import History
from foreshock.harness.history_columns import ColumnBuilder, NameTable
from foreshock.harness.history_values import NONE_PAYLOAD, ValueTable
from foreshock.reports.html import REPORT, HtmlReporter

AIMS = {100_000: (2.0, 1.0), 1_000_000: (8.0, 2.0)}
"""By operations: seconds until written, seconds until painted."""
WORKLOADS = ("register", "lock", "cache")
SVG_MAX = 100_000
ROUNDS = 3
RATE = 500
THREADS = 10
NODES = ("n1", "n2", "n3", "n4", "n5")
SECOND = 1_000_000_000
FAULTS = 30

Numbers = np.ndarray[Any, np.dtype[np.int64]]


def history_of(workload: str, count: int) -> History:
    """A history as a test of ``RATE`` operations a second leaves it, with failures while faults are in force."""
    rng = np.random.default_rng(count)
    names, values = NameTable(), ValueTable()
    number = np.arange(count)
    thread, turn = number % THREADS, number // THREADS
    start = turn * (SECOND * THREADS // RATE) + thread * 1_000
    took = np.minimum(rng.lognormal(15, 0.6, count).astype(np.int64), SECOND * THREADS // RATE - 20_000)
    whole = count * SECOND // RATE
    bad = (start // (whole // (2 * FAULTS))) % 2 == 1
    draw = rng.random(count)
    kind = np.where(bad & (draw < 0.03), 2, np.where(draw > 0.97, 1, 0))
    f, key, value, result = _OPERATIONS[workload](_Turns(number, turn, thread), rng, names, values)
    result = np.where(kind == 0, result, NONE_PAYLOAD)
    # Threads take turns, so the events of one turn are ten invocations and ten completions in some order.
    ends = start + took
    events = np.argsort(np.concatenate((start, ends)), kind="stable")
    index = np.empty(2 * count, dtype=np.int64)
    index[events] = np.arange(2 * count)
    lost = np.cumsum((kind == 2).reshape(-1, THREADS), axis=0)
    before = np.concatenate((np.zeros((1, THREADS), dtype=np.int64), lost[:-1])).reshape(-1)
    nodes = np.array([names[node] for node in NODES])
    said = np.array(
        [-1, names["Definite: the value was not the old one"], names["TimeoutError: no answer in 1 s"]]
    )
    arrays = {
        "process": thread + THREADS * before, "f": f, "key": key, "value": value, "result": result, "type": kind,
        "invoke_index": index[:count], "complete_index": index[count:], "invoke_ns": start, "complete_ns": ends,
        "node": nodes[thread % len(NODES)], "error": said[kind], "attempts": np.ones(count, dtype=np.int64),
    }  # fmt: skip
    return History(
        ColumnBuilder.of_arrays(
            {name: array.astype(np.int64) for name, array in arrays.items()}, names, values
        )
    )


class _Turns(NamedTuple):
    """Of each operation its number, its turn among those of its thread, and the thread."""

    number: Numbers
    turn: Numbers
    thread: Numbers


def _register(
    turns: _Turns, rng: np.random.Generator, names: NameTable, values: ValueTable
) -> tuple[Numbers, ...]:
    which = rng.integers(0, 4, len(turns.number))
    codes = np.array([names[f] for f in ("read", "read", "write", "cas")])
    value = np.where(which == 2, turns.number + 1, NONE_PAYLOAD)
    swapped = turns.number[which == 3]
    value[which == 3] = _texts(values, (b"[%d,%d]" % (n, n + 1) for n in swapped.tolist()))
    result = np.where(which < 2, turns.number, NONE_PAYLOAD)
    return codes[which], turns.number // 600, value, result


def _lock(
    turns: _Turns,
    rng: np.random.Generator,  # noqa: ARG001
    names: NameTable,
    values: ValueTable,
) -> tuple[Numbers, ...]:
    # Each thread acquires, uses twice and releases its own lock; one time in 500 that of its neighbour.
    step, round_ = turns.turn % 4, turns.turn // 4
    codes = np.array([names[f] for f in ("acquire", "use", "use", "release")])
    token = round_ * THREADS + turns.thread + 1
    lock = (turns.thread + ((round_ * 7 + turns.thread) % 500 == 0)) % THREADS
    value, result = np.where(step == 0, 500, token), np.full(len(token), NONE_PAYLOAD)
    uses, asks = (step == 1) | (step == 2), step == 0
    value[uses] = _texts(values, (b'{"token":%d,"until_ns":null}' % t for t in token[uses].tolist()))
    result[asks] = _texts(values, (b'{"token":%d,"ttl_ms":2000}' % t for t in token[asks].tolist()))
    result[uses] = _texts(values, (b'{"seen":%d,"wrote":%d}' % (n, n + 1) for n in range(int(uses.sum()))))
    return codes[step], lock, value, result


def _cache(
    turns: _Turns,
    rng: np.random.Generator,
    names: NameTable,
    values: ValueTable,  # noqa: ARG001
) -> tuple[Numbers, ...]:
    number = turns.number
    which = rng.choice(4, len(number), p=(0.5, 0.2, 0.25, 0.05))
    codes = np.array([names[f] for f in ("get", "get", "put", "delete")])
    key = (number // 20_000) * 8 + number % 8
    # The put that last returned before, or one that is older.
    writes = np.where(which == 2, number, 0)
    latest = np.maximum.accumulate(writes.reshape(-1, 8), axis=0).reshape(-1)
    stale = np.concatenate((latest[:80], latest[:-80]))
    seen = np.where(rng.random(len(number)) < 0.2, stale, np.concatenate((latest[:16], latest[:-16])))
    result = np.where((which < 2) & (seen > 0), seen, NONE_PAYLOAD)
    return codes[which], key, np.where(which == 2, number, NONE_PAYLOAD), result


def _texts(values: ValueTable, texts: Any) -> Numbers:
    first = len(values.texts)
    values.texts.extend(texts)
    return NONE_PAYLOAD - 1 - np.arange(first, len(values.texts))


_OPERATIONS = {"register": _register, "lock": _lock, "cache": _cache}


def store(run: Path, workload: str, count: int) -> None:
    """A finished run with a history of so many operations."""
    whole = count / RATE
    part = whole / (2 * FAULTS)
    faults = [("kill", (NODES[i % 5],), (2 * i + 1) * part, (2 * i + 2) * part) for i in range(FAULTS)]
    runs.store(
        run,
        test=runs.test_document(plan=runs.plan(workload=workload)),
        result=runs.results("valid", "every checker accepted the history"),
        faults=runs.faults_lines(faults),
    )
    history_of(workload, count).write_parquet(run / "history.parquet")
    runs.logs(run)


def written(run: Path) -> dict[str, float]:
    """Seconds until the page is written, and until the history is merely read, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.reports", "--write", str(run)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def write(run: Path) -> dict[str, float]:
    """The same in this process, with everything imported before."""
    import pandas as pd

    path = run / "history.parquet"
    History.read(path)
    HtmlReporter().report(run)
    figures = {"page": np.inf, "page_cpu": np.inf, "read": np.inf, "pandas": np.inf}
    for _ in range(ROUNDS):
        for name, work in (
            ("page", lambda: HtmlReporter().report(run)),
            ("read", lambda: History.read(path)),
            ("pandas", lambda: pd.read_parquet(path)),
        ):
            start, start_cpu = time.perf_counter(), time.process_time()
            work()
            figures[name] = min(figures[name], time.perf_counter() - start)
            if name == "page":
                figures["page_cpu"] = min(figures["page_cpu"], time.process_time() - start_cpu)
    return figures


_WATCH = """
addEventListener("DOMContentLoaded", () => {
  const done = () => requestAnimationFrame(() => setTimeout(() => { window.paintedMs = performance.now(); }));
  const canvas = document.querySelector("canvas");
  if (!canvas) { done(); return; }
  const watch = new MutationObserver(() => { if (canvas.dataset.painted) { watch.disconnect(); done(); } });
  watch.observe(canvas, { attributes: true });
});
"""


def answered(browser: Browser, page: Path) -> float:
    """The longest time in seconds that painting took after a key: zooming, panning, the next anomaly, the whole run."""
    browser.open(page.as_uri())
    browser.until("document.querySelector('canvas')?.dataset.painted")
    browser.evaluate("document.querySelector('canvas').focus()")
    longest = 0.0
    for key in ("+", "+", "n", "n", "j", "-", "0"):
        browser.press(key)
        browser.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        longest = max(
            longest, float(browser.evaluate("document.querySelector('canvas').dataset.paintMs")) / 1000
        )
    browser.close_page()
    return longest


def painted(browser: Browser, page: Path) -> float:
    """Seconds from the start of the navigation until the frame with the view was drawn; the best of some."""
    times = []
    for _ in range(ROUNDS):
        browser.open(page.as_uri(), on_new_document=_WATCH)
        browser.until("window.paintedMs > 0")
        times.append(float(browser.evaluate("window.paintedMs")) / 1000)
        browser.close_page()
    return min(times)


def svg_page(path: Path, history: History) -> Path:
    """The peer: one circle an operation."""
    invoked = history.column("invoke_ns")
    latency = history.column("complete_ns") - invoked
    x = invoked / invoked.max() * 1000
    y = 300 - np.log(np.maximum(latency, 1_000) / 1_000) * 20
    circles = "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1.5"/>' for a, b in zip(x, y, strict=True))
    path.write_text(f'<!doctype html><meta charset="utf-8"><svg viewBox="0 0 1000 300">{circles}</svg>')
    return path


def measure(browser: Browser, folder: Path, workload: str, count: int) -> dict[str, Any]:
    """All figures of one history."""
    run = folder / f"{workload}-{count}"
    store(run, workload, count)
    figures: dict[str, Any] = {"workload": workload, "operations": count, **written(run)}
    figures["page_bytes"] = (run / REPORT).stat().st_size
    figures["painted"] = painted(browser, run / REPORT)
    figures["answered"] = answered(browser, run / REPORT)
    if count <= SVG_MAX:
        figures["svg_painted"] = painted(browser, svg_page(run / "svg.html", history_of(workload, count)))
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, action="append", help="default: 100,000 and 1,000,000")
    parser.add_argument("--workload", choices=WORKLOADS, action="append")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        print(json.dumps(write(options.write)))
        return 0
    if chromium() is None:
        print("no Chromium is installed: how long pages take to paint cannot be measured", file=sys.stderr)
        return 3
    missed = 0
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name,
        Browser(Path(name) / "profile") as browser,
    ):
        (Path(name) / "empty.html").write_text("<!doctype html><title>empty</title>")
        empty = painted(browser, Path(name) / "empty.html")
        for count in options.operations or AIMS:
            for workload in options.workload or WORKLOADS:
                figures = measure(browser, Path(name), workload, count) | {"empty_painted": empty}
                missed += _say(figures, as_json=options.json)
    return 1 if missed else 0


def _say(figures: dict[str, Any], *, as_json: bool) -> bool:
    """Print the figures; whether an aim was missed."""
    write_aim, paint_aim = AIMS.get(figures["operations"], (np.inf, np.inf))
    missed = figures["page"] > write_aim or figures["painted"] > paint_aim
    if as_json:
        print(json.dumps(figures), flush=True)
        return bool(missed)
    svg = figures.get("svg_painted")
    beside = f"inline SVG {svg:.2f} s ({svg / figures['painted']:.1f} x)" if svg else "inline SVG not tried"
    print(
        f"{figures['workload']:<9}{figures['operations']:>10,} operations"
        f"  written {figures['page']:5.2f} s ({figures['page_cpu']:.2f} s of CPU; aim {write_aim:g}; "
        f"history alone {figures['read']:.2f} s: "
        f"{figures['page'] / figures['read']:.1f} x; pandas reads {figures['pandas']:.2f} s)"
        f"  painted {figures['painted']:5.2f} s (aim {paint_aim:g}; {beside}; "
        f"empty page {figures['empty_painted']:.2f} s; "
        f"after a key {figures['answered'] * 1000:.0f} ms)"
        f"  {figures['page_bytes'] / 1e6:.1f} MB{'  MISSED' if missed else ''}",
        flush=True,
    )
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
