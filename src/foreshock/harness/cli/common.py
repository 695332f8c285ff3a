"""Options that every command shares, and how results are shown."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from foreshock.harness.broken_pipe import reader_may_leave
from foreshock.harness.errors import UsageError
from foreshock.harness.options import nearest
from foreshock.harness.text_files import parse_toml, read_text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
COLORS = {"valid": "green", "unknown": "yellow", "invalid": "bold red"}
SIGNS = {"valid": "\N{CHECK MARK}", "unknown": "?", "invalid": "\N{BALLOT X}"}


def option(*names: str, **settings: Any) -> Callable[[F], F]:
    """A click option that ``FORESHOCK_<NAME>`` sets too."""
    long = next(name for name in names if name.startswith("--")).split("/")[0].lstrip("-")
    return click.option(
        *names, envvar=f"FORESHOCK_{long.replace('-', '_').upper()}", show_envvar=False, **settings
    )


def output_options(function: F) -> F:
    """``--json``, ``-v`` and ``-q``."""
    function = option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")(
        function
    )
    function = click.option("-v", "--verbose", is_flag=True, help="Log more to stderr.")(function)
    return click.option("-q", "--quiet", is_flag=True, help="Say only the verdict.")(function)


def jobs_option(function: F) -> F:
    """``--jobs``, for what runs tests in the simulator."""
    return option(
        "--jobs",
        type=click.IntRange(1, 256),
        default=lambda: os.cpu_count() or 1,
        help="Tests at a time.  [default: the number of processors]",
    )(function)


class Seconds(click.FloatRange):
    """A number of seconds within bounds, which no comparison says of ``nan``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; complains about anything else."""
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            name = param.opts[0] if param is not None else "a time"
            raise UsageError(f"{name} {value} is out of bounds: {value} is no number of seconds")
        return seconds


def dry_run_option(function: F) -> F:
    """``--dry-run``."""
    return click.option(
        "--dry-run", is_flag=True, help="Print every command that would be run, and touch nothing."
    )(function)


class _Folder(click.Path):
    """A folder's path, which is never empty: an unset variable in a script must not mean the current folder."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Any:
        """The path; raises :class:`UsageError` for an empty text."""
        if value == "":
            raise UsageError("--store is empty: name the folder that keeps the runs, such as store")
        return super().convert(value, param, ctx)


def store_option(function: F) -> F:
    """``--store``."""
    return option(
        "--store",
        type=_Folder(file_okay=False, path_type=Path),
        default=Path("store"),
        show_default=True,
        help="Folder that keeps the runs.",
    )(function)


def reporter_option(function: F) -> F:
    """``--reporter``: whoever writes only when asked to, or a reporter of the user's own."""
    return option(
        "--reporter",
        "reporters",
        multiple=True,
        metavar="NAME|FILE.py:CLASS",
        help="Have this reporter write, too: junit, csv, parquet, or one of your own. May be given several times.",
    )(function)


def check_reporters(names: Sequence[str]) -> None:
    """Raise what is wrong with a reporter that is asked for before anything is deployed."""
    from foreshock.harness.publish import load_reporter

    for name in names:
        load_reporter(name)


def set_up_logging(*, verbose: bool, warns: bool = False) -> None:
    """Send the harness' log to stderr under ``-v``, or its warnings with ``warns``; else to the run's file alone."""
    logger = logging.getLogger("foreshock")
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    for earlier in [handler for handler in logger.handlers if type(handler) is logging.StreamHandler]:
        logger.removeHandler(earlier)  # of a command before this one in the same process
    if verbose or warns:
        handler = logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter("foreshock: %(levelname)s %(message)s" if verbose else "foreshock: %(message)s")
        )
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG if verbose else logging.WARNING)


def console() -> Console:
    """stdout for people; honours ``NO_COLOR`` and pipes."""
    from foreshock.harness.patient_console import PatientConsole

    return PatientConsole(highlight=False, soft_wrap=True)


def spare_stdout(*, as_json: bool) -> AbstractContextManager[object]:
    """Around what runs plug-ins: under ``--json`` what they print goes to stderr, for stdout is one document."""
    return contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()


def choose_view(
    silent: Callable[[], T],
    lines: Callable[[], T],
    live: Callable[[], AbstractContextManager[T]],
    *,
    quiet: bool,
    as_json: bool,
) -> AbstractContextManager[T]:
    """What shows how something goes: nothing under ``-q``, lines in a pipe or beside ``--json``, else a live panel."""
    if quiet:
        return contextlib.nullcontext(silent())
    return contextlib.nullcontext(lines()) if as_json or not sys.stderr.isatty() else live()


def tests_text(count: int) -> str:
    """Such as ``1 test``."""
    return f"{count} test{'s' * (count != 1)}"


def say_resumed(directory: Path, tests: int, again: str = "") -> None:
    """That what did not end before goes on, and in which folder; ``again`` says what of it is done once more."""
    done = f"{tests_text(tests)} {'was' if tests == 1 else 'were'} done{again}"
    click.echo(f"foreshock: goes on with {relative(directory)}, where {done}; --fresh begins anew", err=True)


def print_json(value: Any) -> None:
    """The one JSON document of ``--json``."""
    with reader_may_leave():
        sys.stdout.write(msgspec.json.encode(value, enc_hook=str).decode() + "\n")


def print_rows(out: Console, rows: Iterable[tuple[str, str]]) -> None:
    """What is known of an outcome, a line each: its name, then the text as it is."""
    for name, text in rows:
        out.print(f"  [dim]{name:<11}[/dim]", end="")
        out.print(text, markup=False)


def verdict_text(verdict: str) -> Text:
    """The verdict with a shape as well as a colour."""
    from rich.text import Text

    return Text(f"{SIGNS.get(verdict, '!')} {verdict.upper()}", style=COLORS.get(verdict, "bold"))


def relative(path: Path | str) -> str:
    """A path as a person would type it from here."""
    shown = os.path.relpath(path)
    return str(path) if shown.startswith("..") else shown


def parse_assignments(pairs: tuple[str, ...]) -> dict[str, str]:
    """``KEY=VALUE`` words as a mapping."""
    given = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator or not key:
            raise UsageError(f"{pair!r} is not KEY=VALUE")
        given[key] = value
    return given


def read_config(path: Path, known: Collection[str]) -> dict[str, Any]:
    """A TOML file of the same names as the options; ``[options]`` holds what ``-o`` would."""
    content = parse_toml(read_text(path, "the configuration"), path, "the configuration")
    found: dict[str, Any] = {}
    for key, value in content.items():
        name = key.replace("-", "_")
        if name not in known:
            hint = nearest(key, [k.replace("_", "-") for k in known])
            raise UsageError(f"the configuration {str(path)!r}: there is no setting {key!r}{hint}")
        if isinstance(value, dict) != (name == "options"):
            kind = "a table" if name == "options" else "a value and no table"
            raise UsageError(f"the configuration {str(path)!r}: {key} must be {kind}")
        found[name] = ",".join(map(str, value)) if isinstance(value, list) else value
    return found


def flatten_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """``[options.target]`` tables as ``target.KEY``; plain keys stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": v for inner, v in value.items()}
        else:
            flat[key] = value
    return flat
