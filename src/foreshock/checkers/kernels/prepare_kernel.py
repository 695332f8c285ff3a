"""Kernels that make histories ready for the search: in what order, pending when, and owning which bit of a mask."""

from __future__ import annotations

from typing import NamedTuple

from foreshock.checkers.kernels.compiling import kernel, part
from foreshock.checkers.kernels.hashing import mixed
from foreshock.checkers.kernels.layout import (
    JOINS,
    NEVER_JOINS,
    READ,
    READS,
    SWAP,
    TABLE,
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
    """What the search needs of them, in the places of their keys.

    ``place`` says where an operation stood among its key's. ``entering_from`` and ``expiring_from`` have one place more
    for each key than there are operations. ``token`` and ``useful_last`` (by the number of a value) have two for each
    operation, and two more for each key: the initial value is 0, the unobserved one 1; ``observers_from`` has three
    more. ``levels``, ``values``, ``kept``, ``kinds``, ``swaps`` and the two numbers of slots are by key.
    """

    place: Int32s
    code: Int32s
    first: Int64s
    second: Int64s
    kind: Int32s
    joins: Int32s
    slot: Int32s
    entering_from: Int32s
    entering: Int32s
    expiring_from: Int32s
    expiring: Int32s
    levels: Int32s
    kept: Int32s
    kinds: Int32s
    completed_slots: Int32s
    crashed_slots: Int32s
    observer_begin: Int32s
    observer_needs: Int32s
    needs: Int32s
    swaps: Int32s
    token: Int64s
    useful_last: Int32s
    observers_from: Int32s
    values: Int32s


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
    base = 2 * (start + key)
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
    made.values[key] = count


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
def note_values(key: Word, given: Given, made: Made, room: Room, exact: bool) -> None:
    """Find until when each value is of use; with ``exact`` as if each were for ever."""
    start, kept, levels = given.starts[key], made.kept[key], made.levels[key]
    base = 2 * (start + key)
    made.useful_last[base : base + made.values[key]] = levels + 1 if exact else -1
    swaps = 0
    for o in range(kept):
        code, begin = made.code[start + o], room.begin[o]
        if code in (READ, SWAP):
            observed = base + made.first[start + o]
            useful = begin if code == READ else o + 1 if o < levels else room.end[o]
            made.useful_last[observed] = max(made.useful_last[observed], useful)
        if code == SWAP:
            swaps += 1
        if code == WRITE and made.first[start + o] == 1:
            made.joins[start + o] = JOINS
    made.swaps[key] = swaps


@part
def list_observers(key: Word, given: Given, made: Made, room: Room) -> None:
    """List who has to observe each value, and until which level somebody becomes pending who writes it in time."""
    start, kept, levels = given.starts[key], made.kept[key], made.levels[key]
    values = made.values[key]
    base = 2 * start + 3 * key  # each key before has three places more than twice its operations
    writers_from, observers_from = room.writers_from, made.observers_from
    writers_from[: values + 1] = 0
    observers_from[base : base + values + 1] = 0
    for o in range(start, start + kept):
        code = made.code[o]
        if code in (WRITE, SWAP):
            writers_from[(made.first[o] if code == WRITE else made.second[o]) + 1] += 1
        if code in (READ, SWAP) and o - start < levels:
            observers_from[base + made.first[o] + 1] += 1
    for value in range(values):
        writers_from[value + 1] += writers_from[value]
        observers_from[base + value + 1] += observers_from[base + value]
    for place in range(kept):
        operation = made.entering[start + place]
        code = made.code[start + operation]
        if code in (WRITE, SWAP):
            written = made.first[start + operation] if code == WRITE else made.second[start + operation]
            room.writer_begin[writers_from[written]] = room.begin[operation]
            writers_from[written] += 1
    for value in range(values, 0, -1):
        writers_from[value] = writers_from[value - 1]
    writers_from[0] = 0
    for place in range(kept):
        operation = made.entering[start + place]
        if operation >= levels or made.code[start + operation] not in (READ, SWAP):
            continue
        observed = made.first[start + operation]
        first, last = writers_from[observed], writers_from[observed + 1]
        in_time = count_below(room.writer_begin, first, last, operation + 1)
        needs = room.writer_begin[first + in_time - 1] if in_time > 0 else -1
        made.needs[start + operation] = needs
        to = start + observers_from[base + observed]
        made.observer_begin[to] = room.begin[operation]
        made.observer_needs[to] = needs
        observers_from[base + observed] += 1
    for value in range(values, 0, -1):
        observers_from[base + value] = observers_from[base + value - 1]
    observers_from[base] = 0
    for value in range(values):
        first = start + observers_from[base + value]
        for place in range(start + observers_from[base + value + 1] - 2, first - 1, -1):
            made.observer_needs[place] = min(made.observer_needs[place], made.observer_needs[place + 1])


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
        made.code[to] = given.code[o]
        made.first[to] = given.first[o]
        made.second[to] = given.second[o]
        made.joins[to] = READS if given.is_read[o] else NEVER_JOINS
        room.begin[kept] = begin
        room.end[kept] = end
        kept += 1
    made.levels[key] = levels
    made.kept[key] = kept


@part
def arrange(key: Word, given: Given, made: Made, room: Room) -> None:
    """List the operations by the level at which they become pending, and the crashed ones by that of their end."""
    start, levels, kept = given.starts[key], made.levels[key], made.kept[key]
    base = start + key  # each key before has one place more than it has operations
    made.entering_from[base : base + levels + 1] = 0
    made.expiring_from[base : base + levels + 1] = 0
    for o in range(kept):
        made.entering_from[base + room.begin[o] + 1] += 1
        if o >= levels and room.end[o] < levels:
            made.expiring_from[base + room.end[o] + 1] += 1
    for level in range(levels):
        made.entering_from[base + level + 1] += made.entering_from[base + level]
        made.expiring_from[base + level + 1] += made.expiring_from[base + level]
    for o in range(kept):
        level = base + room.begin[o]
        made.entering[start + made.entering_from[level]] = o
        made.entering_from[level] += 1
        if o >= levels and room.end[o] < levels:
            level = base + room.end[o]
            made.expiring[start + made.expiring_from[level]] = o
            made.expiring_from[level] += 1
    # Each beginning has moved on to the next one's place: move all back.
    for level in range(levels, 0, -1):
        made.entering_from[base + level] = made.entering_from[base + level - 1]
        made.expiring_from[base + level] = made.expiring_from[base + level - 1]
    made.entering_from[base] = 0
    made.expiring_from[base] = 0


@part
def place_in_slots(key: Word, given: Given, made: Made, room: Room) -> None:
    """Give each operation the bit that it owns while it is pending: completed and crashed ones have a mask each."""
    start, levels = given.starts[key], made.levels[key]
    base = start + key
    completed_slots = crashed_slots = completed_free = crashed_free = 0
    free_completed, free_crashed = room.begin, room.end
    for level in range(levels):
        if level > 0:
            free_completed[completed_free] = made.slot[start + level - 1]
            completed_free += 1
        for place in range(made.expiring_from[base + level], made.expiring_from[base + level + 1]):
            free_crashed[crashed_free] = made.slot[start + made.expiring[start + place]]
            crashed_free += 1
        for place in range(made.entering_from[base + level], made.entering_from[base + level + 1]):
            o = made.entering[start + place]
            if o < levels:
                if completed_free > 0:
                    completed_free -= 1
                    made.slot[start + o] = free_completed[completed_free]
                else:
                    made.slot[start + o] = completed_slots
                    completed_slots += 1
            elif crashed_free > 0:
                crashed_free -= 1
                made.slot[start + o] = free_crashed[crashed_free]
            else:
                made.slot[start + o] = crashed_slots
                crashed_slots += 1
    made.completed_slots[key] = completed_slots
    made.crashed_slots[key] = crashed_slots


@part
def number_kinds(key: Word, given: Given, made: Made, room: Room, last: Word) -> None:
    """Give operations that do the same the same number. Those that are looked up in a table bring theirs along."""
    start, kept = given.starts[key], made.kept[key]
    kinds = 0
    if kept > 0 and made.code[start] == TABLE:
        for o in range(start, start + kept):
            made.kind[o] = made.first[o]
            kinds = max(kinds, made.first[o] + 1)
        made.kinds[key] = kinds
        return
    stamp = -1 - key
    for o in range(start, start + kept):
        code, first, second = made.code[o], made.first[o], made.second[o]
        place = mixed(mixed(mixed(code) ^ first) ^ second) & last
        while room.state[place] == stamp:
            other = room.value[place]
            if made.code[other] == code and made.first[other] == first and made.second[other] == second:
                break
            place = (place + 1) & last
        if room.state[place] == stamp:
            made.kind[o] = made.kind[room.value[place]]
        else:
            room.state[place] = stamp
            room.value[place] = o
            made.kind[o] = kinds
            kinds += 1
    made.kinds[key] = kinds


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
            list_observers(key, given, made, room)
        place_in_slots(key, given, made, room)
        number_kinds(key, given, made, room, last)
