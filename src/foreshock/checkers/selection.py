"""Of a long history the few operations that an explanation of its suspects has to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from foreshock.checkers.columns import Ints, OperationColumns
from foreshock.checkers.models.register import CAS, DELETES, READS, WRITES, CasRegister, Register
from foreshock.harness.model import Model

_STEPS_MAX: Final = 2_000
"""How far back along compare-and-sets the origin of a value is followed."""


def telling_rows(columns: OperationColumns, rows: Ints, suspects: Sequence[int], model: Model) -> Ints | None:
    """The suspects (places in ``rows``), and of the other updates those that can matter once all else is left out.

    ``None`` where that cannot be told by looking at columns. In a register only what makes a value that a suspect
    finds can matter, and what makes a value that such a compare-and-set finds, and so on.
    """
    if type(model) not in (Register, CasRegister):
        return None
    kept = rows[np.asarray(suspects, dtype=np.int64)]
    reads = kept[columns.f_in(READS)[kept] & ~columns.crashed[kept]]
    swaps = rows[columns.f_in({CAS})[rows]]
    found, made, _ = columns.pair_tokens(swaps)
    wanted = np.unique(np.concatenate((columns.tokens("result", reads), found[np.isin(swaps, kept)])))
    order = np.argsort(made, kind="stable")
    chosen = np.zeros(len(swaps), dtype=np.bool_)
    frontier = wanted
    sorted_made = made[order]
    for _ in range(_STEPS_MAX):
        low = np.searchsorted(sorted_made, frontier, "left")
        high = np.searchsorted(sorted_made, frontier, "right")
        places = [order[start:end] for start, end in zip(low, high, strict=True)]
        grown = np.concatenate(places) if places else order[:0]
        grown = grown[~chosen[grown]]
        if not len(grown):
            break
        chosen[grown] = True
        frontier = np.setdiff1d(found[grown], wanted)
        wanted = np.union1d(wanted, frontier)
    else:
        return None
    writes = rows[columns.f_in(WRITES)[rows]]
    writes = writes[np.isin(columns.tokens("value", writes), wanted)]
    deletes = rows[columns.f_in(DELETES)[rows]]
    deletes = deletes if np.isin(columns.token_of(None), wanted) else deletes[:0]
    return np.unique(np.concatenate((kept, writes, deletes, swaps[chosen])))
