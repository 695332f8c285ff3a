"""``foreshock serve``: the store in a browser, while tests run."""

from __future__ import annotations

from pathlib import Path

import click

from foreshock.harness.cli.common import option, output_options, print_json, set_up_logging, store_option
from foreshock.harness.errors import UsageError
from foreshock.harness.verdict import ExitCode

PORT = 8077


@click.command(epilog="\b\nTry: foreshock serve --port 0")
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on. Whoever reaches it may read the store: there is no password.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=PORT,
    show_default=True,
    help="Port to listen on; 0 for any that is free.",
)
@store_option
@output_options
def command(host: str, port: int, store: Path, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Show the store in a browser: runs, campaigns, reports, logs, and tests while they run.

    It only reads, and nothing outside of the store. Ctrl-C ends it.
    """
    import asyncio

    from foreshock.harness.registry import Kind, load
    from foreshock.harness.server.headers import is_loopback
    from foreshock.harness.server.serving import serve
    from foreshock.harness.server.views import PAGES

    set_up_logging(verbose=verbose, warns=True)
    if store.exists() and not store.is_dir():
        raise UsageError(
            f"--store {str(store)!r} is no folder: name the one that keeps the runs, such as store"
        )
    if not is_loopback(host):
        click.echo(
            f"foreshock: --host {host} is not this machine alone: whoever reaches it may read the whole store",
            err=True,
        )

    def started(address: str) -> None:
        if as_json:
            print_json({"address": address, "store": str(store.absolute())})
        elif quiet:
            click.echo(address)
        else:
            there = "" if store.is_dir() else ", which is not there yet"
            click.echo(f"the store {store}{there}: {address}  (Ctrl-C ends)")

    asyncio.run(serve(store, load(Kind.REPORTERS, PAGES)(), host=host, port=port, started=started))
    return int(ExitCode.VALID)
