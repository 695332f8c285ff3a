"""Schedules: read whole, refused with the place and the mend, written so that they are read as they were."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.harness.cli.common import read_config
from foreshock.harness.errors import UsageError
from foreshock.harness.operation import Operation
from foreshock.harness.plan import nemeses_of_schedule, resolve
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.request import Request
from foreshock.harness.schedule_file import ScheduledFault, operations_of, read_schedule, steps_of
from foreshock.harness.schedule_record import ScheduleRecord, entry_text
from foreshock.nemesis.kill import KillNemesis
from foreshock.nemesis.partition import PartitionNemesis
from foreshock.nemesis.power import PowerNemesis
from foreshock.nemesis.stall import StallNemesis

NODES = ("n1", "n2", "n3", "n4", "n5")
NEMESES: dict[str, Any] = {"partition": PartitionNemesis, "kill": KillNemesis, "stall": StallNemesis}
NEMESES["power"] = PowerNemesis


def written(folder: Path, text: str) -> Path:
    path = folder / "faults.toml"
    path.write_text(text)
    return path


def read(folder: Path, text: str) -> tuple[ScheduledFault, ...]:
    return read_schedule(written(folder, text), NEMESES, NODES, 60.0)


def test_entries_become_steps_in_order_of_time_and_may_overlap(tmp_path: Path) -> None:
    faults = read(
        tmp_path,
        """
        [[fault]]
        at = 5
        do = "start-partition"
        value = "halves"
        for = 3.0

        [[fault]]
        at = 1.5
        do = "kill"
        nodes = ["n1", "n2"]

        [[fault]]
        at = 6
        do = "stall"
        value = { processes = [0, 1], duration_ms = 700 }
        """,
    )
    assert [(step.at_ns, step.f, step.value) for step in steps_of(faults)] == [
        (1_500_000_000, "kill", {"nodes": ["n1", "n2"]}),
        (5_000_000_000, "start-partition", "halves"),
        (6_000_000_000, "stall", {"processes": [0, 1], "duration_ms": 700}),
        (8_000_000_000, "stop-partition", None),
    ]


def test_nodes_beside_a_name_and_beside_a_table(tmp_path: Path) -> None:
    beside_name, beside_table = read(
        tmp_path,
        """
        [[fault]]
        at = 1
        do = "start-partition"
        value = "one"
        nodes = ["n4"]
        [[fault]]
        at = 2
        do = "kill"
        value = { spec = "one" }
        nodes = ["n4"]
        """,
    )
    assert beside_name.value == {"kind": "one", "nodes": ["n4"]}
    assert beside_table.value == {"spec": "one", "nodes": ["n4"]}


START = '[[fault]]\nat = 1\ndo = "start-partition"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[fault]]\nat = 1\ndo = "start-partitoin"\n', r"entry 1 \(line 1\): .*did you mean 'start-part"),
        ('\n\n[[fault]]\nat = 1\ndo = "kill"\nvlaue = "one"\n', r"\(line 3\): .*'vlaue' \(did you mean 'value'"),
        ('[[fualt]]\nat = 1\ndo = "kill"\n', r"there is no 'fualt' \(did you mean 'fault'\?\)"),
        ('[[fault]]\nat = -1\ndo = "kill"\nvalue = "one"\n', "at = -1 is out of bounds"),
        (f'[[fault]]\nat = {"9" * 400}\ndo = "kill"\nvalue = "one"\n', "at = 9{40} is out of bounds"),
        (f'[[fault]]\nat = {"9" * 5000}\n', "has a number or a date in it that is out of bounds"),
        ("fault = " + "[" * 5000, "is nested too deep"),
        (f'[[fault]]\nat = 1\ndo = "{"k" * 9999}"\n', "no nemesis of this test performs do = 'k{199} "),
        ('[[fault]]\nat = 1\ndo = "cut-power"\nvalue = "oen"\n', r"its value 'oen' is not known"),
        ('[[fault]]\nat = nan\ndo = "kill"\nvalue = "one"\n', "at must be a number of seconds, not nan"),
        ('[[fault]]\nat = "soon"\ndo = "kill"\nvalue = "one"\n', "at must be a number of seconds, not 'soon'"),
        ('[[fault]]\nat = true\ndo = "kill"\nvalue = "one"\n', "at must be a number of seconds, not True"),
        ('[[fault]]\ndo = "kill"\nvalue = "one"\n', "at is missing"),
        ("[[fault]]\nat = 1\n", "do is missing: name an operation"),
        ('[[fault]]\nat = 61\ndo = "kill"\nvalue = "one"\n', "at = 61 is after the main phase, which lasts 60 s"),
        ('[[fault]]\nat = 1\ndo = "kill"\nvalue = "oen"\n', r"its value 'oen' is not known \(did you mean 'one'"),
        ('[[fault]]\nat = 1\ndo = "kill"\nnodes = ["n9"]\n', r"there is no node 'n9' \(did you mean 'n"),
        ('[[fault]]\nat = 1\ndo = "kill"\nnodes = "n1"\n', "its nodes must be a list of nodes, not 'n1'"),
        ('[[fault]]\nat = 1\ndo = "kill"\nvalue = 3\n', "value must be a name or a table, not 3"),
        ('[[fault]]\nat = 1\ndo = "kill"\n', "it needs a value: one of one, "),
        ('[[fault]]\nat = 1\ndo = "start"\nfor = 2\n', "nothing ends 'start', so it cannot have for"),
        ('[[fault]]\nat = 1\ndo = "kill"\nvalue = "one"\nfor = 0\n', "for = 0 is out of bounds"),
        ('[[fault]]\nat = 1\ndo = "kill"\nvalue = { nodes = ["n1"] }\nnodes = ["n2"]\n', "leave one of them out"),
        (START + "value = { kind = 'halves' }\n", "its table needs a grudge"),
        (START + "value = { grudge = ['n1'] }\n", "its grudge must be a table by node"),
        (START + "value = { grudge = { n1 = ['n7'] } }\n", "there is no node 'n7'"),
        (START + "value = { grudge = { n1 = ['n1'] } }\n", "n1 itself, which always hears itself"),
        ('[[fault]]\nat = 1\ndo = "stall"\nvalue = { processes = "all" }\n', "its processes must be a list of numbers"),
        ('[[fault]]\nat = 1\ndo = "stall"\nvalue = { processes = [1], duration_ms = 0 }\n', "its duration_ms must be"),
        ("fault = 3\n", "has no entry"),
        ("", "has no entry"),
        ("[[fault]\n", "is not TOML"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place_and_the_mend(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        read(tmp_path, text)
    assert "faults.toml" in str(caught.value)


def test_a_schedule_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_schedule(tmp_path / "none.toml", NEMESES, NODES, 60.0)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is no UTF-8 text: invalid start byte at byte 0"):
        read_schedule(tmp_path / "binary.toml", NEMESES, NODES, 60.0)


def test_what_has_no_end_or_can_be_read_only_once_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    for path in (Path("/dev/zero"), tmp_path / "pipe.toml"):
        with pytest.raises(UsageError, match="is no regular file: write it to one"):
            read_schedule(path, NEMESES, NODES, 60.0)
        with pytest.raises(UsageError, match="is no regular file"):
            read_config(path, ())


def test_the_nemeses_are_those_that_perform_the_operations(tmp_path: Path) -> None:
    path = written(
        tmp_path, '[[fault]]\nat = 1\ndo = "kill"\nvalue = "one"\n[[fault]]\nat = 2\ndo = "resume"\n'
    )
    assert nemeses_of_schedule(str(path)) == ("kill", "pause")
    wrong = written(tmp_path, '[[fault]]\nat = 1\ndo = "kil"\n')
    with pytest.raises(UsageError, match=r"no nemesis performs do = 'kil' \(did you mean 'kill'"):
        nemeses_of_schedule(str(wrong))


def test_a_plan_holds_its_schedule_and_refuses_what_contradicts_it(tmp_path: Path) -> None:
    path = str(written(tmp_path, '[[fault]]\nat = 1\ndo = "kill"\nvalue = "one"\nfor = 2\n'))
    resolved = resolve(Request(schedule=path, backend="sim"))
    assert resolved.plan.nemeses == ("kill",)
    assert resolved.plan.schedule == (ScheduledFault(1_000_000_000, "kill", "one", "start", 2_000_000_000),)
    assert f"--schedule {path}" in resolved.command()
    for contradiction, flag in (
        ({"mix": "exclusive"}, "--mix"),
        ({"intensity": "2"}, "--intensity"),
        ({"quiet_windows": "1-2"}, "--quiet-windows"),
        ({"nemesis": "kill=2"}, "a weight"),
    ):
        with pytest.raises(UsageError, match=f"a schedule says itself what comes when: leave out {flag}"):
            resolve(Request(schedule=path, backend="sim", **contradiction))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no nemesis of this test performs do = 'kill'"):
        resolve(Request(schedule=path, backend="sim", nemesis="partition"))


@pytest.mark.parametrize("name", names(Kind.NEMESES))
def test_every_nemesis_tells_its_operations_by_its_shades(name: str) -> None:
    """So schedules know who performs what, and the end of what begins, without a cluster."""
    cls = load(Kind.NEMESES, name)
    operations = operations_of(cls)
    assert operations
    assert all(shade.stops for shade in cls.shades)
    assert cls.__new__(cls).fs == set(operations)
    assert set(cls.values) <= set(operations)
    for shade in cls.shades:
        for stop in shade.stops:
            cls.check_value(stop, None, NODES)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(TEXT, inside, max_size=4),
    max_leaves=12,
)


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        return [without_none(each) for each in value if each is not None]
    return value


@given(at_ns=st.integers(0, 86_400_000_000_000), value=st.dictionaries(TEXT, JSON, max_size=4))
def test_what_is_written_is_read_as_it_was_but_for_null(at_ns: int, value: dict[str, Any]) -> None:
    (entry,) = tomllib.loads(entry_text(at_ns, "skew-clocks", value))["fault"]
    assert round(entry["at"] * 1_000_000_000) == at_ns
    assert entry.get("value", {}) == without_none(value)


def test_a_record_holds_results_of_the_main_phase_alone_and_can_be_read(tmp_path: Path) -> None:
    record = ScheduleRecord(tmp_path / "schedule.toml")
    record.performed(Operation(f="kill", value="one", time_ns=1), {"spec": "one", "nodes": ["n1"]})
    assert not (tmp_path / "schedule.toml").exists()
    record.begin(2_000_000_000)
    record.performed(
        Operation(f="kill", value="one", time_ns=3_250_000_001), {"spec": "one", "nodes": ["n3"]}
    )
    record.failed(Operation(f="start-partition", value="one", time_ns=4_000_000_000), ValueError("not\ncut"))
    record.end()
    record.performed(Operation(f="start", time_ns=9_000_000_000), {"nodes": ["n3"]})
    assert "# it failed: not cut\n" in (tmp_path / "schedule.toml").read_text()
    assert read_schedule(tmp_path / "schedule.toml", NEMESES, NODES, 60.0) == (
        ScheduledFault(1_250_000_001, "kill", {"spec": "one", "nodes": ["n3"]}),
        ScheduledFault(2_000_000_000, "start-partition", "one"),
    )
