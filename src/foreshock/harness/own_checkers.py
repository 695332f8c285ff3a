"""Checkers that the user adds to those of the workload: ``--checker NAME`` or ``--checker file.py:Class``."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import msgspec

from foreshock.harness.checker import Checker
from foreshock.harness.constructor_options import options_of
from foreshock.harness.errors import UsageError
from foreshock.harness.options import Options, option_names, parse_options
from foreshock.harness.plug_in_contract import load_class
from foreshock.harness.registry import Kind, short_name


def load_checkers(text: str | None) -> dict[str, type[Checker]]:
    """The checkers named in ``statistics,mine.py:Mine``, in order; raises :class:`UsageError` for what is no list."""
    names = [word.strip() for word in (text or "").split(",")]
    if (text or "").strip() in ("", "none"):
        return {}
    if not all(names) or len({short_name(name) for name in names}) < len(names):
        raise UsageError(f"{text!r} does not name checkers: give different names, separated by single commas")
    return {name: load_class(Kind.CHECKERS, name, Checker) for name in names}


def checker_options(checker: type[Checker]) -> type[Options]:
    """What ``-o`` can set of a checker: what its constructor takes, a model by its name too."""
    options = options_of(checker)
    model = inspect.signature(checker).parameters.get("model")
    if model is None:
        return options
    field: Any = ("model", str) if model.default is model.empty else ("model", str, model.default)
    struct: Any = msgspec.defstruct(checker.__name__, [field], bases=(options,), kw_only=True, frozen=True)
    wider: type[Options] = struct
    return wider


def make_checkers(names: tuple[str, ...], given: Mapping[str, Mapping[str, Any]]) -> dict[str, Checker]:
    """The checkers of a plan, by their short names. Raises :class:`UsageError` for one that lacks an option."""
    made: dict[str, Checker] = {}
    for name in names:
        checker = load_class(Kind.CHECKERS, name, Checker)
        kind = checker_options(checker)
        options = parse_options(kind, given.get(name, {}), owner=f"the checker {name!r}")
        made[short_name(name)] = checker(**{key: getattr(options, key) for key in option_names(kind)})
    return made
