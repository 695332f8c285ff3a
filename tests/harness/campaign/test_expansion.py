"""Combinations, their settings, their keys; shards are disjoint and complete, whatever the matrix is."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.harness.campaign.expansion import (
    Combination,
    Shard,
    axes_of,
    combinations_of,
    count_of,
    matches,
    planned_tests,
)
from foreshock.harness.campaign.planning import plan_campaign
from foreshock.harness.campaign.possible import excludes_for
from foreshock.harness.campaign.source import Source
from foreshock.harness.campaign.specification import Excluded, Seeds, Specification, read_specification


def combinations(tmp_path: Path, text: str) -> tuple[Combination, ...]:
    path = tmp_path / "campaign.toml"
    path.write_text(text)
    return combinations_of(read_specification(path))


def test_every_combination_in_the_order_of_the_file_with_the_defaults(tmp_path: Path) -> None:
    found = combinations(
        tmp_path,
        """
seeds = 2
[defaults]
backend = "sim"
time-limit = 3
[matrix]
target = ["raft", "zab"]
nemesis = ["kill", "pause"]
""",
    )
    assert [(one.cell["target"], one.cell["nemesis"]) for one in found] == [
        ("raft", "kill"), ("raft", "pause"), ("zab", "kill"), ("zab", "pause"),
    ]  # fmt: skip
    assert {one.request(7).time_limit for one in found} == {3.0}
    tests = list(planned_tests(found, None))
    assert [test.request.seed for test in tests] == [0] * 4 + [
        1
    ] * 4  # each is begun before any is begun again
    assert axes_of(found) == {
        "target": ("raft", "zab"),
        "workload": ("register",),
        "nemesis": ("kill", "pause"),
        "backend": ("sim",),
        "bug": ("none",),
    }


def test_an_exclude_leaves_out_what_has_all_of_it(tmp_path: Path) -> None:
    found = combinations(
        tmp_path,
        """
[matrix]
target = ["raft", "zab", "paxos"]
nemesis = ["kill", "pause"]
[[exclude]]
target = ["raft", "zab"]
nemesis = "pause"
""",
    )
    assert [(one.cell["target"], one.cell["nemesis"]) for one in found] == [
        ("raft", "kill"), ("zab", "kill"), ("paxos", "kill"), ("paxos", "pause"),
    ]  # fmt: skip


def test_an_adjust_changes_settings_and_seeds_of_what_is_there_and_adds_nothing(tmp_path: Path) -> None:
    found = combinations(
        tmp_path,
        """
seeds = 1
[matrix]
target = ["raft", "zab"]
nemesis = ["kill", "pause"]
[[adjust]]
where = { target = "raft" }
rate = 500
[[adjust]]
where = { target = "raft", nemesis = "pause" }
rate = 900
seeds = 3
[[include]]
target = "raft"
nemesis = "clock"
rate = 7
""",
    )
    assert [(one.cell["target"], one.cell["nemesis"], one.cell["rate"]) for one in found] == [
        ("raft", "kill", "500"),
        ("raft", "pause", "900"),
        ("zab", "kill", "100"),
        ("zab", "pause", "100"),
        ("raft", "clock", "7"),  # what an include is made of is its own
    ]
    assert [one.seeds.rounds for one in found] == [1, 3, 1, 1, 1]
    assert count_of(found) == 7


def test_an_include_is_a_small_matrix_of_its_own(tmp_path: Path) -> None:
    found = combinations(
        tmp_path,
        """
seeds = 5
[defaults]
backend = "sim"
[matrix]
target = "raft"
[[include]]
target = ["raft", "zab"]
workload = ["register", "lock"]
backend = "docker"
seeds = 2
""",
    )
    assert [(one.cell["target"], one.cell["workload"], one.cell["backend"]) for one in found] == [
        ("raft", "register", "sim"),
        ("raft", "register", "docker"),
        ("raft", "lock", "docker"),
        ("zab", "register", "docker"),
        ("zab", "lock", "docker"),
    ]
    assert count_of(found) == 5 + 4 * 2


def test_an_include_brings_back_what_was_excluded(tmp_path: Path) -> None:
    found = combinations(
        tmp_path,
        """
[matrix]
target = ["raft", "zab"]
[[exclude]]
target = "zab"
[[include]]
target = "zab"
rate = 10
""",
    )
    assert [(one.cell["target"], one.cell["rate"]) for one in found] == [("raft", "100"), ("zab", "10")]


def test_options_are_axes_too(tmp_path: Path) -> None:
    found = combinations(
        tmp_path,
        """
[matrix]
target = "memory-cache"
workload = "cache"
options.mode = ["aside", "leases"]
""",
    )
    assert [one.cell["options.mode"] for one in found] == ["aside", "leases"]
    assert [dict(one.request(0).options) for one in found] == [{"mode": "aside"}, {"mode": "leases"}]


def test_keys_are_of_what_is_asked_and_of_nothing_else(tmp_path: Path) -> None:
    plain = combinations(tmp_path, 'seeds = 3\n[matrix]\ntarget = ["raft", "zab"]\n')
    other = combinations(
        tmp_path,
        '# a comment\nname = "other"\nseeds = [2, 0, 1]\njobs = 2\n[matrix]\ntarget = ["zab", "raft"]\n',
    )
    assert {test.key for test in planned_tests(plain, None)} == {
        test.key for test in planned_tests(other, None)
    }
    longer = combinations(
        tmp_path, 'seeds = 3\n[defaults]\ntime-limit = 61\n[matrix]\ntarget = ["raft", "zab"]\n'
    )
    assert not {test.key for test in planned_tests(plain, None)} & {
        test.key for test in planned_tests(longer, None)
    }


axes = st.dictionaries(
    st.sampled_from(["nodes", "concurrency", "memory", "intensity"]),
    st.lists(st.integers(1, 9).map(str), min_size=1, max_size=4, unique=True),
    min_size=1,
)


def specification_of(matrix: dict[str, list[str]], count: int) -> Specification:
    return Specification(
        source=Source(path=Path("c.toml"), content={}, lines={}),
        name="c",
        seeds=Seeds(count=count),
        matrix={axis: tuple(values) for axis, values in matrix.items()},
    )


@given(axes, st.integers(1, 5), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_shards_are_disjoint_and_complete(matrix: dict[str, list[str]], count: int, shards: int) -> None:
    found = combinations_of(specification_of(matrix, count))
    everything = [test.key for test in planned_tests(found, None)]
    parts = [
        [test.key for test in planned_tests(found, Shard(number, shards))] for number in range(1, shards + 1)
    ]
    assert len(set(everything)) == len(everything) == count_of(found)
    assert sorted(itertools.chain(*parts)) == sorted(everything)


def test_shards_are_about_equal() -> None:
    matrix = {"nodes": ["3", "5"], "concurrency": ["1", "2", "4"]}
    found = combinations_of(specification_of(matrix, 100))
    sizes = [sum(1 for _ in planned_tests(found, Shard(number, 4))) for number in range(1, 5)]
    assert sum(sizes) == 600
    assert min(sizes) > 110
    assert max(sizes) < 190


@given(axes, st.data())
@settings(max_examples=60, deadline=None)
def test_the_excludes_that_are_offered_leave_out_what_failed_and_nothing_else(
    matrix: dict[str, list[str]], data: st.DataObject
) -> None:
    found = combinations_of(specification_of(matrix, 1))
    failing = data.draw(st.lists(st.sampled_from(found), max_size=len(found) - 1, unique_by=id))
    fine = [one for one in found if all(one is not failed for failed in failing)]
    offered = excludes_for(failing, fine)
    tables = [{axis: (value,) for axis, value in where.items()} for where in offered]

    def left_out(one: Combination) -> bool:
        return any(matches(one.axes, table) for table in tables)

    assert all(left_out(one) for one in failing)
    assert not any(left_out(one) for one in fine)


@pytest.mark.parametrize("where", [{"nodes": ("3",)}, {"nodes": ("3", "5"), "memory": ("1",)}])
def test_what_excludes_leave_is_what_they_do_not_match(where: dict[str, Any]) -> None:
    matrix = {"nodes": ["3", "5", "7"], "memory": ["1", "2"]}
    plain = combinations_of(specification_of(matrix, 1))
    base = specification_of(matrix, 1)
    fewer = combinations_of(
        Specification(
            source=base.source, name="c", seeds=base.seeds, matrix=base.matrix, excluded=(Excluded(1, where),)
        )
    )
    assert [one.axes for one in fewer] == [one.axes for one in plain if not matches(one.axes, where)]


@pytest.mark.parametrize("setting", ["target", "nemesis", "checker"])
def test_a_plug_in_file_that_was_changed_makes_another_campaign(setting: str, tmp_path: Path) -> None:
    plug_in = tmp_path / "mine.py"
    bases = {"target": "Raft", "nemesis": "KillNemesis", "checker": "StatisticsChecker"}
    plug_in.write_text(
        "from foreshock.targets.reference.raft_target import Raft\n"
        "from foreshock.nemesis.kill import KillNemesis\n"
        "from foreshock.checkers.statistics import StatisticsChecker\n"
        f"class Mine({bases[setting]}): pass\n"
    )
    file = tmp_path / "c.toml"
    values = {"target": "raft", "backend": "sim", setting: f"{plug_in}:Mine"}
    if setting == "nemesis":
        values["nemesis"] = f"pause, {plug_in}:Mine"
    file.write_text("[matrix]\n" + "".join(f'{name} = "{value}"\n' for name, value in values.items()))
    before = plan_campaign(file).digest()
    assert plan_campaign(file).digest() == before
    plug_in.write_text(plug_in.read_text() + "# changed\n")
    assert plan_campaign(file).digest() != before
