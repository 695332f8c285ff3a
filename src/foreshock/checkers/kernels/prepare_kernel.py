"""Kernels that make histories ready for the search: in what order, pending when, and owning which bit of a mask."""

from __future__ import annotations

from typing import NamedTuple

from foreshock.checkers.kernels.compiling import kernel, part
from foreshock.checkers.kernels.hashing import mixed
from foreshock.checkers.kernels.layout import (
    BEGIN,
    CODE,
    COMPLETED_SLOTS,
    CRASHED_SLOTS,
    ENTERING,
    EXPIRING,
    FIRST,
    JOINS,
    JOINS_HOW,
    KEPT,
    KIND,
    KINDS,
    LEVELS,
    MASK_WORDS,
    NEEDED,
    NEEDS,
    NEVER_JOINS,
    OBSERVERS_FROM,
    READ,
    READS,
    SECOND,
    SLOT,
    SWAP,
    SWAPS,
    TABLE,
    UNOBSERVED_VALUE,
    USED_WORDS,
    USEFUL_LAST,
    VALUES,
    WRITE,
    Bools,
    Int32s,
    Int64s,
    Word,
)

Sorted = Int64s | Int32s

_ROUNDS_MAX = 64
_NEVER = 1 << 62
_UNNOTICED = -_NEVER - 1


class Given(NamedTuple):
    """All operations, key by key (``starts``): those that returned by their return, then crashed ones by their call."""

    starts: Int64s
    call: Int64s
    ret: Int64s
    crashed: Bools
    is_read: Bools
    horizon: Int64s
    code: Int32s
    first: Int64s
    second: Int64s


class Made(NamedTuple):
    """What the search needs of them, as :class:`~foreshock.checkers.kernels.layout.Operations` has it, key after key.

    ``place`` says where an operation stood among its key's. ``each``, ``listed`` and ``observers`` have a row for each
    operation, ``levels`` one more for each key; ``values`` and ``token`` (a value by its number: the initial one is 0,
    the unobserved one 1) have two for each operation and three more for each key; ``sizes`` has a row for each key.
    """

    place: Int32s
    each: Int32s
    levels: Int32s
    listed: Int32s
    values: Int32s
    observers: Int32s
    token: Int64s
    sizes: Int64s


class Room(NamedTuple):
    """Room to work in: a table of values, four times as many places as the greatest key has operations and a power of
    two; ``begin`` and ``end`` have one for each of its operations."""

    value: Int64s
    latest: Int64s
    state: Int64s
    number: Int32s
    begin: Int32s
    end: Int32s
    writers_from: Int32s
    writer_begin: Int32s


@part
def find(value: Word, room: Room, last: Word, stamp: Word) -> Word:
    """The place of a value in the table of this key (whose places bear its stamp); makes one where there is none."""
    place = mixed(value) & last
    while room.state[place] >> 1 == stamp:
        if room.value[place] == value:
            return place
        place = (place + 1) & last
    room.state[place] = stamp << 1
    room.value[place] = value
    room.number[place] = -1
    room.latest[place] = _UNNOTICED
    return place


@part
def observe(
    key: Word,
    given: Given,
    made: Made,
    room: Room,
    last: Word,
    initial: Word,
    unobserved: Word,
    exact: bool,
) -> None:
    """Number the values, let all that nothing observes be one, and find how long a crashed operation can be noticed.

    What it writes is noticed by a read or compare-and-set that found it and returned, or by a crashed one for as
    long as that is itself of use. Where that is not found out in so many rounds, it may matter for ever.
    """
    start, stop, stamp = given.starts[key], given.starts[key + 1], key + 1
    crashed_swaps = False
    for o in range(start, stop):
        code, crashed = given.code[o], given.crashed[o]
        if code not in (READ, SWAP) or (code == READ and crashed):
            continue
        place = find(given.first[o], room, last, stamp)
        room.state[place] = stamp << 1 | 1
        if crashed:
            crashed_swaps = True
        elif given.ret[o] > room.latest[place]:
            room.latest[place] = given.ret[o]
    changed = crashed_swaps
    rounds = 0
    while changed and rounds < _ROUNDS_MAX:
        changed = False
        rounds += 1
        for o in range(start, stop):
            if given.crashed[o] and given.code[o] == SWAP:
                latest = room.latest[find(given.second[o], room, last, stamp)]
                place = find(given.first[o], room, last, stamp)
                if latest > room.latest[place]:
                    room.latest[place] = latest
                    changed = True
    base = first_value(key, start)
    made.token[base] = initial
    made.token[base + 1] = unobserved
    room.number[find(initial, room, last, stamp)] = 0
    room.number[find(unobserved, room, last, stamp)] = 1
    count = 2
    for o in range(start, stop):
        if given.code[o] != READ:
            written = given.first[o] if given.code[o] == WRITE else given.second[o]
            place = find(written, room, last, stamp)
            given.horizon[o] = _NEVER if changed else room.latest[place]
            if room.state[place] & 1 == 0 and not exact:
                if given.code[o] == WRITE:
                    given.first[o] = unobserved
                else:
                    given.second[o] = unobserved
        count = number_value(given.first, o, made, room, last, stamp, base, count)
        if given.code[o] == SWAP:
            count = number_value(given.second, o, made, room, last, stamp, base, count)
    made.sizes[key, VALUES] = count


@part
def number_value(
    column: Int64s, o: Word, made: Made, room: Room, last: Word, stamp: Word, base: Word, count: Word
) -> Word:
    """Put the number of a value in its place; returns how many values there are then."""
    place = find(column[o], room, last, stamp)
    if room.number[place] < 0:
        room.number[place] = count
        made.token[base + count] = column[o]
        count += 1
    column[o] = room.number[place]
    return count


@part
def first_value(key: Word, start: Word) -> Word:
    """Where the values of a key begin whose operations begin at ``start``."""
    return 2 * start + 3 * key


@part
def note_values(key: Word, given: Given, made: Made, room: Room, exact: bool) -> None:
    """Find until when each value is of use; with ``exact`` as if each were for ever."""
    start, kept, levels = given.starts[key], made.sizes[key, KEPT], made.sizes[key, LEVELS]
    base = first_value(key, start)
    for value in range(base, base + made.sizes[key, VALUES]):
        made.values[value, USEFUL_LAST] = levels + 1 if exact else -1
    swaps = 0
    for o in range(kept):
        code, begin = made.each[start + o, CODE], room.begin[o]
        if code in (READ, SWAP):
            observed = base + made.each[start + o, FIRST]
            useful = begin if code == READ else o + 1 if o < levels else room.end[o]
            made.values[observed, USEFUL_LAST] = max(made.values[observed, USEFUL_LAST], useful)
        if code == SWAP:
            swaps += 1
        if code == WRITE and made.each[start + o, FIRST] == UNOBSERVED_VALUE:
            made.each[start + o, JOINS_HOW] = JOINS
    made.sizes[key, SWAPS] = swaps


@part
def list_writers(key: Word, given: Given, made: Made, room: Room) -> None:
    """List for each value the levels at which those become pending who write it, in ``room``."""
    start, kept, values = given.starts[key], made.sizes[key, KEPT], made.sizes[key, VALUES]
    writers_from = room.writers_from
    for value in range(values + 1):
        writers_from[value] = 0
    for o in range(start, start + kept):
        code = made.each[o, CODE]
        if code in (WRITE, SWAP):
            writers_from[made.each[o, FIRST if code == WRITE else SECOND] + 1] += 1
    for value in range(values):
        writers_from[value + 1] += writers_from[value]
    for place in range(start, start + kept):
        operation = made.listed[place, ENTERING]
        code = made.each[start + operation, CODE]
        if code in (WRITE, SWAP):
            written = made.each[start + operation, FIRST if code == WRITE else SECOND]
            room.writer_begin[writers_from[written]] = room.begin[operation]
            writers_from[written] += 1
    # Each beginning has moved on to the next one's place: move all back.
    for value in range(values, 0, -1):
        writers_from[value] = writers_from[value - 1]
    writers_from[0] = 0


@part
def list_observers(key: Word, given: Given, made: Made, room: Room) -> None:
    """List who has to observe each value, and until which level somebody becomes pending who writes it in time."""
    start, kept, levels = given.starts[key], made.sizes[key, KEPT], made.sizes[key, LEVELS]
    values = made.sizes[key, VALUES]
    base = first_value(key, start)
    for value in range(base, base + values + 1):
        made.values[value, OBSERVERS_FROM] = 0
    for o in range(start, start + levels):
        if made.each[o, CODE] in (READ, SWAP):
            made.values[base + made.each[o, FIRST] + 1, OBSERVERS_FROM] += 1
    for value in range(base, base + values):
        made.values[value + 1, OBSERVERS_FROM] += made.values[value, OBSERVERS_FROM]
    for place in range(start, start + kept):
        operation = made.listed[place, ENTERING]
        if operation >= levels or made.each[start + operation, CODE] not in (READ, SWAP):
            continue
        observed = made.each[start + operation, FIRST]
        first, last = room.writers_from[observed], room.writers_from[observed + 1]
        in_time = count_below(room.writer_begin, first, last, operation + 1)
        needed = room.writer_begin[first + in_time - 1] if in_time > 0 else -1
        made.each[start + operation, NEEDS] = needed
        to = start + made.values[base + observed, OBSERVERS_FROM]
        made.observers[to, BEGIN] = room.begin[operation]
        made.observers[to, NEEDED] = needed
        made.values[base + observed, OBSERVERS_FROM] += 1
    for value in range(base + values, base, -1):
        made.values[value, OBSERVERS_FROM] = made.values[value - 1, OBSERVERS_FROM]
    made.values[base, OBSERVERS_FROM] = 0
    for value in range(base, base + values):
        first = start + made.values[value, OBSERVERS_FROM]
        for place in range(start + made.values[value + 1, OBSERVERS_FROM] - 2, first - 1, -1):
            made.observers[place, NEEDED] = min(
                made.observers[place, NEEDED], made.observers[place + 1, NEEDED]
            )


@part
def count_below(values: Sorted, start: Word, stop: Word, bound: Word) -> Word:
    """How many of the sorted values from ``start`` to ``stop`` are less than a bound."""
    low, high = start, stop
    while low < high:
        middle = (low + high) >> 1
        if values[middle] < bound:
            low = middle + 1
        else:
            high = middle
    return low - start


@part
def keep(key: Word, given: Given, made: Made, room: Room) -> None:
    """Number the operations that matter, and find the levels at which they become pending and stop to matter."""
    start, stop = given.starts[key], given.starts[key + 1]
    levels = 0
    while start + levels < stop and not given.crashed[start + levels]:
        levels += 1
    kept = 0
    for o in range(start, stop):
        begin = count_below(given.ret, start, start + levels, given.call[o])
        end = levels
        if given.crashed[o]:
            if given.is_read[o]:
                continue
            end = count_below(given.ret, start, start + levels, given.horizon[o] + 1)
            if begin >= end:
                continue
        to = start + kept
        made.place[to] = o - start
        made.each[to, CODE] = given.code[o]
        made.each[to, FIRST] = given.first[o]
        made.each[to, SECOND] = given.second[o]
        made.each[to, JOINS_HOW] = READS if given.is_read[o] else NEVER_JOINS
        made.each[to, NEEDS] = -1
        room.begin[kept] = begin
        room.end[kept] = end
        kept += 1
    made.sizes[key, LEVELS] = levels
    made.sizes[key, KEPT] = kept


@part
def arrange(key: Word, given: Given, made: Made, room: Room) -> None:
    """List the operations by the level at which they become pending, and the crashed ones by that of their end."""
    start, levels, kept = given.starts[key], made.sizes[key, LEVELS], made.sizes[key, KEPT]
    base = start + key  # each key before has one level more than it has operations
    for level in range(base, base + levels + 1):
        made.levels[level, ENTERING] = 0
        made.levels[level, EXPIRING] = 0
    for o in range(kept):
        made.levels[base + room.begin[o] + 1, ENTERING] += 1
        if o >= levels and room.end[o] < levels:
            made.levels[base + room.end[o] + 1, EXPIRING] += 1
    for level in range(base, base + levels):
        made.levels[level + 1, ENTERING] += made.levels[level, ENTERING]
        made.levels[level + 1, EXPIRING] += made.levels[level, EXPIRING]
    for o in range(kept):
        level = base + room.begin[o]
        made.listed[start + made.levels[level, ENTERING], ENTERING] = o
        made.levels[level, ENTERING] += 1
        if o >= levels and room.end[o] < levels:
            level = base + room.end[o]
            made.listed[start + made.levels[level, EXPIRING], EXPIRING] = o
            made.levels[level, EXPIRING] += 1
    # Each beginning has moved on to the next one's place: move all back.
    for level in range(base + levels, base, -1):
        made.levels[level, ENTERING] = made.levels[level - 1, ENTERING]
        made.levels[level, EXPIRING] = made.levels[level - 1, EXPIRING]
    made.levels[base, ENTERING] = 0
    made.levels[base, EXPIRING] = 0


@part
def place_in_slots(key: Word, given: Given, made: Made, room: Room) -> None:
    """Give each operation the bit that it owns while it is pending: completed and crashed ones have a mask each."""
    start, levels = given.starts[key], made.sizes[key, LEVELS]
    base = start + key
    completed_slots = crashed_slots = completed_free = crashed_free = 0
    free_completed, free_crashed = room.begin, room.end
    for level in range(levels):
        if level > 0:
            free_completed[completed_free] = made.each[start + level - 1, SLOT]
            completed_free += 1
        for place in range(made.levels[base + level, EXPIRING], made.levels[base + level + 1, EXPIRING]):
            free_crashed[crashed_free] = made.each[start + made.listed[start + place, EXPIRING], SLOT]
            crashed_free += 1
        for place in range(made.levels[base + level, ENTERING], made.levels[base + level + 1, ENTERING]):
            o = made.listed[start + place, ENTERING]
            if o < levels:
                if completed_free > 0:
                    completed_free -= 1
                    made.each[start + o, SLOT] = free_completed[completed_free]
                else:
                    made.each[start + o, SLOT] = completed_slots
                    completed_slots += 1
            elif crashed_free > 0:
                crashed_free -= 1
                made.each[start + o, SLOT] = free_crashed[crashed_free]
            else:
                made.each[start + o, SLOT] = crashed_slots
                crashed_slots += 1
    made.sizes[key, COMPLETED_SLOTS] = completed_slots
    made.sizes[key, CRASHED_SLOTS] = crashed_slots
    made.sizes[key, MASK_WORDS] = max(1, (completed_slots + 63) >> 6)
    made.sizes[key, USED_WORDS] = (crashed_slots + 63) >> 6


@part
def number_kinds(key: Word, given: Given, made: Made, room: Room, last: Word) -> None:
    """Give operations that do the same the same number. Those that are looked up in a table bring theirs along."""
    start, kept, each = given.starts[key], made.sizes[key, KEPT], made.each
    kinds = 0
    if kept > 0 and each[start, CODE] == TABLE:
        for o in range(start, start + kept):
            each[o, KIND] = each[o, FIRST]
            kinds = max(kinds, each[o, FIRST] + 1)
        made.sizes[key, KINDS] = kinds
        return
    stamp = -1 - key
    for o in range(start, start + kept):
        code, first, second = each[o, CODE], each[o, FIRST], each[o, SECOND]
        place = mixed(mixed(mixed(code) ^ first) ^ second) & last
        while room.state[place] == stamp:
            other = room.value[place]
            if each[other, CODE] == code and each[other, FIRST] == first and each[other, SECOND] == second:
                break
            place = (place + 1) & last
        if room.state[place] == stamp:
            each[o, KIND] = each[room.value[place], KIND]
        else:
            room.state[place] = stamp
            room.value[place] = o
            each[o, KIND] = kinds
            kinds += 1
    made.sizes[key, KINDS] = kinds


@kernel
def prepare(
    given: Given, made: Made, room: Room, by_value: bool, exact: bool, initial: Word, unobserved: Word
) -> None:
    """Make every key ready.

    ``by_value``: operations read, write and swap values, and horizons are to be found. ``exact``: values that nobody
    observes are told apart all the same.
    """
    last = len(room.value) - 1
    for key in range(len(given.starts) - 1):
        if by_value:
            observe(key, given, made, room, last, initial, unobserved, exact)
        keep(key, given, made, room)
        if by_value:
            note_values(key, given, made, room, exact)
        arrange(key, given, made, room)
        if by_value:
            list_writers(key, given, made, room)
            list_observers(key, given, made, room)
        place_in_slots(key, given, made, room)
        number_kinds(key, given, made, room, last)
