"""What can follow a configuration: which pending operations are legal, and worth trying."""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import inlined, part
from foreshock.checkers.kernels.layout import (
    BEGIN,
    CODE,
    COMPLETED,
    COMPLETED_SLOTS,
    CRASHED,
    CRASHED_SLOTS,
    FIRST,
    ILLEGAL,
    JOINS_HOW,
    KIND,
    LEVEL,
    MASK_WORDS,
    MASKS,
    MISSING,
    NEEDED,
    NEEDS,
    OBSERVERS_FROM,
    READ,
    READS,
    SECOND,
    STATE,
    STOP,
    SWAP,
    SWAPS,
    WRITE,
    Int64s,
    Memo,
    Operations,
    Windows,
    Word,
)
from foreshock.checkers.kernels.window_kernel import after

MISSING_STEP = -3
"""In place of an answer: the table of the model does not say yet."""
TOLD_TO_STOP = -4
_NOTICED = 2
_UNNOTICED = 3
_ANYBODY = -1
_NOBODY = -2


@inlined
def is_free(known: Int64s, configuration: Word, start: Word, place: Word) -> Word:
    """Whether the operation that owns a slot is not linearized yet (or used up) in a configuration."""
    return (known[configuration, start + (place >> 6)] >> np.int64(place & 63)) & 1 == 0


@part
def may_leave(
    state: Word, level: Word, configuration: Word, operations: Operations, windows: Windows, memo: Memo
) -> Word:
    """Who may change the state: -1 anybody, -2 nobody, else this operation alone.

    Whoever is to observe the value, and has not yet, needs it to stay, unless somebody who can bring it back in time is
    pending, or will be.
    """
    if len(operations.values) == 0:
        return _ANYBODY
    locked = is_awaited(state, level, operations)
    sizes = operations.sizes
    if not locked and sizes[SWAPS] == 0:
        return _ANYBODY
    each, slots, known = operations.each, windows.slots, memo.configurations
    swaps = 0
    only = np.int64(_ANYBODY)
    for place in range(sizes[COMPLETED_SLOTS]):
        other = np.int64(slots[COMPLETED, place])
        if other < 0 or not is_free(known, configuration, MASKS, place):
            continue
        code = each[other, CODE]
        if writes(code, each[other, FIRST], each[other, SECOND], state):
            return _ANYBODY
        if code == SWAP and each[other, FIRST] == state and each[other, NEEDS] <= level:
            swaps += 1
            only = other
    crashed_masks = MASKS + sizes[MASK_WORDS]
    for place in range(sizes[CRASHED_SLOTS]):
        other = np.int64(slots[CRASHED, place])
        if other < 0 or not is_free(known, configuration, crashed_masks, place):
            continue
        if writes(each[other, CODE], each[other, FIRST], each[other, SECOND], state):
            return _ANYBODY
    return np.int64(_NOBODY) if locked or swaps > 1 else only


@part
def is_awaited(value: Word, level: Word, operations: Operations) -> Word:
    """Whether somebody not pending yet has to observe a value, and nobody becomes pending who writes it in time."""
    observers = operations.observers
    low, stop = operations.values[value, OBSERVERS_FROM], operations.values[value + 1, OBSERVERS_FROM]
    high = stop
    while low < high:
        middle = (low + high) >> 1
        if observers[middle, BEGIN] <= level:
            low = middle + 1
        else:
            high = middle
    return low < stop and observers[low, NEEDED] <= level


@inlined
def writes(code: Word, first: Word, second: Word, value: Word) -> Word:
    """Whether an operation can bring a value back."""
    return (code == WRITE and first == value) or (code == SWAP and second == value and first != value)


@part
def is_noticed(
    state: Word,
    next_state: Word,
    crashed: Word,
    configuration: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Int64s,
    registers: Int64s,
) -> Word:
    """Whether (1 or 0) a pending operation is legal after a crashed one and would end otherwise without it.

    -3: a step is missing; -4: the search was told to stop.
    """
    each, slots, known, sizes = operations.each, windows.slots, memo.configurations, operations.sizes
    if registers[STOP] != 0:
        return TOLD_TO_STOP
    for row in range(2):
        masks = MASKS if row == COMPLETED else MASKS + sizes[MASK_WORDS]
        for place in range(sizes[COMPLETED_SLOTS + row]):
            other = slots[row, place]
            if other < 0 or other == crashed or not is_free(known, configuration, masks, place):
                continue
            end = after(next_state, other, each, table, registers)
            if end == ILLEGAL:
                continue
            without = after(state, other, each, table, registers)
            if end == MISSING or without == MISSING:
                return MISSING_STEP
            if end != without:
                return 1
    return 0


@part
def find_followers(
    configuration: Word,
    row: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Int64s,
    registers: Int64s,
) -> Word:
    """Put those into ``windows`` that can follow a configuration, completed or crashed ones; how many, or -3, or -4."""
    each, slots, known, sizes = operations.each, windows.slots, memo.configurations, operations.sizes
    followers, tried = windows.followers, windows.tried
    level, state = known[configuration, LEVEL], known[configuration, STATE]
    leaver = may_leave(state, level, configuration, operations, windows, memo)
    masks = MASKS if row == COMPLETED else MASKS + sizes[MASK_WORDS]
    count = 0
    for place in range(sizes[COMPLETED_SLOTS + row]):
        operation = np.int64(slots[row, place])
        # A read that is still unlinearized disagrees with the state: it was tried on arrival.
        if operation < 0 or each[operation, JOINS_HOW] == READS:
            continue
        if not is_free(known, configuration, masks, place):
            continue
        next_state = after(state, operation, each, table, registers)
        if next_state == ILLEGAL:
            continue
        if next_state == MISSING:
            if row == CRASHED:
                forget_tried(operations, windows)
            return MISSING_STEP
        if next_state != state and leaver != _ANYBODY and leaver != operation:
            continue
        if row == CRASHED:
            if next_state == state:
                continue
            # Asked once for all that do the same.
            kind = each[operation, KIND]
            if tried[kind] == 0:
                noticed = is_noticed(
                    state, next_state, operation, configuration, operations, windows, memo, table, registers
                )
                if noticed < 0:
                    forget_tried(operations, windows)
                    return noticed
                tried[kind] = _NOTICED if noticed == 1 else _UNNOTICED
            if tried[kind] == _UNNOTICED:
                continue
        # Those with greater numbers come first.
        to = count
        while to > 0 and followers[to - 1, 0] < operation:
            followers[to, 0] = followers[to - 1, 0]
            followers[to, 1] = followers[to - 1, 1]
            to -= 1
        followers[to, 0] = operation
        followers[to, 1] = next_state
        count += 1
    if row == CRASHED:
        forget_tried(operations, windows)
    return count


@part
def forget_tried(operations: Operations, windows: Windows) -> None:
    """Nothing that crashed was looked at yet."""
    each, slots, tried = operations.each, windows.slots, windows.tried
    for place in range(operations.sizes[CRASHED_SLOTS]):
        if slots[CRASHED, place] >= 0:
            tried[each[slots[CRASHED, place], KIND]] = 0


@part
def favoured(level: Word, state: Word, count: Word, operations: Operations, windows: Windows) -> Word:
    """Which follower to try before all others: the one that lets the next to return be legal (-1: none stands out)."""
    code, wanted = operations.each[level, CODE], operations.each[level, FIRST]
    if code not in (READ, SWAP) or wanted == state:
        return -1
    followers = windows.followers
    for place in range(count - 1, -1, -1):
        if followers[place, 0] >= 0 and followers[place, 1] == wanted:
            return place
    return -1
