"""What became of each test: how its attempts add up to an outcome, and the tests to a verdict and an exit code."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from foreshock.harness.campaign.document import Attempt, CampaignRow, CampaignTest, Outcome
from foreshock.harness.campaign.expansion import ALWAYS
from foreshock.harness.campaign.settings import NONE, UNSET
from foreshock.harness.store import HISTORY
from foreshock.harness.summary import TestSummary
from foreshock.harness.verdict import ExitCode, Verdict

LOST_MAX: Final = 3
"""A test that could not be begun, or was lost with its worker, so many times is not tried again."""
OUTCOMES: Final[tuple[Outcome, ...]] = (
    "passed",
    "failed",
    "flaky",
    "error",
    "unknown",
    "running",
    "waiting",
)
"""In the order in which they are told."""
_FAILING: Final = (ExitCode.INVALID, ExitCode.HARNESS_ERROR)


def judged(attempts: Iterable[Attempt]) -> list[TestSummary]:
    """The attempts that came to a judgement. One that was cut short did so only where it is a proof."""
    found = [attempt.summary for attempt in attempts if attempt.summary is not None]
    return [end for end in found if not end.interrupted or end.verdict == "invalid"]


def is_settled(attempts: Sequence[Attempt], *, rerun: int) -> bool:
    """Whether a test needs no more attempts. One that fails is run again ``rerun`` times, to tell flakes from failures.

    In the simulator one seed has one history: when that comes again, byte for byte, nothing else ever will.
    """
    ends = judged(attempts)
    if not ends:
        return len(attempts) >= max(LOST_MAX, rerun + 1)
    if ends[0].exit not in _FAILING or len(ends) > rerun:
        return True
    return len(ends) >= 2 and ends[0].backend == "sim" and came_again(ends[0], ends[1])


def came_to_nothing(attempts: Sequence[Attempt]) -> bool:
    """Whether the harness could not do the test so far, each time that it was tried."""
    return outcome_of(attempts, settled=True, running=False) == "error"


def came_again(first: TestSummary, second: TestSummary) -> bool:
    """Whether two runs of one seed came to the same, history and all."""
    if (first.verdict, first.exit, first.reason) != (second.verdict, second.exit, second.reason):
        return False
    if not first.run or not second.run:  # a folder that was not kept
        return True
    try:
        return filecmp.cmp(Path(first.run) / HISTORY, Path(second.run) / HISTORY, shallow=False)
    except OSError:  # somebody has removed one of them
        return True


def strays(test: CampaignTest, attempts: Sequence[Attempt]) -> str | None:
    """The sentence for a simulated test that one seed did not determine; ``None`` for one that keeps to its seed."""
    ends = judged(attempts)
    if test.request.backend != "sim" or len(ends) < 2 or came_again(ends[0], ends[1]):
        return None
    return (
        f"the simulated test of {name_of(test)} had two histories from one seed: something in it draws on more than "
        f"its seed (compare {ends[0].run} and {ends[1].run})"
    )


def name_of(test: CampaignTest) -> str:
    """A test in words: ``raft register kill sim nodes=3, seed 7``."""
    words = [
        text if name in ALWAYS else f"{name}={text}"
        for name, text in test.cell.items()
        if text not in (NONE, UNSET)
    ]
    return f"{' '.join(words)}, seed {test.request.seed}"


def outcome_of(attempts: Sequence[Attempt], *, settled: bool, running: bool) -> Outcome:
    """What became of a test."""
    if running:
        return "running"
    if not settled:
        return "waiting"
    ends = judged(attempts)
    if not ends:
        return "error"
    if len({(end.verdict, end.exit) for end in ends}) > 1:
        return "flaky"
    if ends[0].verdict == "invalid":
        return "failed"
    return {ExitCode.VALID: "passed", ExitCode.UNKNOWN: "unknown"}.get(ExitCode(ends[0].exit), "error")  # type: ignore[return-value]


def row_of(
    test: CampaignTest, attempts: Sequence[Attempt], *, rerun: int, running: bool, given_up: bool = False
) -> CampaignRow:
    """A test with what became of it."""
    settled = bool(attempts) and (given_up or is_settled(attempts, rerun=rerun))
    return CampaignRow(
        key=test.key,
        cell=test.cell,
        seed=test.request.seed or 0,
        outcome=outcome_of(attempts, settled=settled, running=running),
        verdict=verdict_of(attempts),
        attempts=tuple(attempts),
    )


def verdict_of(attempts: Sequence[Attempt]) -> str:
    """The worst verdict of the attempts: an ``invalid`` is a proof, whatever came of the others."""
    if not attempts:
        return ""
    ends = judged(attempts)
    return Verdict.worst(Verdict.of_word(end.verdict) for end in ends).word if ends else "unknown"


def exit_of(attempts: Sequence[Attempt]) -> ExitCode:
    """The worst exit code of the attempts; one that was lost with its worker counts only where no other was judged."""
    ends = judged(attempts)
    return ExitCode.worst(ExitCode(end.exit) for end in ends) if ends else ExitCode.HARNESS_ERROR


def summary_of(rows: Sequence[CampaignRow], planned: int) -> str:
    """The outcomes in one sentence."""
    counts = dict.fromkeys(OUTCOMES, 0)
    for row in rows:
        counts[row.outcome] += 1
    told = [f"{counts[outcome]} {outcome}" for outcome in OUTCOMES[:5] if counts[outcome]]
    done = sum(counts[outcome] for outcome in OUTCOMES[:5])
    tests = "1 test" if planned == 1 else f"{planned} tests"
    of = tests if done == planned else f"{done} of {tests}"
    ended = f"{of}: {', '.join(told)}" if told else f"none of {tests} has ended"
    begun = [row for row in rows if row.outcome in ("running", "waiting") and judged(row.attempts)]
    if not begun:
        return ended
    invalid = sum(row.verdict == "invalid" for row in begun)
    return (
        f"{ended}; failed so far, and to be run again: {len(begun)}{f' ({invalid} invalid)' * bool(invalid)}"
    )
