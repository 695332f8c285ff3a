"""Healing and cleaning after a harness that died: by the ledger, by labels, by the registry of live runs.

Both may come first, both may be repeated, and neither touches a run whose harness is alive.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final, NamedTuple

from foreshock.harness import live_runs
from foreshock.harness.backends.process_identity import alive
from foreshock.harness.blame import describe
from foreshock.harness.cluster import Backend
from foreshock.harness.errors import ForeshockError, PartlyDone, UsageError
from foreshock.harness.ledger import Fault, FaultLedger, LedgerInUse, ends_with_harness, read_ledger
from foreshock.harness.live_runs import LiveRun
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.scratch import remove_abandoned
from foreshock.harness.store import FAULTS

OTHER_HEALING_S: Final = 60.0
"""So long another process that heals the same run is waited for."""

logger = logging.getLogger("foreshock")


class Recovered(NamedTuple):
    """What was done, and what could not be, each a sentence."""

    done: list[str]
    errors: list[str]


def heal_dead_runs(run: str | None) -> Recovered:
    """Undo the open faults of every dead run, or of the one named (by its name or its folder).

    Raises :class:`UsageError` when the run named is still alive, or when there is no such run.
    """
    recovered = Recovered([], [])
    for name, directory in runs_to_heal(as_labelled(run)):
        if (directory / FAULTS).exists():
            _heal_run(name, directory / FAULTS, recovered)
    return recovered


def _heal_run(name: str, path: Path, recovered: Recovered) -> None:
    """Undo the open faults of one run; a fault that cannot be undone does not keep the others from being."""
    try:
        ledger = FaultLedger(path, now=lambda: 0, wait_s=OTHER_HEALING_S)
    except LedgerInUse as error:
        recovered.errors.append(f"run {name}: {error}")
        return
    except ForeshockError as error:  # what cannot be written down is undone all the same
        recovered.errors.append(f"run {name}: {error}")
        ledger = None
    try:
        for fault in reversed([fault for fault in read_ledger(path) if fault.is_open]):  # the newest first
            what = f"run {name}: {fault.kind} {','.join(fault.nodes)}".rstrip()
            try:
                recovered.done.append(f"{what}: {_heal(fault)}")
                if ledger is not None:
                    ledger.note_healed_later(fault.id)
            except ForeshockError as error:
                recovered.errors.append(f"{what}: {error}")
            except Exception as error:
                logger.debug("healing %s raised", what, exc_info=True)
                recovered.errors.append(f"{what}: {describe(error)}")
    except ForeshockError as error:
        recovered.errors.append(f"run {name}: {error}")
    finally:
        if ledger is not None:
            ledger.close()


def clean_dead_runs(run: str | None) -> Recovered:
    """Have every backend remove what dead runs, or the one named, left.

    A backend that cannot be used here has nothing to remove, unless a dead run was deployed on it. Raises
    :class:`UsageError` when the run named is still alive.
    """
    run = as_labelled(run)
    if run is not None:
        refuse_living(live_runs.named_runs(run))
    recovered = Recovered([], [])
    wanted = live_runs.dead_runs() if run is None else live_runs.named_runs(run)
    for name in sorted({*names(Kind.BACKENDS), *(dead.backend for dead in wanted)}):
        left = [dead.run for dead in wanted if dead.backend == name]
        try:
            backend: Backend = load(Kind.BACKENDS, name)()
            recovered.done.extend(backend.clean(run))
        except PartlyDone as partly:
            recovered.done.extend(partly.done)
            recovered.errors.extend(partly.errors)
        except ForeshockError as error:
            logger.debug("the backend %s cannot clean: %s", name, error)
            if left:
                recovered.errors.append(f"run {', '.join(left)} is not cleaned: {error}")
        except Exception as error:
            logger.exception("the backend %s raised while it cleaned", name)
            recovered.errors.append(f"the backend {name!r} cannot clean: {describe(error)}")
    live_runs.forget_torn()
    if run is None:
        recovered.done.extend(f"the scratch folder {folder}" for folder in remove_abandoned())
    return recovered


def as_labelled(run: str | None) -> str | None:
    """A run's name as labels and registry have it: in lower case, which the name of its folder is not."""
    return run if run is None or Path(run).exists() else run.lower()


def runs_to_heal(run: str | None) -> list[tuple[str, Path]]:
    """The dead runs, or the one named, each with its folder. One that lives, or is not there: :class:`UsageError`."""
    if run is None:
        return [(dead.run, Path(dead.directory)) for dead in live_runs.dead_runs()]
    named = live_runs.named_runs(run)
    refuse_living(named)
    if named:
        return [(each.run, Path(each.directory)) for each in named]
    if (Path(run) / FAULTS).is_file():  # a run that was cleaned, whose ledger still tells of open faults
        return [(Path(run).resolve().name, Path(run))]
    raise UsageError(f"no run {run!r} is known here: give the folder of a run, or nothing for every dead run")


def refuse_living(runs: list[LiveRun]) -> None:
    """Raises :class:`UsageError` when one of the runs is still under way."""
    for run in runs:
        if alive(run.harness):
            raise UsageError(
                f"run {run.run} is still under way (process {run.harness.pid}): "
                "stop it with Ctrl-C or SIGTERM, and it heals and cleans up by itself"
            )


def _heal(fault: Fault) -> str:
    if ends_with_harness(fault.inverse):
        return "nothing to do: it ended with its harness"
    backend: Backend = load(Kind.BACKENDS, str(fault.inverse["backend"]))()
    return backend.heal(fault.inverse)
