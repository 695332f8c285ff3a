"""Shared by all tests: container tests run last, and never pass by being skipped where an engine must be used."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

REQUIRE_DOCKER = os.environ.get("FORESHOCK_REQUIRE_DOCKER") == "yes"


@cache
def no_engine() -> str | None:
    """Why container tests cannot run here; ``None`` when they can."""
    from foreshock.harness.backends.docker import DockerBackend

    return DockerBackend().available()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: (
            item.get_closest_marker("docker") is not None,
            item.get_closest_marker("slow") is not None,
        )
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("docker") is None:
        return
    reason = no_engine()
    if reason is None:
        return
    if REQUIRE_DOCKER:
        pytest.fail(f"an engine is there but the container tests cannot run: {reason}")
    pytest.skip(reason)


@pytest.fixture(autouse=True)
def own_state_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has its own registry of live runs, so that none sees or cleans another's."""
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return state
