"""The arrays that the search kernels work on, and the numbers by which they and their driver understand each other."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Word = Any
"""An integer of 64 bits: numpy's where kernels are interpreted, the processor's where they are compiled."""

# What an operation does to a state that is one integer.
READ: Final = 0
"""Legal in the state ``first``; changes nothing."""
WRITE: Final = 1
"""Always legal; the state becomes ``first``."""
SWAP: Final = 2
"""Legal in the state ``first``, which becomes ``second``."""
ADD: Final = 3
"""Adds ``first``; legal when the state is then from 0 to ``second``, or anything if that is negative."""
TABLE: Final = 4
"""Looked up: states and operations are numbers, and the table says what comes of the two."""

NEVER_LEGAL: Final = 5
"""Not legal in any state: stands for an operation that is to be found impossible."""

ILLEGAL: Final = -(1 << 63)
"""In place of a state: the operation is not legal."""
MISSING: Final = -(1 << 63) + 1
"""In place of a state: the table does not say yet."""

# Why a kernel comes back.
ONGOING: Final = 0
SOLVED: Final = 1
EXHAUSTED: Final = 2
NEEDS_SPACE: Final = 3
NEEDS_STEP: Final = 4
STOPPED: Final = 5

# Places in the registers, which hold what changes and is no array.
CONFIGURATIONS: Final = 0
STACKED: Final = 1
WINDOW_LEVEL: Final = 2
DEEPEST_LEVEL: Final = 3
DEEPEST: Final = 4
DEEPEST_STATES: Final = 5
SOLUTION_PARENT: Final = 6
SOLUTION_OPERATION: Final = 7
MISSING_STATE: Final = 8
MISSING_CLASS: Final = 9
STOP: Final = 10
REGISTERS: Final = 11

DEEPEST_STATES_MAX: Final = 64
NEVER_ENOUGH: Final = 1 << 62
"""A budget that nobody uses up."""

# In place of an operation on the stack: the configuration is there, its followers are still to be tried.
TRY_COMPLETED: Final = -1
TRY_CRASHED: Final = -2
ROOT: Final = -1
"""In place of a parent: the configuration before everything."""


NEVER_JOINS: Final = 0
"""An operation that is tried by turns."""
READS: Final = 1
"""One that is linearized at once in a state that it leaves as it is, and is not legal in any other."""
JOINS: Final = 2
"""One that is linearized at once in a state that it leaves as it is, and else is tried by turns."""


class Operations(NamedTuple):
    """The operations of one key by their numbers: completed ones by their return, then crashed ones by their call.

    ``slot`` is the bit of the mask (one for completed, one for crashed operations) that an operation owns while
    it is pending. ``entering[entering_from[j] : entering_from[j + 1]]`` are those that are pending at level ``j`` and
    were not before; ``expiring`` are crashed ones that nothing can notice from level ``j`` on.

    Where states are values (elsewhere these are empty): ``observers_from[v] : observers_from[v + 1]`` are those who
    have to observe the value ``v``, by the level at which they become pending (``observer_begin``).
    ``observer_needs`` is the last level at which somebody becomes pending who writes ``v`` in time for them: for
    whichever of them and those after them it is least; ``needs`` is the same for each operation by itself. From the
    level ``useful_last[v]`` on nobody can observe ``v``; ``unobserved`` stands for all values that nobody observes.
    """

    code: Int32s
    first: Int64s
    second: Int64s
    kind: Int32s
    joins: Int32s
    slot: Int32s
    entering_from: Int32s
    entering: Int32s
    expiring_from: Int32s
    expiring: Int32s
    observers_from: Int32s
    observer_begin: Int32s
    observer_needs: Int32s
    needs: Int32s
    useful_last: Int32s
    levels: int
    mask_words: int
    used_words: int
    unobserved: int
    has_swaps: bool


class Windows(NamedTuple):
    """Which operation owns each slot at the level that the window stands at (-1: none), and room to work in."""

    completed: Int32s
    crashed: Int32s
    mask: Int64s
    used: Int64s
    followers: Int32s
    followed_by: Int64s
    tried: Int64s
    deepest_states: Int64s


class Memo(NamedTuple):
    """Every configuration that was entered, a hash table of them, and the stack of what is still to be tried."""

    level: Int32s
    state: Int64s
    mask: Int64s
    used: Int64s
    parent: Int32s
    operation: Int32s
    same: Int32s
    table: Int32s
    stack_parent: Int32s
    stack_operation: Int32s
    stack_state: Int64s


class Table(NamedTuple):
    """What comes of a state and a kind of operation, by open addressing on ``state << 32 | kind`` (-1: free)."""

    key: Int64s
    after: Int64s
