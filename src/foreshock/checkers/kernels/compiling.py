"""How kernels are compiled: cached on disk, and without holding Python's global lock while they run."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

_Function = TypeVar("_Function", bound=Callable[..., object])

INTERPRETED: Final = os.environ.get("FORESHOCK_KERNELS") == "interpreted"
"""Whether kernels run as plain Python, for those who want to look inside (mutation, coverage, a debugger)."""


def kernel(function: _Function) -> _Function:
    """Compile a function at its first call; as it is where kernels are interpreted."""
    if INTERPRETED:
        return function
    import numba

    return cast(_Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


def part(function: _Function) -> _Function:
    """The same for a function that only kernels call, and that so needs no way in from Python."""
    if INTERPRETED:
        return function
    import numba

    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return cast(_Function, numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function))


def inlined(function: _Function) -> _Function:
    """The same for a few lines that innermost loops call, where to hand over arrays would cost more than they do."""
    if INTERPRETED:
        return function
    import numba

    options: Any = {"inline": "always"}
    return cast(_Function, numba.njit(cache=True, nogil=True, error_model="numpy", **options)(function))
