"""Every exporter's file is read back as the same history, whatever is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.harness.test_history import histories, sample

from foreshock.harness.errors import UsageError
from foreshock.harness.formats.reading import detected, read_history
from foreshock.harness.formats.writing import write_history
from foreshock.harness.history import History, Row
from foreshock.harness.history_values import DEPTH_MAX
from foreshock.harness.operation import OperationType

ENDINGS = {"foreshock": ".jsonl", "parquet": ".parquet", "edn": ".edn", "csv": ".csv"}
OK, INFO = OperationType.OK, OperationType.INFO


def exact(history: History) -> str:
    """The rows as text: unlike comparison, it tells 1 from 1.0 and from True."""
    return "\n".join(map(repr, history))


@pytest.mark.parametrize("name", ENDINGS)
@pytest.mark.parametrize("compression", ["", ".gz", ".zst"])
def test_a_history_comes_back_from_every_format(name: str, compression: str, tmp_path: Path) -> None:
    path = tmp_path / f"history{ENDINGS[name]}{compression}"
    write_history(sample(), path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert exact(read_history(path)) == exact(sample())
    assert exact(read_history(path, name)) == exact(sample())


@pytest.mark.parametrize("name", ENDINGS)
@given(rows=histories())
@settings(max_examples=60, deadline=None)
def test_random_histories_come_back(
    name: str, rows: list[Row], tmp_path_factory: pytest.TempPathFactory
) -> None:
    history = History.of(rows)
    path = tmp_path_factory.mktemp("h") / f"h{ENDINGS[name]}"
    write_history(history, path)
    assert exact(read_history(path, name)) == exact(history)
    if rows:
        assert detected(path).name == ("foreshock" if name == "parquet" else name)
        assert exact(read_history(path)) == exact(history)


@given(rows=histories(), formats=st.permutations(list(ENDINGS)))
@settings(max_examples=40, deadline=None)
def test_a_history_that_goes_through_all_formats_comes_back(
    rows: list[Row], formats: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    history = original = History.of(rows)
    folder = tmp_path_factory.mktemp("h")
    for number, name in enumerate(formats):
        path = folder / f"{number}{ENDINGS[name]}.{('gz', 'zst')[number % 2]}"
        write_history(history, path)
        history = read_history(path, name)
    assert exact(history) == exact(original)


@pytest.mark.parametrize("name", ENDINGS)
def test_writes_that_answer_what_they_wrote_and_writes_that_answer_nothing_are_told_apart(
    name: str, tmp_path: Path
) -> None:
    results = [None, 5, [5], "5", 5.0, True]
    history = History.of(
        Row(0, f, None, 5, result, OK, 2 * number, 2 * number + 1)
        for number, (f, result) in enumerate((f, r) for f in ("write", "cas", "read", "x") for r in results)
    )
    path = tmp_path / f"h{ENDINGS[name]}"
    write_history(history, path)
    assert exact(read_history(path)) == exact(history)


def test_operations_of_one_process_that_touch_go_into_csv_and_parquet_alone(tmp_path: Path) -> None:
    (tmp_path / "ticks.csv").write_text(
        "process,f,value,type,invoke_ns,complete_ns\n0,write,1,ok,0,5\n0,write,2,ok,5,9\n1,write,3,ok,5,5\n"
    )
    history = read_history(tmp_path / "ticks.csv")
    for ending in (".csv", ".parquet"):
        write_history(history, tmp_path / f"again{ending}")
        assert exact(read_history(tmp_path / f"again{ending}")) == exact(history)
    for ending in (".edn", ".jsonl"):
        with pytest.raises(
            UsageError, match="operations 0 and 1 of process 0 overlap, which only csv and parquet"
        ):
            write_history(history, tmp_path / f"refused{ending}")
    assert not list(tmp_path.glob("*refused*"))


def test_crashed_operations_that_nothing_ends_stay_open(tmp_path: Path) -> None:
    history = History.of(
        [
            Row(0, "write", "k", 1, type=INFO, invoke_index=3),
            Row(1, "read", "k", invoke_index=4, complete_index=9),
        ]
    )
    for ending in ENDINGS.values():
        write_history(history, tmp_path / f"h{ending}")
        assert exact(read_history(tmp_path / f"h{ending}")) == exact(history)


@pytest.mark.parametrize("ending", [".edn", ".csv"])
def test_values_come_back_as_deep_and_as_great_as_they_may_be_and_others_are_refused(
    ending: str, tmp_path: Path
) -> None:
    fitting = [
        10**4299,
        -(10**4000),
        [0.1, -0.0, 5e-324, 1.7976931348623157e308],
        "\x00\u2028",
        nested(DEPTH_MAX),
    ]
    history = History.of(
        Row(0, "x", None, value, value, OK, 2 * number, 2 * number + 1)
        for number, value in enumerate(fitting)
    )
    write_history(history, tmp_path / f"h{ending}")
    assert exact(read_history(tmp_path / f"h{ending}")) == exact(history)
    line = '{"index":0,"type":"invoke","process":0,"f":"x","value":%s}\n'
    (tmp_path / "deep.jsonl").write_text(line % json.dumps(nested(DEPTH_MAX + 1)))
    with pytest.raises(UsageError, match=r"cannot be written as (edn|csv): a value nests more than 100 deep"):
        write_history(read_history(tmp_path / "deep.jsonl"), tmp_path / f"deep{ending}")
    assert {path.name for path in tmp_path.iterdir()} == {f"h{ending}", "deep.jsonl"}


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = {"a": value} if level % 2 else [value]
    return value
