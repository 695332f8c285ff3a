"""Histories: rows and columns, reading and writing, and what happens to broken files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.errors import HarnessError, PlugInError, UsageError
from foreshock.harness.history import NONE_PAYLOAD, History, Row
from foreshock.harness.history_format import ForeshockFormat
from foreshock.harness.operation import NEMESIS, OperationType

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.none() | st.integers(-5, 5) | st.integers() | st.text(max_size=4)


@st.composite
def histories(draw: st.DrawFn) -> list[Row]:
    """Well-formed rows: each process has at most one operation under way."""
    under_way: dict[int, int] = {}
    rows: list[Row] = []
    for index in range(draw(st.integers(0, 24))):
        process = draw(st.integers(-1, 3))
        if process in under_way:
            position = under_way.pop(process)
            kind = draw(st.sampled_from(list(OperationType)[1:]))
            result, error = draw(VALUES), draw(st.none() | st.text())
            rows[position] = rows[position]._replace(
                type=kind,
                complete_index=index,
                complete_ns=index * 7,
                result=result,
                error=error,
                attempts=draw(st.integers(0, 3)),
            )
            continue
        under_way[process] = len(rows)
        rows.append(
            Row(
                process,
                draw(st.sampled_from(["read", "write", "\u2028</script>", ""])),
                draw(KEYS),
                draw(VALUES),
                type=INFO,
                invoke_index=index,
                invoke_ns=index * 7,
                node=draw(st.none() | st.sampled_from(["n1", 'n"2'])),
            )
        )
    return rows


def sample() -> History:
    return History.of(
        [
            Row(0, "write", 1, 5, None, OK, 0, 3, 10, 40, "n1"),
            Row(1, "read", 2, None, "x", OK, 1, 2, 20, 30, "n2"),
            Row(NEMESIS, "kill", None, ["n1"], {"n1": "killed"}, OK, 4, 5, 50, 60),
            Row(2, "cas", 1, [5, 6], None, FAIL, 6, 8, 70, 90, "n3", "the value was not 5"),
            Row(0, "write", "k", 7, None, INFO, 7, 9, 80, 100, "n1", "timeout"),
            Row(1, "read", 1, None, None, INFO, 10, -1, 110, -1, "n2"),
        ]
    )


@given(rows=histories())
@settings(max_examples=50, deadline=None)
def test_rows_come_back_from_memory_as_they_went_in(rows: list[Row]) -> None:
    assert list(History.of(rows)) == rows
    assert list(History.of(reversed(rows))) == rows


@given(rows=histories())
@settings(max_examples=40, deadline=None)
def test_rows_come_back_from_both_files_as_they_went_in(
    rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("history")
    history = History.of(rows)
    history.write_jsonl(folder / "history.jsonl")
    history.write_parquet(folder / "history.parquet")
    assert list(History.read(folder / "history.jsonl")) == rows
    assert list(History.read(folder / "history.parquet")) == rows
    assert list(History.read(folder)) == rows


def test_equal_values_of_different_types_stay_apart(tmp_path: Path) -> None:
    values = [1, 1.0, True, "1", None, "null", 0, -0.0, False, "", 2**61, 2**61 - 1, -(2**61), 2**100, 10**19]
    history = History.of([Row(i, "write", None, v, v, OK, 2 * i, 2 * i + 1) for i, v in enumerate(values)])
    history.write_jsonl(tmp_path / "h.jsonl")
    for read in (history, History.read(tmp_path / "h.jsonl")):
        assert [(type(row.value), row.value) for row in read] == [(type(v), v) for v in values]


def test_the_lines_are_those_of_the_documentation(tmp_path: Path) -> None:
    sample().write_jsonl(tmp_path / "history.jsonl")
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert lines[0] == (
        '{"index":0,"type":"invoke","process":0,"f":"write","key":1,"value":5,"time_ns":10,"node":"n1"}'
    )
    assert json.loads(lines[3]) == {
        "index": 3,
        "invoke": 0,
        "type": "ok",
        "process": 0,
        "f": "write",
        "result": None,
        "time_ns": 40,
    }
    assert json.loads(lines[9])["error"] == "timeout"
    assert [json.loads(line)["index"] for line in lines] == list(range(11))


def test_an_invocation_that_never_completed_is_info(tmp_path: Path) -> None:
    sample().write_jsonl(tmp_path / "history.jsonl")
    last = list(History.read(tmp_path))[-1]
    assert (last.type, last.complete_index, last.complete_ns, last.result) == (INFO, -1, -1, None)


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_last_line_is_left_out(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "history.jsonl"
    sample().write_jsonl(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    rows = list(History.read(path))
    assert rows == list(sample())[: 5 if cut > 1 else 6]


def test_torn_off_completions_leave_their_operations_unknown(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    sample().write_jsonl(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]) + lines[2][:20])
    assert [(row.f, row.type, row.complete_index) for row in History.read(path)] == [
        ("write", INFO, -1),
        ("read", INFO, -1),
    ]


INVOKE = '{"index":%d,"type":"invoke","process":%d,"f":"read","time_ns":0}'
COMPLETE = '{"index":%d,"type":"ok","process":%d,"f":"read","time_ns":0,"result":1}'


@pytest.mark.parametrize(
    ("lines", "number", "what"),
    [
        ([INVOKE % (0, 1), INVOKE % (1, 1)], 2, "while its operation 0 is still under way"),
        ([COMPLETE % (0, 1)], 1, "has invoked nothing"),
        ([INVOKE % (0, 1), COMPLETE % (1, 1), COMPLETE % (2, 1)], 3, "has invoked nothing"),
        ([INVOKE % (5, 1), COMPLETE % (5, 1)], 2, "indexes must go up"),
        ([INVOKE % (0, 1), COMPLETE.replace("read", "write") % (1, 1)], 2, "is under way"),
        ([INVOKE % (0, 1), COMPLETE.replace('"result"', '"invoke":7,"result"') % (1, 1)], 2, "is under way"),
        (["not JSON"], 1, "is not an event"),
        (['{"index":0,"type":"perhaps","process":0,"f":"read","time_ns":0}'], 1, "perhaps"),
        (['{"index":0,"type":"invoke","process":0,"time_ns":0}'], 1, "`f`"),
        (['{"index":0,"type":"invoke","process":-2,"f":"read","time_ns":0}'], 1, "process"),
        (['{"index":0,"type":"invoke","process":99999999999,"f":"read","time_ns":0}'], 1, "process"),
        (['{"index":0,"type":"invoke","process":0,"f":"read","time_ns":99999999999999999999}'], 1, "time_ns"),
        (
            ['{"index":0,"type":"invoke","process":0,"f":"read","time_ns":0,"value":' + "[" * 9999],
            1,
            "recursion",
        ),
        (['{"index":0,"type":"invoke","process":0,"f":"read","time_ns":0,"value":1e999}'], 1, "out of range"),
        (["[]"], 1, "object"),
    ],
)
def test_a_broken_line_is_named_by_its_number(
    tmp_path: Path, lines: list[str], number: int, what: str
) -> None:
    path = tmp_path / "history.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    with pytest.raises(UsageError, match=rf"line {number}\b.*") as caught:
        History.read(path)
    assert what in str(caught.value)


@pytest.mark.parametrize("value", [b'"\xff"', b'"\x01"', b"[1,]", b"nul", b"01"])
def test_a_value_that_is_no_json_is_refused_when_read(tmp_path: Path, value: bytes) -> None:
    path = tmp_path / "history.jsonl"
    line = b'{"index":0,"type":"invoke","process":0,"f":"read","time_ns":0,"value":' + value + b"}\n"
    path.write_bytes(line)
    with pytest.raises(UsageError, match="line 1"):
        History.read(path)


@given(noise=st.binary(max_size=200))
@settings(max_examples=120, deadline=None)
def test_noise_is_refused_in_a_sentence_or_read(
    noise: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "history.jsonl"
    path.write_bytes(noise)
    try:
        rows = len(History.read(path))
    except UsageError as error:
        complaint = str(error)
    else:
        complaint = f"{path} holds {rows} rows"
    assert complaint.startswith(str(path))
    assert any(words in complaint for words in ("0 rows", "line ", "is compressed")) or noise.startswith(
        b"PAR1"
    )


def test_a_missing_file_and_a_file_that_cannot_be_written_are_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        History.read(tmp_path / "none.jsonl")
    for write in (sample().write_jsonl, sample().write_parquet):
        with pytest.raises(HarnessError, match="cannot be written"):
            write(tmp_path / "no such folder" / "file")


def test_a_parquet_file_of_something_else_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "other.parquet"
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(UsageError, match="no column 'process'"):
        History.read(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UsageError, match="no history of ours"):
        History.read(path)


@pytest.mark.parametrize(
    ("column", "numbers"),
    [
        ("invoke_index", [2, 0]),
        ("invoke_index", [0, 0]),
        ("complete_index", [-1, 3]),
        ("complete_index", [1, 2]),
    ],
)
def test_a_parquet_file_whose_events_are_out_of_order_is_refused(
    tmp_path: Path, column: str, numbers: list[int]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "h.parquet"
    rows = [
        Row(0, "read", invoke_index=0, complete_index=1),
        Row(0, "read", invoke_index=2, complete_index=3),
    ]
    History.of(rows).write_parquet(path)
    table = pq.read_table(path)
    place = table.schema.get_field_index(column)
    pq.write_table(table.set_column(place, column, pa.array(numbers, pa.int64())), path)
    with pytest.raises(UsageError, match="no history of ours: operation"):
        History.read(path)


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("f", ["read", None], "operation 2 has no name"),
        ("f", [1, 2], "1 is no text"),
        ("type", ["ok", "perhaps"], "perhaps"),
        ("type", ["ok", None], "operation 2 has no type"),
        ("process", [0, 1 << 40], f"operation 2 is of process {1 << 40}"),
        ("process", [0, None], "'process' has rows without a number"),
        ("attempts", [1, -1], "operation 2 took -1 attempts"),
        ("value", ["1", "[1"], "no history of ours"),
        ("key", ["1", "01"], "no history of ours"),
    ],
)
def test_a_parquet_file_with_an_operation_that_cannot_be_is_refused(
    tmp_path: Path, column: str, values: list[Any], said: str
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "h.parquet"
    History.of(
        [Row(0, "read", invoke_index=0, complete_index=1), Row(0, "read", invoke_index=2, complete_index=3)]
    ).write_parquet(path)
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index(column), column, pa.array(values)), path)
    with pytest.raises(UsageError, match="no history of ours") as raised:
        History.read(path)
    assert said in str(raised.value)


def test_parquet_keeps_numbers_that_are_no_small_integers(tmp_path: Path) -> None:
    values = [
        0,
        -1,
        10**17,
        -(10**18),
        1 << 61,
        1 << 70,
        -(1 << 62),
        1.0,
        -0.0,
        True,
        "1",
        "01",
        [1, 2],
        {"a": None},
        None,
    ]
    rows = [
        Row(0, "put", key=f"{i}", value=value, result=value, invoke_index=2 * i, complete_index=2 * i + 1)
        for i, value in enumerate(values)
    ]
    History.of(rows).write_parquet(tmp_path / "h.parquet")
    found = [row.value for row in History.read(tmp_path / "h.parquet")]
    assert found == values
    assert [type(value) for value in found] == [type(value) for value in values]


def test_rows_with_wrong_indexes_are_refused() -> None:
    for rows in (
        [Row(0, "read")],
        [Row(0, "read", invoke_index=3)],
        [Row(0, "read", type=OperationType.FAIL, invoke_index=3)],
        [Row(0, "read", invoke_index=3, complete_index=2)],
        [Row(0, "read", invoke_index=1), Row(1, "read", invoke_index=1)],
        [Row(0, "read", invoke_index=1, complete_index=2), Row(1, "read", invoke_index=2)],
    ):
        with pytest.raises(UsageError, match="cannot be in a history"):
            History.of(rows)


class Point(msgspec.Struct):
    x: int
    y: tuple[int, ...] = ()


def test_structs_and_tuples_are_kept_as_json_has_them() -> None:
    row = next(
        iter(History.of([Row(0, "put", None, Point(1, (2, 3)), (1, (2,)), invoke_index=0, complete_index=1)]))
    )
    assert row.value == {"x": 1, "y": [2, 3]}
    assert row.result == [1, [2]]


@pytest.mark.parametrize(
    "value", [float("nan"), [float("inf")], {1: 2}, b"x", {1}, object(), "\ud800", ["\udc80"], Point]
)
def test_a_value_that_json_would_change_is_refused_in_a_sentence(value: object) -> None:
    with pytest.raises(PlugInError, match="history"):
        History.of([Row(0, "write", None, value, invoke_index=0, complete_index=1)])


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(PlugInError, match="nests more than"):
        History.of([Row(0, "write", None, loop, invoke_index=0, complete_index=1)])


def test_a_list_taken_from_a_history_cannot_change_it() -> None:
    history = sample()
    history[3].value.append("spoilt")
    assert history[3].value == [5, 6]


def test_parts_of_a_history() -> None:
    history = sample()
    assert [row.f for row in history.nemesis()] == ["kill"]
    assert len(history.clients()) == 5
    assert len(history.completed()) == 5
    assert [row.invoke_index for row in history.where(f="read")] == [1, 10]
    assert [row.invoke_index for row in history.where(f=["read", "cas"], type=("ok", "fail"))] == [1, 6]
    assert [row.invoke_index for row in history.where(process=0, node="n1", type=INFO)] == [7]
    assert len(history.where(f="no such")) == 0
    assert len(history.where(node="no such")) == 0
    assert history.counts() == {"ok": 3, "fail": 1, "info": 2}
    assert history.keys() == [1, 2, None, "k"]
    assert history[-1] == list(history)[-1]
    with pytest.raises(IndexError):
        history[6]
    assert repr(history) == "<History of 6 operations: 3 ok, 1 fail, 2 info>"


@given(rows=histories())
@settings(max_examples=40, deadline=None)
def test_by_key_is_a_filter_for_each_key(rows: list[Row]) -> None:
    parts = History.of(rows).by_key()
    expected: dict[object, list[Row]] = {}
    for row in rows:
        expected.setdefault(row.key, []).append(row)
    assert list(parts) == list(expected)
    assert {key: list(part) for key, part in parts.items()} == expected


def test_columns_are_integers_that_checkers_can_take() -> None:
    history = sample()
    for name in (
        "process",
        "invoke_index",
        "complete_index",
        "invoke_ns",
        "complete_ns",
        "f",
        "node",
        "error",
    ):
        assert history.column(name).dtype == np.int64
        assert history.column(name).flags.c_contiguous
    assert history.column("complete_index").tolist() == [3, 2, 5, 8, 9, -1]
    assert history.column("type").tolist() == [0, 0, 0, 1, 2, 2]
    assert (history.column("f") == history.code("read")).tolist() == [False, True, False, False, False, True]
    assert [history.names[code] if code >= 0 else None for code in history.column("node")] == [
        "n1", "n2", None, "n3", "n1", "n2",
    ]  # fmt: skip
    integers, mask = history.integers("value")
    assert integers.tolist() == [5, 0, 0, 0, 7, 0]
    assert mask.tolist() == [True, False, False, False, True, False]
    assert history.absent("value").tolist() == [False, True, False, False, False, True]
    assert history.payloads("result")[0] == NONE_PAYLOAD
    assert history.values("value") == [5, None, ["n1"], [5, 6], 7, None]
    with pytest.raises(KeyError, match="integers"):
        history.column("value")
    with pytest.raises(KeyError):
        history.payloads("f")


def test_the_frame_has_one_row_an_operation() -> None:
    frame = sample().frame
    assert list(frame.columns) == list(Row._fields)
    assert frame["process"].tolist() == [0, 1, -1, 2, 0, 1]
    assert frame.loc[frame["f"] == "read", "invoke_index"].tolist() == [1, 10]
    assert frame["type"].tolist() == ["ok", "ok", "ok", "fail", "info", "info"]
    assert frame["value"].tolist() == [5, None, ["n1"], [5, 6], 7, None]
    assert frame["error"].isna().tolist() == [True, True, True, False, False, True]
    assert frame["node"].isna().sum() == 1
    assert len(History.of([]).frame) == 0


def test_an_empty_history_can_do_everything(tmp_path: Path) -> None:
    empty = History.of([])
    empty.write_jsonl(tmp_path / "h.jsonl")
    empty.write_parquet(tmp_path / "h.parquet")
    assert len(History.read(tmp_path / "h.jsonl")) == len(History.read(tmp_path / "h.parquet")) == 0
    assert empty.by_key() == {}
    assert empty.keys() == []
    assert empty.counts() == {"ok": 0, "fail": 0, "info": 0}
    assert len(empty.clients().where(f="read")) == 0


def test_pandas_and_pyarrow_are_not_imported_before_they_are_needed(tmp_path: Path) -> None:
    sample().write_jsonl(tmp_path / "history.jsonl")
    program = (
        "import sys\n"
        "import foreshock.harness.recorder, foreshock.harness.interpreter\n"
        "from foreshock.harness.history import History\n"
        "history = History.read(sys.argv[1])\n"
        "assert len(list(history.clients())) == 5\n"
        "heavy = {'pandas', 'pyarrow', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)


def test_our_format_knows_its_own_files(tmp_path: Path) -> None:
    history, ours = sample(), ForeshockFormat()
    history.write_jsonl(tmp_path / "a.txt")
    history.write_parquet(tmp_path / "b.bin")
    for name in ("a.txt", "b.bin"):
        path = tmp_path / name
        assert ours.detect(path, path.read_bytes()[:4096])
        assert list(ours.read(path)) == list(history)
    long = History.of([Row(0, "write", None, "x" * 9999, invoke_index=0, complete_index=1)])
    long.write_jsonl(tmp_path / "c.txt")
    assert ours.detect(tmp_path / "c.txt", (tmp_path / "c.txt").read_bytes()[:4096])
    assert ours.detect(tmp_path / "empty.jsonl", b"")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{:type :invoke, :f :read, :process 0}",
        b"INFO  jepsen.util - 0 :invoke",
        b"1,2,3",
        b"{}",
        b"[1]",
        b"\xff",
    ],
)
def test_our_format_leaves_other_files_alone(head: bytes) -> None:
    assert not ForeshockFormat().detect(Path("history.log"), head)
