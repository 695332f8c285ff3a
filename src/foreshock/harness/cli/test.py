"""``foreshock test``: one test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from foreshock.harness.broken_pipe import reader_may_leave
from foreshock.harness.cli.common import (
    check_reporters,
    dry_run_option,
    flatten_options,
    option,
    output_options,
    parse_assignments,
    print_json,
    read_config,
    reporter_option,
    set_up_logging,
    spare_stdout,
    store_option,
)
from foreshock.harness.cli.completion import complete
from foreshock.harness.cli.fault_options import fault_options
from foreshock.harness.cli.outputs import file_to_write
from foreshock.harness.errors import ForeshockError, UsageError
from foreshock.harness.registry import Kind
from foreshock.harness.request import Request
from foreshock.harness.verdict import ExitCode, Verdict

if TYPE_CHECKING:
    from foreshock.harness.publish import Outcome

# What runs a test is imported when one is run: completing a word of the command line must be quick.

DEFAULT = Request()
SETTINGS = [f for f in Request.__struct_fields__ if f != "options"]
IN_FILE = (*SETTINGS, "options", "store", "repeat", "report", "reporter", "junit")
FILE_OPTIONS = "foreshock.file-options"


def _use_config(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Let the settings of the file stand where neither the command line nor the environment says anything."""
    if path is not None and not ctx.resilient_parsing:
        content = read_config(path, IN_FILE)
        ctx.meta[FILE_OPTIONS] = flatten_options(content.pop("options", {}))
        if reporters := content.pop("reporter", ""):
            content["reporters"] = str(reporters).split(",")
        ctx.default_map = content


@click.command(
    epilog="\b\nTry: foreshock test --target raft --workload register --nemesis partition,kill --backend sim --seed 7"
)
@option(
    "--target",
    default=DEFAULT.target,
    show_default=True,
    shell_complete=complete(Kind.TARGETS),
    help="A target's name, or file.py:Class.",
)
@option(
    "--workload",
    default=DEFAULT.workload,
    show_default=True,
    shell_complete=complete(Kind.WORKLOADS),
    help="What the clients do.",
)
@fault_options
@option(
    "--backend",
    default=DEFAULT.backend,
    show_default=True,
    shell_complete=complete(Kind.BACKENDS, "auto"),
    help="Where the nodes live; auto takes docker where an engine answers, else process.",
)
@option("--nodes", default=None, help="A count, or names separated by commas.  [default: the target's]")
@option(
    "--concurrency", default=DEFAULT.concurrency, show_default=True, help="Client processes: a count, or 2n."
)
@option(
    "--rate", type=float, default=DEFAULT.rate, show_default=True, help="Operations/s over all; 0: no limit."
)
@option(
    "--time-limit",
    type=float,
    default=DEFAULT.time_limit,
    show_default=True,
    help="Seconds of the main phase.",
)
@option("--seed", type=int, default=None, help="Seed of every draw.  [default: a new one, printed]")
@option(
    "--bug",
    default=None,
    shell_complete=complete(Kind.BUGS),
    help="Plant a bug, such as raft/vote-not-persisted.",
)
@click.option(
    "-o",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    envvar="FORESHOCK_OPTIONS",
    help="An option of the target, workload or nemesis; 'foreshock list targets raft' shows them.",
)
@option(
    "--checker",
    default=None,
    shell_complete=complete(Kind.CHECKERS),
    help="Checkers beside those of the workload: names, or file.py:Class, separated by commas.",
)
@option(
    "--operation-timeout-ms",
    type=int,
    default=DEFAULT.operation_timeout_ms,
    show_default=True,
    help="After this an operation is info.",
)
@option(
    "--recovery-time",
    type=float,
    default=DEFAULT.recovery_time,
    show_default=True,
    help="Seconds at most that the cluster gets after healing.",
)
@option(
    "--ready-timeout",
    type=float,
    default=DEFAULT.ready_timeout,
    show_default=True,
    help="Seconds in which every node must become healthy.",
)
@option(
    "--deadline", type=float, default=DEFAULT.deadline, show_default=True, help="Seconds for all checkers."
)
@option("--memory", default=DEFAULT.memory, show_default=True, help="Memory for a checker.")
@option(
    "--config",
    type=click.Path(path_type=Path),
    default=None,
    is_eager=True,
    expose_value=False,
    callback=_use_config,
    help="A TOML file of these settings; environment and command line go before it.",
)
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
    request = _request(settings, {**ctx.meta.get(FILE_OPTIONS, {}), **parse_assignments(assignments)})
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


def _request(settings: dict[str, Any], options: dict[str, Any]) -> Request:
    try:
        return msgspec.convert({**{k: settings[k] for k in SETTINGS}, "options": options}, Request)
    except msgspec.ValidationError as error:
        # Such as: Expected `float` <= 86400.0 - at `$.time_limit`
        found = re.fullmatch(r"Expected (.*) - at `\$\.(\w+)`", str(error))
        if not found:
            raise UsageError(f"the test cannot be planned: {error}") from None
        kind = found[1].replace("`float`", "a number").replace("`int`", "a whole number").replace("`", "")
        value = settings.get(found[2])
        raise UsageError(
            f"--{found[2].replace('_', '-')} {value} is out of bounds: expected {kind}"
        ) from None


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
