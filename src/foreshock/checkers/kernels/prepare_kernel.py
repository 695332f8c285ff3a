"""Kernels that make a history ready for the search: kinds of operations, and the slots that they own."""

from __future__ import annotations

from foreshock.checkers.kernels.compiling import kernel
from foreshock.checkers.kernels.layout import Int32s, Int64s
from foreshock.checkers.kernels.search_kernel import mixed


@kernel
def number_kinds(code: Int32s, first: Int64s, second: Int64s, kind: Int32s, table: Int32s) -> int:
    """Give operations that do the same the same number; ``table`` is all -1 and at least twice as long."""
    last = len(table) - 1
    count = 0
    for operation in range(len(code)):
        place = mixed(mixed(mixed(code[operation]) ^ first[operation]) ^ second[operation]) & last
        while table[place] >= 0:
            other = table[place]
            if (
                code[other] == code[operation]
                and first[other] == first[operation]
                and second[other] == second[operation]
            ):
                break
            place = (place + 1) & last
        if table[place] < 0:
            table[place] = operation
            kind[operation] = count
            count += 1
        else:
            kind[operation] = kind[table[place]]
    return count


@kernel
def place_in_slots(
    levels: int,
    entering_from: Int32s,
    entering: Int32s,
    expiring_from: Int32s,
    expiring: Int32s,
    slot: Int32s,
    free: Int32s,
) -> tuple[int, int]:
    """Give each operation the bit that it owns while it is pending; returns how many bits each of the two masks has.

    ``free`` is room to work in, one place for each operation.
    """
    completed_slots = crashed_slots = 0
    completed_free = crashed_free = 0
    last = len(free) - 1
    for level in range(levels):
        # Free completed slots are stacked at the front of the room, free crashed ones at the back.
        if level > 0:
            free[completed_free] = slot[level - 1]
            completed_free += 1
        for place in range(expiring_from[level], expiring_from[level + 1]):
            free[last - crashed_free] = slot[expiring[place]]
            crashed_free += 1
        for place in range(entering_from[level], entering_from[level + 1]):
            operation = entering[place]
            if operation < levels:
                if completed_free > 0:
                    completed_free -= 1
                    slot[operation] = free[completed_free]
                else:
                    slot[operation] = completed_slots
                    completed_slots += 1
            elif crashed_free > 0:
                crashed_free -= 1
                slot[operation] = free[last - crashed_free]
            else:
                slot[operation] = crashed_slots
                crashed_slots += 1
    return completed_slots, crashed_slots
