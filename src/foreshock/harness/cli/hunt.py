"""``foreshock hunt``: seeds by the thousand, in the simulator, on all processors."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from foreshock.harness.cli.common import (
    Seconds,
    choose_view,
    console,
    jobs_option,
    option,
    output_options,
    print_json,
    print_rows,
    relative,
    set_up_logging,
    spare_stdout,
    store_option,
    tests_text,
    verdict_text,
)
from foreshock.harness.cli.request_options import request_of, request_options
from foreshock.harness.errors import ForeshockError, UsageError
from foreshock.harness.verdict import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from foreshock.harness.shrinking.hunting import Failing, HuntDocument
    from foreshock.harness.shrinking.shrink import ShrunkRun
    from foreshock.harness.shrinking.view import Ticker

SEEDS = 1000
SIMULATOR = "sim"


@click.command(
    epilog="\b\nTry: foreshock hunt --target naive-raft --nemesis partition --time-limit 10 --seeds 1000 --shrink"
)
@request_options("--backend", "--seed")
@click.option(
    "--backend",
    default=SIMULATOR,
    show_default=True,
    help="The simulator: no other has seeds by the thousand.",
)
@option("--seed", type=click.IntRange(0), default=0, show_default=True, help="The first seed.")
@option(
    "--seeds",
    type=click.IntRange(1, 100_000_000),
    default=SEEDS,
    show_default=True,
    help="How many seeds are tried, counting up.",
)
@option(
    "--until-found/--all",
    "until_found",
    default=True,
    help="End with the first failure, or try every seed and group the failures.  [default: until-found]",
)
@option(
    "--stop-after",
    type=Seconds(0.1, 31_536_000),
    default=None,
    help="Begin with no more tests after so many seconds on the clock.",
)
@jobs_option
@option("--shrink", is_flag=True, help="Shrink what was found at once; of --all, the first of each group.")
@store_option
@output_options
@click.pass_context
def command(
    ctx: click.Context,
    /,
    assignments: tuple[str, ...],
    backend: str,
    seeds: int,
    until_found: bool,
    stop_after: float | None,
    jobs: int,
    shrink: bool,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
    **settings: Any,
) -> int:
    """Run a test in the simulator with one seed after another until one fails, on all processors.

    Takes what 'foreshock test' takes. Only failing runs are kept. The first failure is that of the least seed,
    however many tests run at a time. A hunt that was stopped does not go on by itself: it says with which --seed to;
    a campaign does.
    """
    from foreshock.harness.interrupts import catch_interrupts
    from foreshock.harness.plan import resolve
    from foreshock.harness.shrinking.hunting import Hunt
    from foreshock.harness.shrinking.view import LineTicker, LiveTicker, Ticker

    set_up_logging(verbose=verbose)
    given = ctx.get_parameter_source("backend") is click.core.ParameterSource.COMMANDLINE
    if given and backend not in (SIMULATOR, "auto"):  # the backend of a --config file is that of single tests
        raise UsageError(
            f"a hunt runs in the simulator, which alone has seeds by the thousand: not on {backend!r}"
        )
    request = msgspec.structs.replace(request_of(ctx, settings, assignments), backend=SIMULATOR)
    view = choose_view(Ticker, LineTicker, LiveTicker, quiet=quiet, as_json=as_json)
    with spare_stdout(as_json=as_json), view as ticker:
        resolve(request)
        hunt = Hunt(
            request,
            store,
            ticker,
            seeds=seeds,
            jobs=jobs,
            everything=not until_found,
            seconds_max=stop_after,
        )
        with catch_interrupts(hunt.stop):
            document = hunt.run()
        shrunk, errors = _shrink(document, store, ticker, jobs) if shrink else ([], [])
    errors = [*document.harness_errors, *errors]
    if as_json:
        print_json(_document(document, shrunk, errors))
    else:
        _show(document, shrunk, quiet=quiet)
    for error in errors:
        click.echo(f"foreshock: {error}", err=True)
    return int(ExitCode.worst([ExitCode(document.exit), *([ExitCode.HARNESS_ERROR] if errors else [])]))


def _shrink(
    document: HuntDocument, store: Path, ticker: Ticker, jobs: int
) -> tuple[list[ShrunkRun], list[str]]:
    """Shrink the first failure of each group that was kept; what cannot be is a sentence."""
    from foreshock.harness.shrinking.hunting import least_of
    from foreshock.harness.shrinking.shrink import Effort, Interrupted, shrink

    kept = {one.seed: one.run for one in document.failing if one.run is not None}
    done, errors = [], []
    for seed in least_of(document.groups):
        run = kept.get(seed)
        if run is None or document.ended == "interrupted":
            continue
        ticker.say(f"shrinks  seed {seed}")
        try:
            done.append(shrink(Path(run), store, Effort(jobs=jobs), ticker))
        except Interrupted as error:
            errors.append(str(error))
            break
        except ForeshockError as error:
            errors.append(str(error))
    return done, errors


def _document(document: HuntDocument, shrunk: list[ShrunkRun], errors: list[str]) -> dict[str, Any]:
    found = next((one for one in document.failing if one.outcome == "invalid"), None)
    return {
        **msgspec.to_builtins(document),
        "found": found,
        "shrunk": [done.document for done in shrunk],
        "harness_errors": errors,
    }


def _show(document: HuntDocument, shrunk: list[ShrunkRun], *, quiet: bool) -> None:
    from foreshock.harness.cli.shrink import show_shrunk

    out = console()
    kept = [one for one in document.failing if one.run is not None]
    if document.ended == "found" and kept and not shrunk:
        _show_run(kept[0], quiet=quiet)
    for done in shrunk:
        show_shrunk(done, quiet=quiet)
    if not quiet and not shrunk and document.ended != "found":
        _show_groups(out, document)
    _show_summary(out, document, quiet=quiet)
    if quiet or shrunk or document.ended == "found":
        return
    smaller = [one for one in kept if one.outcome == "invalid"][:3]
    print_rows(
        out, (("smaller", f"foreshock shrink {shlex.quote(relative(one.run or ''))}") for one in smaller)
    )


def _show_run(one: Failing, *, quiet: bool) -> None:
    """The run that was found, as ``foreshock test`` shows its own."""
    from foreshock.harness.cli.outcome import show_outcome
    from foreshock.harness.judge import Judgement
    from foreshock.harness.publish import Outcome
    from foreshock.harness.store import RESULTS, read_json

    run = Path(one.run or "")
    judgement = msgspec.convert(read_json(run / RESULTS), Judgement)
    page = run / "report.html"
    reports = (page,) if page.is_file() else ()
    show_outcome(Outcome(run=run, judgement=judgement, reports=reports), quiet=quiet)


def _show_groups(out: Console, document: HuntDocument) -> None:
    """What failed, those together that look alike."""
    by_seed = {one.seed: one for one in document.failing}
    for group in document.groups:
        seeds = sorted(map(int, group.tests))
        first = by_seed[seeds[0]]
        shown = ", ".join(map(str, seeds[:8])) + (", ..." if len(seeds) > 8 else "")
        faults = f" under {', '.join(group.faults)}" if group.faults else ""
        out.print(
            f"{len(seeds)} {first.outcome}  {group.checker}{faults}: {', '.join(group.core)}", markup=False
        )
        rows = [
            ("seeds", shown),
            ("reason", first.reason),
            ("run", relative(first.run) if first.run else "not kept"),
            ("again", first.replay),
        ]
        print_rows(out, (row for row in rows if row[1]))


def _show_summary(out: Console, document: HuntDocument, *, quiet: bool) -> None:
    counts = ", ".join(f"{count} {word}" for word, count in document.counts.items() if count) or "none done"
    rate = document.tests / document.seconds if document.seconds else 0.0
    tests = tests_text(document.tests)
    first = next((one.seed for one in document.failing if one.outcome == "invalid"), None)
    found = "no failure" if first is None else f"seed {first} fails"
    if document.ended == "found":
        out.print(f"found: {found}", markup=False)
    else:
        why = {"interrupted": " (interrupted)", "time": " (its time was over)"}.get(document.ended, "")
        text = f"{found} in {tests}{why}: {counts}"
        out.print(verdict_text(document.verdict), text, sep="  ", markup=False)
    if quiet:
        return
    done = f"{tests} ({counts})" if document.ended == "found" else tests
    processes = f"{document.jobs} process{'es' * (document.jobs != 1)}"
    rows = [
        ("took", f"{done} in {document.seconds:.1f} s, {rate:.1f} a second on {processes}"),
        ("simulated", f"{document.simulated_seconds:.0f} s"),
        ("go on", f"the next seed is {document.next_seed}"),
    ]
    print_rows(out, rows)
