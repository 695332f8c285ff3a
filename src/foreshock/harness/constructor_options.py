"""The options of a model or a checker: typed, from the signature of its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from foreshock.harness.errors import UsageError
from foreshock.harness.options import Options, nearest, option_names, parse_options

GIVEN_OTHERWISE: Final = frozenset({"model"})
"""What a constructor takes that is no option: the command line has a word of its own for it."""
WHOLE_NUMBER_MAX: Final = (1 << 63) - 1
_PLAIN: Final = (bool, int, float, str)


def parameters_of(plug_in: Any) -> dict[str, inspect.Parameter]:
    """What the constructor of a class takes; nothing for what is no class, or has no constructor of its own."""
    if not isinstance(plug_in, type) or "__init__" not in {
        name for base in plug_in.__mro__[:-1] for name in vars(base)
    }:
        return {}
    return dict(inspect.signature(plug_in).parameters)


def options_of(plug_in: Any) -> type[Options]:
    """The options that a user can give with ``-o``, as a struct; its text is the constructor's own."""
    try:
        hints = get_type_hints(plug_in.__init__, include_extras=True)
    except (AttributeError, NameError, TypeError):  # a name that only a type checker sees
        hints = {}
    fields: list[Any] = []
    for name, parameter in parameters_of(plug_in).items():
        if name in GIVEN_OTHERWISE or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        kind = _readable(hints.get(name, Any))
        if kind is None:
            continue
        required = parameter.default is parameter.empty
        fields.append((name, kind) if required else (name, kind, parameter.default))
    name = getattr(plug_in, "__name__", "Options")
    struct: Any = msgspec.defstruct(name, fields, bases=(Options,), kw_only=True, frozen=True)
    options: type[Options] = struct
    return options


def made(given: Mapping[str, str], *plug_ins: tuple[str, type[Options]]) -> tuple[dict[str, Any], ...]:
    """For each plug-in, its options as keyword arguments: only those that were given.

    A plug-in is who it is, in words, and its options. Raises :class:`UsageError` for an option that none of them
    has, for a value that cannot be read as its type, and for one that is missing.
    """
    known = [name for _, options in plug_ins for name in option_names(options)]
    for name in given:
        if name not in known and name in GIVEN_OTHERWISE:
            raise UsageError(f"{name!r} is given with --{name} {given[name]}, and not with -o")
        if name not in known:
            who = " and ".join(owner for owner, _ in plug_ins)
            have = "has" if len(plug_ins) == 1 else "have"
            what = nearest(name, known) if known else ", nor any other"
            raise UsageError(f"{who} {have} no option {name!r}{what}")
    arguments = []
    for owner, options in plug_ins:
        own = {name: given[name] for name in option_names(options) if name in given}
        kinds = {field.name: field.type for field in msgspec.structs.fields(options)}
        read = {name: _read(text, kinds[name]) for name, text in own.items()}
        for field in msgspec.structs.fields(options):
            if field.required and field.name not in own:
                raise UsageError(
                    f"{owner} needs the option {field.name!r}: give it with -o {field.name}=VALUE"
                )
        struct = parse_options(options, read, owner=owner)
        arguments.append({name: _within_reach(name, getattr(struct, name)) for name in own})
    return tuple(arguments)


def _within_reach(name: str, value: Any) -> Any:
    """The value of an option; raises :class:`UsageError` for a whole number that 64 bits do not hold."""
    if type(value) is int and not -WHOLE_NUMBER_MAX - 1 <= value <= WHOLE_NUMBER_MAX:
        raise UsageError(f"the option {name!r} cannot be {value}: it has more than 64 bits")
    return value


def _readable(kind: Any) -> Any:
    """The type as which an option is read; ``None`` for one that no text can stand for."""
    parts = get_args(kind)
    if kind is Any or kind in _PLAIN:
        return kind
    origin = get_origin(kind)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return dict[str, Any]
    if isinstance(origin, type) and issubclass(origin, Collection):
        return tuple[str, ...]
    if hasattr(kind, "__metadata__"):
        return kind
    if origin in (Union, UnionType):
        return _readable_union(parts)
    return None


def _readable_union(parts: Sequence[Any]) -> Any:
    """A text is one of several kinds: words if some of them are, else a number if it looks like one."""
    read = [_readable(part) for part in parts if part is not type(None)]
    if None in read:
        return None
    words = [part for part in read if get_origin(part) is tuple]
    if words and all(part is str or part in words for part in read):
        read = words[:1]
    wanted: Any = Union[tuple(read)]  # noqa: UP007 - of as many as there are
    try:
        msgspec.json.Decoder(wanted)
    except TypeError:  # several of which JSON cannot tell which one is meant
        wanted = Any
    return wanted | None if type(None) in parts and wanted is not Any else wanted


def _read(text: Any, kind: Any) -> Any:
    """A text as what its type wants: JSON for a value of any kind, words between commas for several."""
    parts = [part for part in (kind, *get_args(kind)) if part is not type(None)]
    if not isinstance(text, str):
        return text
    if any(get_origin(part) is tuple for part in parts):
        return _words(text)
    if kind is Any or any(get_origin(part) is dict for part in parts):
        try:
            return msgspec.json.decode(text)
        except msgspec.DecodeError:
            return text
    return text


def _words(text: str) -> Sequence[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
