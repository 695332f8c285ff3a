"""A mistake planted in the text of one of our modules, in the running program."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any


class Planted:
    """While it lasts, the functions of a module are those of its text with one piece of it replaced by a wrong one."""

    def __init__(self, module: ModuleType, right: str, wrong: str) -> None:
        source = Path(str(module.__file__)).read_text()
        assert source.count(right) == 1, f"the text {right!r} is there {source.count(right)} times"
        space = {**module.__dict__}
        exec(compile(source.replace(right, wrong), str(module.__file__), "exec"), space)
        wrong_ones = dict(_functions(space, module.__name__))
        self._changed = [
            (function, function.__code__, wrong_ones[name].__code__)
            for name, function in _functions(module.__dict__, module.__name__)
        ]

    def __enter__(self) -> None:
        for function, _, code in self._changed:
            function.__code__ = code

    def __exit__(self, *exception: object) -> None:
        for function, code, _ in self._changed:
            function.__code__ = code


def _functions(space: dict[str, Any], module: str) -> Iterator[tuple[str, FunctionType]]:
    """The functions and methods that a module itself defines, by name."""
    for name, value in space.items():
        if isinstance(value, FunctionType) and value.__module__ == module:
            yield name, value
        elif isinstance(value, type) and value.__module__ == module:
            for attribute, member in vars(value).items():
                function = member.fget if isinstance(member, property) else member
                if isinstance(function, FunctionType) and _is_own(function.__code__, module):
                    yield f"{name}.{attribute}", function


def _is_own(code: CodeType, module: str) -> bool:
    # Dataclasses write methods of their own, whose text is in no file.
    return code.co_filename.endswith(f"{module.rsplit('.', 1)[-1]}.py")
