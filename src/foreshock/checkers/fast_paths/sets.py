"""Sets, decided key by key in O(n log n) of the operations and of the elements that reads list.

*Without reads of the whole set* every element is an object of its own, and linearizability is local (Herlihy & Wing
1990). An element is asked for (``contains``), added and removed. If it is never removed, only its first add
matters. That happens at a moment p from the earliest call of an add to the earliest return of one, not before the
last call of a ``contains`` that said no, nor after the first return of one that said yes; and any such p will do:
the add that was called first can be there, and all others after it. If it is added once and removed once, either

* the remove comes first and does nothing: p as above, and not before the call of the remove; or
* the add, as late as it can be (p: at its return, or the first return of a yes), comes before the remove, as early
  as it can be (r: its call, or the last call of a yes). Every no then needs a moment up to p or from r on; where r
  is before p, both can happen at one moment, which no operation has to avoid.

An element that is added and removed more often than that is left to the search, for it is a register with two
values.

*Reads of the whole set* can be judged where nothing is ever removed. What they list then forms a chain: sorted by
size, each is part of the next. So the order is forced, layer by layer: the reads of one list, the first adds of the
elements that the next list has more, the reads of that, and so on; at last the elements that no read lists. Each
operation happens as early as that order and its call allow, and the history is legal exactly when none does so
after its return. The moment of a first add has the bounds above.

Crashed adds return never. An element that nobody saw, all whose adds crashed, is never added.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, Entry, freeze
from foreshock.checkers.fast_paths.base import FastPath, Finding, in_time
from foreshock.checkers.fast_paths.lines import SUSPECTS_MAX
from foreshock.checkers.models.sets import ADD, CONTAINS, READ, REMOVE
from foreshock.checkers.search import Limits

METHOD: Final = "elements"
_BEFORE_ALL: Final = -NEVER
_NOBODY: Final = -1
_Windows = list[tuple[int, int, int]]


@dataclass(slots=True)
class Element:
    """What was done about one element of a set, by offsets of entries, and what follows for its first add.

    ``first_call`` and ``first_ret`` bound the moment of that, by the adds; ``yes_ret`` and ``yes_call`` are the first
    return and the last call of an answer that it was there, ``no_call`` the last call of one that it was not.
    """

    adds: list[int] = field(default_factory=list)
    removes: list[int] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    first_call: int = NEVER
    first_ret: int = NEVER
    yes_ret: int = NEVER
    yes_call: int = _BEFORE_ALL
    no_call: int = _BEFORE_ALL

    @property
    def low(self) -> int:
        """The earliest moment of the first add."""
        return max(self.first_call, self.no_call)

    @property
    def high(self) -> int:
        """The latest moment of the first add; ``NEVER`` where it need not be."""
        return min(self.first_ret, self.yes_ret)


def decide_set(entries: Sequence[Entry]) -> tuple[Decision, list[int]]:
    """Decide the history of one set; with offsets that show it when it is illegal."""
    elements: dict[Any, Element] = {}
    reads = []
    for offset, entry in enumerate(entries):
        if entry.f == READ and (entry.crashed or isinstance(entry.result, list | tuple)):
            if not entry.crashed:
                reads.append(offset)
        elif not _collect(elements.setdefault(freeze(entry.value), Element()), entry, offset):
            return Decision.NOT_APPLICABLE, []
    if not reads:
        return _decide_elements(entries, elements.values())
    if any(element.removes for element in elements.values()):
        return Decision.NOT_APPLICABLE, []
    wrong = _wrong_reads(entries, elements, reads)
    return (Decision.VALID, []) if wrong is None else (Decision.INVALID, sorted(wrong - {_NOBODY}))


def _decide_elements(entries: Sequence[Entry], elements: Iterable[Element]) -> tuple[Decision, list[int]]:
    verdict = Decision.VALID
    for element in elements:
        decision = _decide_element(entries, element)
        if decision is Decision.INVALID:
            return decision, sorted((*element.adds, *element.removes, *element.answers))[:SUSPECTS_MAX]
        if decision is Decision.NOT_APPLICABLE:
            verdict = decision
    return verdict, []


def _collect(element: Element, entry: Entry, offset: int) -> bool:
    """Note an operation on an element; false where it is none of a set, or its result is no answer."""
    if entry.f == ADD:
        element.adds.append(offset)
        element.first_call = min(element.first_call, entry.call)
        element.first_ret = min(element.first_ret, entry.ret)
    elif entry.f == REMOVE:
        element.removes.append(offset)
    elif entry.f != CONTAINS:
        return False
    elif not entry.crashed:
        if not isinstance(entry.result, bool):
            return False
        element.answers.append(offset)
        if entry.result:
            element.yes_ret = min(element.yes_ret, entry.ret)
            element.yes_call = max(element.yes_call, entry.call)
        else:
            element.no_call = max(element.no_call, entry.call)
    return True


def _decide_element(entries: Sequence[Entry], element: Element) -> Decision:
    if not element.adds:
        return Decision.VALID if element.yes_ret == NEVER else Decision.INVALID
    if element.high == NEVER or (element.low <= element.high and not element.removes):
        # With all adds crashed and nobody who saw it, it was never there.
        return Decision.VALID
    if not element.removes:
        return Decision.INVALID
    if len(element.removes) > 1 or len(element.adds) > 1:
        return Decision.NOT_APPLICABLE
    remove = entries[element.removes[0]]
    not_before = _BEFORE_ALL if remove.crashed else remove.call
    if max(element.low, not_before) <= element.high:
        return Decision.VALID
    return Decision.VALID if _added_then_removed(entries, element, remove) else Decision.INVALID


def _added_then_removed(entries: Sequence[Entry], element: Element, remove: Entry) -> bool:
    added, removed = element.high, max(remove.call, element.yes_call)
    if element.first_call > min(added, remove.ret) or removed > remove.ret:
        return False
    noes = (entries[offset] for offset in element.answers if not entries[offset].result)
    return not any(added < no.call and no.ret < removed for no in noes)


def _wrong_reads(
    entries: Sequence[Entry], elements: dict[Any, Element], reads: Sequence[int]
) -> set[int] | None:
    """Offsets that show why reads of the whole set, of which nothing is removed, go against something; or ``None``."""
    listed: list[tuple[frozenset[Any], int]] = []
    for offset in reads:
        result = entries[offset].result
        found = frozenset(map(freeze, result))
        if len(found) < len(result) or not all(e in elements and elements[e].adds for e in found):
            return {offset}
        listed.append((found, offset))
    listed.sort(key=lambda read: len(read[0]))
    layers: list[_Windows] = []
    before, before_offset = frozenset[Any](), _NOBODY
    for found, offset in listed:
        if not before <= found:
            return {before_offset, offset}
        if not layers or found != before:
            layers += [_adds(elements[name] for name in found - before), []]
        # The reads of one list have no order among them.
        layers[-1].append((entries[offset].call, entries[offset].ret, offset))
        before, before_offset = found, offset
    layers.append(_adds(element for name, element in elements.items() if name not in before))
    return _against_the_layers(layers)


def _against_the_layers(layers: Iterable[_Windows]) -> set[int] | None:
    moment, latest = _BEFORE_ALL, _NOBODY
    for windows in layers:
        for low, high, who in windows:
            if max(low, moment) > high:
                return {who, latest}
        moment, latest = max([(moment, latest), *((low, who) for low, _, who in windows)])
    return None


def _adds(elements: Iterable[Element]) -> _Windows:
    """For the first add of each element: from when, until when, and an operation that stands for it."""
    return [
        (element.low, element.high, [*element.adds, *element.answers][0])
        for element in elements
        if element.adds or element.yes_ret < NEVER
    ]


def _decide(columns: OperationColumns, keys: Sequence[int], limits: Limits) -> dict[int, Finding]:
    failed = np.zeros(len(columns.keys), dtype=np.bool_)
    failed[columns.key[columns.failed]] = True
    findings = {}
    for key in in_time(columns, [key for key in keys if not failed[key]], limits):
        rows = columns.rows_by_key[key]
        decision, suspects = decide_set(columns.entries(rows))
        if decision is not Decision.NOT_APPLICABLE:
            findings[key] = Finding(decision, tuple(rows[suspects].tolist()))
    return findings


ELEMENTS: Final = FastPath(METHOD, _decide)
