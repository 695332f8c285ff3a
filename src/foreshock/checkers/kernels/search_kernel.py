"""The general search as a kernel: the rules of ``search.py`` on arrays of integers.

A configuration is (level, which pending operations are linearized, which crashed ones are used up, state). The stack
holds what is still to be tried: an operation to linearize after some configuration. To try it is to *enter* the
configuration that follows, and, where that is new, to *branch* from it. Each of the two first looks up all that it
needs and only then changes anything, so that the kernel can come back to its driver at any missing step of a
model, do it again, and go on.
"""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import inlined, kernel, part
from foreshock.checkers.kernels.followers_kernel import MISSING_STEP, favoured, find_followers, is_free
from foreshock.checkers.kernels.layout import (
    COMPLETED,
    COMPLETED_SLOTS,
    CONFIGURATIONS,
    CRASHED,
    CRASHED_SLOTS,
    ENTERING,
    EXHAUSTED,
    EXPIRING,
    JOINS_HOW,
    KIND,
    LEVEL,
    LEVELS,
    MASK_WORDS,
    MASKS,
    MISSING,
    NEEDS_SPACE,
    NEEDS_STEP,
    NEVER_JOINS,
    ONGOING,
    OPERATION,
    PARENT,
    ROOT,
    SLOT,
    SOLUTION_OPERATION,
    SOLUTION_PARENT,
    SOLVED,
    STACK_OPERATION,
    STACK_PARENT,
    STACK_STATE,
    STACKED,
    STATE,
    STOP,
    STOPPED,
    TRY_COMPLETED,
    TRY_CRASHED,
    UNOBSERVED_VALUE,
    USEFUL_LAST,
    Int32s,
    Int64s,
    Memo,
    Operations,
    Windows,
    Word,
)
from foreshock.checkers.kernels.memo_kernel import push, remember
from foreshock.checkers.kernels.window_kernel import after, clear_bit, is_set, move_window, set_bit


@part
def follow(
    parent: Word,
    operation: Word,
    state: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Int64s,
    registers: Int64s,
    order: Int32s,
) -> tuple[Word, Word, Word]:
    """Linearize an operation after a configuration, and go on as far as nothing needs deciding.

    Leaves the masks in ``windows``; returns the level reached (the number of levels: solved; -3: a step is missing),
    the state there, and how many operations were put into ``order``, which has no room when nobody wants to know.
    """
    each, listed, levels, masks = operations.each, operations.listed, operations.levels, windows.masks
    returns, crashed_mask = operations.sizes[LEVELS], operations.sizes[MASK_WORDS]
    level, ordered = start_from(parent, operation, operations, windows, memo, order)
    while True:
        move_window(level, operations, windows, registers)
        ordered = join_pending(state, operations, windows, table, registers, order, ordered)
        while ordered >= 0 and is_set(masks, 0, each[level, SLOT]):
            clear_bit(masks, 0, each[level, SLOT])
            level += 1
            if level == returns:
                return level, state, ordered
            for place in range(levels[level, EXPIRING], levels[level + 1, EXPIRING]):
                clear_bit(masks, crashed_mask, each[listed[place, EXPIRING], SLOT])
            for place in range(levels[level, ENTERING], levels[level + 1, ENTERING]):
                other = listed[place, ENTERING]
                if other < returns:
                    ordered = join(state, other, each, masks, table, registers, order, ordered)
        if ordered < 0:
            return MISSING_STEP, state, 0
        if len(operations.values) == 0 or state == UNOBSERVED_VALUE:
            return level, state, ordered
        if operations.values[state, USEFUL_LAST] > level:
            return level, state, ordered
        # Nobody is left to observe the value, so it is as good as any other such.
        state = np.int64(UNOBSERVED_VALUE)


@part
def join_pending(
    state: Word,
    operations: Operations,
    windows: Windows,
    table: Int64s,
    registers: Int64s,
    order: Int32s,
    ordered: Word,
) -> Word:
    """Linearize all pending operations that leave the state as it is and are better done with; as :func:`join`."""
    each, slots, masks = operations.each, windows.slots, windows.masks
    for place in range(operations.sizes[COMPLETED_SLOTS]):
        other = slots[COMPLETED, place]
        if other >= 0:
            ordered = join(state, other, each, masks, table, registers, order, ordered)
    return ordered


@part
def start_from(
    parent: Word, operation: Word, operations: Operations, windows: Windows, memo: Memo, order: Int32s
) -> tuple[Word, Word]:
    """Put the masks after an operation that follows a configuration into ``windows``; the level, how many in order."""
    masks = windows.masks
    if parent == ROOT:
        for word in range(len(masks)):
            masks[word] = 0
        return np.int64(0), np.int64(0)
    for word in range(len(masks)):
        masks[word] = memo.configurations[parent, MASKS + word]
    start = np.int64(0) if operation < operations.sizes[LEVELS] else operations.sizes[MASK_WORDS]
    set_bit(masks, start, operations.each[operation, SLOT])
    ordered = np.int64(0)
    if len(order) > 0:
        order[0] = operation
        ordered = np.int64(1)
    return memo.configurations[parent, LEVEL], ordered


@inlined
def join(
    state: Word,
    operation: Word,
    each: Int32s,
    masks: Int64s,
    table: Int64s,
    registers: Int64s,
    order: Int32s,
    ordered: Word,
) -> Word:
    """Linearize a pending operation that returned, if it leaves the state as it is and is better done with.

    Returns how many are in the order then; -1 where a step is missing, now or before.
    """
    result = ordered
    slot = each[operation, SLOT]
    if ordered >= 0 and each[operation, JOINS_HOW] != NEVER_JOINS and not is_set(masks, 0, slot):
        end = after(state, operation, each, table, registers)
        if end == MISSING:
            result = np.int64(-1)
        elif end == state:
            set_bit(masks, 0, slot)
            if len(order) > 0:
                order[ordered] = operation
                result = ordered + 1
    return result


@part
def branch(
    configuration: Word,
    phase: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Int64s,
    registers: Int64s,
) -> Word:
    """Put the followers of a configuration on the stack, the one that returns first on top; 0, or -3 or -4.

    Crashed operations have a turn of their own, below the others, that legal histories seldom get to.
    """
    level, state = memo.configurations[configuration, LEVEL], memo.configurations[configuration, STATE]
    each, followers, tried = operations.each, windows.followers, windows.tried
    move_window(level, operations, windows, registers)
    row = COMPLETED if phase == TRY_COMPLETED else CRASHED
    count = find_followers(configuration, row, operations, windows, memo, table, registers)
    if count < 0:
        return count
    if row == COMPLETED:
        slots, known, masks = windows.slots, memo.configurations, MASKS + operations.sizes[MASK_WORDS]
        for place in range(operations.sizes[CRASHED_SLOTS]):
            if slots[CRASHED, place] >= 0 and is_free(known, configuration, masks, place):
                push(configuration, TRY_CRASHED, state, memo, registers)
                break
    # Of operations that nothing can tell apart only the one with the least number, which is nearest the end.
    for place in range(count - 1, -1, -1):
        kind = each[followers[place, 0], KIND]
        if tried[kind] == 1:
            followers[place, 0] = -1 - followers[place, 0]
        tried[kind] = 1
    favourite = favoured(level, state, count, operations, windows)
    for place in range(count):
        operation = followers[place, 0]
        if operation >= 0:
            tried[each[operation, KIND]] = 0
            if place != favourite:
                push(configuration, operation, followers[place, 1], memo, registers)
    if favourite >= 0:
        push(configuration, followers[favourite, 0], followers[favourite, 1], memo, registers)
    return 0


@kernel
def search_on(
    configurations_max: int,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Int64s,
    registers: Int64s,
) -> int:
    """Search until decided, stopped, out of space or out of budget; returns which."""
    room = len(windows.followers) + 2
    configuration_limit = len(memo.configurations) - 1
    stack_limit = len(memo.stack) - room
    no_order = np.zeros(0, dtype=np.int32)
    while registers[STACKED] > 0:
        if registers[STOP] != 0:
            return STOPPED
        if registers[CONFIGURATIONS] >= configurations_max:
            return ONGOING
        if registers[CONFIGURATIONS] >= configuration_limit or registers[STACKED] >= stack_limit:
            return NEEDS_SPACE
        top = registers[STACKED] - 1
        parent, operation = memo.stack[top, STACK_PARENT], memo.stack[top, STACK_OPERATION]
        state = memo.stack[top, STACK_STATE]
        if parent != ROOT and operation < 0:
            registers[STACKED] = top
            failure = branch(parent, operation, operations, windows, memo, table, registers)
            if failure != 0:
                registers[STACKED] = top + 1
                return NEEDS_STEP if failure == MISSING_STEP else STOPPED
            continue
        level, state, _ = follow(
            parent, operation, state, operations, windows, memo, table, registers, no_order
        )
        if level == MISSING_STEP:
            return NEEDS_STEP
        if level == operations.sizes[LEVELS]:
            registers[SOLUTION_PARENT] = parent
            registers[SOLUTION_OPERATION] = operation
            return SOLVED
        registers[STACKED] = top
        number = remember(level, state, parent, operation, operations, windows, memo, registers)
        if number >= 0:
            push(number, TRY_COMPLETED, state, memo, registers)
    return EXHAUSTED


@kernel
def trace(
    parent: Word,
    operation: Word,
    initial: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Int64s,
    registers: Int64s,
    order: Int32s,
) -> Word:
    """Write down the order that leads to an operation after a configuration, with what comes by itself; its length."""
    steps = 1
    at = parent
    while at != ROOT:
        at = memo.configurations[at, PARENT]
        steps += 1
    path = np.empty((steps, 2), dtype=np.int64)
    for place in range(steps - 1, -1, -1):
        path[place, 0] = parent
        path[place, 1] = operation
        if parent != ROOT:
            operation = memo.configurations[parent, OPERATION]
            parent = memo.configurations[parent, PARENT]
    ordered = 0
    for place in range(steps):
        before, then = path[place, 0], path[place, 1]
        state = np.int64(initial)
        if before != ROOT:
            state = after(memo.configurations[before, STATE], then, operations.each, table, registers)
        _, _, count = follow(
            before, then, state, operations, windows, memo, table, registers, order[ordered:]
        )
        ordered += count
    return ordered
