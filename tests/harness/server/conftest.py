"""One server and one store for all tests that only read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.server import stores
from tests.harness.server.serving import Serving
from tests.reports import runs

from foreshock.reports.html import HtmlReporter

SECRET = "nobody may read this"
HOSTILE_NAME = "<script>document.body.dataset.owned='yes'<\\script>'\"&%41"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("around") / "store"
    (root.parent / "secret.txt").write_text(SECRET)
    (root.parent / "store2").mkdir()
    (root.parent / "store2" / "secret.txt").write_text(SECRET)
    valid = stores.summarized(
        runs.valid_run(root / "raft-register-kill" / "20260101T100000-000001", count=200)
    )
    HtmlReporter().report(valid)
    (valid / "history.parquet").write_bytes(b"PAR1")
    (valid / "page.html").write_text("<script>alert(1)</script>")
    for number in range(120):
        verdict = ("valid", "valid", "invalid", "unknown")[number % 4]
        stores.quick_run(root, number, target=("raft", "paxos")[number % 2], verdict=verdict)
    stores.running_run(root)
    stores.running_run(root, alive=False, test="raft-register-killed")
    stores.campaign(root)
    hostile = runs.hostile_run(root / HOSTILE_NAME / "20260101T110000-000002")
    HtmlReporter().report(stores.summarized(hostile))
    (hostile / HOSTILE_NAME).write_text("text")
    (hostile / "out").symlink_to(root.parent)
    (hostile / "file-out.log").symlink_to(root.parent / "secret.txt")
    (hostile / "inside.log").symlink_to("nodes/n1")
    (root / "linked").symlink_to(root.parent / "store2")
    (root / "latest").symlink_to("raft-register-kill/20260101T100000-000001")
    return root


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Serving]:
    with Serving(store) as started:
        yield started
