"""When the compiled search is loaded, when it is not, and what is said then."""

from __future__ import annotations

import logging
import subprocess
import time
from typing import Any

import pytest
from tests.checkers.random_histories import columns_of_entries, limits

from foreshock.checkers import engines
from foreshock.checkers.entries import Entry
from foreshock.checkers.kernel_search import KernelSearch
from foreshock.checkers.models.register import Register
from foreshock.checkers.search import Limits, Search


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_compiled", engines._Compiled())
    logger = logging.getLogger("foreshock")
    monkeypatch.setattr(logger, "propagate", True)


def history(operations: int) -> list[Entry]:
    """Values that come again and again, so that no fast path takes them."""
    return [
        Entry(n, 2 * n, 2 * n + 1, *(("write", 1, None) if n % 2 == 0 else ("read", None, 1)), False, 0)
        for n in range(operations)
    ]


def test_few_operations_are_not_worth_loading_and_many_are() -> None:
    assert isinstance(engines.search_of_entries(history(100), Register(), limits()), Search)
    assert not engines.is_compiled()
    many = history(engines.WORTH_LOADING + 2)
    assert isinstance(engines.search_of_entries(many, Register(), limits()), KernelSearch)
    assert isinstance(engines.search_of_entries(history(2), Register(), limits()), KernelSearch)


def test_few_operations_at_a_time_add_up() -> None:
    for _ in range(1 + engines.WORTH_LOADING // 100):
        engines.search_of_entries(history(100), Register(), limits())
    assert engines.is_compiled()


def test_what_is_announced_is_worth_loading_when_the_first_has_to_be_searched() -> None:
    engines.announce(engines.WORTH_LOADING + 1)
    assert not engines.is_compiled()
    columns = columns_of_entries({"k": history(10)})
    engines.searches_of(columns, [], Register(), limits())
    assert not engines.is_compiled(), "nothing is to be searched"
    assert isinstance(engines.searches_of(columns, [0], Register(), limits())(0), KernelSearch)


def test_nothing_is_compiled_shortly_before_a_deadline_but_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "_is_on_disk", lambda: False)
    soon = Limits(time.monotonic_ns() + 5 * 10**9, 1 << 30)
    search = engines.search_of_entries(history(engines.WORTH_LOADING + 2), Register(), soon)
    assert isinstance(search, Search)
    assert "no time for that before the deadline" in caplog.text
    caplog.clear()
    engines.search_of_entries(history(engines.WORTH_LOADING + 2), Register(), soon)
    assert caplog.text == "", "said once"


def test_what_cannot_be_compiled_is_said_and_the_plain_search_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(engines, "_is_on_disk", lambda: False)
    monkeypatch.setattr(engines.sys, "executable", "false")
    assert isinstance(
        engines.search_of_entries(history(engines.WORTH_LOADING + 2), Register(), limits()), Search
    )
    assert "once for this installation" in caplog.text
    assert "it could not be compiled (exit code 1)" in caplog.text


def test_who_interrupts_the_compiling_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_is_on_disk", lambda: False)
    processes: list[subprocess.Popen[bytes]] = []

    class Interrupted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(["sleep", "600"])
            processes.append(self)

        def wait(self, timeout: float | None = None) -> int:
            if self.poll() is None and timeout is not None:
                raise KeyboardInterrupt
            return super().wait()

    monkeypatch.setattr(engines.subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        engines.load()
    assert processes[0].returncode == -9
