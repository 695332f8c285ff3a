"""The pages of findings: their commands end as shown and say what is quoted; the table is what is promised."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import documents
from tests.documents import Shown

from foreshock.targets.locks.redis_lock import RedisLock
from foreshock.targets.locks.redlock import Redlock

DOCS = Path(__file__).resolve().parent.parent / "docs"
FINDINGS = (DOCS / "findings.md").read_text()
SHOWN = list(documents.commands(FINDINGS))
SHOWN_OF_CACHES = list(documents.commands((DOCS / "caches.md").read_text()))


def names_of(shown: Shown) -> str:
    words = shown.arguments
    nemesis = words[words.index("--nemesis") + 1] if "--nemesis" in words else "none"
    return f"{words[words.index('--target') + 1]}-{nemesis}-{shown.code}"


@pytest.mark.parametrize("shown", [*SHOWN, *SHOWN_OF_CACHES], ids=names_of)
def test_a_command_ends_as_shown_and_says_what_is_quoted(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    documents.hold(shown)


def test_the_page_of_caches_shows_what_is_stale_and_what_is_not() -> None:
    assert [shown.code for shown in SHOWN_OF_CACHES] == [1, 0, 0, 1, 0, 1]


def test_every_finding_of_the_redis_locks_is_on_the_page() -> None:
    convicting = [shown.command for shown in SHOWN if shown.code == 1]
    for exhibit in (*RedisLock.exhibits, *Redlock.exhibits):
        request = exhibit.request
        if request.bug is not None:
            continue
        wanted = {
            f"--target {request.target}",
            *([f"--nemesis {request.nemesis}"] if request.nemesis != "none" else []),
            *(f"-o {name}={str(value).lower()}" for name, value in request.options.items()),
        }
        assert any(all(part in command for part in wanted) for command in convicting), exhibit.name


def test_the_table_of_promises_is_what_the_targets_promise() -> None:
    rows = [line for line in FINDINGS.splitlines() if line.startswith("| `red")]
    for name, target in (("redis-lock", RedisLock), ("redlock", Redlock)):
        for promise in target.promises:
            faults = ", ".join(f"`{nemesis}`" for nemesis in promise.nemeses) or "none"
            mine = [
                row
                for row in rows
                if f"`{name}`" in row.split("|")[1] and row.split("|")[3].strip() == faults
            ]
            assert mine, f"{name} promises under {faults}, and the page does not say so"
    assert len(rows) == 9
