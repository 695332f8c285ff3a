"""What a fast path is: a decision procedure for some histories of some models, in O(n log n) or close to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.decision import Decision


class Finding(NamedTuple):
    """What a fast path found out about one key.

    ``suspects`` are rows of the columns, few of them, that are illegal by themselves when all other operations are
    relaxed (:func:`foreshock.checkers.entries.relax`): where the explanation starts to look for a minimal core.
    """

    decision: Decision
    suspects: tuple[int, ...] = ()


class FastPath(NamedTuple):
    """A decision procedure by the name that answers call it by.

    ``decide`` gets all operations as columns and the keys (numbers into ``columns.keys``) that are still undecided. It
    answers for those that it applies to, and leaves out the others; the search takes them. It must never answer for
    a history that it does not wholly understand.
    """

    name: str
    decide: Callable[[OperationColumns, Sequence[int]], Mapping[int, Finding]]
