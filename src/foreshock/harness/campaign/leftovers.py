"""What killed workers of a campaign left: their clusters are healed and removed, and nobody else's."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import ProcessIdentity
from foreshock.harness.errors import ForeshockError
from foreshock.harness.process_pool import Note
from foreshock.harness.recovery import Recovered, clean_dead_runs, heal_dead_runs


def recover(workers: Iterable[ProcessIdentity]) -> Recovered:
    """Undo the faults and remove the clusters of the runs whose harness was one of these, and is dead."""
    known = set(workers)
    recovered = Recovered([], [])
    for run in live_runs.dead_runs() if known else ():
        if run.harness not in known:
            continue
        for undo in (heal_dead_runs, clean_dead_runs):
            try:
                done, errors = undo(run.run)
            except ForeshockError as error:
                done, errors = [], [f"run {run.run}: {error}"]
            recovered.done.extend(done)
            recovered.errors.extend(errors)
    return recovered


def recover_one(worker: ProcessIdentity, _: Note) -> list[str]:
    """Undo and remove what one worker left, in a process of a pool; what could not be done, a sentence each."""
    return recover([worker]).errors
