"""The options of ``foreshock test`` that say what goes wrong, and when."""

from __future__ import annotations

from typing import Any, Final

from foreshock.harness.cli.common import F, option
from foreshock.harness.cli.completion import complete
from foreshock.harness.registry import Kind
from foreshock.harness.request import Request

DEFAULT: Final = Request()

_OPTIONS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    (
        "--nemesis",
        {
            "default": DEFAULT.nemesis,
            "show_default": True,
            "shell_complete": complete(Kind.NEMESES),
            "help": "What goes wrong: names separated by commas, with weights if need be (kill=3), or none.",
        },
    ),
    (
        "--mix",
        {
            "default": DEFAULT.mix,
            "show_default": True,
            "help": "streams: each nemesis keeps its own schedule; exclusive: one fault at a time, drawn by weight.",
        },
    ),
    (
        "--intensity",
        {
            "default": DEFAULT.intensity,
            "show_default": True,
            "help": "How hard faults come: low, medium, high, extreme, or a factor such as 1.5.",
        },
    ),
    (
        "--interval",
        {"type": float, "default": DEFAULT.interval, "show_default": True, "help": "Seconds between faults."},
    ),
    (
        "--quiet-windows",
        {
            "default": None,
            "metavar": "FROM-TO,...",
            "help": "Seconds of the main phase without any fault, such as 10-15,30-35.",
        },
    ),
    (
        "--schedule",
        {
            "default": None,
            "metavar": "FILE",
            "help": "Play these faults (TOML) in place of random ones; each run writes its own schedule.toml.",
        },
    ),
    (
        "--allow",
        {
            "default": None,
            "metavar": "PATTERN,...",
            "help": "The nodes, or their containers, that faults may touch; a test that could touch others is refused.",
        },
    ),
)


def fault_options(function: F) -> F:
    """``--nemesis``, ``--mix``, ``--intensity``, ``--interval``, ``--quiet-windows``, ``--schedule``, ``--allow``."""
    for name, settings in reversed(_OPTIONS):
        function = option(name, **settings)(function)
    return function
