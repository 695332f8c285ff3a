"""What an operation does to a state, and which operations are pending at a level."""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import kernel, part
from foreshock.checkers.kernels.hashing import mixed
from foreshock.checkers.kernels.layout import (
    ADD,
    ILLEGAL,
    MISSING,
    MISSING_CLASS,
    MISSING_STATE,
    NEVER_LEGAL,
    READ,
    SWAP,
    WINDOW_LEVEL,
    WRITE,
    Int64s,
    Operations,
    Table,
    Windows,
    Word,
)


@part
def after(state: Word, operation: Word, operations: Operations, table: Table, registers: Int64s) -> Word:
    """The state after an operation, ``ILLEGAL``, or ``MISSING`` with the question noted in the registers."""
    code = operations.code[operation]
    first = operations.first[operation]
    if code == READ:
        return state if state == first else ILLEGAL
    if code == WRITE:
        return first
    second = operations.second[operation]
    if code == SWAP:
        return second if state == first else ILLEGAL
    if code == NEVER_LEGAL:
        return ILLEGAL
    if code == ADD:
        total = state + first
        return total if second < 0 or 0 <= total <= second else ILLEGAL
    kind = operations.kind[operation]
    key = (np.int64(state) << np.int64(32)) | np.int64(kind)
    last = len(table.key) - 1
    place = mixed(key) & last
    while table.key[place] != -1:
        if table.key[place] == key:
            return table.after[place]
        place = (place + 1) & last
    registers[MISSING_STATE] = state
    registers[MISSING_CLASS] = kind
    return MISSING


@kernel
def put_in_table(key: Word, answer: Word, table: Table) -> None:
    """Let the table answer a question that it could not answer before; the driver keeps it at most half full."""
    last = len(table.key) - 1
    place = mixed(key) & last
    while table.key[place] != -1:
        place = (place + 1) & last
    table.key[place] = key
    table.after[place] = answer


@part
def is_set(words: Int64s, bit: Word) -> Word:
    """Whether a bit is set."""
    return (words[bit >> 6] >> np.int64(bit & 63)) & 1 == 1


@part
def set_bit(words: Int64s, bit: Word) -> None:
    """Set a bit."""
    words[bit >> 6] |= np.int64(1) << np.int64(bit & 63)


@part
def clear_bit(words: Int64s, bit: Word) -> None:
    """Clear a bit."""
    words[bit >> 6] &= ~(np.int64(1) << np.int64(bit & 63))


@part
def move_window(level: Word, operations: Operations, windows: Windows, registers: Int64s) -> None:
    """Let the window stand at a level. To go back costs as much as it did to come."""
    at = registers[WINDOW_LEVEL]
    levels, slot = operations.levels, operations.slot
    while at < level:
        windows.completed[slot[at]] = -1
        at += 1
        for place in range(operations.expiring_from[at], operations.expiring_from[at + 1]):
            windows.crashed[slot[operations.expiring[place]]] = -1
        for place in range(operations.entering_from[at], operations.entering_from[at + 1]):
            operation = operations.entering[place]
            if operation < levels:
                windows.completed[slot[operation]] = operation
            else:
                windows.crashed[slot[operation]] = operation
    while at > level:
        for place in range(operations.entering_from[at], operations.entering_from[at + 1]):
            operation = operations.entering[place]
            if operation < levels:
                windows.completed[slot[operation]] = -1
            else:
                windows.crashed[slot[operation]] = -1
        for place in range(operations.expiring_from[at], operations.expiring_from[at + 1]):
            operation = operations.expiring[place]
            windows.crashed[slot[operation]] = operation
        at -= 1
        windows.completed[slot[at]] = at
    registers[WINDOW_LEVEL] = level
