"""The life of one test, seen from outside: a resolved plan in, a judged and reported run out."""

from __future__ import annotations

import datetime
import logging
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec
from foreshock.harness.asyncio_runtime import AsyncioRuntime
from foreshock.harness.history import History
from foreshock.harness.simulation.runtime import SimRuntime

from foreshock.harness.conductor import Conductor, workload_context
from foreshock.harness.errors import HarnessError
from foreshock.harness.judge import Judgement, judge, report_all
from foreshock.harness.ledger import read_ledger
from foreshock.harness.plan import Request, Resolved, resolve
from foreshock.harness.progress import Progress
from foreshock.harness.store import (
    FAULTS,
    HARNESS_LOG,
    HISTORY,
    HISTORY_PARQUET,
    RESULTS,
    TEST,
    Store,
    read_json,
    write_json,
)

VERSIONS_OF = ("foreshock", "msgspec", "numpy", "pandas", "docker")

logger = logging.getLogger("foreshock")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """A finished test."""

    run: Path
    judgement: Judgement
    reports: tuple[Path, ...]


def run_test(resolved: Resolved, store: Store, progress: Progress, *, report: bool = True) -> Outcome:
    """Run one test to its end: deploy, break, record, heal, tear down, decide, report.

    Raises :class:`HarnessError` only when not even the run's folder can be written.
    """
    plan = resolved.plan
    run = store.create("-".join([_safe(plan.target), plan.workload, *plan.nemeses]))
    started = time.monotonic()
    with _log_to(run / HARNESS_LOG), progress:
        runtime = SimRuntime(plan.seed) if resolved.backend.simulated else AsyncioRuntime(plan.seed)
        _write_test(run, resolved)
        conductor = Conductor(resolved, run, runtime, progress)
        _write_test(run, resolved, conductor)
        runtime.on_interrupt(conductor.interrupt)
        errors: list[str] = []
        try:
            runtime.run(conductor.conduct())
        except HarnessError as error:
            errors.append(str(error))
        except Exception as error:
            logger.exception("the test raised")
            errors.append(f"the harness raised {type(error).__name__}: {error} (see {run / HARNESS_LOG})")
        progress.phase("checking")
        judgement = judge(
            run,
            plan,
            conductor.recorder.history(),
            conductor.ledger.all(),
            conductor.workload.checkers(),
            harness_errors=[*conductor.harness_errors, *errors],
            interrupted=conductor.interrupts > 0,
            replay=resolved.command(),
            duration_s=time.monotonic() - started,
            should_stop=lambda: conductor.interrupts > 1,
        )
        return _publish(run, judgement, conductor.recorder.history(), report=report)


def analyze(run: Path, *, report: bool = True) -> Outcome:
    """Check a stored run again, also one whose harness was killed."""
    test = read_json(run / TEST)
    try:
        request = msgspec.convert(test["request"], Request)
    except (KeyError, msgspec.ValidationError) as error:
        raise HarnessError(f"{run / TEST} does not hold the request of a test: {error}") from None
    # The backend need not be here to decide what it recorded.
    resolved = resolve(
        msgspec.structs.replace(request, backend="sim" if test.get("simulated") else "process")
    )
    plan = msgspec.structs.replace(resolved.plan, backend=test["plan"]["backend"])
    earlier = read_json(run / RESULTS) if (run / RESULTS).is_file() else {}
    history = History.read(run / HISTORY)
    workload = resolved.workload_class(
        resolved.workload_options, workload_context(resolved, SimRuntime(plan.seed))
    )
    killed = () if earlier else ("the harness ended before it wrote results",)
    judgement = judge(
        run,
        plan,
        history,
        read_ledger(run / FAULTS),
        workload.checkers(),
        harness_errors=[e for e in earlier.get("harness_errors", killed) if not e.startswith("the checker ")],
        interrupted=bool(earlier.get("interrupted", False)),
        replay=test["replay"],
        duration_s=earlier.get("duration_s", 0.0),
    )
    return _publish(run, judgement, history, report=report)


def _publish(run: Path, judgement: Judgement, history: History, *, report: bool) -> Outcome:
    """Write what people and tools read; what fails here is a harness error beside the verdict."""
    errors: list[str] = []
    reports: list[Path] = []
    if report:
        try:
            history.write_parquet(run / HISTORY_PARQUET)
        except Exception as error:
            logger.exception("history.parquet was not written")
            errors.append(f"history.parquet was not written: {type(error).__name__}: {error}")
        reports, report_errors = report_all(run)
        errors += report_errors
    if errors:
        harness_errors = (*judgement.harness_errors, *errors)
        exit_code = judgement.exit if judgement.exit in (1, 130) else 3
        judgement = msgspec.structs.replace(judgement, harness_errors=harness_errors, exit=exit_code)
        write_json(run / RESULTS, judgement)
    return Outcome(run=run, judgement=judgement, reports=tuple(reports))


def _write_test(run: Path, resolved: Resolved, conductor: Conductor | None = None) -> None:
    write_json(
        run / TEST,
        {
            "run": run.name,
            "plan": resolved.plan,
            "request": msgspec.structs.replace(resolved.request, seed=resolved.plan.seed),
            "simulated": resolved.backend.simulated,
            "replay": resolved.command(),
            "versions": _versions(),
            "argv": sys.argv,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds"),
            "shades": list(conductor.shades) if conductor else [],
        },
    )


def _versions() -> dict[str, Any]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in VERSIONS_OF:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _safe(target: str) -> str:
    return target.rpartition(":")[2] if ".py:" in target else target


@contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Send the harness' log to a file of the run for as long as the test lasts."""
    try:
        handler = logging.FileHandler(path, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{path} cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()
