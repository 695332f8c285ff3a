"""The general search as a kernel: the rules of ``search.py`` on arrays of integers.

A configuration is (level, which pending operations are linearized, which crashed ones are used up, state). The stack
holds what is still to be tried: an operation to linearize after some configuration. To try it is to *enter* the
configuration that follows, and, where that is new, to *branch* from it. Each of the two first looks up all that it
needs and only then changes anything, so that the kernel can come back to its driver at any missing step of a
model, do it again, and go on.
"""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import kernel, part
from foreshock.checkers.kernels.layout import (
    CONFIGURATIONS,
    EXHAUSTED,
    ILLEGAL,
    MISSING,
    NEEDS_SPACE,
    NEEDS_STEP,
    NEVER_JOINS,
    ONGOING,
    READ,
    READS,
    ROOT,
    SOLUTION_OPERATION,
    SOLUTION_PARENT,
    SOLVED,
    STACKED,
    STOP,
    STOPPED,
    SWAP,
    TRY_COMPLETED,
    TRY_CRASHED,
    WRITE,
    Int32s,
    Int64s,
    Memo,
    Operations,
    Table,
    Windows,
    Word,
)
from foreshock.checkers.kernels.memo_kernel import push, remember
from foreshock.checkers.kernels.window_kernel import after, clear_bit, is_set, move_window, set_bit

_MISSING_STEP = -3
_ANYBODY = -1
_NOBODY = -2


@part
def follow(
    parent: Word,
    operation: Word,
    state: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Table,
    registers: Int64s,
    order: Int32s,
) -> tuple[Word, Word, Word]:
    """Linearize an operation after a configuration, and go on as far as nothing needs deciding.

    Leaves the masks in ``windows``; returns the level reached (the number of levels: solved; -3: a step is missing),
    the state there, and how many operations were put into ``order``, which has no room when nobody wants to know.
    """
    levels, slot, mask, used = operations.levels, operations.slot, windows.mask, windows.used
    level, ordered = start_from(parent, operation, operations, windows, memo, order)
    while True:
        move_window(level, operations, windows, registers)
        ordered = join(state, windows.completed, operations, windows, table, registers, order, ordered)
        while ordered >= 0 and is_set(mask, slot[level]):
            clear_bit(mask, slot[level])
            level += 1
            if level == levels:
                return level, state, ordered
            for place in range(operations.expiring_from[level], operations.expiring_from[level + 1]):
                clear_bit(used, slot[operations.expiring[place]])
            entering = operations.entering[
                operations.entering_from[level] : operations.entering_from[level + 1]
            ]
            ordered = join(state, entering, operations, windows, table, registers, order, ordered)
        if ordered < 0:
            return _MISSING_STEP, state, 0
        if (
            len(operations.useful_last) == 0
            or state == operations.unobserved
            or operations.useful_last[state] > level
        ):
            return level, state, ordered
        # Nobody is left to observe the value, so it is as good as any other such.
        state = operations.unobserved


@part
def start_from(
    parent: Word, operation: Word, operations: Operations, windows: Windows, memo: Memo, order: Int32s
) -> tuple[Word, Word]:
    """Put the masks after an operation that follows a configuration into ``windows``; the level, how many in order."""
    words, used_words = operations.mask_words, operations.used_words
    if parent == ROOT:
        windows.mask[:] = 0
        windows.used[:] = 0
        return 0, 0
    for word in range(words):
        windows.mask[word] = memo.mask[parent * words + word]
    for word in range(used_words):
        windows.used[word] = memo.used[parent * used_words + word]
    set_bit(windows.mask if operation < operations.levels else windows.used, operations.slot[operation])
    ordered = 0
    if len(order) > 0:
        order[0] = operation
        ordered = 1
    return np.int64(memo.level[parent]), ordered


@part
def join(
    state: Word,
    candidates: Int32s,
    operations: Operations,
    windows: Windows,
    table: Table,
    registers: Int64s,
    order: Int32s,
    ordered: Word,
) -> Word:
    """Linearize those pending operations that leave the state as it is and are better done with (-1: none)."""
    for other in candidates:
        if other < 0 or other >= operations.levels or operations.joins[other] == NEVER_JOINS:
            continue
        place = operations.slot[other]
        if is_set(windows.mask, place):
            continue
        end = after(state, other, operations, table, registers)
        if end == MISSING:
            return -1
        if end == state:
            set_bit(windows.mask, place)
            if len(order) > 0:
                order[ordered] = other
                ordered += 1
    return ordered


@part
def may_leave(
    state: Word, level: Word, configuration: Word, operations: Operations, windows: Windows, memo: Memo
) -> Word:
    """Who may change the state: -1 anybody, -2 nobody, else this operation alone.

    Whoever is to observe the value, and has not yet, needs it to stay, unless somebody who can bring it back in time is
    pending, or will be.
    """
    if len(operations.observers_from) == 0:
        return _ANYBODY
    locked = is_awaited(state, level, operations)
    if not locked and not operations.has_swaps:
        return _ANYBODY
    mask = memo.mask[configuration * operations.mask_words : (configuration + 1) * operations.mask_words]
    used = memo.used[configuration * operations.used_words : (configuration + 1) * operations.used_words]
    swaps = 0
    only = _ANYBODY
    for place in range(len(windows.completed)):
        other = windows.completed[place]
        if other < 0 or is_set(mask, place):
            continue
        if writes(other, state, operations):
            return _ANYBODY
        if (
            operations.code[other] == SWAP
            and operations.first[other] == state
            and operations.needs[other] <= level
        ):
            swaps += 1
            only = other
    for place in range(len(windows.crashed)):
        other = windows.crashed[place]
        if other >= 0 and not is_set(used, place) and writes(other, state, operations):
            return _ANYBODY
    return _NOBODY if locked or swaps > 1 else only


@part
def is_awaited(value: Word, level: Word, operations: Operations) -> Word:
    """Whether somebody not pending yet has to observe a value, and nobody becomes pending who writes it in time."""
    low, stop = operations.observers_from[value], operations.observers_from[value + 1]
    high = stop
    while low < high:
        middle = (low + high) >> 1
        if operations.observer_begin[middle] <= level:
            low = middle + 1
        else:
            high = middle
    return low < stop and operations.observer_needs[low] <= level


@part
def writes(operation: Word, value: Word, operations: Operations) -> Word:
    """Whether an operation can bring a value back."""
    code = operations.code[operation]
    return (code == WRITE and operations.first[operation] == value) or (
        code == SWAP and operations.second[operation] == value and operations.first[operation] != value
    )


@part
def add_follower(operation: Word, state: Word, count: Word, windows: Windows) -> Word:
    """Insert a follower so that those with greater numbers come first; returns the new count."""
    place = count
    while place > 0 and windows.followers[place - 1] < operation:
        windows.followers[place] = windows.followers[place - 1]
        windows.followed_by[place] = windows.followed_by[place - 1]
        place -= 1
    windows.followers[place] = operation
    windows.followed_by[place] = state
    return count + 1


@part
def is_noticed(
    state: Word,
    next_state: Word,
    crashed: Word,
    configuration: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Table,
    registers: Int64s,
) -> Word:
    """Whether (1 or 0) a pending operation is legal after a crashed one and would end otherwise without it.

    -3: a step is missing.
    """
    mask = memo.mask[configuration * operations.mask_words : (configuration + 1) * operations.mask_words]
    used = memo.used[configuration * operations.used_words : (configuration + 1) * operations.used_words]
    for turn in range(2):
        slots, taken = (windows.completed, mask) if turn == 0 else (windows.crashed, used)
        for place in range(len(slots)):
            other = slots[place]
            if other < 0 or other == crashed or is_set(taken, place):
                continue
            end = after(next_state, other, operations, table, registers)
            if end == ILLEGAL:
                continue
            without = after(state, other, operations, table, registers)
            if end == MISSING or without == MISSING:
                return _MISSING_STEP
            if end != without:
                return 1
    return 0


@part
def branch(
    configuration: Word,
    phase: Word,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Table,
    registers: Int64s,
) -> Word:
    """Put the followers of a configuration on the stack, the one that returns first on top; no: a step is missing.

    Crashed operations have a turn of their own, below the others, that legal histories seldom get to.
    """
    level, state = memo.level[configuration], memo.state[configuration]
    move_window(level, operations, windows, registers)
    completed = phase == TRY_COMPLETED
    slots = windows.completed if completed else windows.crashed
    words = operations.mask_words if completed else operations.used_words
    taken = (memo.mask if completed else memo.used)[configuration * words : (configuration + 1) * words]
    count = 0
    leaver = may_leave(state, level, configuration, operations, windows, memo)
    for place in range(len(slots)):
        operation = slots[place]
        # A read that is still unlinearized disagrees with the state: it was tried on arrival.
        if operation < 0 or operations.joins[operation] == READS or is_set(taken, place):
            continue
        next_state = after(state, operation, operations, table, registers)
        if next_state == ILLEGAL:
            continue
        if next_state == MISSING:
            return False
        if next_state != state and leaver != _ANYBODY and leaver != operation:
            continue
        if not completed:
            if next_state == state:
                continue
            noticed = is_noticed(
                state, next_state, operation, configuration, operations, windows, memo, table, registers
            )
            if noticed == _MISSING_STEP:
                return False
            if noticed == 0:
                continue
        count = add_follower(operation, next_state, count, windows)
    if completed:
        for place in range(len(windows.crashed)):
            if windows.crashed[place] >= 0 and not is_set(
                memo.used[configuration * operations.used_words :], place
            ):
                push(configuration, TRY_CRASHED, state, memo, registers)
                break
    # Of operations that nothing can tell apart only the one with the least number, which is nearest the end.
    for place in range(count - 1, -1, -1):
        kind = operations.kind[windows.followers[place]]
        if windows.tried[kind] == 1:
            windows.followers[place] = -1 - windows.followers[place]
        windows.tried[kind] = 1
    favourite = favoured(level, state, count, operations, windows)
    for place in range(count):
        operation = windows.followers[place]
        if operation >= 0:
            windows.tried[operations.kind[operation]] = 0
            if place != favourite:
                push(configuration, operation, windows.followed_by[place], memo, registers)
    if favourite >= 0:
        push(configuration, windows.followers[favourite], windows.followed_by[favourite], memo, registers)
    return True


@part
def favoured(level: Word, state: Word, count: Word, operations: Operations, windows: Windows) -> Word:
    """Which follower to try before all others: the one that lets the next to return be legal (-1: none stands out)."""
    if operations.code[level] not in (READ, SWAP) or operations.first[level] == state:
        return -1
    for place in range(count - 1, -1, -1):
        if windows.followers[place] >= 0 and windows.followed_by[place] == operations.first[level]:
            return place
    return -1


@kernel
def search_on(
    configurations_max: int,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Table,
    registers: Int64s,
) -> Word:
    """Search until decided, stopped, out of space or out of budget; returns which."""
    room = len(windows.followers) + 2
    configuration_limit = len(memo.level) - 1
    stack_limit = len(memo.stack_parent) - room
    no_order = np.zeros(0, dtype=np.int32)
    while registers[STACKED] > 0:
        if registers[STOP] != 0:
            return STOPPED
        if registers[CONFIGURATIONS] >= configurations_max:
            return ONGOING
        if registers[CONFIGURATIONS] >= configuration_limit or registers[STACKED] >= stack_limit:
            return NEEDS_SPACE
        top = registers[STACKED] - 1
        parent, operation = memo.stack_parent[top], memo.stack_operation[top]
        state = memo.stack_state[top]
        if parent != ROOT and operation < 0:
            registers[STACKED] = top
            if not branch(parent, operation, operations, windows, memo, table, registers):
                registers[STACKED] = top + 1
                return NEEDS_STEP
            continue
        level, state, _ = follow(
            parent, operation, state, operations, windows, memo, table, registers, no_order
        )
        if level == _MISSING_STEP:
            return NEEDS_STEP
        if level == operations.levels:
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
    table: Table,
    registers: Int64s,
    order: Int32s,
) -> Word:
    """Write down the order that leads to an operation after a configuration, with what comes by itself; its length."""
    steps = 1
    at = parent
    while at != ROOT:
        at = memo.parent[at]
        steps += 1
    before = np.empty(steps, dtype=np.int32)
    then = np.empty(steps, dtype=np.int32)
    for place in range(steps - 1, -1, -1):
        before[place] = parent
        then[place] = operation
        if parent != ROOT:
            operation = memo.operation[parent]
            parent = memo.parent[parent]
    ordered = 0
    for place in range(steps):
        state = initial
        if before[place] != ROOT:
            state = after(memo.state[before[place]], then[place], operations, table, registers)
        _, _, count = follow(
            before[place],
            then[place],
            state,
            operations,
            windows,
            memo,
            table,
            registers,
            order[ordered:],
        )
        ordered += count
    return ordered
