"""examples/nats_jetstream.py: three servers are a cluster, and its leader reads right while nothing is wrong."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from foreshock.harness import Foreshock

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
pytest.importorskip("nats")
pytestmark = pytest.mark.skipif(
    shutil.which("nats-server", path=PATH) is None, reason="there is no nats-server"
)


def test_reads_by_the_leader(foreshock: Foreshock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", PATH)
    target = Path(__file__).parents[2] / "examples" / "nats_jetstream.py"
    result = foreshock.test(
        target=f"{target}:NatsJetstream",
        backend="process",
        time_limit=2,
        options={"target": {"reads": "leader"}},
    )
    assert result.verdict == "valid"
    assert result.summary.operations["ok"] > 20
