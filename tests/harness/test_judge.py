"""Judging: the worst verdict counts, errors stand beside it, and a test cut short is judged for what it was."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.history import History
from foreshock.harness.judge import NOT_CHECKED, Ending, Judgement, exit_of_analysis, judge
from foreshock.harness.ledger import Fault
from foreshock.harness.operation import Operation, OperationType
from foreshock.harness.plan import Plan
from foreshock.harness.recorder import HistoryRecorder
from foreshock.harness.verdict import Verdict

PLAN = Plan(
    target="raft",
    workload="register",
    nemeses=("kill",),
    backend="process",
    nodes=("n1",),
    concurrency=1,
    rate=10.0,
    time_limit_s=1.0,
    interval_s=1.0,
    seed=7,
    bug=None,
    options={},
    operation_timeout_ms=1000,
    recovery_time_s=1.0,
    ready_timeout_s=1.0,
    deadline_s=1.0,
    memory_bytes=1 << 20,
)
OK, FAIL, INFO = OperationType.OK, OperationType.FAIL, OperationType.INFO


def history(*ends: OperationType, error: str | None = None) -> History:
    recorder = HistoryRecorder(None, iter(range(1_000)).__next__)
    for end in ends:
        invocation = recorder.invoke(Operation("read", 1, process=0))
        recorder.complete(invocation, end, None, None if end is OK else error)
    return recorder.history()


class Says(Checker):
    """A checker that says what it is told to say, or raises it."""

    name = "says"

    def __init__(self, answer: Verdict | Exception, *, judges_the_end: bool = False) -> None:
        self.answer = answer
        self.judges_the_end = judges_the_end  # type: ignore[misc]

    def check(self, history: History, context: CheckContext) -> CheckResult:
        if isinstance(self.answer, Exception):
            raise self.answer
        return CheckResult(
            verdict=self.answer,
            reason=f"I say {self.answer.word}",
            counterexamples=(Counterexample(key=1, reason="look", core=(0,)),)
            if self.answer is Verdict.INVALID
            else (),
        )


def judged(
    checkers: Mapping[str, Checker],
    recorded: History | None = None,
    ending: Ending | None = None,
    **more: Any,
) -> Judgement:
    return judge(
        Path("run"),
        PLAN,
        history(OK) if recorded is None else recorded,
        more.pop("faults", ()),
        lambda: checkers,
        ending or Ending(),
        replay="foreshock test",
        **more,
    )


@pytest.mark.parametrize(
    ("answers", "verdict", "code"),
    [
        ((Verdict.VALID,), "valid", 0),
        ((Verdict.VALID, Verdict.UNKNOWN), "unknown", 2),
        ((Verdict.UNKNOWN, Verdict.INVALID, Verdict.VALID), "invalid", 1),
        ((Verdict.VALID, RuntimeError("oh")), "unknown", 3),
        ((RuntimeError("oh"), Verdict.INVALID), "invalid", 1),
        ((), "unknown", 3),
    ],
)
def test_the_worst_verdict_counts_and_an_error_never_hides_an_invalid(
    answers: tuple[Verdict | Exception, ...], verdict: str, code: int
) -> None:
    found = judged({f"c{number}": Says(answer) for number, answer in enumerate(answers)})
    assert (found.verdict, found.exit) == (verdict, code)
    raised = [answer for answer in answers if isinstance(answer, Exception)]
    assert len(found.harness_errors) == len(raised) + (not answers)
    assert found.reason


def test_the_reason_names_the_checker_that_decided() -> None:
    found = judged({"good": Says(Verdict.VALID), "bad": Says(Verdict.INVALID)})
    assert found.reason == "bad: I say invalid"
    assert found.checkers["bad"]["verdict"] == "invalid"
    assert found.checkers["bad"]["counterexamples"][0]["core"] == (0,)


@pytest.mark.parametrize(
    ("ending", "code", "again"),
    [
        (Ending(interrupted=True), 130, 0),
        (Ending(harness_errors=["no node"]), 3, 3),
        (Ending(interrupted=True, harness_errors=["no node"]), 130, 3),
    ],
)
def test_how_the_test_ended_is_in_the_exit_code_but_an_old_interrupt_is_none_of_an_analysis(
    ending: Ending, code: int, again: int
) -> None:
    found = judged({"good": Says(Verdict.VALID)}, ending=ending)
    assert (found.verdict, found.exit, exit_of_analysis(found)) == ("valid", code, again)
    assert exit_of_analysis(judged({"bad": Says(Verdict.INVALID)}, ending=ending)) == 1


def test_where_nothing_was_recorded_nothing_is_known() -> None:
    found = judged({"good": Says(Verdict.VALID)}, history(), Ending(harness_errors=["node n1 ended"]))
    assert (found.verdict, found.exit) == ("unknown", 3)
    assert found.reason == "nothing was recorded, so nothing is known: node n1 ended"


def test_where_nothing_succeeded_nothing_was_tested_and_the_commonest_error_is_told() -> None:
    found = judged({"good": Says(Verdict.VALID)}, history(INFO, FAIL, INFO, error="KeyError: 'value'"))
    assert (found.verdict, found.exit) == ("unknown", 2)
    assert found.reason == (
        "not one of 3 operations succeeded, so nothing was tested (the error of 3: KeyError: 'value')"
    )
    assert found.operations == {"ok": 0, "fail": 1, "info": 2}


def test_a_test_cut_short_is_not_judged_for_an_end_that_it_never_had() -> None:
    checkers = {"safety": Says(Verdict.VALID), "liveness": Says(Verdict.INVALID, judges_the_end=True)}
    found = judged(checkers, ending=Ending(complete=False))
    assert (found.verdict, set(found.checkers)) == ("valid", {"safety"})
    assert found.reason.endswith("before the test was cut short valid (liveness could not be judged)")
    assert judged(checkers).verdict == "invalid"


def test_one_who_is_told_to_stop_checks_nothing() -> None:
    found = judged({"good": Says(RuntimeError())}, ending=Ending(interrupted=True), should_stop=lambda: True)
    assert (found.verdict, found.exit, found.reason) == ("unknown", 130, NOT_CHECKED)


def test_faults_are_counted_when_they_took_and_told_when_they_did_not() -> None:
    took = Fault(id=0, kind="kill", nodes=("n1",), planned_ns=1, verified_ns=2)
    failed = Fault(id=1, kind="pause", nodes=("n2", "n3"), planned_ns=1, failed_ns=2, failure="n2 still runs")
    found = judged({"good": Says(Verdict.VALID)}, faults=(took, failed))
    assert found.faults == {"kill": 1}
    assert found.harness_errors == ("the fault pause on n2, n3 failed: n2 still runs",)
    told = Ending(harness_errors=["the nemesis operation failed: n2 still runs"])
    assert judged({"good": Says(Verdict.VALID)}, ending=told, faults=(failed,)).harness_errors == tuple(
        told.harness_errors
    )


def test_a_valid_says_which_faults_and_operations_were_never_tested() -> None:
    took = Fault(id=0, kind="kill", nodes=("n1",), planned_ns=1, verified_ns=2)
    found = judged({"good": Says(Verdict.VALID)})
    assert found.reason == "every checker found the history of 1 operations valid, but kill caused no fault"
    assert judged({"good": Says(Verdict.VALID)}, faults=(took,)).reason.endswith("operations valid")
    recorder = HistoryRecorder(None, iter(range(1_000)).__next__)
    for number in range(20):
        invocation = recorder.invoke(Operation("read" if number % 2 else "write", 1, process=0))
        recorder.complete(invocation, INFO if number % 2 else OK)
    some = judged({"good": Says(Verdict.VALID)}, recorder.history(), faults=(took,))
    assert some.reason.endswith("operations valid, but not one of 10 operations 'read' succeeded")
