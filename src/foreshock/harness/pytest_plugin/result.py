"""What a chaos test came to, to be asserted upon."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from foreshock.harness.history import History
from foreshock.harness.judge import Judgement
from foreshock.harness.publish import Outcome, report_all
from foreshock.harness.store import HISTORY, HISTORY_PARQUET, Store
from foreshock.harness.summary import TestSummary, read_summary


class TestResult:
    """One finished chaos test.

    ``verdict`` is ``valid``, ``unknown`` or ``invalid``; ``again`` are the commands that run it again.
    """

    __test__ = False  # pytest would take it for a class of tests

    def __init__(self, outcome: Outcome, again: list[str]) -> None:
        self.judgement: Judgement = outcome.judgement
        self.run: Path = outcome.run
        """The run's folder in the store; after its test it stays there only if the test failed, or all are kept."""
        self.again = again

    @property
    def verdict(self) -> str:
        """``valid``, ``unknown`` or ``invalid``."""
        return self.judgement.verdict

    @property
    def reason(self) -> str:
        """Why the verdict is what it is, in one sentence."""
        return self.judgement.reason

    @property
    def seed(self) -> int:
        """The seed of every draw."""
        return self.judgement.seed

    @property
    def harness_errors(self) -> tuple[str, ...]:
        """What the harness could not do, one sentence each."""
        return self.judgement.harness_errors

    @cached_property
    def summary(self) -> TestSummary:
        """The test in small: counts by outcome and by fault, the core's shape, the fault in force."""
        return read_summary(self.run)

    @cached_property
    def history(self) -> History:
        """What every client saw; ``history.frame`` is a pandas DataFrame of one row an operation."""
        return History.read(self.run / HISTORY)

    @cached_property
    def reports(self) -> tuple[Path, ...]:
        """Every report of the run, written when it is first asked for."""
        self.history.write_parquet(self.run / HISTORY_PARQUET)
        return tuple(report_all(self.run)[0])

    @property
    def report(self) -> Path | None:
        """The page that people read, ``report.html``; ``None`` where no reporter wrote one."""
        return next((path for path in self.reports if path.suffix == ".html"), None)

    def forget(self) -> None:
        """Remove the run from the store, with what would point at nothing then."""
        Store(self.run.parent.parent).forget(self.run)

    def __repr__(self) -> str:
        return f"<{self.verdict}: {self.reason} (seed {self.seed}, {self.run})>"
