"""Stacks whose elements are distinct: O(n log n) for large keys, compiled; O(n) a round in numpy for small ones.

In a legal order the stays of two elements are nested or apart. The method takes the history apart from the outside,
as the decrease-and-conquer of Lee & Mathur (Efficient Decrease-and-Conquer Linearizability Monitoring, 2025) does,
with two steps that each keep legal what is legal and illegal what is illegal (stays, cores and trimming as in
``containers.py``):

* *Bottom.* An element that was called to be put in before any other's putting had returned, and whose taking
  returned after the last call to take any other, can lie below all others, so it is left out: around any legal
  order of the others it can be put first and taken last.
* *Cut.* If no core lies at some moment t, the elements whose putting returned before t and the others are judged
  apart. Both parts of a legal history are legal; and legal orders of both, with moments clamped to t, follow each
  other (the argument is in ``containers.py``).

Where neither step can be done and elements are left, the history is illegal: in a legal order, either the first
element lies below all others until the end, or the stack is empty in between, at a moment at which no core lies.

A cut needs to be tried only where putting an element returned: from a moment without a core one can go on to where
the next core begins. In the order of these returns each part is a stretch, and t is free of cores exactly when no
element before it is called to be taken after it.

That ``put_ret`` is trimmed (``containers.py``) decides nothing here. An element whose putting
returned after its taking can be put in and taken at one moment, that of the latter return, whatever else is there;
so it makes nothing illegal, in whichever part of a cut it is. A bottom that was only called before the others'
putting returned untrimmed is one too: around a legal order of the others, those that are there at its call can be
put in right after it instead, in the same order, for their putting has not returned. And one of the steps can still
be done in any legal order: let y be the last element that is put in on an empty stack. If some putting returned
before y is put in, there is a cut, else y is a bottom.

Who found nothing needs a moment without a core. A pop that crashed may have taken any element that is still there;
a history that is illegal without those is left to the search, unless every element was taken anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from foreshock.checkers.columns import Ints
from foreshock.checkers.decision import Decision
from foreshock.checkers.fast_paths.base import FastPath, Finding
from foreshock.checkers.fast_paths.containers import NOBODY, Stays, never_empty, path_of
from foreshock.checkers.models.queues import POP, PUSH

METHOD: Final = "nested stays"
COMPILED_FROM: Final = 4_000
"""A stack of more elements is worth the import of the compiler: the rounds in numpy may be as many as it is deep."""
_SHOWN_MAX: Final = 12


def decide_stack(stays: Stays) -> Finding:
    """Decide one stack."""
    order = np.argsort(stays.put_ret, kind="stable")
    windows = [column[order] for column in (stays.put_call, stays.put_ret, stays.take_call, stays.take_ret)]
    decide: Callable[..., Any] = not_nested
    if len(stays) > COMPILED_FROM:
        from foreshock.checkers.kernels import nesting

        decide = nesting.not_nested
    start, stop = decide(*windows)
    suspects = never_empty(stays) if start == stop else stays.rows(*order[_few(start, stop)].tolist())
    if suspects is None:
        return Finding(Decision.VALID)
    if len(stays.crashed) and (stays.take_row == NOBODY).any():
        return Finding(Decision.NOT_APPLICABLE)
    return Finding(Decision.INVALID, suspects)


def _few(start: int, stop: int) -> Ints:
    return np.unique(np.linspace(start, stop - 1, _SHOWN_MAX).astype(np.int64))


def not_nested(put_call: Ints, put_ret: Ints, take_call: Ints, take_ret: Ints) -> tuple[int, int]:
    """A stretch of elements (ascending by ``put_ret``) whose stays cannot be nested; an empty one if all can."""
    parts = [np.arange(len(put_ret))]
    while parts:
        part = parts.pop()
        if not len(part):
            continue
        begins, ends = put_ret[part], take_call[part]
        bottom = (put_call[part] <= begins[0]) & (take_ret[part] >= ends.max())
        if bottom.any():
            # What was a bottom is one still when another one has been taken away.
            parts.append(part[~bottom])
            continue
        latest = np.maximum.accumulate(ends)
        first = np.searchsorted(begins, begins, side="left")
        cuts = np.flatnonzero((first == np.arange(len(part))) & (first > 0))
        cuts = cuts[latest[cuts - 1] <= begins[cuts]]
        if not len(cuts):
            return int(part[0]), int(part[-1]) + 1
        parts += np.split(part, cuts)
    return 0, 0


STACK: Final[FastPath] = path_of(METHOD, PUSH, POP, decide_stack)
