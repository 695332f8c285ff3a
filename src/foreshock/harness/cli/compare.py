"""``foreshock compare``: two runs, or two campaigns, side by side."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from foreshock.harness.cli.common import (
    console,
    option,
    output_options,
    print_json,
    relative,
    set_up_logging,
    store_option,
)
from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.verdict import ExitCode

if TYPE_CHECKING:
    from foreshock.harness.comparison import CampaignComparison, RunComparison
    from foreshock.harness.store import Store

REPORTER = "compare"
PAGES = "comparisons"
"""The folder of the store that takes the pages."""
_BACK_MAX = 10_000


@click.command(epilog="\b\nTry: foreshock compare latest~1 latest")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@option("--html", default=None, help="Where the page goes.  [default: STORE/comparisons/A--B.html]")
@store_option
@output_options
def command(
    first: str,
    second: str,
    html: str | None,
    store: Path,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Compare two runs, or two campaigns: what differs, and whether it can be told from noise.

    A and B are folders, the ends of their names, 'latest' for the newest run, or a campaign's name for the newest of
    that name; '~1' after a name means the one before. The exit code is 0, for a comparison is no verdict.
    """
    from foreshock.harness.registry import Kind, load

    set_up_logging(verbose=verbose)
    sides = find_side(store, first), find_side(store, second)
    kinds = [kind for kind, _ in sides]
    if kinds[0] != kinds[1]:
        raise UsageError(
            f"{first!r} is a {kinds[0]} and {second!r} a {kinds[1]}: compare two runs, or two campaigns"
        )
    page = _page(html, store, sides[0][1], sides[1][1])
    comparison: RunComparison | CampaignComparison = load(Kind.REPORTERS, REPORTER)().compare(
        sides[0][1], sides[1][1], page
    )
    if as_json:
        print_json(comparison)
    else:
        from foreshock.harness.cli.compare_text import show

        show(comparison, console(), quiet=quiet)
        if not quiet:
            click.echo(f"  page       {relative(page)}")
    return int(ExitCode.VALID)


def find_side(store: Path, given: str) -> tuple[str, Path]:
    """What a user named, as ``run`` or ``campaign`` with its folder; raises :class:`UsageError` when there is none."""
    from foreshock.harness.campaign.document import CAMPAIGN
    from foreshock.harness.store import Store

    if not given:
        raise UsageError("an empty name names no run and no campaign: give a folder, or 'latest'")
    path = Path(given)
    if path.name == CAMPAIGN and path.is_file():
        return "campaign", path.parent.absolute()
    if (path / CAMPAIGN).is_file():
        return "campaign", path.absolute()
    match = re.fullmatch(r"(.+)~(\d{1,9})", given)
    name, back = (match[1], int(match[2])) if match else (given, 0)
    if back > _BACK_MAX:
        raise UsageError(f"{given!r} is too far back: give at most ~{_BACK_MAX}")
    if name == "latest":
        return "run", _nth_run(Store(store), given, back)
    campaign = _nth_campaign(store, given, name, back)
    if campaign is not None:
        return "campaign", campaign
    if match is not None:
        raise UsageError(
            f"there is no campaign {name!r} in the store {str(store)!r}: '~{back}' follows a campaign's name, "
            "or 'latest'"
        )
    return "run", Store(store).find(given)


def _nth_campaign(store: Path, given: str, name: str, back: int) -> Path | None:
    """The campaign of a name, counted from the newest, or the one whose folder's name ends so."""
    campaigns = _campaigns(store)
    named = [folder for folder in campaigns if folder.parent.name == name]
    if named and back >= len(named):
        raise UsageError(f"there is no {given!r}: the store has {len(named)} of the campaign {name!r}")
    if named:
        return named[back]
    ending = [folder for folder in campaigns if not back and str(folder).endswith(name)]
    if len(ending) > 1:
        raise UsageError(f"there are {len(ending)} campaigns {given!r}: give more of the name")
    return ending[0] if ending else None


def _nth_run(store: Store, given: str, back: int) -> Path:
    from itertools import islice

    if not back:
        return store.find("latest")
    found = next(islice(store.runs(), back, None), None)
    if found is None:
        raise UsageError(f"there is no {given!r}: the store {str(store.root)!r} has no run that far back")
    return found.absolute()


def _campaigns(store: Path) -> list[Path]:
    """The campaigns of the store, newest first."""
    from foreshock.harness.campaign.document import CAMPAIGN, CAMPAIGNS
    from foreshock.harness.store import run_folders

    folders = map(Path, run_folders(store.absolute() / CAMPAIGNS, follow_links=False))
    return [folder for folder in folders if (folder / CAMPAIGN).is_file()]


def _page(html: str | None, store: Path, first: Path, second: Path) -> Path:
    """Where the page goes; raises before anything is read where that cannot be."""
    if html is not None:
        from foreshock.harness.cli.outputs import file_to_write

        return file_to_write(html, "--html").absolute()
    folder = store.absolute() / PAGES
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HarnessError(
            f"the folder {folder} cannot be made: {error.strerror} (name a page with --html)"
        ) from error
    return folder / f"{first.name}--{second.name}.html"
