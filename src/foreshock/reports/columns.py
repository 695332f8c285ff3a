"""A history's client operations as plain arrays, which is what figures and drawings are made from."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.harness.history import NONE_PAYLOAD, History
from foreshock.harness.history_values import INTEGER_LIMIT

OUTCOMES: Final = ("ok", "fail", "info")
"""The outcomes, by their code in :attr:`Columns.outcome` (the history's own codes)."""
OK, FAIL, INFO = range(3)

_END_NS_MIN: Final = 1_000_000
"""A shorter run is drawn as if it had lasted this long, so that every plot has an axis."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


class Columns(NamedTuple):
    """The operations of clients, one entry each in order of invocation; times in ns since the start.

    ``complete_ns`` and ``complete_index`` are -1 where an operation never completed. ``f`` and ``node`` are codes into
    ``f_names`` and ``node_names`` (-1: no node). ``end_ns`` is the last time that anything is known of. ``rows`` is the
    same operations as a history, for their values.
    """

    rows: History
    invoke_index: Integers
    invoke_ns: Integers
    complete_ns: Integers
    complete_index: Integers
    outcome: Integers
    process: Integers
    f: Integers
    node: Integers
    f_names: tuple[str, ...]
    node_names: tuple[str, ...]
    end_ns: int

    @property
    def total(self) -> int:
        """How many operations there are."""
        return len(self.invoke_ns)

    @property
    def completed(self) -> Mask:
        """Which operations have a completion."""
        return self.complete_ns >= 0

    @property
    def latency_ns(self) -> Integers:
        """From invocation to completion, or to the end of the run; never negative."""
        ends = np.where(self.completed, self.complete_ns, self.end_ns)
        return np.maximum(ends - self.invoke_ns, 0)

    @property
    def settled_ns(self) -> Integers:
        """When each operation counts on a plot: at its completion, or at its invocation when it had none."""
        return np.where(self.completed, self.complete_ns, self.invoke_ns)

    def name_of(self, position: int) -> str:
        """The ``f`` of the operation at a position."""
        return self.f_names[int(self.f[position])]

    def node_of(self, position: int) -> str:
        """The node that the operation at a position was sent to, or nothing."""
        code = int(self.node[position])
        return self.node_names[code] if code >= 0 else ""

    def values(self, column: str, chosen: Integers) -> list[Any]:
        """The keys, values or results of the operations at some positions."""
        payloads = self.rows.payloads(column)[chosen]
        absent = payloads == NONE_PAYLOAD
        if np.all(absent | (payloads > -INTEGER_LIMIT)):
            # Small integers are their own payloads: nothing needs decoding, which is most of a large page's time.
            found = payloads.astype(object)
            found[absent] = None
            return list(found)
        return self.rows.values(column, chosen)

    def errors(self, chosen: Integers) -> list[str | None]:
        """What the operations at some positions ended with, if it was an error."""
        names: tuple[str | None, ...] = (*self.rows.names, None)
        return [names[code] for code in self.rows.column("error")[chosen].tolist()]


def columns_of(history: History, *, at_least_ns: int = 0) -> Columns:
    """Take the client operations out of a history. ``at_least_ns`` is a time that the run is known to have reached."""
    latest = [int(history.column(name).max(initial=0)) for name in ("invoke_ns", "complete_ns")]
    clients = history.clients()
    f, f_names = _coded(clients, "f")
    node, node_names = _coded(clients, "node")
    return Columns(
        rows=clients,
        invoke_index=_integers(clients, "invoke_index"),
        invoke_ns=_integers(clients, "invoke_ns"),
        complete_ns=_integers(clients, "complete_ns"),
        complete_index=_integers(clients, "complete_index"),
        outcome=_integers(clients, "type"),
        process=_integers(clients, "process"),
        f=f,
        node=node,
        f_names=f_names,
        node_names=node_names,
        end_ns=max(at_least_ns, *latest, _END_NS_MIN),
    )


def _integers(history: History, column: str) -> Integers:
    return history.column(column).astype(np.int64)


def _coded(history: History, column: str) -> tuple[Integers, tuple[str, ...]]:
    """Codes by sorted name, so that a page does not depend on which name came first."""
    codes = _integers(history, column)
    # f, node and error share one table of names; only those that this column uses are of interest.
    used = [code for code in np.unique(codes).tolist() if code >= 0]
    ordered = sorted(used, key=lambda code: history.names[code])
    # One entry more than there are names: the last one is what -1, no name at all, points at.
    place = np.full(len(history.names) + 1, -1, dtype=np.int64)
    place[ordered] = np.arange(len(ordered))
    return place[codes], tuple(history.names[code] for code in ordered)
