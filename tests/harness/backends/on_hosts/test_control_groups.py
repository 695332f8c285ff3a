"""Control groups on a tree of plain files (the unified hierarchy), and real ones where this machine lets us."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from foreshock.harness.backends.on_hosts import control_groups as groups


def sh(script: str) -> str:
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    """What a unified hierarchy looks like, as far as the scripts look at it."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory\n")
    return tmp_path


def test_in_the_unified_hierarchy_controllers_are_handed_down_to_the_node_s_group(unified: Path) -> None:
    sh(groups.make(groups.group_of("run", "n1"), str(unified)))
    assert (unified / "foreshock-run" / "n1").is_dir()
    assert (unified / "foreshock-run" / "cgroup.subtree_control").read_text() in (
        "+memory\n",
        "+cpu\n+memory\n",
    )
    assert (
        unified / "cgroup.subtree_control"
    ).read_text() == "cpu memory\n"  # what is everybody's stays as it is


def test_in_the_unified_hierarchy_limits_are_set_read_and_taken_away(unified: Path) -> None:
    group, root = groups.group_of("run", "n1"), str(unified)
    sh(groups.make(group, root))
    folder = unified / group
    (folder / "memory.swap.max").write_text("max\n")
    (folder / "memory.current").write_text("30000000\n")
    (folder / "memory.stat").write_text("anon 10\ninactive_file 4096\n")
    sh(groups.limit_cpu(group, 7, root))
    sh(groups.limit_memory(group, 40_000_000, root))
    assert (folder / "cpu.max").read_text() == "7000 100000\n"
    assert (folder / "memory.max").read_text() == "40000000\n"
    assert (folder / "memory.swap.max").read_text() == "0\n"
    read = dict(line.split() for line in sh(groups.read(group, root)).splitlines())
    assert read == {"cpu": "7000", "memory": "40000000", "used": "30000000", "inactive": "4096"}
    sh(groups.limit_cpu(group, None, root))
    sh(groups.limit_memory(group, None, root))
    assert [(folder / name).read_text() for name in ("cpu.max", "memory.max", "memory.swap.max")] == [
        "max 100000\n",
        "max\n",
        "max\n",
    ]
    assert set(dict(line.split() for line in sh(groups.read(group, root)).splitlines())) == {
        "used",
        "inactive",
    }


def test_in_the_unified_hierarchy_groups_are_frozen_and_thawed(unified: Path) -> None:
    group, root = groups.group_of("run", "n1"), str(unified)
    sh(groups.make(group, root))
    (unified / group / "cgroup.events").write_text("populated 1\nfrozen 1\n")
    sh(groups.freeze(group, root))
    assert (unified / group / "cgroup.freeze").read_text() == "1\n"
    assert sh(groups.frozen(group, root)) == "FROZEN\n"
    sh(groups.thaw(groups.group_of_run("run"), root))  # with all groups below it
    assert (unified / group / "cgroup.freeze").read_text() == "0\n"


def test_what_undoes_is_harmless_where_there_is_no_group(unified: Path) -> None:
    group, root = groups.group_of("gone", "n1"), str(unified)
    before = sorted(unified.rglob("*"))
    for script in (
        groups.limit_cpu(group, None, root),
        groups.limit_memory(group, None, root),
        groups.thaw(group, root),
        groups.remove(group, root),
    ):
        assert sh(script) == ""
    assert sorted(unified.rglob("*")) == before


def test_groups_are_usable_only_where_controllers_are_handed_down(unified: Path, tmp_path: Path) -> None:
    assert groups.usable(str(unified))
    (unified / "cgroup.subtree_control").write_text("memory\n")
    assert not groups.usable(str(unified))
    assert not groups.usable(str(tmp_path / "none"))
