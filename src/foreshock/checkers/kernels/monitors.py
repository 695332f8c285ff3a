"""The loops of fast paths that numpy cannot do, compiled; the same functions run as plain Python for small keys."""

from __future__ import annotations

from foreshock.checkers.fast_paths import balance
from foreshock.checkers.kernels.compiling import kernel

first_out_of_bounds = kernel(balance.first_out_of_bounds)
