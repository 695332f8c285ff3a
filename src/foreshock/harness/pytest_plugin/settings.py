"""What a test of pytest says of its chaos test, as a request."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock import harness
from foreshock.harness.cli.common import flatten_options
from foreshock.harness.errors import UsageError
from foreshock.harness.options import nearest
from foreshock.harness.registry import Kind, offer
from foreshock.harness.request import Request

SEEDS_APART: Final = 1_000
"""How far apart the seeds of the chaos tests of one test are: it may have as many of its own."""
_KINDS: Final = {
    "target": Kind.TARGETS,
    "workload": Kind.WORKLOADS,
    "nemesis": Kind.NEMESES,
    "checker": Kind.CHECKERS,
}
_TEXTS: Final = ("nodes", "concurrency", "intensity", "schedule", "memory", "allow", "quiet_windows", "mix")
"""Settings that are text on the command line, where Python has a number, a path or a list as well."""


def request_from(settings: Mapping[str, Any], folder: Path) -> Request:
    """The request; raises :class:`UsageError` that names the setting and the mend.

    ``folder`` is where a file of a plug-in is looked for that is not below the current one.
    """
    known = Request.__struct_fields__
    for name in settings:
        if name == "seeds":
            raise UsageError(
                "seeds is for the marker, which runs the test once for each: foreshock.test() takes one seed"
            )
        if name in ("check", "expect"):
            raise UsageError(f"{name} is for the call foreshock.test(), and the marker has it")
        if name not in known:
            raise UsageError(f"foreshock.test() has no setting {name!r}{nearest(name, known)}")
    words = {name: _word(name, value, folder) for name, value in settings.items()}
    try:
        return msgspec.convert(words, Request)
    except msgspec.ValidationError as error:
        # Such as: Expected `float` <= 86400.0 - at `$.time_limit`
        found = re.fullmatch(r"Expected (.*) - at `\$\.(\w+)`", str(error))
        if not found:
            raise UsageError(f"the test cannot be planned: {error}") from None
        kind = (
            found[1].partition(", got")[0].replace("`float`", "a number").replace("`int`", "a whole number")
        )
        kind = kind.replace("int | null", "a whole number").replace("str | null", "text")
        kind = kind.replace("`str`", "text").replace("`object`", "a dict").replace("`", "")
        raise UsageError(f"{found[2]}={settings[found[2]]!r} is out of bounds: expected {kind}") from None


def _word(name: str, value: Any, folder: Path) -> Any:
    if name == "options":
        return flatten_options(value) if isinstance(value, Mapping) else value
    if name in _KINDS:
        parts = value if isinstance(value, list | tuple) and name in ("nemesis", "checker") else [value]
        return ",".join(_plug_in(name, part, folder) for part in parts)
    if name in _TEXTS and not isinstance(value, str):
        return ",".join(map(str, value)) if isinstance(value, Sequence) else str(value)
    if name in ("time_limit", "rate", "interval") and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise UsageError(f"{name}={value!r} is no number") from None
    return value


def _plug_in(name: str, value: Any, folder: Path) -> str:
    if isinstance(value, type):
        base = getattr(harness, name.capitalize())
        if not issubclass(value, base):
            raise UsageError(
                f"{name}={value.__qualname__} is no {name}: it is not a subclass of foreshock.harness.{base.__name__}"
            )
        return offer(_KINDS[name], value)
    if not isinstance(value, str):
        raise UsageError(
            f"{name}={value!r:.200} is no {name}: give its name, file.py:Class, or the class itself"
        )
    return ",".join(_file(word, folder) for word in value.split(","))


def _file(word: str, folder: Path) -> str:
    """The word, with the path of its file from the current folder; beside the test where it is not there."""
    file, found, rest = word.partition(".py:")
    if not found or Path(f"{file}.py").is_file():
        return word
    beside = folder / f"{file.strip()}.py"
    if not beside.is_file():
        return word
    shown = os.path.relpath(beside)
    return f"{beside if shown.startswith('..') else shown}:{rest}"
