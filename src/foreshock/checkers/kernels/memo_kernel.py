"""The memo of the search: every configuration that was entered, found again by a hash table; and its stack."""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import inlined, kernel, part
from foreshock.checkers.kernels.hashing import mixed
from foreshock.checkers.kernels.layout import (
    CONFIGURATIONS,
    DEEPEST,
    DEEPEST_LEVEL,
    DEEPEST_STATES,
    DEEPEST_STATES_MAX,
    LEVEL,
    MASK_WORDS,
    MASKS,
    OPERATION,
    PARENT,
    SAME,
    STACK_OPERATION,
    STACK_PARENT,
    STACK_STATE,
    STACKED,
    STATE,
    STOP,
    Int32s,
    Int64s,
    Memo,
    Operations,
    Windows,
    Word,
)

KNOWN = -1
"""In place of a new configuration: it was entered before."""


@part
def remember(
    level: Word,
    state: Word,
    parent: Word,
    operation: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    registers: Int64s,
) -> Word:
    """The number of the configuration, whose masks are in ``windows``, if it is new; else -1.

    It is not new when one was entered that is the same with as many crashed operations left, or more.
    """
    known, masks, words = memo.configurations, windows.masks, operations.sizes[MASK_WORDS]
    last = len(memo.table) - 1
    place = hash_of(level, state, masks, 0, words) & last
    head = np.int64(memo.table[place])
    while head >= 0:
        same = known[head, LEVEL] == level and known[head, STATE] == state
        for word in range(words):
            same = same and known[head, MASKS + word] == masks[word]
        if same:
            break
        place = (place + 1) & last
        head = np.int64(memo.table[place])
    other = head
    while other >= 0:
        if registers[STOP] != 0:
            break  # The chain may be long; what is entered twice does no harm.
        within = True
        for word in range(words, len(masks)):
            earlier = known[other, MASKS + word]
            within = within and earlier & masks[word] == earlier
        if within:
            return KNOWN
        other = known[other, SAME]
    number = registers[CONFIGURATIONS]
    memo.table[place] = number
    known[number, LEVEL] = level
    known[number, STATE] = state
    known[number, PARENT] = parent
    known[number, OPERATION] = operation
    known[number, SAME] = head
    for word in range(len(masks)):
        known[number, MASKS + word] = masks[word]
    registers[CONFIGURATIONS] = number + 1
    if level >= registers[DEEPEST_LEVEL]:
        note_deepest(level, state, number, windows, registers)
    return number


@part
def hash_of(level: Word, state: Word, masks: Int64s, start: Word, words: Word) -> Word:
    """The hash of a configuration, without its crashed operations."""
    code = mixed(state ^ (np.int64(level) << np.int64(40)))
    for word in range(start, start + words):
        code = mixed(code ^ masks[word])
    return code


@part
def note_deepest(level: Word, state: Word, number: Word, windows: Windows, registers: Int64s) -> None:
    """Keep what is known of the furthest level: its first configuration, and the states there."""
    if level > registers[DEEPEST_LEVEL]:
        registers[DEEPEST_LEVEL] = level
        registers[DEEPEST] = number
        registers[DEEPEST_STATES] = 0
    count = registers[DEEPEST_STATES]
    for place in range(count):
        if windows.deepest_states[place] == state:
            return
    if count < DEEPEST_STATES_MAX:
        windows.deepest_states[count] = state
        registers[DEEPEST_STATES] = count + 1


@inlined
def push(parent: Word, operation: Word, state: Word, memo: Memo, registers: Int64s) -> None:
    """Put something to try on the stack."""
    top = registers[STACKED]
    memo.stack[top, STACK_PARENT] = parent
    memo.stack[top, STACK_OPERATION] = operation
    memo.stack[top, STACK_STATE] = state
    registers[STACKED] = top + 1


@kernel
def rehash(configurations: Int64s, old: Int32s, table: Int32s, words: int) -> None:
    """Fill a larger hash table (all -1) with the configurations that the old one holds."""
    last = len(table) - 1
    for head in old:
        if head < 0:
            continue
        row = configurations[head]
        place = hash_of(row[LEVEL], row[STATE], row, MASKS, words) & last
        while table[place] >= 0:
            place = (place + 1) & last
        table[place] = head
