"""The hash that all tables of kernels use."""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import inlined
from foreshock.checkers.kernels.layout import Word


@inlined
def mixed(value: Word) -> Word:
    """A hash of 64 bits: two rounds of multiplication by odd constants, each folded upon itself."""
    value = np.int64(value) * np.int64(-7046029254386353131)
    value = value ^ (value >> np.int64(32))
    value = value * np.int64(-4658895280553007687)
    return value ^ (value >> np.int64(29))
