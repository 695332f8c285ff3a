"""``foreshock doctor``: what this machine can do."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from foreshock.harness.cli.common import console, output_options, print_json, set_up_logging
from foreshock.harness.cluster import Backend
from foreshock.harness.errors import ForeshockError
from foreshock.harness.registry import Kind, broken, load, names
from foreshock.harness.verdict import ExitCode

DISK_FREE_MIN_BYTES = 1 << 30


@click.command(epilog="Try: foreshock doctor")
@output_options
def command(as_json: bool, verbose: bool, quiet: bool) -> int:
    """Say what this machine can do, what is missing for the rest, and the command that mends it."""
    set_up_logging(verbose=verbose)
    findings = [_python(), _disk(), *_backends(), *_plug_ins()]
    worst = ExitCode.VALID if all(f["ok"] for f in findings) else ExitCode.HARNESS_ERROR
    usable = any(f["ok"] for f in findings if f["about"].startswith("backend") and "sim" not in f["about"])
    if as_json:
        print_json({"findings": findings, "exit": int(worst)})
        return int(worst)
    out = console()
    for finding in findings if not quiet else [f for f in findings if not f["ok"]]:
        sign, style = ("\N{CHECK MARK}", "green") if finding["ok"] else ("\N{BALLOT X}", "yellow")
        out.print(f"{sign} {finding['about']:<20}", style=style, end="", markup=False)
        out.print(finding["text"], markup=False)
    if not usable:
        out.print("Only the simulator can be used here.", style="yellow")
    return int(worst)


def _finding(about: str, ok: bool, text: str) -> dict[str, Any]:
    return {"about": about, "ok": ok, "text": text}


def _python() -> dict[str, Any]:
    return _finding(
        "python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.system()}"
    )


def _disk() -> dict[str, Any]:
    free = shutil.disk_usage(Path()).free
    text = f"{free / (1 << 30):.1f} GiB free here for the store"
    return _finding(
        "disk", free > DISK_FREE_MIN_BYTES, text + ("" if free > DISK_FREE_MIN_BYTES else ": free some")
    )


def _backends() -> list[dict[str, Any]]:
    findings = []
    for name in names(Kind.BACKENDS):
        try:
            backend: Backend = load(Kind.BACKENDS, name)()
            reason = backend.available()
        except ForeshockError as error:
            reason = str(error)
        if reason is None:
            faults = ", ".join(sorted(kind.__name__.lower() for kind in backend.offers()))
            findings.append(_finding(f"backend {name}", True, f"ready; faults: {faults}"))
        else:
            findings.append(_finding(f"backend {name}", False, reason))
    return findings


def _plug_ins() -> list[dict[str, Any]]:
    return [
        _finding(f"{kind.singular} {name}", False, reason)
        for kind in Kind
        for name, reason in broken(kind).items()
    ]
