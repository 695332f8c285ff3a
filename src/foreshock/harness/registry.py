"""The plug-in registry: how the kernel finds everything that is not the kernel.

Ours are registered through entry points in pyproject.toml exactly as a stranger's plug-in is. Nothing is imported
before it is asked for; a plug-in that does not import is a listed warning, and fatal only when it is selected. A
plug-in may also be one file: ``path/to/file.py:ClassName``. A program that has the class in hand already may
:func:`offer` it under such a name.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from enum import StrEnum
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from foreshock.harness.blame import describe
from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.options import nearest

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

NOT_IMPORTED = (Exception, SystemExit)
"""What an import may raise that is the plug-in's own affair."""


class Kind(StrEnum):
    """The kinds of plug-in; the value is the last part of the entry point group."""

    TARGETS = "targets"
    WORKLOADS = "workloads"
    NEMESES = "nemeses"
    CHECKERS = "checkers"
    MODELS = "models"
    FORMATS = "formats"
    BUGS = "bugs"
    REPORTERS = "reporters"
    BACKENDS = "backends"

    @property
    def singular(self) -> str:
        """The word for one of them."""
        return {"nemeses": "nemesis"}.get(self.value, self.value[:-1])


_OFFERED: dict[tuple[Kind, str], type[Any]] = {}
"""The classes that this process has in hand, by the names under which it speaks of them."""


_FOLDERS: dict[Path, None] = {}
"""Where a plug-in's file is looked for that is not below the current folder."""


@cache
def _entry_points(kind: Kind) -> dict[str, EntryPoint]:
    return {point.name: point for point in _all_entry_points().select(group=f"foreshock.{kind.value}")}


@cache
def _all_entry_points() -> Any:
    """Those of everything that is installed: to look for one kind means to look through them all."""
    from importlib.metadata import entry_points  # slow to import, and the command line's help does without it

    return entry_points()


def names(kind: Kind) -> list[str]:
    """The registered names of a kind, sorted; nothing is imported."""
    return sorted(_entry_points(kind))


def load(kind: Kind, name: str) -> Any:
    """The plug-in of that name, or the class in ``file.py:Class``.

    Raises :class:`UsageError` for a name that nobody registered and :class:`PlugInError` for one that does not import.
    """
    if (kind, name) in _OFFERED:
        return _OFFERED[kind, name]
    if ".py:" in name:
        return _load_from_file(kind, name)
    point = _entry_points(kind).get(name)
    if point is None:
        hint = nearest(name, names(kind))
        if ":" in name or name.endswith(".py"):
            hint = f": a {kind.singular} of your own is given as path/to/file.py:Class"
        raise UsageError(f"there is no {kind.singular} {name!r}{hint}")
    try:
        return point.load()
    except NOT_IMPORTED as error:
        raise PlugInError(
            f"the {kind.singular} {name!r} ({point.value}) does not import: {describe(error)}{_extra(point, error)}"
        ) from error


def _extra(point: EntryPoint, error: BaseException) -> str:
    """What installs the library that is missing, where whoever offers the plug-in has it as an extra."""
    missing = str(getattr(error, "name", "") or "").partition(".")[0].lower()
    if not isinstance(error, ModuleNotFoundError) or point.dist is None:
        return ""
    for needed in point.dist.requires or ():
        found = re.match(r"([\w.-]+).*extra == [\"']([\w-]+)[\"']", needed)
        if found and found[1].lower().replace("-", "_") == missing and found[2] != "dev":
            return f": pip install '{point.dist.name}[{found[2]}]'"
    return ""


def offer(kind: Kind, plug_in: type[Any]) -> str:
    """Make a class known that the caller has in hand; returns the name by which a plan can ask for it.

    That is the name under which it is registered, else ``path/to/file.py:Class`` relative to the current folder, by
    which another process finds it too. A class that no other process can find (defined within a function, or typed at
    a prompt) gets a name with ``<`` in it, and is known in this process alone.
    """
    import inspect

    for point in _entry_points(kind).values():
        if point.value == f"{plug_in.__module__}:{plug_in.__qualname__}":
            return point.name
    try:
        file = inspect.getfile(plug_in)
    except (OSError, TypeError):
        file = "<nowhere>.py"
    shown = os.path.relpath(file) if Path(file).is_file() else file
    name = f"{file if shown.startswith('..') else shown}:{plug_in.__qualname__}"
    _OFFERED[kind, name] = plug_in
    return name


def look_in(folder: Path) -> None:
    """Have files of plug-ins that are not below the current folder looked for from there too.

    A stored run names them as they were typed, from the folder where its test was run.
    """
    _FOLDERS[folder] = None


def short_name(name: str) -> str:
    """A plug-in's name in a word: of ``path/to/file.py:Class`` the class."""
    return name.rpartition(":")[2]


def broken(kind: Kind) -> dict[str, str]:
    """The plug-ins of a kind that do not import, each with its reason; imports all of them."""
    reasons = {}
    for name in names(kind):
        try:
            load(kind, name)
        except PlugInError as error:
            reasons[name] = str(error)
    return reasons


def _load_from_file(kind: Kind, name: str) -> Any:
    file_name, _, class_name = name.rpartition(":")
    path = next((p for p in (folder / file_name for folder in (Path(), *_FOLDERS)) if p.is_file()), None)
    if path is None:
        raise UsageError(f"there is no file {file_name!r} to load a {kind.singular} from")
    module = _import_file(path.resolve())
    try:
        return attrgetter(class_name)(module)
    except AttributeError:
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        raise UsageError(f"{file_name} has no class {class_name!r}{nearest(class_name, classes)}") from None


def _import_file(path: Path) -> ModuleType:
    import hashlib

    # The name carries the path, so that a user's redis.py or targets.py can shadow neither ours nor a library.
    module_name = f"foreshock_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise PlugInError(f"{path} is not a Python file that can be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[module_name]
        if isinstance(error, NOT_IMPORTED):
            raise PlugInError(f"{path} does not import: {describe(error)}") from error
        raise
    return module
