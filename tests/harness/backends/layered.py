"""A disk layer on this machine, for tests, with what can be done to it."""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.commands import until

from foreshock.harness.backends.on_hosts.disk_kinds import reason_no_layer
from foreshock.harness.backends.on_hosts.disks import programs

SEED = "layered"


class Layered:
    """The layer over ``medium``, mounted at ``mount``."""

    def __init__(self, folder: Path) -> None:
        reason = reason_no_layer()
        if reason is not None:
            pytest.skip(reason)
        self.medium, self.mount = folder / "medium", folder / "mount"
        for each in (self.medium, self.mount):
            each.mkdir()
        self.archive = folder / "disks.pyz"
        self.archive.write_bytes(programs())
        self.control = self.mount / ".foreshock-disk"
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, self.archive, "layer", self.medium, self.mount, "foreshock:test:n1", SEED],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self.control.exists, "the layer's control file")

    def command(self, line: str) -> None:
        with self.control.open("w") as control:
            control.write(line)

    def break_(self, kind: str, **more: Any) -> None:
        self.command("break " + json.dumps({"kind": kind, **more}))

    def mend(self) -> None:
        self.command("mend")

    def cut(self, seed: str | None = None) -> None:
        """Cut the power; by default so that nothing stays that was not synced."""
        self.command(f"cut {losing_seed() if seed is None else seed}")

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.control.read_text())
        return found

    def probe(self) -> dict[str, Any]:
        command = [sys.executable, self.archive, "probe", self.mount]
        done = subprocess.run(command, capture_output=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def close(self) -> None:
        for command in (["umount", self.mount], ["fusermount", "-u", self.mount]):
            if not os.path.ismount(self.mount):
                break
            subprocess.run(command, check=False, capture_output=True)
        self.process.wait(20)


def losing_seed() -> str:
    """A seed by which the power takes everything that was not synced, of at least eight files."""
    for number in itertools.count():
        draws = random.Random(f"{SEED}/{number}")
        if all(draws.randrange(100) >= 50 for _ in range(8)):
            return str(number)
    raise AssertionError("there is one")
