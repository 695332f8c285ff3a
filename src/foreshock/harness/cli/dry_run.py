"""What ``foreshock test --dry-run`` prints: each command of the test, where it would be run, and when."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from foreshock.harness.cli.common import console, print_json, spare_stdout
from foreshock.harness.verdict import ExitCode

if TYPE_CHECKING:
    from foreshock.harness.plan import Resolved
    from foreshock.harness.rehearsal.recording import Command
    from foreshock.harness.rehearsal.recovering import Undoing
    from foreshock.harness.rehearsal.rehearse import RehearsedFault

_VALUE_CHARACTERS_MAX = 300


def show_rehearsal(resolved: Resolved, *, as_json: bool) -> int:
    """Rehearse the test and print what it would run."""
    from foreshock.harness.rehearsal.rehearse import rehearse

    with spare_stdout(as_json=as_json):
        rehearsal = rehearse(resolved)
    if as_json:
        print_json({"dry_run": True, **msgspec.to_builtins(rehearsal), "plan": resolved.plan})
        return int(ExitCode.VALID)
    out = console()
    out.print("[bold]dry run[/bold]: nothing is deployed, nothing is touched")
    for sentence in rehearsal.assumed:
        out.print(f"  {sentence}", style="dim", markup=False)
    _section(out, f"deployment on {rehearsal.backend}", rehearsal.deployment)
    out.print("\n[bold]faults[/bold] (s since the main phase began)")
    _faults(out, rehearsal.faults)
    out.print("\n[bold]healing[/bold] (after the main phase)")
    _faults(out, rehearsal.healing)
    _section(out, "teardown", rehearsal.teardown)
    out.print(f"\nfor real  {rehearsal.again}", markup=False)
    return int(ExitCode.VALID)


def show_recovery(shown: list[Undoing], errors: list[str], *, nothing: str, as_json: bool) -> int:
    """Print what would be undone or removed, and by which commands."""
    if as_json:
        print_json({"dry_run": True, "would": shown, "errors": errors})
    else:
        out = console()
        for each in shown:
            note = f": {each.note}" if each.note else ""
            out.print(f"run {each.run}: {each.what}{note}", markup=False)
            _commands(out, each.commands, indent="    ")
        if not shown:
            out.print(nothing, markup=False)
    for error in errors:
        click.echo(f"foreshock: {error}", err=True)
    return int(ExitCode.HARNESS_ERROR if errors else ExitCode.VALID)


def _section(out: Console, title: str, commands: Iterable[Command]) -> None:
    out.print(f"\n[bold]{title}[/bold]")
    _commands(out, commands, indent="  ")


def _faults(out: Console, faults: Iterable[RehearsedFault]) -> None:
    none = True
    for fault in faults:
        none = False
        value = "" if fault.value is None else f" {_short(fault.value)}"
        result = f"  it fails: {fault.error}" if fault.error else f"  -> {_short(fault.result)}"
        out.print(f"  {fault.at_s:9.3f}  {fault.do}{value}{result}", markup=False)
        _commands(out, fault.commands, indent="             ")
    if none:
        out.print("  none")


def _commands(out: Console, commands: Iterable[Command], *, indent: str) -> None:
    none = True
    for command in commands:
        none = False
        first, *rest = command.text.splitlines() or [""]
        head = f"{indent}{command.where}: "
        out.print(head, style="dim", markup=False, end="")
        out.print(first, markup=False)
        for line in rest:
            out.print(f"{indent}    {line}", markup=False)
    if none and len(indent) == 2:
        out.print("  no command")


def _short(value: object) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    return text if len(text) <= _VALUE_CHARACTERS_MAX else text[:_VALUE_CHARACTERS_MAX] + " ..."
