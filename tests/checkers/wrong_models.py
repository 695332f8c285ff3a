"""Modules with a mistake planted in their text, to show that a test would find it."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any


def wrong_text(module: types.ModuleType, right: str, wrong: str) -> Any:
    """A copy of a module that has ``wrong`` where it had ``right``, which must stand there exactly once."""
    source = Path(str(module.__file__)).read_text()
    assert source.count(right) == 1, f"{right!r} must be in {module.__name__} exactly once"
    changed = types.ModuleType(f"{module.__name__}_with_a_mistake")
    sys.modules[changed.__name__] = changed  # dataclasses look their module up there
    try:
        exec(compile(source.replace(right, wrong), str(module.__file__), "exec"), changed.__dict__)
    finally:
        del sys.modules[changed.__name__]
    return changed
