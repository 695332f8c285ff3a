"""Published histories are read whole. They are other projects' data: ``FORESHOCK_HISTORIES`` names their folder."""

from __future__ import annotations

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from foreshock.harness.formats.reading import detected, read_history
from foreshock.harness.formats.writing import write_history

FOLDER = Path(os.environ.get("FORESHOCK_HISTORIES") or os.devnull)
pytestmark = pytest.mark.skipif(
    not (FOLDER / "verdicts.json").is_file(),
    reason="the published histories are elsewhere: FORESHOCK_HISTORIES names no folder with a verdicts.json",
)
FORMATS = {"etcd": "etcd", "knossos": "edn", "kv": "kv"}


def files(kind: str) -> list[Path]:
    return sorted(path for path in (FOLDER / kind).iterdir() if path.is_file())


@pytest.mark.parametrize("kind", FORMATS)
def test_every_event_of_every_file_is_read(kind: str, tmp_path: Path) -> None:
    assert files(kind)
    for path in files(kind):
        assert detected(path).name == FORMATS[kind]
        history = read_history(path)
        # Counted without a parser: every event says its type once, and comments say none.
        text = re.sub(r"(?m);.*$", "", path.read_text())
        types = Counter(re.findall(r":(invoke|ok|fail|info)\b", text))
        clients = history.clients()
        nemesis = len(history.nemesis().completed()) + len(history.nemesis())
        assert len(clients) == types["invoke"]
        assert clients.counts()["ok"] == types["ok"]
        assert clients.counts()["fail"] == types["fail"]
        assert len(clients.completed().where(type="info")) + nemesis == types["info"]
        for ending in (".edn", ".csv", ".jsonl"):
            write_history(history, tmp_path / f"again{ending}")
            assert list(read_history(tmp_path / f"again{ending}")) == list(history)
