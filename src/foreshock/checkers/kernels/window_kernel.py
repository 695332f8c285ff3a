"""What an operation does to a state, and which operations are pending at a level."""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import inlined, kernel, part
from foreshock.checkers.kernels.hashing import mixed
from foreshock.checkers.kernels.layout import (
    CODE,
    COMPLETED,
    CRASHED,
    ENTERING,
    EXPIRING,
    FIRST,
    ILLEGAL,
    KIND,
    LEVELS,
    MISSING,
    MISSING_CLASS,
    MISSING_STATE,
    NEVER_LEGAL,
    READ,
    SECOND,
    SLOT,
    SWAP,
    WINDOW_LEVEL,
    WRITE,
    Int32s,
    Int64s,
    Operations,
    Windows,
    Word,
)


@inlined
def after(state: Word, operation: Word, each: Int32s, table: Int64s, registers: Int64s) -> Word:
    """The state after an operation, ``ILLEGAL``, or ``MISSING`` with the question noted in the registers.

    ``table`` holds, by open addressing, pairs of a question (``state << 32 | kind``; -1: free) and its answer.
    """
    code = each[operation, CODE]
    first = np.int64(each[operation, FIRST])
    if code == READ:
        return state if state == first else ILLEGAL
    if code == WRITE:
        return first
    if code == SWAP:
        return np.int64(each[operation, SECOND]) if state == first else ILLEGAL
    if code == NEVER_LEGAL:
        return ILLEGAL
    kind = each[operation, KIND]
    key = (np.int64(state) << np.int64(32)) | np.int64(kind)
    last = len(table) - 1
    place = mixed(key) & last
    while table[place, 0] != -1:
        if table[place, 0] == key:
            return table[place, 1]
        place = (place + 1) & last
    registers[MISSING_STATE] = state
    registers[MISSING_CLASS] = kind
    return MISSING


@kernel
def put_in_table(key: Word, answer: Word, table: Int64s) -> None:
    """Let the table answer a question that it could not answer before; the driver keeps it at most half full."""
    last = len(table) - 1
    place = mixed(key) & last
    while table[place, 0] != -1:
        place = (place + 1) & last
    table[place, 0] = key
    table[place, 1] = answer


@inlined
def is_set(words: Int64s, start: Word, bit: Word) -> Word:
    """Whether a bit of the mask that starts at a word is set."""
    return (words[start + (bit >> 6)] >> np.int64(bit & 63)) & 1 == 1


@inlined
def set_bit(words: Int64s, start: Word, bit: Word) -> None:
    """Set a bit of the mask that starts at a word."""
    words[start + (bit >> 6)] |= np.int64(1) << np.int64(bit & 63)


@inlined
def clear_bit(words: Int64s, start: Word, bit: Word) -> None:
    """Clear a bit of the mask that starts at a word."""
    words[start + (bit >> 6)] &= ~(np.int64(1) << np.int64(bit & 63))


@part
def move_window(level: Word, operations: Operations, windows: Windows, registers: Int64s) -> None:
    """Let the window stand at a level. To go back costs as much as it did to come."""
    at = registers[WINDOW_LEVEL]
    # Arrays by names of their own: in loops these cost less than to take them out of their tuples.
    levels, listed, each, slots = operations.levels, operations.listed, operations.each, windows.slots
    returns = operations.sizes[LEVELS]
    while at < level:
        slots[COMPLETED, each[at, SLOT]] = -1
        at += 1
        for place in range(levels[at, EXPIRING], levels[at + 1, EXPIRING]):
            slots[CRASHED, each[listed[place, EXPIRING], SLOT]] = -1
        for place in range(levels[at, ENTERING], levels[at + 1, ENTERING]):
            operation = listed[place, ENTERING]
            slots[COMPLETED if operation < returns else CRASHED, each[operation, SLOT]] = operation
    while at > level:
        for place in range(levels[at, ENTERING], levels[at + 1, ENTERING]):
            operation = listed[place, ENTERING]
            slots[COMPLETED if operation < returns else CRASHED, each[operation, SLOT]] = -1
        for place in range(levels[at, EXPIRING], levels[at + 1, EXPIRING]):
            operation = listed[place, EXPIRING]
            slots[CRASHED, each[operation, SLOT]] = operation
        at -= 1
        slots[COMPLETED, each[at, SLOT]] = at
    registers[WINDOW_LEVEL] = level
