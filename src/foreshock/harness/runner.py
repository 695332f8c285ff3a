"""The life of one test, seen from outside: a resolved plan in, a judged and reported run out."""

from __future__ import annotations

import datetime
import logging
import platform
import shutil
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.blame import describe
from foreshock.harness.conductor import Conductor
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.interrupts import catch_interrupts
from foreshock.harness.judge import Ending, judge
from foreshock.harness.live_file import RecordedProgress
from foreshock.harness.nemesis import Shade
from foreshock.harness.plan import Resolved
from foreshock.harness.progress import Progress
from foreshock.harness.publish import Outcome, Reported, publish
from foreshock.harness.run_log import log_to
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.store import HARNESS_LOG, TEST, Store, write_json

LIVE_AFTER_S = 0.5
"""A simulated test that takes longer than this says where it stands, as any other does."""
VERSIONS_OF = ("foreshock", "msgspec", "numpy", "pandas", "docker")

logger = logging.getLogger("foreshock")


def run_test(
    resolved: Resolved,
    store: Store,
    progress: Progress,
    *,
    report: Reported = True,
    reporters: Sequence[str] = (),
) -> Outcome:
    """Run one test to its end: deploy, break, record, heal, tear down, decide, report.

    ``reporters`` are asked for by name, beside those that always write; without ``report`` they are the only ones.
    Raises :class:`ForeshockError` only when the test cannot even begin; nothing has been deployed then.
    """
    plan = resolved.plan
    run = store.create("-".join(_short(name) for name in (plan.target, plan.workload, *plan.nemeses)))
    after_s = LIVE_AFTER_S if resolved.backend.simulated else 0.0
    progress = RecordedProgress(progress, run, after_s=after_s)
    with log_to(run / HARNESS_LOG), progress:
        runtime = SimRuntime(plan.seed) if resolved.backend.simulated else AsyncioRuntime(plan.seed)
        _write_test(run, resolved, ())
        try:
            conductor = Conductor(resolved, run, runtime, progress)
        except UsageError:
            shutil.rmtree(run)  # nothing has happened in it
            raise
        with catch_interrupts(conductor.interrupt):
            _write_test(run, resolved, conductor.parts.shades)
            return _conduct(runtime, resolved, conductor, report=report, reporters=reporters)


def _conduct(
    runtime: SimRuntime | AsyncioRuntime,
    resolved: Resolved,
    conductor: Conductor,
    *,
    report: Reported,
    reporters: Sequence[str],
) -> Outcome:
    started = time.monotonic()
    errors = _run(runtime, conductor)
    interrupts_before = conductor.interrupts

    def should_stop() -> bool:
        """Ctrl-C while checking ends the checking; so does a second one, whenever it came."""
        return conductor.interrupts > min(interrupts_before, 1)

    if not should_stop():
        conductor.progress.phase("checking")
    history = conductor.recorder.history()
    figures, figure_errors = _figures_of(conductor)
    judgement = judge(
        conductor.run,
        resolved.plan,
        history,
        conductor.ledger.all(),
        conductor.parts.checkers,
        Ending(
            harness_errors=[*conductor.harness_errors, *errors, *figure_errors],
            interrupted=conductor.interrupts > 0,
            complete=conductor.complete and not conductor.unhealed,
            duration_s=time.monotonic() - started,
            figures=figures,
        ),
        replay=resolved.command(),
        should_stop=should_stop,
    )
    if conductor.interrupts > interrupts_before:  # it came while the checkers were at work
        judgement = msgspec.structs.replace(
            judgement, interrupted=True, exit=judgement.exit if judgement.exit == 1 else 130
        )
    if should_stop():
        report, reporters = False, ()
    return publish(conductor.run, judgement, history, report=report, reporters=reporters)


def _figures_of(conductor: Conductor) -> tuple[dict[str, Any], list[str]]:
    """The target's figures, or the sentence of what it raised."""
    target = conductor.parts.target
    try:
        figures = dict(target.figures())
        msgspec.json.encode(figures)
    except Exception as error:
        logger.exception("the target's figures cannot be had")
        return {}, [f"the figures of the target {conductor.plan.target!r} cannot be had: {describe(error)}"]
    return figures, []


def _run(runtime: SimRuntime | AsyncioRuntime, conductor: Conductor) -> list[str]:
    """Conduct the test in its runtime; what the runtime raises becomes a sentence."""
    runtime.on_interrupt(conductor.interrupt)
    try:
        runtime.run(conductor.conduct())
    except HarnessError as error:
        logger.debug("the runtime raised", exc_info=True)
        return [str(error)]
    except Exception as error:
        logger.exception("the test raised")
        return [f"the test ended early: {describe(error)}; see {conductor.run / HARNESS_LOG}"]
    return []


def _write_test(run: Path, resolved: Resolved, shades: tuple[Shade, ...]) -> None:
    write_json(
        run / TEST,
        {
            "run": run.name,
            "plan": resolved.plan,
            "request": msgspec.structs.replace(resolved.request, seed=resolved.plan.seed),
            "simulated": resolved.backend.simulated,
            "replay": resolved.command(),
            "versions": versions(),
            "argv": sys.argv,
            "directory": str(Path.cwd()),
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "shades": list(shades),
        },
    )


def _short(name: str) -> str:
    """A plug-in's name in a folder's name: of ``path/file.py:Class`` the class."""
    return name.rpartition(":")[2]


def versions() -> dict[str, str]:
    """The versions of what a run depends on, by name, as ``test.json`` has them."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
