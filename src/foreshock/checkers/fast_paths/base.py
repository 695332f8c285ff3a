"""What a fast path is: a decision procedure for some histories of some models, in O(n log n) or close to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from foreshock.checkers.columns import OperationColumns
from foreshock.checkers.decision import Decision
from foreshock.checkers.models.work import ASK_EVERY
from foreshock.checkers.search import Limits

UNLIMITED: Final = Limits(1 << 62, 1 << 62)
"""For whoever has all the time there is."""


class Finding(NamedTuple):
    """What a fast path found out about one key.

    ``suspects`` are rows of the columns, few of them, that are illegal by themselves when all other operations are
    relaxed (:func:`foreshock.checkers.entries.relax`): where the explanation starts to look for a minimal core.
    """

    decision: Decision
    suspects: tuple[int, ...] = ()


class FastPath(NamedTuple):
    """A decision procedure by the name that answers call it by.

    ``procedure`` gets all operations as columns and the keys (numbers into ``columns.keys``) that are still undecided.
    It answers for those that it applies to, and leaves out the others; the search takes them. It must never answer for
    a history that it does not wholly understand. Where it may take more than some passes over all operations, it looks
    at the limits now and then, and leaves out the keys that it did not come to.
    """

    name: str
    procedure: Callable[[OperationColumns, Sequence[int], Limits], Mapping[int, Finding]]

    def decide(
        self, columns: OperationColumns, keys: Sequence[int], limits: Limits = UNLIMITED
    ) -> Mapping[int, Finding]:
        """What it found out about those of the keys that it decided within the limits."""
        return {} if limits.exceeded() else self.procedure(columns, keys, limits)


def at_once(
    name: str, procedure: Callable[[OperationColumns, Sequence[int]], Mapping[int, Finding]]
) -> FastPath:
    """A fast path that takes a few sorts and passes over all keys at once: done before it could look at limits."""
    return FastPath(name, lambda columns, keys, limits: procedure(columns, keys))  # noqa: ARG005


def in_time(columns: OperationColumns, keys: Iterable[int], limits: Limits) -> Iterator[int]:
    """The keys one by one, for as long as the limits allow; they are asked every few thousand operations."""
    unasked = 0
    for key in keys:
        if unasked >= ASK_EVERY:
            unasked = 0
            if limits.exceeded():
                return
        unasked += len(columns.rows_by_key[key])
        yield key
