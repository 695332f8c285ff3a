"""Logs of etcd by Jepsen, and logs of gets, puts and appends: read, and refused with their lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock.harness.errors import UsageError
from foreshock.harness.formats import streams
from foreshock.harness.formats.reading import detected, read_history
from foreshock.harness.history import History, Row
from foreshock.harness.operation import NEMESIS, OperationType

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO


def log(*events: str) -> str:
    return "".join("INFO  jepsen.util - " + event.replace(" ", "\t", 3) + "\n" for event in events)


def read(tmp_path: Path, text: str | bytes, name: str = "etcd") -> History:
    path = tmp_path / "some.log"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_history(path, name)


def refused(tmp_path: Path, text: str | bytes, name: str = "etcd") -> str:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text, name)
    return str(error.value).removeprefix(f"{tmp_path / 'some.log'}, ")


ALL = (
    "3 :invoke :read nil",
    "0 :invoke :write 4",
    "1 :invoke :cas [4 2]",
    "3 :ok :read nil",
    "2 :invoke :read nil",
    "0 :ok :write 4",
    "1 :ok :cas [4 2]",
    "2 :fail :read :timed-out",
    "2 :invoke :cas [0 1]",
    "2 :fail :cas [0 1]",
    "1 :invoke :write 3",
    "1 :info :write :timed-out",
    "1 :invoke :read nil",
    "0 :invoke :cas [1 1]",
    "1 :ok :read 2",
)
ROWS = [
    Row(3, "read", None, None, None, OK, 0, 3),
    Row(0, "write", None, 4, None, OK, 1, 5),
    Row(1, "cas", None, [4, 2], None, OK, 2, 6),
    Row(2, "read", None, None, None, FAIL, 4, 7, error="timed-out"),
    Row(2, "cas", None, [0, 1], None, FAIL, 8, 9),
    Row(1, "write", None, 3, None, INFO, 10, 11, error="timed-out"),
    Row(1, "read", None, None, 2, OK, 12, 14),
    Row(0, "cas", None, [1, 1], None, INFO, 13, -1),
]


@pytest.mark.parametrize("size", [1, 40, 1 << 18])
@pytest.mark.parametrize(
    "change", ["none", "spaces", "carriage returns", "no last end", "among others", "dated"]
)
def test_every_kind_of_event_is_read(
    tmp_path: Path, size: int, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHUNK_BYTES", size)
    text: str | bytes = log(*ALL)
    assert isinstance(text, str)
    text = {
        "none": text,
        "spaces": text.replace("\t", "   "),
        "carriage returns": text.replace("\n", "\r\n"),
        "no last end": text[:-1],
        "among others": text.replace(
            "\n", "\n\nWARN  jepsen.core - 3\t:ok\nINFO  jepsen.util - all is well\n\xff\x00 {\n"
        ),
        "dated": text.replace("INFO", "2014-05-31 20:01:02,300 INFO"),
    }[change]
    assert list(read(tmp_path, text.encode("latin-1"))) == ROWS
    assert detected(tmp_path / "some.log").name == "etcd"


@pytest.mark.parametrize("f", ["write", "cas"])
def test_an_update_that_timed_out_may_have_happened_whatever_the_log_calls_it(tmp_path: Path, f: str) -> None:
    (row,) = read(tmp_path, log(f"0 :invoke :{f} [1 2]", f"0 :fail :{f} :timed-out"))
    assert (row.type, row.error) == (INFO, "timed-out")


def test_the_nemesis_of_a_log_is_no_client(tmp_path: Path) -> None:
    history = read(
        tmp_path, log(":nemesis :info :start nil", *ALL[:1], ':nemesis :info :start "Cut off {:n1 #{:n2}}"')
    )
    assert list(history.nemesis()) == [
        Row(NEMESIS, "start", type=INFO, invoke_index=0, complete_index=2, error="Cut off {:n1 #{:n2}}")
    ]


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        (
            ("0 :invoke :read nil", "0 :invoke :read nil"),
            "line 2: process 0 invokes 'read' while its 'read' (event 0)",
        ),
        (("0 :ok :read 1",), "line 1: process 0 completes 'read', but has invoked nothing"),
        (("0 :invoke :read nil", "0 :ok :write 1"), "line 2: process 0 completes 'write', but its 'read'"),
        (("0 :invoke :read nil", "0 :done :read 1"), "line 2: an event is a process, :invoke"),
        (("0 :invoke :read nil", "0 :ok :read"), "line 2: an event is a process"),
        (("99999999999 :invoke :read nil",), "line 1: an event is a process"),
        (("9999999999 :invoke :read nil",), "line 1: there is no process"),
        (("0 :invoke :write [1",), "line 1: "),
        (("0 :invoke :write 1 2",), "line 1: '1 2' is more than one value"),
        (("0 :invoke :write " + "9" * 5000,), "line 1: a number has 5000 characters"),
        (("0 :invoke :write " + "[" * 5000,), "line 1: this nests more than 100 deep"),
        (('0 :invoke :write "\\ud800"',), "line 1: a string has half a surrogate pair"),
        (("0 :invoke :write \x00",), "line 1: '\\x00' is not EDN"),
    ],
)
def test_a_broken_event_of_a_log_is_named_by_its_line(
    tmp_path: Path, events: tuple[str, ...], complaint: str
) -> None:
    assert refused(tmp_path, log(*events)).startswith(complaint)
    before = log("7 :invoke :read nil", "7 :ok :read 1") + "something else\n"
    number, _, rest = complaint.removeprefix("line ").partition(":")
    assert refused(tmp_path, before + log(*events)).startswith(
        f"line {int(number) + 3}:{rest}".replace("(event 0)", "(event 2)")
    )


KEY_VALUE = (
    '{:process 0, :type :invoke, :f :append, :key "3", :value "x 0 1 y"}\n'
    '{:process 1, :type :invoke, :f :get, :key "3", :value nil}\n'
    '{:process 0, :type :ok, :f :append, :key "3", :value "x 0 1 y"}\n'
    '{:process 1, :type :ok, :f :get, :key "3", :value "x 0 1 y"}\n'
    '{:process 0, :type :invoke, :f :put, :key "", :value "\\"\N{SNOWMAN}\\n"}\n'
    '{:process 1, :type :invoke, :f :get, :key "4", :value nil}\n'
    '{:process 1, :type :ok, :f :get, :key "4", :value ""}\n'
)


def test_a_key_value_log_is_read(tmp_path: Path) -> None:
    assert list(read(tmp_path, KEY_VALUE, "auto")) == [
        Row(0, "append", "3", "x 0 1 y", None, OK, 0, 2),
        Row(1, "get", "3", None, "x 0 1 y", OK, 1, 3),
        Row(0, "put", "", '"\N{SNOWMAN}\n', None, INFO, 4, -1),
        Row(1, "get", "4", None, "", OK, 5, 6),
    ]
    assert detected(tmp_path / "some.log").name == "kv"
    assert list(read(tmp_path, KEY_VALUE, "kv")) == list(read(tmp_path, KEY_VALUE, "edn"))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{:process 5, :type :invoke, :f :cas, :key "3", :value "x"}', "'cas' is none of append, get, put"),
        ('{:process 5, :type :invoke, :f :cas, :key "3", :value {}}', "'cas' is none of append, get, put"),
        ("{:process 5, :type :invoke, :f :get, :key 3, :value nil}", ":key is 3, but must be a string"),
        ("{:process 5, :type :invoke, :f :get, :value nil}", ":key is missing, but must be a string"),
        ("{:process 5, :type :invoke, :f :get, :key [], :value {}}", ":key is [], which is no string"),
        (
            '{:process 1, :type :ok, :f :get, :key "3", :value ""}',
            "process 1 completes 'get', but has invoked nothing",
        ),
    ],
)
def test_what_is_no_key_value_log_is_refused(tmp_path: Path, line: str, complaint: str) -> None:
    assert refused(tmp_path, KEY_VALUE + line, "kv").startswith(f"line 8: {complaint}")


@pytest.mark.parametrize("value", ["[1", '"a', "{:a 1"])
def test_a_value_that_is_cut_off_is_told_with_its_line(tmp_path: Path, value: str) -> None:
    said = refused(tmp_path, log("0 :invoke :write 1", f"0 :ok :write {value}"))
    assert said == f"line 2: the value {value!r} is cut off"
