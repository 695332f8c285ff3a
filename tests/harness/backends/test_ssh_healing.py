"""Undoing what a run has on its hosts, by scripts that this machine's own shell runs."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any, cast

import pytest

from foreshock.harness.backends.process_identity import NODE_VARIABLE
from foreshock.harness.backends.ssh import node_scripts
from foreshock.harness.backends.ssh.connections import Connection, ConnectionLost
from foreshock.harness.backends.ssh.healing import Leftover, Step, end_on_host
from foreshock.harness.backends.ssh.places import Place
from foreshock.harness.errors import HarnessError
from foreshock.harness.host import HostResult

PLACE = Place(node="n1", hostname="h1", port=22, user="ann", key_name="h1", known_hosts=())


class Here:
    """Stands for the connection to a host; what root would run is refused, as by a host without sudo."""

    place = PLACE
    uses_sudo = True

    def __init__(self) -> None:
        self.lost = False
        self.asked = 0

    def run(self, script: str, timeout_ms: int, *, root: bool = False) -> HostResult:
        self.asked += 1
        if self.lost:
            raise ConnectionLost("the connection to the host of node n1 is lost")
        if root:
            raise HarnessError("sudo on the host of node n1 does not let the user ann")
        done = subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, timeout=timeout_ms / 1000, check=False
        )
        return HostResult(done.returncode, done.stdout, done.stderr)


def end(here: Here, base: Path, run: str, *steps: Step) -> list[str]:
    left = Leftover(hosts={"n1": PLACE}, base=str(base), steps={"n1": steps})
    return end_on_host(cast(Connection, here), left, run)


def test_what_cannot_be_undone_is_told_and_keeps_nothing_else_from_being_tried(tmp_path: Path) -> None:
    run, base, undone = f"healing-{os.getpid()}", tmp_path / "foreshock", tmp_path / "undone"
    here: Any = Here()
    assert here.run(node_scripts.claim(str(base), run), 60_000).exit_code == 0
    environment = {**os.environ, NODE_VARIABLE: run}
    with subprocess.Popen(["sleep", "600"], env=environment) as node:
        fails = [Step(root=True, script="true"), Step(root=False, script="echo no such clock >&2; exit 1")]
        works = Step(root=False, script=f"echo x >>{undone}")
        with pytest.raises(HarnessError, match=r"n1 cannot be removed: sudo .*; no such clock$"):
            end(here, base, run, *fails, works)
        assert node.wait(60) == -9
    assert undone.read_text() == "x\n"
    assert (base / run).is_dir()  # with the programs that undo what is still in force
    assert end(here, base, run, works) == [f"removed {base / run} on the host of n1"]
    assert not base.exists()
    assert end(here, base, run, works) == []


def test_a_connection_that_is_lost_is_not_tried_again_for_each_step(tmp_path: Path) -> None:
    here = Here()
    here.lost = True
    with pytest.raises(ConnectionLost):
        end(here, tmp_path, "r", *[Step(root=False, script="true")] * 3)
    assert here.asked == 1


def test_a_node_whose_folder_was_removed_already_needs_no_start(tmp_path: Path) -> None:
    here = Here()
    assert here.run(node_scripts.start_if_there(str(tmp_path / "gone"), "r"), 60_000).exit_code == 0
    assert here.run(node_scripts.start(str(tmp_path / "gone"), "r"), 60_000).exit_code == 1
