"""``foreshock test``: one test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource

from foreshock.harness.cli.common import (
    flatten_options,
    option,
    output_options,
    parse_assignments,
    print_json,
    read_config,
    set_up_logging,
    store_option,
)
from foreshock.harness.cli.completion import complete
from foreshock.harness.cli.outcome import show_outcome
from foreshock.harness.errors import UsageError
from foreshock.harness.plan import Request, resolve
from foreshock.harness.progress import choose_progress
from foreshock.harness.publish import Outcome
from foreshock.harness.registry import Kind
from foreshock.harness.runner import run_test
from foreshock.harness.store import Store
from foreshock.harness.verdict import ExitCode, Verdict

DEFAULT = Request()
SETTINGS = [f for f in Request.__struct_fields__ if f != "options"]


@click.command(
    epilog="Try: foreshock test --target raft --workload register --nemesis partition,kill --backend sim --seed 7"
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
@option(
    "--nemesis",
    default=DEFAULT.nemesis,
    show_default=True,
    shell_complete=complete(Kind.NEMESES),
    help="What goes wrong: names separated by commas, or none.",
)
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
@option("--interval", type=float, default=DEFAULT.interval, show_default=True, help="Seconds between faults.")
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
    help="An option of the target, workload or nemesis; 'foreshock list targets raft' shows them.",
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
@option("--config", type=click.Path(path_type=Path), default=None, help="A TOML file of these settings.")
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
@store_option
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    assignments: tuple[str, ...],
    config: Path | None,
    repeat: int,
    report: bool,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **settings: Any,
) -> int:
    """Run one test: deploy a cluster, break it, record the history, decide, report."""
    set_up_logging(verbose=verbose)
    request = _request(ctx, settings, assignments, config)
    resolved = resolve(request)
    outcomes = []
    for number in range(repeat):
        if number:
            seed = resolved.plan.seed + 1
            resolved = resolve(msgspec.structs.replace(request, seed=seed))
        outcome = run_test(
            resolved, Store(store), choose_progress(quiet=quiet, as_json=as_json), report=report
        )
        outcomes.append(outcome)
        if not as_json:
            show_outcome(outcome, quiet=quiet)
        if outcome.judgement.interrupted:
            break
    code = ExitCode.worst(ExitCode(outcome.judgement.exit) for outcome in outcomes)
    if as_json:
        print_json(outcomes[0].judgement if repeat == 1 else _summary(outcomes, code))
    return int(code)


def _request(
    ctx: click.Context, settings: dict[str, Any], assignments: tuple[str, ...], config: Path | None
) -> Request:
    """Command line over environment over file over default."""
    options: dict[str, Any] = {}
    if config is not None:
        content = read_config(config, {**settings, "options": None})
        options = flatten_options(content.pop("options", {}))
        defaulted = {n for n in content if ctx.get_parameter_source(n) is ParameterSource.DEFAULT}
        settings |= {name: value for name, value in content.items() if name in defaulted}
    if settings["nodes"] is not None:
        settings["nodes"] = str(settings["nodes"])
    settings["concurrency"] = str(settings["concurrency"])
    options |= parse_assignments(assignments)
    try:
        return msgspec.convert({**{k: settings[k] for k in SETTINGS}, "options": options}, Request)
    except msgspec.ValidationError as error:
        raise UsageError(f"the test cannot be planned: {error}") from None


def _summary(outcomes: list[Outcome], code: ExitCode) -> dict[str, Any]:
    verdict = Verdict.worst(Verdict.of_word(outcome.judgement.verdict) for outcome in outcomes)
    return {"verdict": verdict.word, "exit": int(code), "tests": [outcome.judgement for outcome in outcomes]}
