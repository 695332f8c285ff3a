"""What ``foreshock list`` says of plug-ins: which there are, and all about one of them."""

from __future__ import annotations

import contextlib
import inspect
import shlex
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import msgspec
from rich.markup import escape

from foreshock.harness.cli.common import console, print_json
from foreshock.harness.constructor_options import options_of
from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.mechanisms import carried, carriers, grouped, shortened
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.options import Options, nearest
from foreshock.harness.registry import Kind, load, names
from foreshock.harness.schedule_file import operations_of

if TYPE_CHECKING:
    from rich.console import Console

    from foreshock.harness.exhibit import Exhibit
    from foreshock.harness.target import Target


def show_plug_ins(kind: str | None, name: str | None, *, as_json: bool, quiet: bool) -> None:
    """Print the plug-ins of a kind, or of all kinds, or what is known of the one with that name."""
    kinds = [_kind(kind)] if kind else list(Kind)
    if name is not None:
        described = describe(kinds[0], name)
        if as_json:
            print_json(described)
        else:
            _show_one(described)
        return
    overview = {k.value: [_entry(k, n) for n in names(k)] for k in kinds}
    if as_json:
        print_json(overview)
        return
    out = console()
    width = 2 + max((len(entry["name"]) for entries in overview.values() for entry in entries), default=0)
    for title, entries in overview.items():
        out.print(f"[bold]{title}[/bold]")
        for entry in entries:
            out.print(f"  {entry['name']:<{width}}", end="", markup=False)
            out.print("" if quiet else entry["summary"], style="dim", markup=False)


def _entry(kind: Kind, name: str) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": name, "summary": _summary(kind, name)}
    if kind is Kind.TARGETS:
        with contextlib.suppress(PlugInError):  # the summary says what is wrong with it
            entry["workloads"] = _workloads(load(kind, name))
    return entry


def describe(kind: Kind, name: str) -> dict[str, Any]:
    """A plug-in's text and its options, each with type, default and meaning."""
    plug_in = load(kind, name)
    options = getattr(plug_in, "Options", None)
    if kind in (Kind.MODELS, Kind.CHECKERS):
        if not isinstance(plug_in, type):
            raise UsageError(
                f"{name!r} is no class, but {plug_in!r:.100}: give the class of a {kind.singular}"
            )
        options = options_of(plug_in)
    is_options = isinstance(options, type) and issubclass(options, Options)
    return {
        "kind": kind.singular,
        "name": name,
        "text": inspect.getdoc(plug_in) or "",
        "options": _options(options) if is_options and isinstance(options, type) else [],
        **(_claims(plug_in) if kind is Kind.TARGETS else {}),
        **(_found_by(name) if kind is Kind.BUGS else {}),
        **(_faults_of(name) if kind is Kind.BACKENDS else {}),
        **(_carriers(plug_in) if kind is Kind.NEMESES else {}),
    }


def _faults_of(backend: str) -> dict[str, Any]:
    """Which faults a backend carries on this machine, by what, and what is missing for the others."""
    has = carried().get(backend)
    return {} if has is None else {"faults": has.mechanisms, "missing": has.missing}


def _carriers(nemesis: Any) -> dict[str, Any]:
    """The operations of a nemesis, and which backends can carry it on this machine, by what."""
    if not (isinstance(nemesis, type) and issubclass(nemesis, Nemesis)):
        return {}
    return {"operations": list(operations_of(nemesis)), "carried_by": carriers(nemesis, carried())}


def _claims(target: type[Target[Any]]) -> dict[str, Any]:
    """What a target offers, promises, and is known to do wrong, each with the command that shows it."""
    return {
        "workloads": _workloads(target),
        "promises": [
            {
                "workload": promise.workload,
                "nemeses": list(promise.nemeses),
                "options": dict(promise.options),
                "because": promise.because,
            }
            for promise in target.promises
        ],
        "exhibits": [
            {
                "name": exhibit.name,
                "shows": exhibit.shows,
                "budget": exhibit.budget,
                "test": _test(exhibit, target),
            }
            for exhibit in target.exhibits
        ],
    }


def _workloads(target: type[Target[Any]]) -> list[str]:
    """The workloads whose service the target offers."""
    offered = []
    for name in names(Kind.WORKLOADS):
        with contextlib.suppress(PlugInError):  # a broken workload is named in the list of workloads
            if load(Kind.WORKLOADS, name).service in target.services:
                offered.append(name)
    return offered


def _found_by(bug: str) -> dict[str, Any]:
    """The target that a bug is planted in, and the test that finds it."""
    for name in names(Kind.TARGETS):
        with contextlib.suppress(PlugInError):  # a broken target is named in the list of targets
            target = load(Kind.TARGETS, name)
            for exhibit in target.exhibits:
                if exhibit.name == bug:
                    return {"target": name, "shows": exhibit.shows, "test": _test(exhibit, target)}
    return {}


def _test(exhibit: Exhibit, target: type[Target[Any]]) -> str:
    """The command of an exhibit's test, on real nodes where there are no simulated ones."""
    backend = "sim" if target.can_simulate() else "auto"
    return "foreshock test " + shlex.join(exhibit.request.arguments(backend, None))


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
                "required": field.required,
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
    known = [*(k.value for k in Kind), "runs", "campaigns"]
    raise UsageError(f"there is no kind {text!r}{nearest(text, known)}")


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
        default = " (required)" if entry["required"] else f" = {entry['default']!r}"
        out.print(f"  {entry['name']}{default}", markup=False, end="")
        out.print(f"  {entry['type']}", style="dim", markup=False)
        if entry["text"]:
            out.print(f"      {entry['text']}", style="dim", markup=False)
    _show_claims(out, described)
    _show_faults(out, described)


def _show_claims(out: Console, described: dict[str, Any]) -> None:
    if described.get("workloads"):
        out.print(f"\n[bold]workloads[/bold]  {', '.join(described['workloads'])}")
    for title in ("promises", "exhibits"):
        if described.get(title):
            out.print(f"\n[bold]{title}[/bold]")
        for entry in described.get(title, ()):
            if title == "promises":
                options = "".join(f" -o {key}={value}" for key, value in entry["options"].items())
                head = (
                    f"{entry['workload']} is valid under {', '.join(entry['nemeses']) or 'no fault'}{options}"
                )
                text = entry["because"]
            else:
                head, text = f"{entry['name']}: {entry['shows']}", entry["test"]
            out.print(f"  {head}", markup=False)
            if text:
                out.print(f"      {text}", style="dim", markup=False)
    if "test" in described:
        out.print(f"\n[bold]found by[/bold]\n  {escape(described['test'])}")


def _show_faults(out: Console, described: dict[str, Any]) -> None:
    if described.get("operations"):
        out.print(f"\n[bold]operations[/bold]  {', '.join(described['operations'])}")
    if "carried_by" in described:
        out.print("\n[bold]carried by[/bold] (on this machine)")
        for backend, mechanism in described["carried_by"].items():
            out.print(f"  {backend:<9}", markup=False, end="")
            out.print(mechanism, style="dim", markup=False)
    for title, key in (("faults", "faults"), ("missing here", "missing")):
        if described.get(key):
            out.print(f"\n[bold]{title}[/bold]")
        for sentence, kinds in grouped(described.get(key, {})).items():
            out.print(f"  {shortened(kinds)}", markup=False, end="")
            out.print(f"  {sentence}", style="dim", markup=False)
