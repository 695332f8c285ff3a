"""The options that say what a test is: those of ``foreshock test``, which ``foreshock hunt`` takes as well."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from foreshock.harness.cli.common import F, flatten_options, option, parse_assignments, read_config
from foreshock.harness.cli.completion import complete
from foreshock.harness.cli.fault_options import fault_options
from foreshock.harness.errors import UsageError
from foreshock.harness.registry import Kind
from foreshock.harness.request import Request

DEFAULT = Request()
SETTINGS = [f for f in Request.__struct_fields__ if f != "options"]
IN_FILE = (*SETTINGS, "options", "store", "repeat", "report", "reporter", "junit")
FILE_OPTIONS = "foreshock.file-options"


def _use_config(ctx: click.Context, _parameter: click.Parameter, path: Path | None) -> None:
    """Let the settings of the file stand where neither the command line nor the environment says anything."""
    if path is not None and not ctx.resilient_parsing:
        content = read_config(path, IN_FILE)
        ctx.meta[FILE_OPTIONS] = flatten_options(content.pop("options", {}))
        if reporters := content.pop("reporter", ""):
            content["reporters"] = str(reporters).split(",")
        ctx.default_map = content


_OPTIONS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    (
        "--target",
        option(
            "--target",
            default=DEFAULT.target,
            show_default=True,
            shell_complete=complete(Kind.TARGETS),
            help="A target's name, or file.py:Class.",
        ),
    ),
    (
        "--workload",
        option(
            "--workload",
            default=DEFAULT.workload,
            show_default=True,
            shell_complete=complete(Kind.WORKLOADS),
            help="What the clients do.",
        ),
    ),
    ("faults", fault_options),
    (
        "--backend",
        option(
            "--backend",
            default=DEFAULT.backend,
            show_default=True,
            shell_complete=complete(Kind.BACKENDS, "auto"),
            help="Where the nodes live; auto takes docker where an engine answers, else process.",
        ),
    ),
    (
        "--nodes",
        option(
            "--nodes", default=None, help="A count, or names separated by commas.  [default: the target's]"
        ),
    ),
    (
        "--concurrency",
        option(
            "--concurrency",
            default=DEFAULT.concurrency,
            show_default=True,
            help="Client processes: a count, or 2n.",
        ),
    ),
    (
        "--rate",
        option(
            "--rate",
            type=float,
            default=DEFAULT.rate,
            show_default=True,
            help="Operations/s over all; 0: no limit.",
        ),
    ),
    (
        "--time-limit",
        option(
            "--time-limit",
            type=float,
            default=DEFAULT.time_limit,
            show_default=True,
            help="Seconds of the main phase.",
        ),
    ),
    (
        "--seed",
        option("--seed", type=int, default=None, help="Seed of every draw.  [default: a new one, printed]"),
    ),
    (
        "--bug",
        option(
            "--bug",
            default=None,
            shell_complete=complete(Kind.BUGS),
            help="Plant a bug, such as raft/vote-not-persisted.",
        ),
    ),
    (
        "-o",
        click.option(
            "-o",
            "assignments",
            multiple=True,
            metavar="KEY=VALUE",
            envvar="FORESHOCK_OPTIONS",
            help="An option of the target, workload or nemesis; 'foreshock list targets raft' shows them.",
        ),
    ),
    (
        "--checker",
        option(
            "--checker",
            default=None,
            shell_complete=complete(Kind.CHECKERS),
            help="Checkers beside those of the workload: names, or file.py:Class, separated by commas.",
        ),
    ),
    (
        "--operation-timeout-ms",
        option(
            "--operation-timeout-ms",
            type=int,
            default=DEFAULT.operation_timeout_ms,
            show_default=True,
            help="After this an operation is info.",
        ),
    ),
    (
        "--recovery-time",
        option(
            "--recovery-time",
            type=float,
            default=DEFAULT.recovery_time,
            show_default=True,
            help="Seconds at most that the cluster gets after healing.",
        ),
    ),
    (
        "--ready-timeout",
        option(
            "--ready-timeout",
            type=float,
            default=DEFAULT.ready_timeout,
            show_default=True,
            help="Seconds in which every node must become healthy.",
        ),
    ),
    (
        "--deadline",
        option(
            "--deadline",
            type=float,
            default=DEFAULT.deadline,
            show_default=True,
            help="Seconds for all checkers.",
        ),
    ),
    ("--memory", option("--memory", default=DEFAULT.memory, show_default=True, help="Memory for a checker.")),
    (
        "--config",
        option(
            "--config",
            type=click.Path(path_type=Path),
            default=None,
            is_eager=True,
            expose_value=False,
            callback=_use_config,
            help="A TOML file of these settings; environment and command line go before it.",
        ),
    ),
)


def request_options(*left_out: str) -> Callable[[F], F]:
    """Every option that says what a test is, ``--config`` among them, but for those that are left out."""

    def decorate(function: F) -> F:
        for name, each in reversed(_OPTIONS):
            function = function if name in left_out else each(function)
        return function

    return decorate


def request_of(ctx: click.Context, settings: dict[str, Any], assignments: tuple[str, ...]) -> Request:
    """What the options ask for; raises :class:`UsageError` where a value is out of bounds."""
    options = {**ctx.meta.get(FILE_OPTIONS, {}), **parse_assignments(assignments)}
    try:
        return msgspec.convert(
            {**{k: settings[k] for k in SETTINGS if k in settings}, "options": options}, Request
        )
    except msgspec.ValidationError as error:
        # Such as: Expected `float` <= 86400.0 - at `$.time_limit`
        found = re.fullmatch(r"Expected (.*) - at `\$\.(\w+)`", str(error))
        if not found:
            raise UsageError(f"the test cannot be planned: {error}") from None
        kind = found[1].replace("`float`", "a number").replace("`int`", "a whole number").replace("`", "")
        value = settings.get(found[2])
        raise UsageError(
            f"--{found[2].replace('_', '-')} {value} is out of bounds: expected {kind}"
        ) from None
