"""The memo of the search: every configuration that was entered, found again by a hash table; and its stack."""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import kernel, part
from foreshock.checkers.kernels.hashing import mixed
from foreshock.checkers.kernels.layout import (
    CONFIGURATIONS,
    DEEPEST,
    DEEPEST_LEVEL,
    DEEPEST_STATES,
    DEEPEST_STATES_MAX,
    STACKED,
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
    words, used_words = operations.mask_words, operations.used_words
    mask, used = windows.mask, windows.used
    code = mixed(state ^ (np.int64(level) << np.int64(40)))
    for word in range(words):
        code = mixed(code ^ mask[word])
    last = len(memo.table) - 1
    place = code & last
    number = registers[CONFIGURATIONS]
    head = memo.table[place]
    while head >= 0:
        same = memo.level[head] == level and memo.state[head] == state
        for word in range(words):
            same = same and memo.mask[head * words + word] == mask[word]
        if same:
            break
        place = (place + 1) & last
        head = memo.table[place]
    other = head
    while other >= 0:
        if registers[STOP] != 0:
            break  # The chain may be long; what is entered twice does no harm.
        within = True
        for word in range(used_words):
            earlier = memo.used[other * used_words + word]
            within = within and earlier & used[word] == earlier
        if within:
            return KNOWN
        other = memo.same[other]
    memo.same[number] = head
    memo.table[place] = number
    memo.level[number] = level
    memo.state[number] = state
    memo.parent[number] = parent
    memo.operation[number] = operation
    for word in range(words):
        memo.mask[number * words + word] = mask[word]
    for word in range(used_words):
        memo.used[number * used_words + word] = used[word]
    registers[CONFIGURATIONS] = number + 1
    if level >= registers[DEEPEST_LEVEL]:
        note_deepest(level, state, number, windows, registers)
    return number


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


@part
def push(parent: Word, operation: Word, state: Word, memo: Memo, registers: Int64s) -> None:
    """Put something to try on the stack."""
    top = registers[STACKED]
    memo.stack_parent[top] = parent
    memo.stack_operation[top] = operation
    memo.stack_state[top] = state
    registers[STACKED] = top + 1


@kernel
def rehash(level: Int32s, state: Int64s, mask: Int64s, old: Int32s, table: Int32s, words: int) -> None:
    """Fill a larger hash table (all -1) with the configurations that the old one holds."""
    last = len(table) - 1
    for head in old:
        if head < 0:
            continue
        code = mixed(state[head] ^ (np.int64(level[head]) << np.int64(40)))
        for word in range(words):
            code = mixed(code ^ mask[head * words + word])
        target = code & last
        while table[target] >= 0:
            target = (target + 1) & last
        table[target] = head
