"""Healing and cleaning after a harness that died: by the ledger, by labels, by the registry of live runs."""

from __future__ import annotations

from pathlib import Path

from foreshock.harness import live_runs
from foreshock.harness.cluster import Backend
from foreshock.harness.errors import ForeshockError
from foreshock.harness.ledger import FaultLedger, read_ledger
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.store import FAULTS


def heal_dead_runs(run: str | None) -> tuple[list[str], list[str]]:
    """Undo the open faults of every dead run, or of the one named; what was done, and what could not be."""
    done, errors = [], []
    for dead in live_runs.dead_runs():
        if run is not None and run not in (dead.run, dead.directory):
            continue
        try:
            done += _heal_run(dead.run, Path(dead.directory))
        except ForeshockError as error:
            errors.append(f"run {dead.run}: {error}")
    return done, errors


def _heal_run(run: str, directory: Path) -> list[str]:
    done = []
    path = directory / FAULTS
    for fault in read_ledger(path):
        if fault.healed_ns is not None:
            continue
        backend: Backend = load(Kind.BACKENDS, str(fault.inverse["backend"]))()
        done.append(f"{run}: {fault.kind} {','.join(fault.nodes)}: {backend.heal(fault.inverse)}")
        _note_healed(path, fault.id)
    return done


def _note_healed(path: Path, fault: int) -> None:
    # The clock of the dead run is gone, so the time of healing is unknown: the fault's end is the run's end.
    ledger = FaultLedger(path, now=lambda: -1)
    try:
        ledger.note_healed_later(fault)
    finally:
        ledger.close()


def clean_dead_runs(run: str | None) -> tuple[list[str], list[str]]:
    """Have every backend remove what dead runs left; what was removed, and what could not be."""
    done, errors = [], []
    for name in names(Kind.BACKENDS):
        try:
            backend: Backend = load(Kind.BACKENDS, name)()
            if backend.available() is None:
                done += backend.clean(run)
        except ForeshockError as error:
            errors.append(f"backend {name}: {error}")
    return done, errors
