"""The general search as a kernel: the rules of ``search.py`` on arrays of integers.

A configuration is (level, which pending operations are linearized, which crashed ones are used up, state). The stack
holds what is still to be tried: an operation to linearize after some configuration. To try it is to *enter* the
configuration that follows, and, where that is new, to *branch* from it. Each of the two first looks up all that it
needs and only then changes anything, so that the kernel can come back to its driver at any missing step of a
model, do it again, and go on.
"""

from __future__ import annotations

import numpy as np

from foreshock.checkers.kernels.compiling import kernel
from foreshock.checkers.kernels.layout import (
    ADD,
    CONFIGURATIONS,
    DEEPEST,
    DEEPEST_LEVEL,
    DEEPEST_STATES,
    DEEPEST_STATES_MAX,
    EXHAUSTED,
    ILLEGAL,
    MISSING,
    MISSING_CLASS,
    MISSING_STATE,
    NEEDS_SPACE,
    NEEDS_STEP,
    ONGOING,
    READ,
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
    WINDOW_LEVEL,
    WRITE,
    Int32s,
    Int64s,
    Memo,
    Operations,
    Table,
    Windows,
    Word,
)

_KNOWN = -1
_SOLVED = -2
_MISSING_STEP = -3


@kernel
def mixed(value: Word) -> Word:
    """A hash of 64 bits (the finalizer of a linear congruential step, folded)."""
    value = np.int64(value) * np.int64(-7046029254386353131)
    value = value ^ (value >> np.int64(32))
    value = value * np.int64(-4658895280553007687)
    return value ^ (value >> np.int64(29))


@kernel
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


@kernel
def is_set(words: Int64s, bit: Word) -> Word:
    """Whether a bit is set."""
    return (words[bit >> 6] >> np.int64(bit & 63)) & 1 == 1


@kernel
def set_bit(words: Int64s, bit: Word) -> None:
    """Set a bit."""
    words[bit >> 6] |= np.int64(1) << np.int64(bit & 63)


@kernel
def clear_bit(words: Int64s, bit: Word) -> None:
    """Clear a bit."""
    words[bit >> 6] &= ~(np.int64(1) << np.int64(bit & 63))


@kernel
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


@kernel
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
) -> tuple[Word, Word]:
    """Linearize an operation after a configuration, and go on as far as nothing needs deciding.

    Leaves the masks in ``windows``; returns the level reached (the number of levels: solved; -3: a step is missing)
    and how many operations were put into ``order``, which has no room when nobody wants to know.
    """
    words, used_words, levels = operations.mask_words, operations.used_words, operations.levels
    mask, used, slot = windows.mask, windows.used, operations.slot
    level: Word = 0
    ordered = 0
    wants_order = len(order) > 0
    if parent == ROOT:
        mask[:] = 0
        used[:] = 0
    else:
        level = memo.level[parent]
        for word in range(words):
            mask[word] = memo.mask[parent * words + word]
        for word in range(used_words):
            used[word] = memo.used[parent * used_words + word]
        set_bit(mask if operation < levels else used, slot[operation])
        if wants_order:
            order[ordered] = operation
            ordered += 1
    move_window(level, operations, windows, registers)
    for place in range(len(windows.completed)):
        other = windows.completed[place]
        if other < 0 or not operations.is_read[other] or is_set(mask, place):
            continue
        end = after(state, other, operations, table, registers)
        if end == MISSING:
            return _MISSING_STEP, 0
        if end == state:
            set_bit(mask, place)
            if wants_order:
                order[ordered] = other
                ordered += 1
    while is_set(mask, slot[level]):
        clear_bit(mask, slot[level])
        level += 1
        if level == levels:
            break
        for place in range(operations.expiring_from[level], operations.expiring_from[level + 1]):
            clear_bit(used, slot[operations.expiring[place]])
        for place in range(operations.entering_from[level], operations.entering_from[level + 1]):
            other = operations.entering[place]
            if other >= levels or not operations.is_read[other]:
                continue
            end = after(state, other, operations, table, registers)
            if end == MISSING:
                return _MISSING_STEP, 0
            if end == state:
                set_bit(mask, slot[other])
                if wants_order:
                    order[ordered] = other
                    ordered += 1
    return level, ordered


@kernel
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
            return _KNOWN
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


@kernel
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


@kernel
def push(parent: Word, operation: Word, state: Word, memo: Memo, registers: Int64s) -> None:
    """Put something to try on the stack."""
    top = registers[STACKED]
    memo.stack_parent[top] = parent
    memo.stack_operation[top] = operation
    memo.stack_state[top] = state
    registers[STACKED] = top + 1


@kernel
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


@kernel
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


@kernel
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
    for place in range(len(slots)):
        operation = slots[place]
        # A read that is still unlinearized disagrees with the state: it was tried on arrival.
        if operation < 0 or operations.is_read[operation] or is_set(taken, place):
            continue
        next_state = after(state, operation, operations, table, registers)
        if next_state == ILLEGAL:
            continue
        if next_state == MISSING:
            return False
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
    for place in range(count):
        operation = windows.followers[place]
        if operation >= 0:
            windows.tried[operations.kind[operation]] = 0
            push(configuration, operation, windows.followed_by[place], memo, registers)
    return True


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
        level, _ = follow(parent, operation, state, operations, windows, memo, table, registers, no_order)
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
def rehash(operations: Operations, memo: Memo, table: Int32s) -> None:
    """Fill a larger hash table (all -1) with the configurations so far."""
    words = operations.mask_words
    last = len(table) - 1
    for place in range(len(memo.table)):
        head = memo.table[place]
        if head < 0:
            continue
        code = mixed(memo.state[head] ^ (np.int64(memo.level[head]) << np.int64(40)))
        for word in range(words):
            code = mixed(code ^ memo.mask[head * words + word])
        target = code & last
        while table[target] >= 0:
            target = (target + 1) & last
        table[target] = head


@kernel
def trace(
    path: Int32s,
    states: Int64s,
    parents: Int32s,
    operations: Operations,
    windows: Windows,
    memo: Memo,
    table: Table,
    registers: Int64s,
    order: Int32s,
) -> Word:
    """Write down the order that a path through the configurations stands for; returns its length.

    ``path`` are the operations that were tried, ``parents`` after which configurations, ``states`` with what states.
    """
    ordered = 0
    for step in range(len(path)):
        _, count = follow(
            parents[step],
            path[step],
            states[step],
            operations,
            windows,
            memo,
            table,
            registers,
            order[ordered:],
        )
        ordered += count
    return ordered
