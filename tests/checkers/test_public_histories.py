"""Histories in files, read as anybody's are, have their verdicts: published ones, and those of our own making.

Published ones are other projects' data and are not in this repository: they are in the folder that
``FORESHOCK_HISTORIES`` names. Those of our own making are in ``tests/checkers/histories``, one for each case.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.checkers.random_histories import context

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.formats.reading import read_history
from foreshock.harness.registry import Kind, names

OURS = Path(__file__).with_name("histories")
PUBLISHED = os.environ.get("FORESHOCK_HISTORIES")
SKIPPED = "the published histories are elsewhere: FORESHOCK_HISTORIES names no folder with a verdicts.json"


def published() -> dict[str, bool]:
    file = Path(PUBLISHED or os.devnull) / "verdicts.json"
    return json.loads(file.read_text()) if file.is_file() else {}


def own() -> dict[str, dict[str, Any]]:
    return json.loads((OURS / "verdicts.json").read_text())


def model_of(name: str) -> str:
    """What a published history is a history of, by its name."""
    folder, _, file = name.partition("/")
    return {"etcd": "cas-register", "kv": "kv"}.get(folder) or file.split("__")[0]


@pytest.mark.parametrize("name", published() or [pytest.param("", marks=pytest.mark.skip(reason=SKIPPED))])
def test_a_published_history_has_its_verdict(name: str) -> None:
    history = read_history(Path(PUBLISHED or "") / name)
    result = LinearizableChecker(model_of(name)).check(history, context(60))
    assert result.verdict.word == ("valid" if published()[name] else "invalid"), result.reason
    assert bool(result.counterexamples) != published()[name]


@pytest.mark.skipif(not published(), reason=SKIPPED)
def test_published_histories_are_as_many_as_are_known() -> None:
    kinds = Counter((name.split("/")[0], legal) for name, legal in published().items())
    folders = {folder for folder, _ in kinds}
    assert folders >= {"etcd", "knossos", "kv"}
    assert all(kinds[folder, legal] for folder in ("etcd", "knossos", "kv") for legal in (True, False))
    files = {
        f"{path.parent.name}/{path.name}" for path in Path(PUBLISHED or "").glob("*/*") if path.is_file()
    }
    assert files == set(published())


@pytest.mark.parametrize("name", own())
def test_a_history_of_our_own_making_has_its_verdict(name: str) -> None:
    expected = own()[name]
    history = read_history(OURS / name)
    result = LinearizableChecker(expected["model"]).check(history, context(60))
    assert result.verdict.word == ("valid" if expected["valid"] else "invalid"), result.reason
    assert len(history) == expected["operations"]
    assert [found.key for found in result.counterexamples] == expected.get("illegal_keys", [])


def test_there_are_histories_of_every_model_both_legal_and_illegal() -> None:
    kinds = Counter((expected["model"], expected["valid"]) for expected in own().values())
    for model in names(Kind.MODELS):
        assert kinds[model, True], f"no legal history of {model}"
        assert kinds[model, False], f"no illegal history of {model}"


def test_there_are_histories_in_every_format_that_is_text() -> None:
    suffixes = Counter(Path(name).suffix for name in own())
    assert set(suffixes) == {".jsonl", ".edn", ".log", ".txt", ".csv"}


def test_every_file_is_listed() -> None:
    assert {path.name for path in OURS.iterdir()} == {*own(), "verdicts.json"}
