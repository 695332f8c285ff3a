"""What shows a mistake of the locks accuses nothing else: the same tests without the mistake are valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.harness.exhibit import Exhibit
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.locks.shm_lock import ShmLock
from foreshock.targets.locks.tcp_lock import TcpLock
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
    assert found.checkers["mutex"]["verdict"] == "invalid", found.reason
    assert (spared.verdict, spared.harness_errors) == ("valid", ()), spared.reason


EXHIBITS = {exhibit.name: exhibit for exhibit in (*LOCK_EXHIBITS, *TcpLock.exhibits, *ShmLock.exhibits)}
FENCED = {"fencing": True}


@pytest.mark.parametrize(
    ("name", "mend", "convicted_by"),
    [
        ("raft/stalled-lock-client", FENCED, "guarded-resource"),
        ("tcp-lock/stalled-client", FENCED, "guarded-resource"),
        ("shm-lock/stalled-client", FENCED, "fencing"),
        ("tcp-lock/fast-clock", {"clock_margin_percent": 60}, "mutex"),
        ("tcp-lock/fast-clock", {**FENCED, "beliefs": False}, "mutex"),
        ("lock/half-open-double-grants", {}, "mutex"),
    ],
)
def test_what_a_lease_cannot_stand_is_found_and_mended(
    name: str, mend: dict[str, Any], convicted_by: str, tmp_path: Path
) -> None:
    exhibit = EXHIBITS[name]
    for seed in range(exhibit.budget):
        request = msgspec.structs.replace(exhibit.request, backend="sim", seed=seed)
        found = run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False).judgement
        assert found.harness_errors == ()
        if found.verdict == "invalid":
            break
    assert found.checkers[convicted_by]["verdict"] == "invalid", found.reason
    mended = msgspec.structs.replace(request, bug=None, options={**request.options, **mend})
    spared = run_test(resolve(mended), Store(tmp_path), SilentProgress(), report=False).judgement
    assert (spared.verdict, spared.harness_errors) == ("valid", ()), spared.reason
    assert spared.operations["ok"] > 100
