"""``foreshock test``: one test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foreshock.harness.broken_pipe import reader_may_leave
from foreshock.harness.cli.common import (
    check_reporters,
    dry_run_option,
    option,
    output_options,
    print_json,
    reporter_option,
    set_up_logging,
    spare_stdout,
    store_option,
)
from foreshock.harness.cli.outputs import file_to_write
from foreshock.harness.cli.request_options import request_of, request_options
from foreshock.harness.errors import ForeshockError
from foreshock.harness.verdict import ExitCode, Verdict

if TYPE_CHECKING:
    from foreshock.harness.publish import Outcome

# What runs a test is imported when one is run: completing a word of the command line must be quick.


@click.command(
    epilog="\b\nTry: foreshock test --target raft --workload register --nemesis partition,kill --backend sim --seed 7"
)
@request_options()
@option(
    "--repeat",
    type=click.IntRange(1, 100_000),
    default=1,
    show_default=True,
    help="Tests, with seeds counting up.",
)
@option(
    "--report/--no-report", default=True, help="Write report.html and history.parquet.  [default: report]"
)
@reporter_option
@option(
    "--junit",
    type=click.Path(),
    default=None,
    help="Write JUnit's XML of all tests to this file.",
)
@dry_run_option
@store_option
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    assignments: tuple[str, ...],
    repeat: int,
    report: bool,
    reporters: tuple[str, ...],
    junit: str | None,
    dry_run: bool,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **settings: Any,
) -> int:
    """Run one test: deploy a cluster, break it, record the history, decide, report."""
    from foreshock.harness.cli.dry_run import show_rehearsal
    from foreshock.harness.cli.outcome import say_harness_errors, show_outcome
    from foreshock.harness.plan import resolve
    from foreshock.harness.progress import choose_progress
    from foreshock.harness.runner import run_test
    from foreshock.harness.store import Store

    set_up_logging(verbose=verbose)
    junit_path = None if junit is None else file_to_write(junit, "--junit")
    request = request_of(ctx, settings, assignments)
    with spare_stdout(as_json=as_json):
        resolved = resolve(request)
        check_reporters(reporters)
    if dry_run:
        return show_rehearsal(resolved, as_json=as_json)
    outcomes: list[Outcome] = []
    stopped: ForeshockError | None = None
    for number in range(repeat):
        progress = choose_progress(quiet=quiet, as_json=as_json)
        test = resolved.with_seed(resolved.plan.seed + number) if number else resolved
        try:
            with spare_stdout(as_json=as_json):
                outcome = run_test(test, Store(store), progress, report=report, reporters=reporters)
        except ForeshockError as error:
            if not outcomes:
                raise
            stopped = error
            break
        outcomes.append(outcome)
        if as_json:
            say_harness_errors(outcome.judgement)
        else:
            show_outcome(outcome, quiet=quiet)
        if outcome.judgement.interrupted:
            break
    unwritten = None if junit_path is None else _write_junit(junit_path, outcomes)
    if repeat == 1:
        if as_json:
            print_json(outcomes[0].judgement)
        code = outcomes[0].judgement.exit
    else:
        code = _conclude(outcomes, stopped, as_json=as_json)
    if unwritten is None:
        return code
    click.echo(f"foreshock: {unwritten}", err=True)
    return int(ExitCode.worst((ExitCode(code), ExitCode.HARNESS_ERROR)))


def _write_junit(path: Path, outcomes: list[Outcome]) -> ForeshockError | None:
    """Write the file of ``--junit``; returns why it could not be, which is never a verdict."""
    from foreshock.harness.junit import case_of, write_junit
    from foreshock.harness.summary import read_summary

    try:
        write_junit(path, "foreshock", [case_of(read_summary(outcome.run)) for outcome in outcomes])
    except ForeshockError as error:
        return error
    return None


def _conclude(outcomes: list[Outcome], stopped: ForeshockError | None, *, as_json: bool) -> int:
    """Several tests: the worst of them counts."""
    judgements = [outcome.judgement for outcome in outcomes]
    codes = [ExitCode(judgement.exit) for judgement in judgements]
    verdict = Verdict.worst(Verdict.of_word(judgement.verdict) for judgement in judgements)
    if stopped is not None:
        codes.append(ExitCode.HARNESS_ERROR)
        click.echo(f"foreshock: {stopped}", err=True)
    code = ExitCode.worst(codes)
    if as_json:
        document = {"verdict": verdict.word, "exit": int(code), "tests": judgements}
        print_json(document if stopped is None else {**document, "error": str(stopped)})
    else:
        words = [judgement.verdict for judgement in judgements]
        counts = ", ".join(f"{words.count(v.word)} {v.word}" for v in Verdict if v.word in words)
        with reader_may_leave():
            click.echo(f"{len(words)} tests: {counts}")
    return int(code)
