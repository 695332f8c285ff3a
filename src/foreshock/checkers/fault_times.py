"""When faults began and ended, and how soon operations succeeded again, from the ledger's records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class FaultTime(NamedTuple):
    """One fault that was injected, in ns since the start of the test; ``healed_ns`` is ``None`` if it never was."""

    id: int
    kind: str
    nodes: tuple[str, ...]
    started_ns: int
    healed_ns: int | None


def fault_times(records: Sequence[Mapping[str, Any]]) -> list[FaultTime]:
    """The faults that took (those that failed before they were verified are left out), oldest first."""
    times = []
    for record in records:
        verified = record.get("verified_ns")
        if verified is None and record.get("failed_ns") is not None:
            continue
        times.append(
            FaultTime(
                int(record["id"]),
                str(record["kind"]),
                tuple(record.get("nodes", ())),
                int(record["planned_ns"]),
                record.get("healed_ns"),
            )
        )
    return sorted(times, key=lambda fault: (fault.started_ns, fault.id))


def recovery_ns(invoked_ns: Ints, completed_ns: Ints, healed_ns: int) -> int | None:
    """How long after healing the first operation that was invoked after it succeeded; ``None`` if none did.

    ``invoked_ns`` and ``completed_ns`` are those of ok operations, in the order of their invocations.
    """
    later = completed_ns[np.searchsorted(invoked_ns, healed_ns) :]
    return int(later.min()) - healed_ns if len(later) else None
