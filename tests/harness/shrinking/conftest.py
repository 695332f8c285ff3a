"""A failure that was hunted once, and a command line in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.harness.shrinking.hunted import HUNT, Hunted, Said, say


@pytest.fixture(scope="package")
def hunted(tmp_path_factory: pytest.TempPathFactory) -> Hunted:
    store = tmp_path_factory.mktemp("hunted")
    return Hunted(store, say(*HUNT, "--store", store, "--json"))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Said]:
    """Runs a command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return say
