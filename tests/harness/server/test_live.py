"""A test that is looked at while it runs: what is told of it, as it grows, to its end."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.harness.server import stores
from tests.harness.server.serving import WAIT_S, Serving, Stream
from tests.reports import runs

from foreshock.harness.server import live_history, live_hub
from foreshock.harness.server.live_history import LiveHistory
from foreshock.harness.server.live_hub import LiveHub, Watch
from foreshock.harness.server.live_run import LiveRun
from foreshock.harness.server.live_timeline import SLICES_MAX, Timeline
from foreshock.harness.server.store_files import RequestError

SECOND = 1_000_000_000


def read_all(history: LiveHistory) -> LiveHistory:
    while history.advance():
        pass
    return history


def test_a_history_is_read_as_it_grows_each_line_once(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    history = LiveHistory(path)
    assert not history.advance()  # it is not there yet
    path.write_text(stores.events(50))
    assert read_all(history).counts == {"ok": 50, "fail": 0, "info": 0}
    lines = stores.events(10, first=50).encode()
    with path.open("ab") as file:
        file.write(lines[:777])  # in the middle of a line
        file.flush()
        torn = read_all(history).counts["ok"]
        assert 50 < torn < 60
        file.write(lines[777:])
    assert read_all(history).counts["ok"] == 60
    assert history.unreadable == history.under_way == 0
    newest = history.latest_completions()
    assert [row["value"] for row in newest[:2]] == ["59", "58"]
    assert newest[0]["ms"] == 2.0


def test_a_history_that_was_replaced_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text(stores.events(50))
    history = read_all(LiveHistory(path))
    (tmp_path / "other").write_text(stores.events(7))
    (tmp_path / "other").replace(path)
    assert read_all(history).counts["ok"] == 7


def test_lines_that_nobody_can_read_are_counted_and_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_history, "LINE_BYTES_MAX", 1000)
    monkeypatch.setattr(live_history, "STEP_BYTES", 300)
    path = tmp_path / "history.jsonl"
    good = stores.events(3)
    path.write_text(
        good
        + "{nonsense\n"
        + '{"index":1,"type":"gone","process":1,"f":"x"}\n'
        + "x" * 5000
        + "\n"
        + stores.events(3, first=3)
    )
    history = read_all(LiveHistory(path))
    assert history.counts["ok"] == 6
    assert history.unreadable == 3


def test_what_was_not_ok_is_counted_by_reason_whatever_its_numbers(tmp_path: Path) -> None:
    lines = []
    for number in range(30):
        kind, error = ("fail", f"not granted within {number} ms") if number % 3 else ("info", "timeout")
        lines.append(
            {
                "index": 2 * number,
                "type": "invoke",
                "process": number,
                "f": "acquire",
                "time_ns": number * SECOND,
            }
        )
        lines.append(
            {
                "index": 2 * number + 1,
                "type": kind,
                "process": number,
                "f": "acquire",
                "time_ns": number * SECOND + 5,
                "error": error,
            }
        )
    path = tmp_path / "history.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    problems = read_all(LiveHistory(path)).latest_problems()
    assert [(row["type"], row["error"], row["count"]) for row in problems] == [
        ("fail", "not granted within … ms", 20),
        ("info", "timeout", 10),
    ]


def test_time_is_told_in_a_bounded_number_of_slices_however_long_the_test(tmp_path: Path) -> None:
    timeline = Timeline()
    generator = np.random.default_rng(1)
    latencies = generator.lognormal(1, 1, 20_000) * 1e6
    for number, latency in enumerate(latencies):
        timeline.add(number * SECOND, "ok", int(latency))
    timeline.add(1 << 62, "info", None)
    whole = timeline.whole()
    assert len(whole["ok"]) <= SLICES_MAX
    assert sum(whole["ok"]) == 20_000
    assert sum(whole["info"]) == 1
    assert whole["p50"][0] == pytest.approx(np.median(latencies) / 1e6, rel=0.1)
    assert whole["p99"][0] == pytest.approx(np.quantile(latencies, 0.99) / 1e6, rel=0.1)


def test_only_what_has_changed_is_told_again() -> None:
    timeline = Timeline()
    for second in range(10):
        timeline.add(second * SECOND, "ok", 1_000_000)
    assert timeline.changes()["from"] == 0
    timeline.add(9 * SECOND, "fail", None)
    changes = timeline.changes()
    assert (changes["from"], changes["ok"], changes["fail"]) == (18, [1], [1])
    assert timeline.changes()["ok"] == []
    assert len(timeline.whole()["ok"]) == 19


def looked_at(run: Path) -> dict[str, Any]:
    live = LiveRun(run)
    while live.advance():
        pass
    return live.whole()


def test_a_running_test_tells_phase_nodes_and_faults(tmp_path: Path) -> None:
    told = looked_at(stores.running_run(tmp_path))
    assert (told["state"], told["phase"]) == ("running", "running register for 60 s")
    assert told["nodes"] == {"n1": "running", "n2": "paused", "n3": "killed"}
    assert [(fault["kind"], fault["state"]) for fault in told["faults"]] == [
        ("partition", "healed"),
        ("kill", "in force"),
    ]
    assert told["faults"][1]["to_s"] is None
    assert told["counts"]["ok"] == 100


def test_a_harness_that_was_killed_is_told_as_such(tmp_path: Path) -> None:
    told = looked_at(stores.running_run(tmp_path, alive=False))
    assert told["state"] == "killed"
    assert told["pid"] == stores.DEAD.pid
    assert told["counts"]["ok"] == 100
    assert told["nodes"] != {}  # by the plan, for nobody knows their state


def test_a_run_in_any_state_can_be_looked_at(tmp_path: Path) -> None:
    hostile = looked_at(stores.summarized(runs.hostile_run(tmp_path / "hostile")))
    assert hostile["state"] == "finished"
    assert runs.HOSTILE[:50] in json.dumps(hostile["problems"], ensure_ascii=False)
    killed = looked_at(runs.killed_run(tmp_path / "killed"))
    assert killed["state"] == "unfinished"
    assert "line" in killed["ledger_problem"] or killed["faults"]
    broken = runs.store(tmp_path / "broken")
    (broken / "faults.jsonl").write_text("{}\n")
    (broken / "test.json").write_text('{"plan": [1], "shades": 7}')
    (broken / "live.json").write_text("[" * 100_000)
    told = looked_at(broken)
    assert "faults.jsonl, line 1" in told["ledger_problem"]
    assert told["state"] == "unfinished"


def test_many_viewers_share_one_reader_which_ends_when_nobody_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_hub, "LINGER_S", 0.0)
    monkeypatch.setattr(live_hub, "WATCHED_MAX", 2)
    running = [stores.running_run(tmp_path / str(number)) for number in range(3)]

    async def look() -> None:
        hub = LiveHub()
        async with hub.watching(running[0]) as one, hub.watching(running[0]) as other:
            assert one is other
            async with hub.watching(running[1]):
                with pytest.raises(RequestError, match="2 runs are being watched"):
                    async with hub.watching(running[2]):
                        pass
            async with hub.watching(running[2]):
                pass  # the one that nobody looks at any more has made room
        await asyncio.sleep(0.01)
        async with hub.watching(running[0]) as anew:
            assert anew is not one
        await hub.close()
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(look())


def test_the_stream_tells_all_then_changes_and_ends_with_the_test(tmp_path: Path) -> None:
    run = stores.running_run(tmp_path)
    path = f"/events/{run.parent.name}/{run.name}/"
    with Serving(tmp_path) as server, Stream(server, path) as stream:
        assert stream.answer.headers["Content-Type"].startswith("text/event-stream")
        first = stream.event()
        assert first is not None
        assert first.name == "state"
        assert first.data["counts"] == {"ok": 100, "fail": 0, "info": 0}
        with (run / "history.jsonl").open("a") as file:
            file.write(stores.events(10, first=100))
        while (event := stream.event()) is not None and event.data["counts"] != {
            "ok": 110,
            "fail": 0,
            "info": 0,
        }:
            pass
        assert event is not None
        assert event.name == "change"
        assert event.data["timeline"]["from"] >= 1  # type: ignore[index]
        with Stream(server, path, {"Last-Event-ID": str(event.id)}) as again:
            anew = again.event()
            assert anew is not None
            assert anew.name == "state"
            assert anew.data["timeline"]["from"] == 0  # type: ignore[index]
        (run / "results.json").write_text(json.dumps(runs.results("invalid", "it was wrong", complete=True)))
        (run / "live.json").unlink()
        last = event
        while (event := stream.event()) is not None:
            last = event
        assert (last.data["state"], last.data["verdict"], last.data["reason"]) == (
            "finished",
            "invalid",
            "it was wrong",
        )


def test_results_are_no_end_while_the_harness_still_writes_the_report(tmp_path: Path) -> None:
    run = stores.running_run(tmp_path)
    (run / "results.json").write_text(json.dumps(runs.results("valid", "fine", complete=True)))
    assert looked_at(run)["state"] == "running"
    (run / "live.json").unlink()
    assert looked_at(run)["state"] == "finished"


def test_the_page_without_javascript_says_the_state(tmp_path: Path) -> None:
    run = stores.running_run(tmp_path)
    dead = stores.running_run(tmp_path, alive=False, test="killed")
    with Serving(tmp_path) as server:
        page = server.get(f"/live/{run.parent.name}/{run.name}/").text
        assert '<noscript><meta http-equiv="refresh" content="2"></noscript>' in page
        assert "kill n3" in page
        assert "running register for 60 s" in page
        assert server.get(f"/store/{run.parent.name}/{run.name}/").headers["Location"].startswith("/live/")
        killed = server.get(f"/live/{dead.parent.name}/{dead.name}/").text
        assert "is gone and left no results" in killed
        assert f"foreshock analyze {dead}" in killed
        assert 'http-equiv="refresh"' not in killed


def test_what_a_stream_tells_is_of_one_version_while_the_next_one_is_made(tmp_path: Path) -> None:
    """A client that is slow asks while a thread is at the next look: changes of that one are not sent as of this."""
    run = stores.running_run(tmp_path)

    async def watched() -> None:
        watch = Watch(run)
        reading = asyncio.create_task(watch.read_on())
        assert await watch.news(0, WAIT_S)
        reading.cancel()
        told = (watch.version, watch.whole, watch.changes, watch.document)
        with (run / "history.jsonl").open("a") as file:
            file.write(stores.events(20, first=100))
        assert watch._look().document["counts"]["ok"] == 120
        assert (watch.version, watch.whole, watch.changes, watch.document) == told

    asyncio.run(watched())
