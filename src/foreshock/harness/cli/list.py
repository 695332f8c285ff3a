"""``foreshock list``: what there is."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click
import msgspec

from foreshock.harness.cli.common import (
    console,
    output_options,
    print_json,
    relative,
    set_up_logging,
    store_option,
)
from foreshock.harness.errors import ForeshockError, PlugInError, UsageError
from foreshock.harness.options import Options, nearest
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.verdict import ExitCode

RUNS_SHOWN_MAX = 50


@click.command(name="list", epilog="\b\nTry: foreshock list targets raft")
@click.argument("kind", required=False)
@click.argument("name", required=False)
@store_option
@output_options
def command(
    kind: str | None, name: str | None, store: Path, as_json: bool, verbose: bool, quiet: bool
) -> int:
    """Show what there is of a KIND (targets, workloads, nemeses, checkers, backends, bugs, runs, ...).

    With a NAME: its options, their defaults and units.
    """
    set_up_logging(verbose=verbose)
    if kind == "runs":
        return _runs(store, as_json=as_json)
    kinds = [_kind(kind)] if kind else list(Kind)
    if name is not None:
        described = describe(kinds[0], name)
        if as_json:
            print_json(described)
        else:
            _show_one(described)
        return int(ExitCode.VALID)
    overview = {k.value: [{"name": n, "summary": _summary(k, n)} for n in names(k)] for k in kinds}
    if as_json:
        print_json(overview)
        return int(ExitCode.VALID)
    out = console()
    width = 2 + max((len(entry["name"]) for entries in overview.values() for entry in entries), default=0)
    for title, entries in overview.items():
        out.print(f"[bold]{title}[/bold]")
        for entry in entries:
            out.print(f"  {entry['name']:<{width}}", end="", markup=False)
            out.print("" if quiet else entry["summary"], style="dim", markup=False)
    return int(ExitCode.VALID)


def describe(kind: Kind, name: str) -> dict[str, Any]:
    """A plug-in's text and its options, each with type, default and meaning."""
    plug_in = load(kind, name)
    options = getattr(plug_in, "Options", None)
    is_options = isinstance(options, type) and issubclass(options, Options)
    return {
        "kind": kind.singular,
        "name": name,
        "text": inspect.getdoc(plug_in) or "",
        "options": _options(options) if is_options and isinstance(options, type) else [],
    }


def _options(options: type[Options]) -> list[dict[str, Any]]:
    hints = get_type_hints(options, include_extras=True)
    described = []
    for field in msgspec.structs.fields(options):
        metas = [m for m in get_args(hints[field.name]) if isinstance(m, msgspec.Meta)]
        default = None if field.default is msgspec.NODEFAULT else field.default
        described.append(
            {
                "name": field.name,
                "default": msgspec.to_builtins(default),
                "type": _type_name(field.type),
                "text": next((m.description for m in metas if m.description), ""),
            }
        )
    return described


def _type_name(kind: Any) -> str:
    inner = get_args(kind)
    if inner and any(isinstance(part, msgspec.Meta) for part in inner):
        return _type_name(inner[0])
    return kind.__name__ if isinstance(kind, type) and not inner else str(kind).replace("typing.", "")


def _kind(text: str) -> Kind:
    for kind in Kind:
        if text in (kind.value, kind.singular):
            return kind
    raise UsageError(f"there is no kind {text!r}{nearest(text, [*(k.value for k in Kind), 'runs'])}")


def _summary(kind: Kind, name: str) -> str:
    try:
        text = inspect.getdoc(load(kind, name)) or ""
    except PlugInError as error:
        return f"! {error}"
    return text.split("\n\n")[0].replace("\n", " ")


def _show_one(described: dict[str, Any]) -> None:
    out = console()
    out.print(f"[bold]{described['kind']} {described['name']}[/bold]")
    out.print(described["text"], markup=False)
    if described["options"]:
        out.print("\n[bold]options[/bold] (-o KEY=VALUE)")
    for entry in described["options"]:
        out.print(f"  {entry['name']} = {entry['default']!r}", markup=False, end="")
        out.print(f"  {entry['type']}", style="dim", markup=False)
        if entry["text"]:
            out.print(f"      {entry['text']}", style="dim", markup=False)


def _runs(store: Path, *, as_json: bool) -> int:
    from foreshock.harness.store import Store

    rows = []
    for run in Store(store).runs():
        rows.append(_row(run))
        if len(rows) >= RUNS_SHOWN_MAX and not as_json:
            break
    if as_json:
        print_json({"runs": rows})
        return int(ExitCode.VALID)
    out = console()
    for row in rows:
        out.print(f"{relative(row['run'])}  {_line(row)}", markup=False)
    if not rows:
        out.print(f"no runs in {store}", markup=False)
    return int(ExitCode.VALID)


def _row(run: Path) -> dict[str, Any]:
    """What is known of a stored run; ``state`` tells whether it is ``finished``, ``running`` or ``unfinished``."""
    from foreshock.harness import live_runs
    from foreshock.harness.store import RESULTS, TEST, read_json

    folder = {"run": str(run.absolute())}
    try:
        results = read_json(run / RESULTS)
        return {"state": "finished", **{k: v for k, v in results.items() if k != "checkers"}, **folder}
    except ForeshockError:
        entry = live_runs.find_run(run.name.lower())
    running = entry is not None and not live_runs.is_dead(entry)
    try:
        plan = read_json(run / TEST).get("plan", {})
    except ForeshockError:
        plan = {}
    known = {
        name: plan[name]
        for name in ("target", "workload", "nemeses", "backend", "bug", "seed")
        if name in plan
    }
    return {"state": "running" if running else "unfinished", "verdict": "unknown", **known, **folder}


def _line(row: Mapping[str, Any]) -> str:
    from foreshock.harness.store import summary_line

    match row["state"]:
        case "finished":
            return summary_line(row)
        case "running":
            return f"running  {row.get('target', '?')}/{row.get('workload', '?')} seed {row.get('seed', '?')}"
    return (
        f"no results: foreshock analyze decides  {row.get('target', '?')}/{row.get('workload', '?')} "
        f"seed {row.get('seed', '?')}"
    )
