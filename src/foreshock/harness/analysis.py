"""Judging a stored run again, also one whose harness was killed.

Only the workload that the plan names is needed for that: neither its backend, nor its target, nor its nemeses.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.history import History
from foreshock.harness.judge import Ending, exit_of_analysis, judge
from foreshock.harness.ledger import read_ledger
from foreshock.harness.parts import make, workload_checkers, workload_context
from foreshock.harness.plan import Plan, load_workload
from foreshock.harness.publish import Outcome, of_publishing, publish
from foreshock.harness.registry import look_in
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.harness.store import FAULTS, HISTORY, RESULTS, TEST, read_json


def analyze(run: Path, *, report: bool = True, should_stop: Callable[[], bool] = lambda: False) -> Outcome:
    """Check a stored run again and write its results and reports anew.

    Raises :class:`ForeshockError` when its plan or its history cannot be read, or its workload cannot be loaded.
    """
    test = read_json(run / TEST)
    try:
        plan = msgspec.convert(test["plan"], Plan)
    except (KeyError, msgspec.ValidationError) as error:
        raise HarnessError(f"{run / TEST} does not hold the plan of a test: {error}") from None
    if test.get("directory"):
        look_in(Path(str(test["directory"])))
    workload_class, options = load_workload(plan)
    context = workload_context(plan, SimRuntime(plan.seed))
    workload = make(f"the workload {plan.workload!r}", lambda: workload_class(options, context))
    _make_up_for_history(run)
    history = History.read(run / HISTORY)
    judgement = judge(
        run,
        plan,
        history,
        read_ledger(run / FAULTS),
        lambda: workload_checkers(plan, workload),
        _ending(run),
        replay=str(test.get("replay", "")),
        should_stop=should_stop,
    )
    judgement = msgspec.structs.replace(judgement, exit=exit_of_analysis(judgement))
    return publish(run, judgement, history, report=report)


def _make_up_for_history(run: Path) -> None:
    """A harness that was killed right after it had written the plan recorded nothing, not even in a file."""
    if not (run / RESULTS).exists():
        with contextlib.suppress(OSError):  # that it is missing is said by whoever reads it
            (run / HISTORY).touch(exist_ok=True)


def _ending(run: Path) -> Ending:
    """How the test ended, from its earlier results; a run without any was killed."""
    if not (run / RESULTS).is_file():
        return Ending(interrupted=True, complete=False)
    earlier: dict[str, Any] = read_json(run / RESULTS)
    return Ending(
        harness_errors=[error for error in earlier.get("harness_errors", ()) if not of_publishing(error)],
        interrupted=bool(earlier.get("interrupted", False)),
        complete=bool(earlier.get("complete", True)),
        duration_s=float(earlier.get("duration_s", 0.0)),
        figures=dict(earlier.get("figures") or {}),
    )
