"""How kernels are compiled: cached on disk, and without holding Python's global lock while they run.

What is cached of a kernel holds what it calls, too; but numba asks only whether the kernel's own file has changed. So
all that was compiled is forgotten when any file of this folder has.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., object])

INTERPRETED: Final = os.environ.get("FORESHOCK_KERNELS") == "interpreted"
"""Whether kernels run as plain Python, for those who want to look inside (mutation, coverage, a debugger)."""
_STAMP: Final = "foreshock-kernels.sha256"


def kernel(function: _Function) -> _Function:
    """Compile a function at its first call; as it is where kernels are interpreted."""
    return _compiled(function)


def part(function: _Function) -> _Function:
    """The same for a function that only kernels call, and that so needs no way in from Python."""
    return _compiled(function, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def inlined(function: _Function) -> _Function:
    """The same for a few lines that innermost loops call, where to hand over arrays would cost more than they do."""
    return _compiled(function, inline="always")


def _compiled(function: _Function, **options: Any) -> _Function:
    if INTERPRETED:
        return function
    import numba

    dispatcher = numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function)
    _forget_stale(Path(dispatcher.stats.cache_path))
    return cast(_Function, dispatcher)


@cache
def _forget_stale(folder: Path) -> None:
    """Remove what was compiled of other sources than those that are here now."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources)).hexdigest()
    stamp = folder / _STAMP
    # A folder that cannot be read or written holds nothing that could be stale, or that we could mend.
    with contextlib.suppress(OSError):
        if stamp.is_file() and stamp.read_text() == digest:
            return
        for source in sources:
            for compiled in folder.glob(f"{source.stem}.*.nb[ic]"):
                compiled.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        stamp.write_text(digest)


def is_on_disk(function: Callable[..., object]) -> bool:
    """Whether a kernel was compiled before, as far as its files tell; of course where kernels are interpreted."""
    if INTERPRETED:
        return True
    folder = Path(cast(Any, function).stats.cache_path)
    name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}-*.nbi"
    return any(folder.glob(name))
