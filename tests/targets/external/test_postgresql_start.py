"""How a PostgreSQL node starts: what a kill may leave in its folder must not keep it from starting again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from foreshock.targets.external.postgresql import _START


def started(folder: Path, **programs: str) -> str:
    """What the start says in ``folder``/data where these scripts are PostgreSQL's programs, found before others."""
    (folder / "programs").mkdir()
    for name, script in programs.items():
        (folder / "programs" / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / "programs" / name).chmod(0o755)
    for place in (folder, *folder.parents[:3]):
        place.chmod(0o755)  # whoever the server runs as must reach it
    script = _START.format(programs=folder / "programs", data=folder / "data", settings="")
    return subprocess.run(
        ["sh", "-ec", script], capture_output=True, text=True, timeout=30, check=True
    ).stdout


@pytest.mark.parametrize(("left", "there"), [("", "no"), ("4711\n", "yes")], ids=["empty", "written"])
def test_an_empty_lock_file_is_removed_and_another_is_postgresqls_affair(
    left: str, there: str, tmp_path: Path
) -> None:
    (tmp_path / "data" / "database").mkdir(parents=True)
    (tmp_path / "data" / "made").touch()
    (tmp_path / "data" / "database" / "postmaster.pid").write_text(left)
    said = started(tmp_path, postgres="[ -e database/postmaster.pid ] && echo yes || echo no")
    assert said == f"{there}\n"


@pytest.mark.parametrize("allowed", [True, False], ids=["namespaces", "no-namespaces"])
def test_root_starts_it_as_the_user_of_the_package_who_has_a_name(allowed: bool, tmp_path: Path) -> None:
    """initdb asks for the name of whoever it runs as, and a number that nobody has keeps it from starting."""
    (tmp_path / "data" / "database").mkdir(parents=True)
    (tmp_path / "data" / "made").touch()
    becomes = ' "$@" >> became; while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"'
    programs = {
        "id": '[ -n "$2" ] && echo 123 || echo 0',
        "unshare": "echo unshare" + becomes if allowed else "exit 1",
        "setpriv": "echo setpriv" + becomes,
        "chown": ":",
        "postgres": "cat became",
    }
    said = started(tmp_path, **programs).splitlines()
    server = f"postgres -D {tmp_path}/data/database"
    if allowed:
        assert said == ["unshare --map-user=123 true", f"unshare --map-user=123 {server}"]
    else:
        assert said == [f"setpriv --reuid=postgres --regid=postgres --clear-groups {server}"]


def test_who_may_connect_is_on_disk_before_the_database_counts_as_made(tmp_path: Path) -> None:
    """Else a power cut leaves a torn line there, and the server refuses to start for good."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data").chmod(0o777)
    said = started(tmp_path, initdb="mkdir database", sync='echo "$@"', postgres="cat database/pg_hba.conf")
    assert said == "database/pg_hba.conf made .\nhost all all all trust\n"
