"""Scripted faults: a TOML list of what to do, when, and to whom.

::

    [[fault]]
    at = 5.0                      # s since the main phase began
    do = "start-partition"        # an operation of a nemesis
    value = "halves"              # a kind, or a table as the operation's result has it
    for = 3.0                     # s until the matching stop; without it the fault lasts until one is asked for

    [[fault]]
    at = 9.5
    do = "kill"
    nodes = ["n1", "n2"]

A run writes what its nemeses did into such a file (``schedule.toml``), with the results as values, so that it can be
asked for again. Faults may overlap. What is wrong is a :class:`UsageError` that names file, entry and key.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from foreshock.harness.errors import UsageError
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.options import nearest
from foreshock.harness.text_files import parse_toml, read_text

FAULTS_MAX: Final = 10_000
AT_S_MAX: Final = 86_400.0
KEYS: Final = ("at", "do", "value", "for", "nodes")
SECOND_NS: Final = 1_000_000_000


class ScheduledFault(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of a schedule, checked. Times are ns since the main phase began."""

    at_ns: int
    do: str
    value: Any = None
    stop: str | None = None
    """The operation that ends it ``lasts_ns`` later."""
    lasts_ns: int = 0


class Step(NamedTuple):
    """One operation of a nemesis, and when it is due: ns since the main phase began."""

    at_ns: int
    f: str
    value: Any


class _Entry(NamedTuple):
    """An entry as it stands in the file, and where."""

    content: Mapping[str, Any]
    where: str

    def wrong(self, problem: str) -> NoReturn:
        raise UsageError(f"{self.where}: {problem}")


def steps_of(schedule: Sequence[ScheduledFault]) -> tuple[Step, ...]:
    """Every operation of the schedule in order of time; of two at the same time, the one that stands first."""
    steps = [Step(fault.at_ns, fault.do, fault.value) for fault in schedule]
    steps += [Step(f.at_ns + f.lasts_ns, f.stop, None) for f in schedule if f.stop is not None]
    return tuple(sorted(steps, key=lambda step: step.at_ns))


def operations_in(path: Path) -> tuple[str, ...]:
    """The operations that a schedule asks for, each once; raises :class:`UsageError` as :func:`read_schedule` does."""
    return tuple(dict.fromkeys(_operation(entry) for entry in _entries(path)))


def read_schedule(
    path: Path,
    nemeses: Mapping[str, type[Nemesis[Any]]],
    nodes: Sequence[str],
    time_limit_s: float,
) -> tuple[ScheduledFault, ...]:
    """Read and check a whole schedule, to be played by these nemeses (by name) on these nodes."""
    doers = {f: cls for cls in nemeses.values() for f in operations_of(cls)}
    return tuple(_fault(entry, doers, nodes, time_limit_s) for entry in _entries(path))


def operations_of(cls: type[Nemesis[Any]]) -> tuple[str, ...]:
    """The operations of a nemesis, as its shades and its ``fs`` tell them; the latter need no more than its class."""
    told = [f for shade in cls.shades for f in (*shade.starts, *shade.stops)]
    with contextlib.suppress(Exception):  # one whose names depend on its options tells them when it is made
        told += sorted(cls.__new__(cls).fs)
    return tuple(dict.fromkeys(told))


def _stop_of(cls: type[Nemesis[Any]], f: str) -> str | None:
    """The operation that ends what the operation ``f`` starts."""
    return next((shade.stops[0] for shade in cls.shades if f in shade.starts and shade.stops), None)


# --- one entry ------------------------------------------------------------------------------------------------------


def _fault(
    entry: _Entry, doers: Mapping[str, type[Nemesis[Any]]], nodes: Sequence[str], time_limit_s: float
) -> ScheduledFault:
    content = entry.content
    f = _operation(entry)
    if f not in doers:
        entry.wrong(f"no nemesis of this test performs do = {f!r:.200}{nearest(f[:200], doers)}")
    at_s = _seconds(entry, "at", least=0.0)
    if at_s >= time_limit_s:
        entry.wrong(
            f"at = {at_s:g} is after the main phase, which lasts {time_limit_s:g} s: raise --time-limit"
        )
    value = _value(entry)
    try:
        doers[f].check_value(f, value, nodes)
    except ValueError as error:
        entry.wrong(f"{f} cannot be done so: {error}")
    stop, lasts_s = None, 0.0
    if "for" in content:
        stop = _stop_of(doers[f], f)
        if stop is None:
            entry.wrong(f"nothing ends {f!r}, so it cannot have for: leave it out")
        lasts_s = _seconds(entry, "for", least=0.001)
    return ScheduledFault(
        at_ns=round(at_s * SECOND_NS), do=f, value=value, stop=stop, lasts_ns=round(lasts_s * SECOND_NS)
    )


def _operation(entry: _Entry) -> str:
    f = entry.content.get("do")
    if not isinstance(f, str) or not f:
        entry.wrong(
            'do is missing: name an operation, such as do = "start-partition"'
            if f is None
            else f"do must be the name of an operation, not {f!r:.200}"
        )
    return f


def _seconds(entry: _Entry, key: str, *, least: float) -> float:
    given = entry.content.get(key)
    if given is None:
        entry.wrong(f"{key} is missing: say when, in s since the main phase began")
    if isinstance(given, bool) or (not isinstance(given, int) and not _is_finite(given)):
        entry.wrong(f"{key} must be a number of seconds, not {given!r:.200}")
    if not least <= given <= AT_S_MAX:
        entry.wrong(f"{key} = {given!s:.40} is out of bounds: from {least:g} to {AT_S_MAX:g} s")
    return float(given)


def _is_finite(given: Any) -> bool:
    return isinstance(given, float) and math.isfinite(given)


def _value(entry: _Entry) -> Any:
    """The value of the operation: as it stands, with the nodes that the entry names put in."""
    value, nodes = entry.content.get("value"), entry.content.get("nodes")
    if isinstance(value, list | bool | int | float):
        entry.wrong(f"value must be a name or a table, not {value!r:.200}")
    if nodes is None:
        return value
    if isinstance(value, Mapping):
        if "nodes" in value and value["nodes"] != nodes:
            entry.wrong("nodes stands beside a value that has nodes of its own: leave one of them out")
        return {**value, "nodes": nodes}
    return {"nodes": nodes} if value is None else {"kind": value, "nodes": nodes}


# --- the file -------------------------------------------------------------------------------------------------------


def _entries(path: Path) -> list[_Entry]:
    text = read_text(path, "the schedule")
    content = parse_toml(text, path, "the schedule")
    for key in content:
        if key != "fault":
            raise UsageError(f"the schedule {str(path)!r}: there is no {key!r}{nearest(key, ['fault'])}")
    faults = content.get("fault")
    if not isinstance(faults, list) or not faults or not all(isinstance(each, dict) for each in faults):
        raise UsageError(f"the schedule {str(path)!r} has no entry: write each under a line [[fault]]")
    if len(faults) > FAULTS_MAX:
        raise UsageError(f"the schedule {str(path)!r} has {len(faults)} entries: at most {FAULTS_MAX}")
    lines = [n for n, line in enumerate(text.splitlines(), 1) if re.match(r"\s*\[\[\s*fault\s*\]\]", line)]
    entries = []
    for number, fault in enumerate(faults, start=1):
        line = f" (line {lines[number - 1]})" if len(lines) == len(faults) else ""
        entry = _Entry(fault, f"the schedule {str(path)!r}, entry {number}{line}")
        for key in fault:
            if key not in KEYS:
                entry.wrong(f"there is no key {key!r:.200}{nearest(key[:200], KEYS)}")
        entries.append(entry)
    return entries
