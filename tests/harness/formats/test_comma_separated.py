"""Comma-separated values: both kinds of rows, the order that times make, and what is refused with its line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.errors import UsageError
from foreshock.harness.formats.reading import detected, read_history
from foreshock.harness.history import History, Row
from foreshock.harness.operation import NEMESIS, OperationType

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO
EVENTS = "process,type,f,key,value,time_ns\n"
TIMES = "process,f,value,result,type,invoke_ns,complete_ns\n"


def read(tmp_path: Path, text: str | bytes) -> History:
    path = tmp_path / "history.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_history(path, "csv")


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    return str(error.value).removeprefix(f"{tmp_path / 'history.csv'}, ")


def test_a_row_may_be_an_event(tmp_path: Path) -> None:
    history = read(
        tmp_path,
        "\N{BYTE ORDER MARK}f,type, process ,value,key,time_ns,error,node,attempts\r\n"
        'write,invoke,0,"[1,""two""]",k,10,,n1,\r\n'
        "read,invoke,1,,7,20,,,\r\n"
        'write,info,0,,k,30,"no, answer",,3\r\n'
        "\r\n"
        "read,ok,1,plain text,7,40,,,\r\n"
        "kill,invoke,nemesis,,,,,,\r\n",
    )
    assert list(history) == [
        Row(0, "write", "k", [1, "two"], None, INFO, 0, 2, 10, 30, "n1", "no, answer", 3),
        Row(1, "read", 7, None, "plain text", OK, 1, 3, 20, 40),
        Row(NEMESIS, "kill", type=INFO, invoke_index=4),
    ]


def test_a_row_may_be_an_operation_with_its_times(tmp_path: Path) -> None:
    history = read(
        tmp_path,
        TIMES
        + '1,read,,5,ok,30,40\n0,write,5,,ok,10,20\n2,cas,"[5,6]",,fail,15,35\nnemesis,kill,,,info,1,\n',
    )
    assert list(history) == [
        Row(NEMESIS, "kill", None, None, None, INFO, 0, -1, 1, -1),
        Row(0, "write", None, 5, None, OK, 1, 3, 10, 20),
        Row(2, "cas", None, [5, 6], None, FAIL, 2, 5, 15, 35),
        Row(1, "read", None, None, 5, OK, 4, 6, 30, 40),
    ]


def test_operations_that_touch_are_concurrent(tmp_path: Path) -> None:
    history = read(
        tmp_path, TIMES + "0,write,5,,ok,10,20\n1,read,,,ok,20,20\n2,read,,,ok,20,30\n0,read,,,ok,20,21\n"
    )
    first, *others = history
    assert all(other.invoke_index < first.complete_index for other in others)


def test_a_process_that_goes_on_after_a_crash_leaves_the_operation_open(tmp_path: Path) -> None:
    history = read(tmp_path, TIMES + "0,write,5,,info,10,\n0,read,,,ok,10,20\n0,write,6,,info,30,\n")
    assert [(row.f, row.type, row.invoke_index, row.complete_index) for row in history] == [
        ("write", INFO, 0, 1),
        ("read", OK, 2, 3),
        ("write", INFO, 4, -1),
    ]


@st.composite
def timed(draw: st.DrawFn) -> list[tuple[int, int, int]]:
    """Operations (process, begin, end) of processes that do one thing at a time, by a coarse clock."""
    found = []
    for process in range(draw(st.integers(1, 4))):
        now = 0
        for _ in range(draw(st.integers(0, 4))):
            begin = now + draw(st.integers(0, 2))
            now = begin + draw(st.integers(0, 2))
            found.append((process, begin, now))
    return draw(st.permutations(found))


@given(operations=timed())
@settings(max_examples=150, deadline=None)
def test_one_operation_precedes_another_exactly_if_it_ended_earlier(
    operations: list[tuple[int, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("h") / "h.csv"
    rows = "".join(f"{p},f,{i},,ok,{b},{e}\n" for i, (p, b, e) in enumerate(operations))
    path.write_text(TIMES + rows)
    history = read_history(path, "csv")
    by_number = {row.value: row for row in history}
    assert sorted(by_number) == list(range(len(operations)))
    for i, (_, _, end) in enumerate(operations):
        for j, (_, begin, _) in enumerate(operations):
            assert (by_number[i].complete_index < by_number[j].invoke_index) == (end < begin)
    indexes = [index for row in history for index in (row.invoke_index, row.complete_index)]
    assert sorted(indexes) == list(range(2 * len(operations)))
    assert [row.invoke_index for row in history] == sorted(row.invoke_index for row in history)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: the column 'process' is missing"),
        ("process,type\n", "line 1: the column 'f' is missing"),
        (
            "process,type,f,proces\n",
            "line 1: there is no column 'proces' (did you mean 'process' or 'result'?): there are",
        ),
        ("process,type,f,f\n", "line 1: the column 'f' is there twice"),
        (EVENTS + "0,invoke,read\n", "line 2: there are 3 cells, but 6 columns"),
        (EVENTS + "x,invoke,read,,,\n", "line 2: process is 'x', which is no integer"),
        (EVENTS + "-2,invoke,read,,,\n", "line 2: process is '-2', which is neither"),
        (EVENTS + ",invoke,read,,,\n", "line 2: process is '', which is neither"),
        (EVENTS + "0,start,read,,,\n", "line 2: type is 'start', which is none of invoke, ok, fail, info"),
        (EVENTS + "0,invoke,read,,,1.5\n", "line 2: time_ns is '1.5', which is no integer"),
        (EVENTS + f"0,invoke,read,,,{'9' * 5000}\n", "line 2: time_ns is"),
        (EVENTS + '0,invoke,read,,"a\nb",\n0,invoke,read,,,\n', "line 4: process 0 invokes 'read' while"),
        (EVENTS + "0,ok,read,,,\n", "line 2: process 0 completes 'read', but has invoked nothing"),
        (EVENTS + "0,invoke,read,1,,\n0,ok,read,2,,\n", "line 3: process 0 completes 'read' of key 2"),
        (EVENTS + '0,invoke,read,,"a\n1,invoke,read,,,\n', "line 2 is not comma-separated values: "),
        (
            EVENTS
            + f"0,invoke,read,,{'[' * 5000},\n1,invoke,f,,{'[' * 200 + ']' * 200},\n1,ok,f,,,\n1,x,f,,,\n",
            "line ",
        ),
        ((EVENTS + "0,invoke,").encode() + b"\xff,,,\n", "line 2 is not UTF-8"),
        (TIMES + "0,read,,,ok,1,\n", "line 2: the operation is ok, but has no complete_ns"),
        (TIMES + "0,read,,,ok,,3\n", "line 2: invoke_ns is missing"),
        (TIMES + "0,read,,,ok,-1,3\n", "line 2: invoke_ns is missing, negative"),
        (TIMES + "0,read,,,ok,4,3\n", "line 2: the operation completes at 3, but was invoked at 4"),
        (TIMES + "0,read,,,invoke,4,5\n", "line 2: type is 'invoke', which is none of ok, fail, info"),
        (
            TIMES + "0,read,,,ok,8,9\n1,read,,,ok,1,9\n0,read,,,ok,1,9\n",
            "line 2: process 0 begins an operation while its last one (line 4) is under way",
        ),
        ("process,f,type,invoke_index,complete_index\n0,r,ok,1,1\n", "line 2: the operation completes at 1"),
        (
            "process,f,type,invoke_index,complete_index\n0,r,ok,1,2\n1,r,ok,2,3\n",
            "line 3: the index 2 is there twice",
        ),
        (
            "process,f,type,invoke_index,complete_index\n0,r,info,1,\n0,r,ok,2,3\n",
            "line 3: process 0 begins an operation while its last one (line 2) is under way",
        ),
        ("process,f,type,invoke_ns,complete_ns,attempts\n0,r,ok,1,2,-1\n", "line 2: attempts is -1"),
    ],
)
def test_what_is_broken_is_named_by_its_line(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    assert refused(tmp_path, text).startswith(complaint)


def test_cells_are_json_or_plain_text(tmp_path: Path) -> None:
    cells = {
        "": None,
        "5": 5,
        "1e2": 100.0,
        "true": True,
        "null": None,
        "None": "None",
        '"5"': "5",
        '""': "",
        "{}": {},
        "{": "{",
        "a b": "a b",
        "007": "007",
        "NaN": "NaN",
        "\x00": "\x00",
        "1" * 400: int("1" * 400),
        "1e999": "1e999",
        '"\\ud800"': '"\\ud800"',
    }
    path = tmp_path / "history.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["process", "type", "f", "value"])
        writer.writerows([number, "invoke", "f", cell] for number, cell in enumerate(cells))
    found = [row.value for row in read_history(path, "csv")]
    assert list(map(repr, found)) == list(map(repr, cells.values()))


def test_a_long_cell_is_read_and_the_limit_of_others_is_left_as_it_was(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    (row,) = read(tmp_path, EVENTS + f"0,invoke,write,,{'x' * 300_000},\n")
    assert len(row.value) == 300_000
    assert csv.field_size_limit() == limit


@given(noise=st.binary(max_size=80) | st.text(alphabet='01a,"\n\r[]{}\\-', max_size=120))
@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize("header", ["", EVENTS, TIMES])
def test_noise_is_refused_in_a_sentence_or_read(
    header: str, noise: bytes | str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "h.csv"
    path.write_bytes(header.encode() + (noise if isinstance(noise, bytes) else noise.encode()))
    try:
        complaint = f"{path}: {len(read_history(path, 'csv'))} operations"
    except UsageError as error:
        complaint = str(error)
    assert complaint.startswith(str(path))


def test_a_header_is_known_whatever_the_order_of_its_names(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    for header in ("process,type,f", '"f","process","type"\r\n0,1,2', "key, f , type, process\n"):
        path.write_text(header)
        assert detected(path).name == "csv"
