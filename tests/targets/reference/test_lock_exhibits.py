"""What shows a planted bug of the locks accuses no correct node: the same tests without the bug are valid."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from foreshock.harness.exhibit import Exhibit
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.reference.lock_exhibits import LOCK_EXHIBITS

PLANTED = [exhibit for exhibit in LOCK_EXHIBITS if exhibit.request.bug is not None]


@pytest.mark.parametrize("exhibit", PLANTED, ids=lambda exhibit: exhibit.name)
def test_the_correct_node_is_valid_where_its_bug_is_not(exhibit: Exhibit, tmp_path: Path) -> None:
    assert len(PLANTED) == 2
    with_bug = msgspec.structs.replace(exhibit.request, backend="sim", seed=0)
    without = msgspec.structs.replace(with_bug, bug=None)
    found, spared = (
        run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False).judgement
        for request in (with_bug, without)
    )
    assert (found.verdict, found.harness_errors) == ("invalid", ()), found.reason
    assert (spared.verdict, spared.harness_errors) == ("valid", ()), spared.reason
