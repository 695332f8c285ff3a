"""``foreshock doctor``: what this machine can do."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from foreshock.harness.cli.common import console, output_options, print_json, set_up_logging, store_option
from foreshock.harness.errors import ForeshockError
from foreshock.harness.mechanisms import Carried, carried, grouped, shortened
from foreshock.harness.registry import Kind, broken, load, names
from foreshock.harness.verdict import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

DISK_FREE_MIN_BYTES = 1 << 30
GIB = 1 << 30


@click.command(epilog="\b\nTry: foreshock doctor")
@store_option
@output_options
def command(store: Path, as_json: bool, verbose: bool, quiet: bool) -> int:
    """Say what this machine can do, what is missing for the rest, and the command that mends it.

    Exit code 0 when tests can be run on real nodes, by whichever backend, and nothing is broken; else 3.
    """
    set_up_logging(verbose=verbose)
    backends = _backends()
    others = [_python(), _store(store), _state(), *_plug_ins()]
    usable = any(found["ok"] and found["about"] != "backend sim" for found in backends)
    code = ExitCode.VALID if usable and all(found["ok"] for found in others) else ExitCode.HARNESS_ERROR
    findings = [*others, *backends, _leftovers()]
    faults = carried()
    if as_json:
        print_json(
            {
                "findings": findings,
                "faults": {name: has._asdict() for name, has in faults.items()},
                "exit": int(code),
            }
        )
        return int(code)
    out = console()
    for finding in findings if not quiet else [f for f in findings if not f["ok"]]:
        sign, style = ("\N{CHECK MARK}", "green") if finding["ok"] else ("\N{BALLOT X}", "yellow")
        out.print(f"{sign} {finding['about']:<19} ", style=style, end="", markup=False)
        out.print(finding["text"], markup=False)
        name = finding["about"].removeprefix("backend ")
        if name != finding["about"] and name in faults and not quiet:
            _show_faults(out, faults[name])
    if not usable:
        out.print("Only the simulator can be used here.", style="yellow")
    return int(code)


def _show_faults(out: Console, has: Carried) -> None:
    """Which faults a backend carries, by what, and what is missing for the rest."""
    for mechanism, kinds in grouped(has.mechanisms).items():
        out.print(f"    {shortened(kinds)}", markup=False, end="")
        out.print(f"  {mechanism}", style="dim", markup=False)
    for why, kinds in grouped(has.missing).items():
        out.print(f"    {shortened(kinds)}", style="yellow", markup=False, end="")
        out.print(f"  {why}", style="dim", markup=False)


def _finding(about: str, ok: bool, text: str) -> dict[str, Any]:
    return {"about": about, "ok": ok, "text": text}


def _python() -> dict[str, Any]:
    return _finding(
        "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.system()}"
    )


def _store(store: Path) -> dict[str, Any]:
    folder = next(path for path in (store.absolute(), *store.absolute().parents) if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        return _finding("store", False, f"{folder} cannot be written: choose another store with --store")
    free = shutil.disk_usage(folder).free
    enough = free > DISK_FREE_MIN_BYTES
    text = f"{store}: {free / GIB:.1f} GiB free" + ("" if enough else ", less than 1 GiB: free some")
    return _finding("store", enough, text)


def _state() -> dict[str, Any]:
    from foreshock.harness.live_runs import ensure_directory, state_directory

    directory = state_directory()
    try:
        ensure_directory(directory)
    except ForeshockError as error:
        return _finding("state", False, str(error))
    writable = os.access(directory, os.W_OK)
    return _finding(
        "state",
        writable,
        str(directory) + ("" if writable else " cannot be written: set XDG_STATE_HOME to a folder that can"),
    )


def _leftovers() -> dict[str, Any]:
    from foreshock.harness.live_runs import dead_runs

    dead = [run.run for run in dead_runs()]
    if not dead:
        return _finding("leftovers", True, "none: no dead run is registered")
    mend = "foreshock heal undoes their faults, foreshock clean removes what they left"
    return _finding("leftovers", False, f"{len(dead)} runs whose harness died ({', '.join(dead)}): {mend}")


def _backends() -> list[dict[str, Any]]:
    findings = []
    for name in names(Kind.BACKENDS):
        try:
            backend = load(Kind.BACKENDS, name)()
            reason = backend.available()
        except ForeshockError as error:
            reason = str(error)
        if reason is None:
            findings.append(_finding(f"backend {name}", True, "ready"))
        else:
            findings.append(_finding(f"backend {name}", False, reason))
    return findings


def _plug_ins() -> list[dict[str, Any]]:
    return [
        _finding(f"{kind.singular} {name}", False, reason)
        for kind in Kind
        for name, reason in broken(kind).items()
    ]
