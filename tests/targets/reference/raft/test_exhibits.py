"""What shows a planted bug accuses no correct node: the same tests without the bug are valid."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from tests.targets.reference.invariants import watch

from foreshock.harness.exhibit import Exhibit
from foreshock.harness.plan import resolve
from foreshock.harness.progress import SilentProgress
from foreshock.harness.registry import Kind, names
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.targets.reference.raft_exhibits import EXHIBITS, PROMISES


def test_every_planted_bug_of_raft_has_an_exhibit_of_at_most_20_seeds() -> None:
    bugs = [name for name in names(Kind.BUGS) if name.startswith("raft/")]
    assert sorted(exhibit.name for exhibit in EXHIBITS) == bugs
    for exhibit in EXHIBITS:
        assert exhibit.request.bug == exhibit.name
        assert exhibit.budget <= 20
        assert exhibit.shows


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_correct_node_is_valid_where_its_bug_is_not(exhibit: Exhibit, tmp_path: Path) -> None:
    request = msgspec.structs.replace(exhibit.request, backend="sim", seed=5, bug=None, time_limit=15.0)
    with watch() as invariants:
        judgement = run_test(resolve(request), Store(tmp_path), SilentProgress(), report=False).judgement
    assert (judgement.verdict, judgement.harness_errors) == ("valid", ()), judgement.reason
    assert invariants.broken == []


def test_every_workload_of_raft_has_a_promise_with_its_reason() -> None:
    assert {promise.workload for promise in PROMISES} == {"register", "lock", "cache"}
    assert all(promise.because for promise in PROMISES)
