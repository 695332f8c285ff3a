"""Typed options: every default visible, every unit in the name, a typo is an error that names the nearest."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from foreshock.harness.errors import UsageError

_KINDS = {
    "int": "expected a whole number",
    "float": "expected a number",
    "bool": "expected true or false",
    "str": "expected text",
}
"""What msgspec calls a type, in a user's words."""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the options of a target, workload, nemesis or checker.

    Subclass it with typed fields and defaults; document a field with
    ``Annotated[int, msgspec.Meta(description="...", ge=0)]``.
    """


OptionsT = TypeVar("OptionsT", bound=Options)


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint such as `` (did you mean 'kill'?)``, or what is known when nothing is near."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return " (did you mean " + " or ".join(repr(c) for c in close) + "?)"
    return f" (known: {', '.join(names)})" if names else ""


def option_names(options: type[Options]) -> tuple[str, ...]:
    """The names of the options in the order in which they are declared."""
    return options.__struct_fields__


def parse_options(options: type[OptionsT], given: Mapping[str, Any], *, owner: str) -> OptionsT:
    """Build typed options from what the user gave; strings are read as the field's type.

    ``owner`` names whose options they are, for the message. Raises :class:`UsageError`.
    """
    known = option_names(options)
    for name in given:
        if name not in known:
            raise UsageError(f"{owner} has no option {name!r}{nearest(name, known)}")
    try:
        return msgspec.convert(dict(given), options, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"{owner}: {_in_words(str(error), given, options)}") from None


def _in_words(problem: str, given: Mapping[str, Any], options: type[Options]) -> str:
    """What msgspec says of a field (``Expected `int`, got `str` - at `$.locks```), with the value that it was given."""
    wanted, _, place = problem.partition(" - at `$.")
    name = "".join(itertools.takewhile(lambda character: character not in "[.`", place))
    if name not in given:
        return problem
    wanted = wanted[:1].lower() + wanted[1:].partition(", got")[0].replace("`", "")
    for kind, words in _KINDS.items():
        wanted = wanted.replace(f"expected {kind} | null", f"expected {kind}").replace(
            f"expected {kind}", words
        )
    if wanted.startswith("invalid enum value"):  # which says nothing of the values that there are
        (field,) = (field for field in msgspec.structs.fields(options) if field.name == name)
        wanted = f"expected one of {', '.join(_choices(field.type))}"
    return f"the option {name!r} cannot be {given[name]!r:.200}: {wanted}"


def _choices(kind: Any) -> list[str]:
    """The values of a ``Literal``, however it is wrapped."""
    if get_origin(kind) is Literal:
        return [str(value) for value in get_args(kind)]
    return [choice for part in get_args(kind) for choice in _choices(part)]
