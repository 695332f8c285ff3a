"""The loops of fast paths that numpy cannot do, compiled; the same functions run as plain Python for small keys."""

from __future__ import annotations

from collections.abc import Callable

from foreshock.checkers.fast_paths import balance, counters
from foreshock.checkers.kernels.compiling import kernel

first_out_of_bounds: Callable[..., int] = kernel(balance.first_out_of_bounds)
first_wrong_count: Callable[..., int] = kernel(counters.first_wrong_count)
