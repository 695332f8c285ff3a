"""Knobs that cannot work together are refused with a sentence that names them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from foreshock.targets.reference.node.raft import RaftKnobs


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"batch_entries_max": 0}, "the knob batch_entries_max is 0, but must be an integer of at least 1"),
        ({"heartbeat_ms": "60"}, "the knob heartbeat_ms is '60', but must be an integer"),
        (
            {"snapshot_keep_entries": -1},
            "the knob snapshot_keep_entries is -1, but must be an integer of at least 0",
        ),
        ({"clock_drift_percent": -1}, "the knob clock_drift_percent is -1"),
        ({"reads": "fast"}, "the knob reads is 'fast', but must be one of read-index, lease"),
        ({"election_timeout_max_ms": 300}, "election_timeout_max_ms (300) must be greater than"),
        ({"heartbeat_ms": 151}, "heartbeat_ms (151) must be at most half of election_timeout_min_ms (300)"),
    ],
)
def test_knobs_that_cannot_work_are_refused(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        RaftKnobs()._replace(**changed).checked()


def test_knobs_that_can_are_given_back() -> None:
    knobs = RaftKnobs(snapshot_keep_entries=0, reads="lease", clock_drift_percent=0, prevote=False)
    assert knobs.checked() == knobs
