"""What the view of operations is given, unpacked again as the page does it."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import numpy as np
import pytest
from tests.reports import tapes

from foreshock.harness.history import History
from foreshock.reports import explorer_data as module
from foreshock.reports.columns import FAIL, INFO, columns_of
from foreshock.reports.explorer_data import Violation, explorer_data


def unpack(document: dict[str, Any]) -> dict[str, Any]:
    raw, offset, found = zlib.decompress(base64.b64decode(document["data"])), 0, {}
    for array in document["arrays"]:
        size = int(array["type"][1])
        planes = np.frombuffer(raw, np.uint8, array["length"] * size, offset).reshape(size, -1)
        found[array["name"]] = planes.T.copy().view(f"<{array['type']}").ravel().astype(np.int64)
        offset += array["length"] * size
    return found | {name: np.cumsum(found[name]) for name in ("start", "index")}


def packed(history: History, violations: tuple[Violation, ...] = ()) -> tuple[dict[str, Any], str]:
    data = explorer_data(columns_of(history), (), violations, 10)
    return json.loads(data.document), data.left_out


def test_a_history_comes_back_as_it_was() -> None:
    history = tapes.register_tape(500, 5.0).history()
    document, left_out = packed(history)
    arrays = unpack(document)
    rows = list(history.clients())
    assert left_out == ""
    assert arrays["index"].tolist() == [row.invoke_index for row in rows]
    assert arrays["start"].tolist() == [row.invoke_ns // 1000 for row in rows]
    assert arrays["latency"].tolist() == [(row.complete_ns - row.invoke_ns) // 1000 for row in rows]
    assert arrays["process"].tolist() == [row.process for row in rows]
    assert [document["f"][code] for code in arrays["f"]] == [row.f for row in rows]
    assert [document["nodes"][code - 1] for code in arrays["node"]] == [row.node for row in rows]
    key, value, result, error = json.loads(zlib.decompress(base64.b64decode(document["text"])))
    assert (key, value) == ([row.key for row in rows], [row.value for row in rows])
    assert (result, error) == ([row.result for row in rows], [row.error for row in rows])


def test_an_operation_costs_a_few_bytes() -> None:
    data = explorer_data(columns_of(tapes.register_tape(20_000).history()), (), (), 10)
    assert len(data.document) < 20_000 * 20


def test_what_never_completed_is_marked() -> None:
    tape = tapes.Tape()
    tape.add(0, "write", 0, None, tapes.INFO, value=1)
    tape.add(1, "write", 5000, 9000, value=2)
    arrays = unpack(packed(tape.history())[0])
    assert arrays["latency"].tolist() == [0xFFFFFFFF, 4]


def test_thinning_keeps_every_fail_and_info_and_all_around_a_violation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "WHOLE_MAX", 2000)
    monkeypatch.setattr(module, "AROUND_VIOLATION", 100)
    history = tapes.register_tape(6000).history()
    columns = columns_of(history)
    at = int(columns.invoke_ns[3000])
    document, left_out = packed(history, (Violation(at, int(columns.invoke_index[3000]), "violation"),))
    arrays = unpack(document)
    assert document["count"] <= 2000
    assert "4 000 of 6 000" in left_out
    for outcome in (FAIL, INFO):
        assert np.count_nonzero(arrays["outcome"] == outcome) == np.count_nonzero(columns.outcome == outcome)
    assert set(columns.invoke_index[2900:3100].tolist()) <= set(arrays["index"].tolist())
    assert arrays["index"][document["marked"]].tolist() == [columns.invoke_index[3000]]
    counts = np.frombuffer(zlib.decompress(base64.b64decode(document["grid"]["counts"])), "<u2")
    assert counts.sum() == np.count_nonzero(columns.outcome == 0)


def test_even_a_history_of_nothing_but_failures_stays_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WHOLE_MAX", 200)
    tape = tapes.Tape()
    for number in range(1000):
        tape.add(number, "read", number * 1000, number * 1000 + 10, tapes.FAIL)
    document, left_out = packed(tape.history())
    assert document["count"] <= 200
    assert "only an even selection" in left_out


@pytest.mark.parametrize(("concurrency", "lanes"), [(0, 96), (10, 10), (5000, 96)])
def test_lanes_follow_the_threads_up_to_a_limit(concurrency: int, lanes: int) -> None:
    tape = tapes.Tape()
    for number in range(6000):
        tape.add(number, "read", number, number + 1)
    data = explorer_data(columns_of(tape.history()), (), (), concurrency)
    assert json.loads(data.document)["lanes"] == lanes


def test_huge_values_are_shortened() -> None:
    tape = tapes.Tape()
    for number in range(300):
        tape.add(number, "write", number, number + 5, value="x" * 10_000)
    document, _ = packed(tape.history())
    _, value, _, _ = json.loads(zlib.decompress(base64.b64decode(document["text"])))
    assert {len(text) for text in value} == {40}


def test_anomalies_are_in_order_and_bursts_count_once() -> None:
    tape = tapes.Tape()
    for number in range(200):
        kind = tapes.INFO if 50 <= number < 60 else tapes.OK
        tape.add(number, "write", number * tapes.MS, number * tapes.MS + 1000, kind)
    document, _ = packed(tape.history(), (Violation(150 * tapes.MS, None, "violation: x"),))
    labels = [label for _, label in document["anomalies"]]
    assert labels == ["unknown outcome: 10 operations", "violation: x"]
