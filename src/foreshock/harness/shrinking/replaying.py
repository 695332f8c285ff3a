"""A stored run once more: in the simulator the same to the last byte, on real nodes the same faults."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.judge import Judgement
from foreshock.harness.plan import resolve
from foreshock.harness.progress import Progress
from foreshock.harness.publish import Outcome
from foreshock.harness.runner import run_test
from foreshock.harness.schedule_record import SCHEDULE
from foreshock.harness.shrinking.sameness import Compared, compare_runs
from foreshock.harness.shrinking.stored_test import (
    Again,
    StoredTest,
    read_test,
    run_again,
    scheduled,
    version_changes,
)
from foreshock.harness.store import RESULTS, Store, read_json
from foreshock.harness.verdict import ExitCode

RACES: Final = (
    "on real nodes the same faults came at the same times, but races between messages, processes and clocks may go "
    "another way each time"
)


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """A stored run that was run again. ``compared`` is missing where it was no simulated one.

    ``says`` are sentences on what a reader must know of it; ``exit`` is that of the new run, or 3 where a simulated
    run is not the same.
    """

    of: Path
    outcome: Outcome
    exit: int
    says: tuple[str, ...]
    compared: Compared | None = None

    @property
    def judgement(self) -> Judgement:
        """How the new run ended."""
        return self.outcome.judgement


def replay(run: Path, store: Path, progress: Progress, *, report: bool = True) -> Replay:
    """Run the test of a stored run again, into the store; raises :class:`ForeshockError` when it cannot begin."""
    stored = read_test(run)
    again = _again(stored, store)
    outcome = run_test(again.resolved, Store(store), progress, report=report)
    code = outcome.judgement.exit
    compared = None
    if not stored.simulated:
        says = [
            RACES if again.resolved.request.schedule else "on real nodes races may go another way each time"
        ]
    elif outcome.judgement.interrupted:
        says = ["it was interrupted, so it was not compared with the stored run"]
    else:
        compared = compare_runs(run, outcome.run)
        says = _about(stored, compared)
        if not compared.same:
            code = int(ExitCode.HARNESS_ERROR)
    says += _about_settings(again)
    return Replay(of=run, outcome=outcome, exit=code, says=tuple(says), compared=compared)


def _again(stored: StoredTest, store: Path) -> Again:
    """The test to run: on real nodes with the faults that the run recorded, where there were any."""
    again = run_again(stored, store)
    schedule = stored.run / SCHEDULE
    if stored.simulated or not schedule.is_file():
        return again
    near = schedule.relative_to(Path.cwd()) if schedule.is_relative_to(Path.cwd()) else schedule
    request = scheduled(again.resolved.request, again.resolved.plan, near)
    return msgspec.structs.replace(again, resolved=resolve(request))


def _about(stored: StoredTest, compared: Compared) -> list[str]:
    """Whether it was the same, and if not, where it parts and what may be the cause."""
    if compared.parting is None:
        cut = " as far as the stored run came" if compared.cut_short else ""
        return [f"the same history{cut}, byte for byte: {compared.events} events"]
    changes = version_changes(stored)
    if _was_interrupted(stored.run):
        cause = "the stored run was interrupted, and when that was is part of no seed"
    elif changes:
        cause = f"versions that differ: {'; '.join(changes)}"
    else:
        cause = "no version differs, so code has changed since: of the target, of a plug-in, or of Foreshock itself"
    return [f"NOT the same: {compared.parting.sentence()}", cause]


def _about_settings(again: Again) -> list[str]:
    says = []
    if again.changed:
        says.append(
            f"settings that are other than they were, and cannot be had again: {', '.join(again.changed)}"
        )
    if again.pinned:
        says.append(f"defaults have changed since, and were taken as they were: {', '.join(again.pinned)}")
    return says


def _was_interrupted(run: Path) -> bool:
    try:
        return read_json(run / RESULTS).get("interrupted") is True
    except HarnessError:
        return True  # it did not come to an end at all
