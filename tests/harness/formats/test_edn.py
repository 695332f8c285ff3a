"""Jepsen's EDN: what is read, and what is refused with its line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.errors import UsageError
from foreshock.harness.formats import streams
from foreshock.harness.formats.edn_forms import KeyedValue, NotEdn, Unfinished, parse
from foreshock.harness.formats.edn_writing import edn
from foreshock.harness.formats.reading import read_history
from foreshock.harness.history import History, Row
from foreshock.harness.operation import NEMESIS, OperationType

OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO
WRITE = "{:process 0, :type :invoke, :f :write, :value 1}\n{:process 0, :type :ok, :f :write, :value 1}\n"


def read(tmp_path: Path, text: str | bytes) -> History:
    path = tmp_path / "history.edn"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_history(path, "edn")


def refused(tmp_path: Path, text: str | bytes) -> str:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    said = str(error.value)
    assert said.startswith(str(tmp_path / "history.edn"))
    return said.removeprefix(str(tmp_path / "history.edn")).lstrip(", ")


# --- forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nil", None),
        ("true", True),
        (":key/word", "key/word"),
        ("symbol'", "symbol'"),
        ("-17", -17),
        ("+17N", 17),
        ("0xFF", 255),
        ("-" + "9" * 4299, -int("9" * 4299)),
        ("123456789012345678901234567890", 123456789012345678901234567890),
        ("1.5", 1.5),
        ("1.50M", 1.5),
        ("0.1M", 0.1),
        ("0.10000000000000000000001M", "0.10000000000000000000001"),
        ("1e3", 1000.0),
        ("4/2", 2),
        ("2/-4", None),
        ("-6/4", "-3/2"),
        ("##NaN", "##NaN"),
        ("##-Inf", "##-Inf"),
        (r"\a", "a"),
        (r"\newline", "\n"),
        (r"\u00e9", "é"),
        (r"\o101", "A"),
        (r'"a\"b\\\n\t\u00e9\101"', 'a"b\\\n\té' + "A"),
        (r'"\ud83d\ude00"', "\N{GRINNING FACE}"),
        ('"two\nlines"', "two\nlines"),
        ("[1 [2, (3 nil)]]", [1, [2, [3, None]]]),
        ("#{3 1 2}", [1, 2, 3]),
        ('#{"b" "a"}', ["a", "b"]),
        ("#{[2] nil 1}", [1, [2], None]),
        ('{:a 1, "b" {2 3}}', {"a": 1, "b": {"2": 3}}),
        ("#:jepsen{:a 1}", {"a": 1}),
        ('#inst "2020-01-01T00:00:00Z"', "2020-01-01T00:00:00Z"),
        ("#some.Record{:a 1}", {"a": 1}),
        ('#object[a.B 0x1f "a"]', ["a.B", 31, "a"]),
        ("#jepsen.independent/tuple [1 [2 3]]", KeyedValue(1, [2, 3])),
        ("#jepsen.independent.Tuple{:key 1, :value 2}", KeyedValue(1, 2)),
        ("#clojure.lang.MapEntry[1 2]", KeyedValue(1, 2)),
        ("; no\n #_ [1 #_2 {] ; no", None),
        ("#_ #_ 1 2 3", 3),
        ("[1 #_ 2 ; three\n 4]", [1, 4]),
        ("[#_ 1]", []),
    ],
)
def test_forms(text: str, value: Any) -> None:
    if value is None and text != "nil":
        with pytest.raises(NotEdn):
            parse(text, 0, final=True)
        return
    found = parse(text, 0, final=True)
    assert found == (value, len(text))
    assert type(found[0]) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("]", "closes nothing"),
        ("[1)", "')' closes a"),
        ("{1}", "a name without a value"),
        ('{:a 1, "a" 2}', "'a' twice"),
        ("007", "no number"),
        ("1x", "no number"),
        ("1/0", "divides by zero"),
        ("1e999", "too great"),
        ("9" * 4301, "4301 characters"),
        ("0x" + "f" * 3500, "3502 characters"),
        ("1e-99999999999999999999999M", "out of reach"),
        (r'"\q"', "escape"),
        (r'"\ud83d"', "half a surrogate"),
        (r"\ud83d", "half a surrogate"),
        ("\x00", "not EDN"),
        ("@a", "not EDN"),
        (":", "no keyword"),
        ("#jepsen.independent/tuple [1]", "needs a key and a value"),
        ("[" * 101 + "]" * 101, "100 deep"),
        ("#a " * 101 + "1", "100 deep"),
        ("#_ " * 101 + "1 1", "100 deep"),
        ("[" * 100_000, "100 deep"),
        ("#{1 ##Inf 2.5 \\a #{{[] 1}}", None),
        ('"', None),
        ('[1 "]', None),
        ("#_", None),
        ("", None),
    ],
)
def test_what_is_no_form(text: str, problem: str | None) -> None:
    if problem is None:
        with pytest.raises(Unfinished):
            parse(text, 0, final=True)
    else:
        with pytest.raises(NotEdn, match=re.escape(problem)):
            parse(text, 0, final=True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=VALUES)
@settings(deadline=None)
def test_what_is_written_is_read_and_no_part_of_it_is_taken_for_the_whole(value: Any) -> None:
    text = edn(value) + " "
    found, end = parse(text, 0, final=False)
    assert repr(found) == repr(value)
    assert end == len(text) - 1
    for cut in range(end):
        with pytest.raises(Unfinished):
            parse(text[:cut], 0, final=False)


# --- histories ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        WRITE,
        WRITE.replace("\n", " "),
        f"[{WRITE}]",
        f"; a comment\n({WRITE}) ; another",
        f"\n\n ,,[{WRITE.replace(', ', ' ')}]\n",
        WRITE.replace(":process 0, ", "").replace(":write,", ":write, :process 0,"),
        WRITE.replace("{", "#jepsen.history.Op{:index -1, :time -1, "),
        f"#_ [1 2]\n{WRITE}#_{{:process 0}}",
        f"[#_1 {WRITE}]",
        WRITE.replace("\n", "\r\n"),
        "\N{BYTE ORDER MARK}" + WRITE,
        WRITE.replace(":value 1", ":value #_ 2 1"),
        WRITE.replace(":value 1", ":value 1, :other {:nested [1 2]}"),
    ],
)
def test_events_are_read_however_they_are_laid_out(tmp_path: Path, text: str) -> None:
    assert list(read(tmp_path, text)) == [Row(0, "write", None, 1, None, OK, 0, 1)]


def test_all_that_an_event_may_say_is_kept(tmp_path: Path) -> None:
    history = read(
        tmp_path,
        '{:index 3, :time 100, :process 7, :type :invoke, :f :cas, :key "k", :value [1 2], :node "n1"}\n'
        "{:index 5, :time 90, :process 7, :type :fail, :f :cas, :value [1 2], :error [:not-1 3], :attempts 4}\n",
    )
    assert list(history) == [
        Row(7, "cas", "k", [1, 2], None, FAIL, 3, 5, 100, 90, "n1", '["not-1",3]', 4),
    ]


def test_the_result_is_what_the_completion_says_unless_a_write_repeats_itself(tmp_path: Path) -> None:
    text = "".join(
        f"{{:process 0, :type :invoke, :f {f}, :value {asked}}}{{:process 0, :type :ok, :f {f}, :value {told}}}"
        for f, asked, told in [
            (":read", "nil", "3"),
            (":read", "4", "4"),
            (":write", "4", "4"),
            (":append", '"x"', '"x"'),
            (":append", '"x"', "17"),
            (":txn", "[[:r 1 nil]]", "[[:r 1 2]]"),
            (":txn", "[[:w 1 2]]", "[[:w 1 2]]"),
            (":dequeue", "nil", "nil"),
        ]
    )
    results = [3, 4, None, None, 17, [["r", 1, 2]], [["w", 1, 2]], None]
    assert [row.result for row in read(tmp_path, text)] == results


def test_keys_are_told_by_a_tag_or_by_their_name(tmp_path: Path) -> None:
    text = (
        "{:process 0 :type :invoke :f :read :value #jepsen.independent/tuple [7 nil]}\n"
        "{:process 0 :type :ok :f :read :value #jepsen.independent/tuple [7 3]}\n"
        "{:process 1 :type :invoke :f :write :key :a :value 3}\n"
        "{:process 1 :type :info :f :write :key :a :value 3}\n"
        "{:process 2 :type :invoke :f :write :key [1 2] :value [7 nil]}\n"
    )
    assert [(row.key, row.value, row.result) for row in read(tmp_path, text)] == [
        (7, None, 3),
        ("a", 3, None),
        ("[1,2]", [7, None], None),
    ]


def test_a_crash_leaves_the_operation_open_and_the_process_goes_on(tmp_path: Path) -> None:
    text = "".join(
        f"{{:process 0, :type :{kind}, :f :write, :value {value}}}\n"
        for kind, value in [("invoke", 1), ("info", 1), ("invoke", 2), ("ok", 2), ("invoke", 3)]
    )
    rows = [(row.value, row.type, row.complete_index) for row in read(tmp_path, text)]
    assert rows == [(1, INFO, 1), (2, OK, 3), (3, INFO, -1)]


def test_the_nemesis_is_no_client_and_both_of_its_events_are_info(tmp_path: Path) -> None:
    text = (
        "{:process :nemesis, :type :info, :f :start, :value nil}\n"
        + WRITE
        + '{:process :nemesis, :type :info, :f :start, :value "cut off"}\n'
        + "{:process :nemesis, :type :info, :f :stop}{:process :nemesis, :type :info, :f :kill}\n"
        + "{:process :nemesis, :type :info, :f :kill, :value #{:n2 :n1}, :outcome :ok}"
    )
    history = read(tmp_path, text)
    assert [(r.f, r.result, r.type, r.invoke_index, r.complete_index) for r in history.nemesis()] == [
        ("start", None, INFO, 0, 3),
        ("stop", None, INFO, 4, -1),
        ("kill", ["n1", "n2"], OK, 5, 6),
    ]
    assert len(history.clients()) == 1
    assert {row.process for row in history.nemesis()} == {NEMESIS}


@pytest.mark.parametrize("end", ["", "[]", "()", "\n;\n", "[ ; nothing\n]", "#_ 1"])
def test_a_history_may_be_empty(tmp_path: Path, end: str) -> None:
    assert len(read(tmp_path, end)) == 0


INVOKE = "{:process 1, :type :invoke, :f :read}\n"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (INVOKE * 2, "line 2: process 1 invokes 'read' while its 'read' (event 0) is still under way"),
        ("{:process 1, :type :ok, :f :read}", "line 1: process 1 completes 'read', but has invoked nothing"),
        (
            INVOKE + "{:process 1, :type :ok, :f :write}",
            "line 2: process 1 completes 'write', but its 'read'",
        ),
        ("[" + INVOKE, "line 1: ']' is missing"),
        (f"[{INVOKE})", "line 2: ')' closes nothing"),
        (f"[{INVOKE}] {INVOKE}", "line 2: the history has ended, but"),
        (f"{INVOKE}[{INVOKE}]", "line 2: ["),
        (INVOKE + "{:process 1, :type\n :ok", "line 2: what begins here never ends"),
        (INVOKE + '{:process 1\n :type :ok :f "read', "line 2: what begins here never ends"),
        (INVOKE + "\n\n{:process 1\n :type ~ :f :read}", "line 5: '~ :f :read}' is not EDN"),
        (INVOKE + "1", "line 2: 1 is no event"),
        (INVOKE + "{:process 1, :f :read}", "line 2: :type is None, which is none of invoke, ok, fail, info"),
        ("{:process 1, :type :invoke}", "line 1: :f is None"),
        ("{:process -2, :type :invoke, :f :read}", "line 1: :process is -2"),
        ('{:process "x", :type :invoke, :f :read}', "line 1: :process is 'x'"),
        ("{:process 9999999999, :type :invoke, :f :read}", "line 1: there is no process 9999999999"),
        ("{:process 1, :type :invoke, :f :read, :time 1.5}", "line 1: :time is 1.5, which is no integer"),
        (f"{{:process 1, :type :invoke, :f :read, :time {1 << 63}}}", "line 1: :time is"),
        ("{:process 1, :type :invoke, :f :read, :value 01}", "line 1: '01' is no number"),
        ("{:process 1, :process 1, :type :invoke, :f :read}", "line 1: a map has 'process' twice"),
        (
            "{:process 1, :type :invoke, :f :read, :index 4}\n" * 1
            + "{:process 1, :type :ok, :f :read, :index 4}",
            "line 2: event 4 follows event 4, but indexes must go up",
        ),
        ("{:process 1, :type :invoke, :f :read, :index -7}", "line 1: event -7"),
        (INVOKE + "{:process 1, :type :ok, :f :read, :attempts 99999}", "line 2: :attempts is 99999"),
        (
            "{:process 1, :type :invoke, :f :read, :key 1}\n{:process 1, :type :ok, :f :read, :key 2}",
            "line 2: process 1 completes 'read' of key 2, but invoked it of key 1",
        ),
        (
            "{:process 1, :type :invoke, :f :write}\n{:process 1, :type :ok, :f :write, :value 2}",
            "line 2: only the completion of this 'write' says what was written",
        ),
        (b"{:process 1}\n\xff", "line 2 is not UTF-8"),
        (
            INVOKE + '{:process 1, :type :ok, :f :read, :value "\\ud800"}',
            "line 2: a string has half a surrogate",
        ),
        (INVOKE + "\x00", "line 2: '\\x00' is not EDN"),
        (INVOKE + "[" * 200_000, "line 2: ["),
    ],
)
def test_what_is_broken_is_named_by_its_line(tmp_path: Path, text: str | bytes, complaint: str) -> None:
    said = refused(tmp_path, text)
    complaint = complaint.removesuffix("[")
    assert said.startswith(complaint)


@given(
    noise=st.binary(max_size=120) | st.text(alphabet=' \n{}[]()#_:"\\;,01aNM/^~@processtypf', max_size=120)
)
@settings(max_examples=300, deadline=None)
def test_noise_is_refused_in_a_sentence_or_read(
    noise: bytes | str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("noise") / "h.edn"
    path.write_bytes(noise if isinstance(noise, bytes) else noise.encode())
    try:
        complaint = f"{path}: {len(read_history(path, 'edn'))} operations"
    except UsageError as error:
        complaint = str(error)
    assert complaint.startswith(str(path))
    assert "\n" not in complaint


# --- streaming ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("layout", ["{}", "[{}]", ";c\n#_ [1] ( {} ; end\n)"])
def test_what_is_read_does_not_depend_on_where_the_pieces_end(
    size: int, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = (
        WRITE
        + '{:process 1, :type :invoke, :f :read, :value nil, :time 12}; é "\n'
        + '{:process 1 :type :ok :f :read :value {"é\n}" #{1 -2.5 \\} :a/b #x [##NaN]}} :time 13}\n'
        + WRITE
    )
    text = layout.replace("{}", events)
    whole = read(tmp_path, text)
    assert len(whole) == 3
    monkeypatch.setattr(streams, "CHUNK_BYTES", size)
    assert list(map(repr, read(tmp_path, text))) == list(map(repr, whole))


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_lines_are_counted_across_pieces(size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "CHUNK_BYTES", size)
    text = "".join(f"; {n}\n{WRITE}" for n in range(50)) + "\n\n{:process 0\n :type :ok\n :f :write}"
    assert refused(tmp_path, text).startswith("line 153: process 0 completes 'write'")


def test_a_form_that_does_not_end_is_not_collected_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreshock.harness.formats.edn.LINE_BYTES_MAX", 1 << 12)
    monkeypatch.setattr(streams, "CHUNK_BYTES", 1 << 8)
    assert "line 3: what begins here is longer than" in refused(
        tmp_path, WRITE + '{:process 0 "' + "x" * 100_000
    )
    long_comment = ";" + "y\n;" * 100_000
    assert len(read(tmp_path, WRITE + long_comment)) == 1


def test_events_of_many_shapes_are_all_read(tmp_path: Path) -> None:
    names = [":process 0", ":type :invoke", ":f :read", ":value nil", ":time 5", ":key 1", ":index -1"]
    text = ""
    for turn in range(len(names) * 2):
        order = names[turn % 7 :] + names[: turn % 7]
        order = order if turn < 7 else order[::-1]
        text += "{" + ", ".join(order) + "}\n" + "{" + ", ".join(order).replace(":invoke", ":ok") + "}\n"
    assert list(read(tmp_path, text)) == [
        Row(0, "read", 1, None, None, OK, 2 * n, 2 * n + 1, 5, 5) for n in range(14)
    ]


@pytest.mark.parametrize("value", ['":f :no, :process 9"', '"}"', "[:a 1 nil]", ":a", '"; x"', '""', "[]"])
def test_what_stands_in_values_is_no_structure(tmp_path: Path, value: str) -> None:
    text = WRITE.replace(":value 1", f":value {value}") + WRITE.replace("0", "1")
    first, second = read(tmp_path, text)
    assert first.value == parse(value, 0, final=True)[0]
    assert second == Row(1, "write", None, 1, None, OK, 2, 3)
