"""``foreshock campaign``: many tests from one file, in parallel, that go on where they were."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from foreshock.harness.cli.common import (
    check_reporters,
    choose_view,
    console,
    option,
    output_options,
    print_json,
    print_rows,
    relative,
    reporter_option,
    say_resumed,
    set_up_logging,
    spare_stdout,
    store_option,
    tests_text,
    verdict_text,
)
from foreshock.harness.errors import ForeshockError, UsageError
from foreshock.harness.verdict import ExitCode

if TYPE_CHECKING:
    from foreshock.harness.campaign.document import CampaignDocument, Group
    from foreshock.harness.campaign.journal import Journal
    from foreshock.harness.campaign.planning import Planned


@click.command(epilog="\b\nTry: foreshock campaign examples/campaign.toml --jobs 2 --shard 1/4 --fail-fast")
@click.argument("file", type=click.Path(path_type=Path))
@option(
    "--jobs",
    type=click.IntRange(1, 256),
    default=None,
    help="Tests at a time.  [default: what this machine can]",
)
@option(
    "--shard", default=None, metavar="I/N", help="Run the I-th of N parts; together they are the campaign."
)
@option("--fail-fast", is_flag=True, help="Stop at the first test that fails, when it was run again.")
@option(
    "--rerun",
    type=click.IntRange(0, 20),
    default=None,
    help="How often a test that fails is run again.  [default: 2]",
)
@option("--fresh", is_flag=True, help="Begin anew, where an earlier run of the same campaign did not end.")
@option(
    "--retry-errors",
    is_flag=True,
    help="Try again what the harness could not do in the last run of the same campaign, also where that has ended.",
)
@option(
    "--scheduler",
    default=None,
    metavar="ADDRESS",
    help="Run the tests on a Dask cluster, such as tcp://host:8786.",
)
@option("--junit", type=click.Path(), default=None, help="Write a JUnit file there, too.")
@reporter_option
@click.option("--dry-run", is_flag=True, help="List the tests, and run none.")
@store_option
@output_options
def command(
    file: Path,
    jobs: int | None,
    shard: str | None,
    fail_fast: bool,
    rerun: int | None,
    fresh: bool,
    retry_errors: bool,
    scheduler: str | None,
    junit: str | None,
    reporters: tuple[str, ...],
    dry_run: bool,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Run a campaign: the tests that a TOML file asks for, a matrix of targets, workloads, nemeses and more.

    A campaign that was interrupted, or killed, goes on where it was when the same command is given again; tests that
    the harness could not do are then tried again.
    """
    from foreshock.harness.campaign.full_disk import full_disk_in
    from foreshock.harness.campaign.planning import plan_campaign
    from foreshock.harness.cli.outputs import file_to_write

    set_up_logging(verbose=verbose)
    if fresh and retry_errors:
        raise UsageError("--fresh begins anew, and --retry-errors goes on: give one of them")
    junit_path = None if junit is None else file_to_write(junit, "--junit", (file,))
    with spare_stdout(as_json=as_json):
        check_reporters(reporters)
        planned = plan_campaign(file, shard)
    if dry_run:
        return _list(planned, as_json=as_json)
    words = [str(file)]
    for name, value in (("--shard", shard), ("--jobs", jobs), ("--rerun", rerun), ("--scheduler", scheduler)):
        words += [] if value is None else [name, str(value)]
    words += ["--fail-fast"] * fail_fast + ([] if str(store) == "store" else ["--store", str(store)])
    given = Given(
        store=store,
        jobs=jobs or planned.specification.jobs,
        rerun=planned.specification.rerun if rerun is None else rerun,
        fail_fast=fail_fast or planned.specification.fail_fast,
        fresh=fresh,
        retry_errors=retry_errors,
        scheduler=scheduler,
        command="foreshock campaign " + shlex.join(words),
    )
    with spare_stdout(as_json=as_json):
        document = _run(planned, given, quiet=quiet, as_json=as_json)
        directory = Path(document.directory)
        # Where the disk is full, or the folder is gone, nobody could write anything, and it has been said.
        lost = full_disk_in(document.harness_errors) or not directory.is_dir()
        reports, errors = ([], []) if lost else _report(directory, junit_path, reporters)
    if errors:
        document = _with_errors(document, errors)
    if as_json:
        print_json(document)
    else:
        _show(document, reports, quiet=quiet)
    for error in document.harness_errors if quiet else errors:  # else the others were said when they came
        click.echo(f"foreshock: {error}", err=True)
    return document.exit


class Given(NamedTuple):
    """What the command line says of how a campaign is run."""

    store: Path
    jobs: int | None
    rerun: int
    fail_fast: bool
    fresh: bool
    retry_errors: bool
    scheduler: str | None
    command: str


def _run(planned: Planned, given: Given, *, quiet: bool, as_json: bool) -> CampaignDocument:
    from foreshock.harness.campaign.expansion import axes_of
    from foreshock.harness.campaign.journal import open_journal
    from foreshock.harness.campaign.leftovers import recover
    from foreshock.harness.campaign.runner import Campaign, Watcher, Ways
    from foreshock.harness.campaign.view import LineWatcher, LiveWatcher
    from foreshock.harness.interrupts import catch_interrupts

    specification = planned.specification
    journal, resumed = open_journal(
        given.store,
        specification,
        planned.digest(),
        fresh=given.fresh,
        retry_errors=given.retry_errors,
    )
    with contextlib.ExitStack() as stack:
        stack.callback(journal.close)
        if resumed and not quiet:
            again = len(journal.tried_again)
            others = (
                f", and {again} that the harness could not do {'is' if again == 1 else 'are'} tried again"
            )
            say_resumed(journal.directory, len(journal.attempts) - again, others * bool(again))
        for directory in () if quiet else journal.beside:
            click.echo(
                f"foreshock: another process is at work on this campaign, in {relative(directory)}: this one has a "
                f"folder of its own, {relative(journal.directory)}, and knows nothing of what that one does",
                err=True,
            )
        for line in (*(left := recover(journal.workers)).done, *left.errors):
            click.echo(f"foreshock: {line}", err=True)
        executor, jobs = _executor(planned, given, journal)
        view = choose_view(Watcher, LineWatcher, LiveWatcher, quiet=quiet, as_json=as_json)
        watcher = stack.enter_context(view)
        ways = Ways(
            name=specification.name,
            planned=planned.count,
            axes=axes_of(planned.combinations),
            rerun=given.rerun,
            fail_fast=given.fail_fast,
            for_s=specification.for_s,
            jobs=jobs,
            shard=str(planned.shard or ""),
            command=given.command,
        )
        campaign = Campaign(ways, planned.tests(), journal, stack.enter_context(executor), watcher)
        stack.enter_context(catch_interrupts(campaign.interrupt))
        return campaign.run()


def _executor(planned: Planned, given: Given, journal: Journal) -> tuple[Any, int]:
    """Where the tests are run, and how many at once."""
    specification = planned.specification
    if given.scheduler is not None:
        from foreshock.harness.campaign.dask_executor import DaskExecutor

        on_cluster = DaskExecutor(
            given.scheduler,
            given.store,
            report=specification.report,
            keep=specification.keep,
            give_up_after_s=specification.give_up_after_s,
            jobs=given.jobs,
            warn=lambda sentence: click.echo(f"foreshock: {sentence}", err=True),
        )
        return on_cluster, given.jobs or 1
    from foreshock.harness.campaign.admission import Room
    from foreshock.harness.campaign.local_executor import LocalExecutor

    room = Room(given.jobs)
    executor = LocalExecutor(
        given.store.absolute(),
        room,
        report=specification.report,
        keep=specification.keep,
        give_up_after_s=specification.give_up_after_s,
        begun=journal.add_worker,
    )
    return executor, room.jobs


def _report(directory: Path, junit: Path | None, asked: Sequence[str]) -> tuple[list[Path], list[str]]:
    """What the reporters make of the campaign's folder."""
    from foreshock.harness.publish import report_all
    from foreshock.harness.registry import Kind, load

    reports, errors = report_all(directory, asked)
    if junit is not None:
        try:
            written = load(Kind.REPORTERS, "junit")().report(directory)
            shutil.copyfile(written, junit)
            reports.append(junit)
        except (ForeshockError, OSError) as error:
            errors.append(f"--junit {str(junit)!r} was not written: {error}")
    return reports, errors


def _show(document: CampaignDocument, reports: Sequence[Path], *, quiet: bool) -> None:
    out = console()
    unfinished = "" if document.complete else " (not complete: the same command goes on)"
    out.print(verdict_text(document.verdict), document.summary + unfinished, sep="  ", markup=False)
    if quiet:
        return
    errors = sum(row.outcome == "error" for row in document.rows) if document.complete else 0
    rows = [
        *[("failure", _told(group)) for group in document.groups],
        ("campaign", relative(document.directory)),
        *[("report", relative(path)) for path in reports],
        ("again", document.command),
    ]
    if errors:
        rows.append(
            (
                "errors",
                f"{tests_text(errors)} could not be done: the same with --retry-errors tries them again",
            )
        )
    print_rows(out, rows)


def _with_errors(document: CampaignDocument, errors: Sequence[str]) -> CampaignDocument:
    """The document with what reporters could not do."""
    return msgspec.structs.replace(
        document,
        exit=int(ExitCode.worst((ExitCode(document.exit), ExitCode.HARNESS_ERROR))),
        harness_errors=(*document.harness_errors, *errors),
    )


def _told(group: Group) -> str:
    """One kind of failure in a line."""
    return f"{group.reason} ({tests_text(len(group.tests))}{', such as ' * bool(group.replay)}{group.replay})"


def _list(planned: Planned, *, as_json: bool) -> int:
    """Every test that would be run."""
    import itertools

    from foreshock.harness.campaign.rows import name_of

    tests = list(itertools.islice(planned.tests(), planned.count or len(planned.combinations)))
    if as_json:
        print_json({"name": planned.specification.name, "planned": planned.count, "tests": tests})
        return ExitCode.VALID
    for test in tests:
        click.echo(name_of(test))
    more = "" if planned.count is not None else ", and again with the seeds that follow until the time is up"
    click.echo(f"{tests_text(len(tests))}{more}")
    return ExitCode.VALID
