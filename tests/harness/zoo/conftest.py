from __future__ import annotations

import pytest
from tests.harness.zoo import small_zoo

from foreshock.harness.zoo import plan


@pytest.fixture
def zoo_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small zoo in place of the registered one."""
    monkeypatch.setattr(plan, "names", plan.names)
    monkeypatch.setattr(plan, "load", plan.load)
    monkeypatch.setattr(plan, "SOURCES", plan.SOURCES)
    small_zoo.use_small_zoo()
