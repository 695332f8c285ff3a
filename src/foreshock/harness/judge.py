"""Judging a recorded run: checkers, results, reports. Used after a test, and by ``foreshock analyze``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from foreshock.harness.history import History

from foreshock.harness.checker import CheckContext, Checker, CheckResult
from foreshock.harness.errors import ForeshockError
from foreshock.harness.ledger import Fault
from foreshock.harness.plan import Plan
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.store import RESULTS, write_json
from foreshock.harness.verdict import ExitCode, Verdict

logger = logging.getLogger("foreshock")


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one run; what ``results.json`` holds and ``test --json`` prints."""

    verdict: str
    exit: int
    reason: str
    run: str
    seed: int
    target: str
    workload: str
    nemeses: tuple[str, ...]
    backend: str
    bug: str | None
    operations: Mapping[str, int]
    faults: Mapping[str, int]
    checkers: Mapping[str, Any]
    harness_errors: tuple[str, ...]
    duration_s: float
    interrupted: bool
    replay: str


def check_all(
    checkers: Mapping[str, Checker], history: History, context: CheckContext
) -> tuple[dict[str, CheckResult], list[str]]:
    """Every checker's result by name, and the sentences of those that raised (a harness error, no verdict)."""
    results: dict[str, CheckResult] = {}
    errors = []
    for name, checker in checkers.items():
        start = time.monotonic()
        try:
            result = checker.check(history, context)
        except Exception as error:
            logger.exception("the checker %s raised", name)
            errors.append(f"the checker {name!r} raised {type(error).__name__}: {error}")
            continue
        results[name] = msgspec.structs.replace(result, seconds=round(time.monotonic() - start, 4))
    return results, errors


def judge(
    run: Path,
    plan: Plan,
    history: History,
    faults: Sequence[Fault],
    checkers: Mapping[str, Checker],
    *,
    harness_errors: Sequence[str],
    interrupted: bool,
    replay: str,
    duration_s: float,
    should_stop: Callable[[], bool] = lambda: False,
) -> Judgement:
    """Check a history and write ``results.json``; never raises for what a checker does."""
    context = CheckContext(
        deadline_ns=time.monotonic_ns() + round(plan.deadline_s * 1e9),
        memory_limit_bytes=plan.memory_bytes,
        should_stop=should_stop,
        nodes=plan.nodes,
        faults=tuple(msgspec.to_builtins(fault) for fault in faults),
        seed=plan.seed,
    )
    results, checker_errors = check_all(checkers, history, context)
    errors = [*harness_errors, *checker_errors]
    errors += [
        f"the fault {fault.kind} on {', '.join(fault.nodes) or 'no node'} failed: {fault.failure}"
        for fault in faults
        if fault.failure is not None and not any(fault.failure in error for error in errors)
    ]
    # A checker that raised decided nothing, so the whole cannot be called valid.
    verdict = Verdict.worst([r.verdict for r in results.values()] + [Verdict.UNKNOWN] * bool(checker_errors))
    if not results or not len(history.clients()):
        verdict = Verdict.worst([verdict, Verdict.UNKNOWN])
    code = ExitCode.of(verdict, harness_errors=bool(errors), interrupted=interrupted)
    judgement = Judgement(
        verdict=verdict.word,
        exit=int(code),
        reason=_reason(verdict, results, errors, history),
        run=str(run),
        seed=plan.seed,
        target=plan.target,
        workload=plan.workload,
        nemeses=plan.nemeses,
        backend=plan.backend,
        bug=plan.bug,
        operations=_count_types(history),
        faults=_count_faults(faults),
        checkers={name: _result_data(result) for name, result in results.items()},
        harness_errors=tuple(errors),
        duration_s=round(duration_s, 3),
        interrupted=interrupted,
        replay=replay,
    )
    write_json(run / RESULTS, judgement)
    return judgement


def report_all(run: Path) -> tuple[list[Path], list[str]]:
    """Have every reporter write its files; a reporter that fails is a sentence and never a verdict."""
    written, errors = [], []
    for name in names(Kind.REPORTERS):
        try:
            path = load(Kind.REPORTERS, name)().report(run)
        except ForeshockError as error:
            errors.append(f"the reporter {name!r} failed: {error}")
        except Exception as error:
            logger.exception("the reporter %s raised", name)
            errors.append(f"the reporter {name!r} raised {type(error).__name__}: {error}")
        else:
            if path is not None:
                written.append(path)
    return written, errors


def _result_data(result: CheckResult) -> dict[str, Any]:
    return {**msgspec.to_builtins(result, enc_hook=str), "verdict": result.verdict.word}


def _reason(
    verdict: Verdict, results: Mapping[str, CheckResult], errors: Sequence[str], history: History
) -> str:
    for name, result in results.items():
        if result.verdict is verdict and verdict is not Verdict.VALID:
            return f"{name}: {result.reason}"
    if not len(history.clients()):
        return "nothing was recorded, so nothing is known" + (f": {errors[0]}" if errors else "")
    if verdict is Verdict.UNKNOWN:
        return errors[0] if errors else "no checker could decide"
    return f"every checker found the history of {len(history.clients())} operations valid"


def _count_types(history: History) -> dict[str, int]:
    counts = {"ok": 0, "fail": 0, "info": 0}
    for row in history.clients():
        counts[row.type] += 1
    return counts


def _count_faults(faults: Sequence[Fault]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for fault in faults:
        if fault.verified_ns is not None:
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
    return counts
