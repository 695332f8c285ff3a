"""How a PostgreSQL node starts: what a kill may leave in its folder must not keep it from starting again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from foreshock.targets.external.postgresql import _START


@pytest.mark.parametrize(("left", "there"), [("", "no"), ("4711\n", "yes")], ids=["empty", "written"])
def test_an_empty_lock_file_is_removed_and_another_is_postgresqls_affair(
    left: str, there: str, tmp_path: Path
) -> None:
    programs, data = tmp_path / "programs", tmp_path / "data"
    programs.mkdir()
    (data / "database").mkdir(parents=True)
    (data / "made").touch()
    (data / "database" / "postmaster.pid").write_text(left)
    (programs / "postgres").write_text("#!/bin/sh\n[ -e database/postmaster.pid ] && echo yes || echo no\n")
    (programs / "postgres").chmod(0o755)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)  # whoever the server runs as must reach it
    script = _START.format(programs=programs, data=data, settings="")
    done = subprocess.run(["sh", "-ec", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == f"{there}\n"
