"""Judging a recorded run: every checker, the verdict, its reason. Used after a test, and by ``foreshock analyze``."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from foreshock.harness.blame import describe
from foreshock.harness.checker import CheckContext, Checker, CheckResult
from foreshock.harness.errors import ForeshockError
from foreshock.harness.history import History
from foreshock.harness.ledger import Fault
from foreshock.harness.operation import OperationType
from foreshock.harness.plan import Plan
from foreshock.harness.plug_in_contract import returned
from foreshock.harness.verdict import ExitCode, Verdict

NOT_CHECKED = "the test was interrupted before its history was checked: foreshock analyze decides it"
ATTEMPTS_MIN = 10
"""So many operations of a name must have been tried before it is news that not one succeeded."""

logger = logging.getLogger("foreshock")


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a test came to its end, as far as its judgement depends on that."""

    harness_errors: Sequence[str] = ()
    interrupted: bool = False
    """Ctrl-C, or the harness was killed: what was recorded until then is judged."""
    complete: bool = True
    """Whether the final phase was run to its end; if not, nobody can say how the test would have ended."""
    duration_s: float = 0.0
    figures: Mapping[str, Any] = {}
    """What the target knows beside the history."""


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
    complete: bool
    replay: str
    figures: Mapping[str, Any] = {}
    ledger: tuple[Mapping[str, Any], ...] = ()
    """Each fault as the ledger has it, but for its inverse: what, to whom, when it was planned, verified and healed."""


def check_all(
    checkers: Mapping[str, Checker], history: History, context: CheckContext
) -> tuple[dict[str, CheckResult], list[str]]:
    """Every checker's result by name, and the sentences of those that raised (a harness error, no verdict)."""
    results: dict[str, CheckResult] = {}
    errors = []
    for name, checker in checkers.items():
        start = time.monotonic()
        try:
            result: object = checker.check(history, context)
        except (Exception, SystemExit) as error:
            logger.exception("the checker %s raised", name)
            errors.append(f"the checker {name!r} raised {describe(error)}")
            continue
        if not isinstance(result, CheckResult):
            mend = 'return CheckResult(verdict=Verdict.VALID, reason="...")'
            errors.append(str(returned(f"the checker {name!r}", "check(history, context)", result, mend)))
            continue
        results[name] = msgspec.structs.replace(result, seconds=round(time.monotonic() - start, 4))
    return results, errors


def judge(
    run: Path,
    plan: Plan,
    history: History,
    faults: Sequence[Fault],
    checkers: Callable[[], Mapping[str, Checker]],
    ending: Ending,
    *,
    replay: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> Judgement:
    """Check a history; never raises for what a plug-in's ``checkers`` or one of them does.

    The exit code is that of a whole test; see :func:`exit_of_analysis` for one that is judged again.
    """
    context = CheckContext(
        deadline_ns=time.monotonic_ns() + round(plan.deadline_s * 1e9),
        memory_limit_bytes=plan.memory_bytes,
        should_stop=should_stop,
        nodes=plan.nodes,
        faults=tuple(msgspec.to_builtins(fault) for fault in faults),
        seed=plan.seed,
    )
    clients = history.clients()
    results, errors, left_out = _check(checkers, history, ending, context)
    # A checker that raised decided nothing, and where nothing succeeded nothing was tested.
    decided = bool(results) and not errors and len(clients.where(type=OperationType.OK)) > 0
    floor = Verdict.VALID if decided else Verdict.UNKNOWN
    verdict = Verdict.worst([floor, *(result.verdict for result in results.values())])
    errors = [*ending.harness_errors, *errors, *_failed_faults(faults, ending.harness_errors)]
    code = ExitCode.of(verdict, harness_errors=bool(errors), interrupted=ending.interrupted)
    untested = _untested(clients, faults, plan) if verdict is Verdict.VALID and ending.complete else ""
    return Judgement(
        verdict=verdict.word,
        exit=int(code),
        reason=_reason(verdict, results, errors, clients, ending, left_out) + untested,
        run=str(run),
        seed=plan.seed,
        target=plan.target,
        workload=plan.workload,
        nemeses=plan.nemeses,
        backend=plan.backend,
        bug=plan.bug,
        operations=_count_types(clients),
        faults=_count_faults(faults),
        checkers={name: _result_data(result) for name, result in results.items()},
        harness_errors=tuple(errors),
        duration_s=round(ending.duration_s, 3),
        interrupted=ending.interrupted,
        complete=ending.complete,
        replay=replay,
        figures=ending.figures,
        ledger=tuple(_ledger_row(fault) for fault in faults),
    )


def exit_of_analysis(judgement: Judgement) -> int:
    """The exit code of a stored run that is judged again: how the test once ended is history, and no error now."""
    return int(ExitCode.of(Verdict.of_word(judgement.verdict), harness_errors=bool(judgement.harness_errors)))


def _check(
    checkers: Callable[[], Mapping[str, Checker]], history: History, ending: Ending, context: CheckContext
) -> tuple[dict[str, CheckResult], list[str], list[str]]:
    """The results by checker, what the checkers raised, and the checkers left out because the test was cut short."""
    if context.should_stop():
        return {}, [], []
    try:
        chosen = dict(checkers())
    except ForeshockError as error:
        return {}, [str(error)], []
    if not chosen:
        return {}, ["the workload has no checkers"], []
    left_out = [
        name
        for name, checker in chosen.items()
        if getattr(checker, "judges_the_end", False) and not ending.complete
    ]
    results, errors = check_all(
        {name: checker for name, checker in chosen.items() if name not in left_out}, history, context
    )
    return results, errors, left_out


def _failed_faults(faults: Sequence[Fault], known: Sequence[str]) -> list[str]:
    return [
        f"the fault {fault.kind} on {', '.join(fault.nodes) or 'no node'} failed: {fault.failure}"
        for fault in faults
        if fault.failure is not None and not any(fault.failure in error for error in known)
    ]


def _result_data(result: CheckResult) -> dict[str, Any]:
    return {**msgspec.to_builtins(result, enc_hook=str), "verdict": result.verdict.word}


def _reason(
    verdict: Verdict,
    results: Mapping[str, CheckResult],
    errors: Sequence[str],
    clients: History,
    ending: Ending,
    left_out: Sequence[str],
) -> str:
    """Why the verdict is what it is, in one sentence."""
    if verdict is not Verdict.INVALID:
        if not len(clients):
            why = errors[0] if errors else "the test was interrupted" if ending.interrupted else ""
            return "nothing was recorded, so nothing is known" + (f": {why}" if why else "")
        if not len(clients.where(type=OperationType.OK)):
            return _nothing_succeeded(clients)
    if verdict is not Verdict.VALID:
        for name, result in results.items():
            if result.verdict is verdict:
                return f"{name}: {result.reason}"
        return errors[0] if errors else NOT_CHECKED
    if ending.complete:
        return f"every checker found the history of {len(clients)} operations valid"
    unjudged = f" ({', '.join(left_out)} could not be judged)" if left_out else ""
    return f"every checker found the {len(clients)} operations before the test was cut short valid{unjudged}"


def _untested(clients: History, faults: Sequence[Fault], plan: Plan) -> str:
    """What a verdict of valid says nothing about: faults that were asked for, operations that never succeeded."""
    untested = []
    if plan.nemeses and not _count_faults(faults):
        untested.append(f"{' and '.join(plan.nemeses)} caused no fault")
    for name in sorted(clients.names[code] for code in np.unique(clients.column("f"))):
        of_name = clients.where(f=name)
        if len(of_name) >= ATTEMPTS_MIN and not len(of_name.where(type=OperationType.OK)):
            untested.append(f"not one of {len(of_name)} operations {name!r} succeeded")
    return f", but {' and '.join(untested)}" if untested else ""


def _nothing_succeeded(clients: History) -> str:
    sentence = f"not one of {len(clients)} operations succeeded, so nothing was tested"
    errors = Counter(str(row.error) for row in clients if row.error)
    if not errors:
        return sentence
    text, count = errors.most_common(1)[0]
    return f"{sentence} (the error of {count}: {text})"


def _count_types(clients: History) -> dict[str, int]:
    return {kind: len(clients.where(type=OperationType(kind))) for kind in ("ok", "fail", "info")}


def _ledger_row(fault: Fault) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(fault, enc_hook=str)
    return {name: value for name, value in row.items() if name != "inverse"}


def _count_faults(faults: Sequence[Fault]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for fault in faults:
        if fault.verified_ns is not None:
            counts[fault.kind] = counts.get(fault.kind, 0) + 1
    return counts
