"""The settings of tests in a campaign's file: those of ``foreshock test``, by the names of its options."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from foreshock.harness.campaign.source import Source
from foreshock.harness.composition import weighted_nemeses
from foreshock.harness.errors import UsageError
from foreshock.harness.registry import Kind, names
from foreshock.harness.request import Request
from foreshock.harness.toml_lines import Place

Value = Any
"""A text, a number, true or false; a list where an option takes one; ``None`` for a bug that is none."""

OPTIONS: Final = "options"
OPTION_PREFIX: Final = "options."
"""``options.mode`` and ``options.raft.mode`` are what ``-o mode=...`` and ``-o raft.mode=...`` give."""
FIELDS: Final = {
    field.name.replace("_", "-"): field
    for field in msgspec.structs.fields(Request)
    if field.name not in ("seed", OPTIONS)
}
KINDS: Final = {
    "target": Kind.TARGETS,
    "workload": Kind.WORKLOADS,
    "nemesis": Kind.NEMESES,
    "backend": Kind.BACKENDS,
    "bug": Kind.BUGS,
    "checker": Kind.CHECKERS,
}
NONE, AUTO, UNSET = "none", "auto", "default"
NOTHING: Final = ("bug", "schedule", "quiet-windows", "checker")
"""The settings of which there can be none at all; of others there is what the target or the harness is made for."""
VALUES_MAX: Final = 1_000
_EXPECTED: Final = re.compile(r"Expected (.*?)(?:, got .*)? - at `\$\.\w+`")


class Settings:
    """Reads tables of settings from a campaign's file. What is wrong is a :class:`UsageError` with its line."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def single(self, place: Place, table: Any, *, also: Iterable[str] = ()) -> dict[str, Value]:
        """A table in which each setting has one value. ``also``: keys of other meaning that it may have."""
        found = {}
        for at, name, value in self._flat(place, table, also):
            if isinstance(value, list) and not name.startswith(OPTION_PREFIX):
                mend = (
                    'several nemeses at once are one text, such as "partition,kill"'
                    if name == "nemesis"
                    else "several values make an axis of [matrix]"
                )
                raise self.source.error(at, f"{name!r} is one value here, and no list: {mend}")
            found[name] = self._value(at, name, value)
        return found

    def axes(self, place: Place, table: Any, *, also: Iterable[str] = ()) -> dict[str, tuple[Value, ...]]:
        """A table in which each setting has a list of values; one that is no list is one of a single value."""
        found = {}
        for at, name, value in self._flat(place, table, also):
            values = value if isinstance(value, list) else [value]
            if not values:
                raise self.source.error(at, f"{name!r} has no value: leave it out, or give at least one")
            if len(values) > VALUES_MAX:
                raise self.source.error(
                    at, f"{name!r} has {len(values)} values: at most {VALUES_MAX} are taken"
                )
            read: list[Value] = []
            for number, one in enumerate(values):
                within = (*at, number) if isinstance(value, list) else at
                converted = self._value(within, name, one)
                if converted in read:
                    raise self.source.error(within, f"{one!r:.100} is there twice in {name!r}")
                read.append(converted)
            found[name] = tuple(read)
        return found

    def _flat(self, place: Place, table: Any, also: Iterable[str]) -> list[tuple[Place, str, Any]]:
        """The settings of a table: each with its place, its name, and its value as it is in the file."""
        if not isinstance(table, dict):
            raise self.source.error(place, f"{place[-1]!r} must be a table")
        found = []
        self.source.known(place, table, (*FIELDS, OPTIONS, *also))
        for key, value in table.items():
            at, name = (*place, key), key.replace("_", "-")
            if name in also:
                continue
            if name == OPTIONS:
                if not isinstance(value, dict):
                    raise self.source.error(
                        at, "'options' must be a table, such as options.mode = \"leases\""
                    )
                found += self._options(at, value)
            elif isinstance(value, dict):
                raise self.source.error(at, f"{key!r} must be a value, and no table")
            else:
                found.append((at, name, value))
        return found

    def _options(self, place: Place, table: Mapping[str, Any]) -> list[tuple[Place, str, Any]]:
        found: list[tuple[Place, str, Any]] = []
        for key, value in table.items():
            if isinstance(value, dict):
                found += [
                    ((*place, key, inner), f"{OPTION_PREFIX}{key}.{inner}", one)
                    for inner, one in value.items()
                ]
            else:
                found.append(((*place, key), f"{OPTION_PREFIX}{key}", value))
        return found

    def _value(self, place: Place, name: str, value: Any) -> Value:
        """A value as its setting has it."""
        if isinstance(value, (datetime.date, datetime.time)):
            raise self.source.error(
                place, f"{name!r} cannot be a date or a time: put it in quotes if it is text"
            )
        if isinstance(value, dict):
            raise self.source.error(place, f"{name!r} must be a value, and no table")
        if name.startswith(OPTION_PREFIX):
            return value
        field = FIELDS[name]
        if name == "bug" and value in ("", NONE):
            return None
        if name == "nemesis" and value == "":
            value = NONE
        if (
            isinstance(value, (int, float))
            and not isinstance(value, bool)
            and field.type in (str, str | None)
        ):
            value = str(value)
        try:
            converted = msgspec.convert({field.name: value}, Request)
        except msgspec.ValidationError as error:
            raise self.source.error(
                place, f"{name!r} cannot be {value!r:.100}: {_in_words(str(error))}"
            ) from None
        self._check_name(place, name, value)
        return getattr(converted, field.name)

    def _check_name(self, place: Place, name: str, value: str) -> None:
        """A plug-in's name is looked up at once, while its line is at hand."""
        kind = KINDS.get(name)
        if kind is None:
            return
        wanted: Sequence[str] = (value,)
        if kind is Kind.NEMESES:
            try:
                wanted = tuple(weighted_nemeses(value))
            except UsageError as error:
                raise self.source.error(place, str(error)) from None
        elif kind is Kind.CHECKERS:
            wanted = [word.strip() for word in value.split(",") if word.strip()]
        elif kind is Kind.BACKENDS and value == AUTO:
            return
        for one in wanted:
            if ":" not in one and one not in names(kind):
                raise self.source.error(
                    place, f"there is no {kind.singular} {one!r:.100}", name=one, known=names(kind)
                )


def text_of(value: Value) -> str:
    """A value as a cell of the matrix shows it."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, (list, tuple)):
        return ",".join(map(text_of, value))
    return str(value)


def request_of(values: Mapping[str, Value]) -> Request:
    """The request of a test from its settings by the names of the file."""
    options = {
        name.removeprefix(OPTION_PREFIX): value
        for name, value in values.items()
        if name.startswith(OPTION_PREFIX)
    }
    plain = {FIELDS[name].name: value for name, value in values.items() if not name.startswith(OPTION_PREFIX)}
    return Request(**plain, options=options)


def _in_words(problem: str) -> str:
    """What msgspec says of a field, in a user's words."""
    found = _EXPECTED.fullmatch(problem)
    wanted = found[1] if found else problem
    for kind, words in (
        ("`str | null`", "text"),
        ("`str`", "text"),
        ("`float`", "a number"),
        ("`int`", "a whole number"),
    ):
        wanted = wanted.replace(kind, words)
    return f"expected {wanted}"
