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
TABLE: Final = 3
"""Looked up: states and operations are numbers, and the table says what comes of the two."""

NEVER_LEGAL: Final = 4
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


# Columns of ``Operations.each``.
CODE: Final = 0
FIRST: Final = 1
SECOND: Final = 2
KIND: Final = 3
JOINS_HOW: Final = 4
SLOT: Final = 5
NEEDS: Final = 6
OPERATION_COLUMNS: Final = 7

# Columns of ``Operations.levels`` and ``Operations.listed``.
ENTERING: Final = 0
EXPIRING: Final = 1

# Columns of ``Operations.values``, and of ``Operations.observers``.
OBSERVERS_FROM: Final = 0
USEFUL_LAST: Final = 1
BEGIN: Final = 0
NEEDED: Final = 1

# Places in ``Operations.sizes``.
LEVELS: Final = 0
KEPT: Final = 1
KINDS: Final = 2
COMPLETED_SLOTS: Final = 3
CRASHED_SLOTS: Final = 4
VALUES: Final = 5
SWAPS: Final = 6
MASK_WORDS: Final = 7
USED_WORDS: Final = 8
SIZES: Final = 9

UNOBSERVED_VALUE: Final = 1
"""The number of the value that stands for all that nobody observes, where states are values."""

# Columns of ``Memo.configurations``; the masks follow.
LEVEL: Final = 0
STATE: Final = 1
PARENT: Final = 2
OPERATION: Final = 3
SAME: Final = 4
MASKS: Final = 5

# Columns of ``Memo.stack``.
STACK_PARENT: Final = 0
STACK_OPERATION: Final = 1
STACK_STATE: Final = 2
STACK_COLUMNS: Final = 3

# Rows of ``Windows.slots``.
COMPLETED: Final = 0
CRASHED: Final = 1


class Operations(NamedTuple):
    """The operations of one key by their numbers: completed ones by their return, then crashed ones by their call.

    ``each`` has a row an operation. Its ``SLOT`` is the bit of the mask (one for completed, one for crashed operations)
    that it owns while it is pending. ``levels[j]`` says from where on ``listed`` has those that are pending at level
    ``j`` and were not before (``ENTERING``), and crashed ones that nothing can notice from there on (``EXPIRING``).

    Where states are values (elsewhere these are empty): from ``values[v, OBSERVERS_FROM]`` on ``observers`` has those
    who have to observe the value ``v``, by the level at which they become pending (``BEGIN``). ``NEEDED`` is the last
    level at which somebody becomes pending who writes ``v`` in time for them: for whichever of them and those after
    them it is least; ``NEEDS`` is the same for each operation by itself. From the level ``values[v, USEFUL_LAST]`` on
    nobody can observe ``v``.
    """

    each: Int32s
    levels: Int32s
    listed: Int32s
    values: Int32s
    observers: Int32s
    sizes: Int64s


class Windows(NamedTuple):
    """Which operation owns each slot at the level that the window stands at (-1: none), and room to work in.

    ``masks`` are those of completed and then those of crashed operations; ``followers`` are pairs of an operation and
    the state after it; ``tried`` is by kind.
    """

    slots: Int32s
    masks: Int64s
    followers: Int64s
    tried: Int64s
    deepest_states: Int64s


class Memo(NamedTuple):
    """Every configuration that was entered, a hash table of them, and the stack of what is still to be tried."""

    configurations: Int64s
    table: Int32s
    stack: Int64s
