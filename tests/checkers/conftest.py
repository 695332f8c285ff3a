"""What tests of checkers share."""

from __future__ import annotations

import time

import pytest


@pytest.fixture
def processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines by the processor time of this process: what else runs on the machine takes none of it."""
    monkeypatch.setattr("time.monotonic", time.process_time)
    monkeypatch.setattr("time.monotonic_ns", time.process_time_ns)
