"""What hunts, and what was found: shared by the tests of what can be done with a failure."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from foreshock.harness.cli.main import main

HUNT = (
    "hunt",
    "--target", "raft",
    "--bug", "raft/stale-leader-reads",
    "--nemesis", "partition",
    "-o", "partition.kinds=isolate-primary",
    "--nodes", "3",
    "--rate", "50",
    "--time-limit", "6",
    "--interval", "1",
    "--jobs", "1",
)  # fmt: skip


class Said(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


def say(*arguments: object) -> Said:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return Said(code, out.getvalue(), err.getvalue())


class Hunted(NamedTuple):
    """A store with the one run that a hunt has found, and what the hunt printed."""

    store: Path
    said: Said

    @property
    def run(self) -> Path:
        """The run's folder."""
        return Path(self.said.document["found"]["run"])
