"""Shared by all tests: who runs beside whom, and that nothing passes by being skipped where everything must run."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Generator, Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from tests.side_by_side import YIELDING, place_of
from xdist.scheduler import LoadScopeScheduling

# The same examples in each run, however busy the machine; other ones each time are for the soak.
hypothesis.settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("steady")

REQUIRE_DOCKER = os.environ.get("FORESHOCK_REQUIRE_DOCKER") == "yes"
REQUIRE_ALL = os.environ.get("FORESHOCK_REQUIRE_ALL") == "yes"
"""Whether every program that tests need was installed for them, so that no test but those of containers may skip."""


@cache
def no_engine() -> str | None:
    """Why container tests cannot run here; ``None`` when they can."""
    from foreshock.harness.backends.docker import DockerBackend

    return DockerBackend().available()


class SideBySide(LoadScopeScheduling):
    """Hands out tests as :mod:`tests.side_by_side` says."""

    def _split_scope(self, nodeid: str) -> str:
        return place_of(nodeid).group


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> SideBySide:
    config.option.loadscopereorder = False  # the order of the tests is the order of their turns
    return SideBySide(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(
        key=lambda item: (
            item.get_closest_marker("docker") is not None,
            item.get_closest_marker("slow") is not None,
        )
    )
    for item in items:
        if item.get_closest_marker("docker") is not None and place_of(item.nodeid).group != "containers":
            raise pytest.UsageError(f"{item.nodeid}: the name of a test with containers must say 'container'")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: place_of(item.nodeid))


def pytest_runtest_setup(item: pytest.Item) -> None:
    if hasattr(item.config, "workerinput") and place_of(item.nodeid).turn > 1:
        os.nice(max(0, YIELDING - os.nice(0)))
    if item.get_closest_marker("docker") is None:
        return
    reason = no_engine()
    if reason is None:
        return
    if REQUIRE_DOCKER:
        pytest.fail(f"an engine is there but the container tests cannot run: {reason}")
    pytest.skip(reason)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRE_ALL and report.skipped and item.get_closest_marker("docker") is None:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = (
            "failed",
            f"everything must run here, but this was skipped: {reason}",
        )
    return report


@pytest.fixture(autouse=True)
def own_state_directory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test has its own registry of live runs, so that none sees or cleans another's."""
    state = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    return state


@pytest.fixture(autouse=True)
def log_of_commands() -> Iterator[None]:
    """A command that a test runs in this process logs to the stderr of that test, which is closed with it."""
    logger = logging.getLogger("foreshock")
    before = [*logger.handlers], logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


@pytest.fixture(autouse=True)
def seeds_by_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run without a seed gets one that the name of its test decides: what passed simulated passes again."""
    drawn = count()
    monkeypatch.setattr(
        "foreshock.harness.plan.drawn_seed",
        lambda: zlib.crc32(f"{request.node.nodeid} {next(drawn)}".encode()) >> 1,
    )


@pytest.fixture(autouse=True)
def engine_of_containers_alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test without containers has no engine: it cleans nothing that a test beside it has left there."""
    if request.node.get_closest_marker("docker") is None:
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
