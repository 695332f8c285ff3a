"""A history's operations as numpy columns, split by key: what the fast paths and the search are fed from."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from foreshock.checkers.entries import NEVER, Entry, freeze
from foreshock.checkers.kernels.layout import READ, SWAP, WRITE, Int32s
from foreshock.checkers.models.base import FAILED
from foreshock.checkers.models.register import CAS, DELETES, READS, WRITES
from foreshock.harness.history import NONE_PAYLOAD, History
from foreshock.harness.history_columns import FAIL_CODE, INFO_CODE
from foreshock.harness.history_values import INTEGER_LIMIT
from foreshock.harness.model import UNKNOWN

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

ABSENT: Final = NONE_PAYLOAD
"""The token of ``None``."""


NO_CODE: Final = -1
_REGISTER_CODES: Final = {
    **dict.fromkeys(READS, READ),
    **dict.fromkeys(WRITES | DELETES, WRITE),
    CAS: SWAP,
}


class RegisterColumns(NamedTuple):
    """Operations as those of registers, by row: what each does (as ``kernels/layout.py`` has it) with which tokens.

    ``NO_CODE`` where a register has no such operation, or its value is no pair. Those of crashed reads mean nothing.
    """

    code: Int32s
    first: Ints
    second: Ints


@dataclass(frozen=True)
class OperationColumns:
    """The operations that happened or may have happened, in the order of their calls.

    Failed ones are not here, but for those that tell something (``failed``).

    ``call`` and ``ret`` are positions as in :class:`~foreshock.checkers.entries.Entry` (``ret`` is ``NEVER`` for
    crashed ones), ``key`` counts into ``keys``, ``f`` into ``names``. Values are payloads as in
    :meth:`foreshock.harness.history.History.payloads`; ``values_of`` decodes the columns ``value`` and ``result``, or
    some rows of them.
    """

    index: Ints
    call: Ints
    ret: Ints
    process: Ints
    key: Ints
    f: Ints
    crashed: Bools
    failed: Bools
    value: Ints
    result: Ints
    call_ns: Ints
    ret_ns: Ints
    keys: Sequence[Any]
    names: Sequence[str]
    values_of: Callable[[str, Ints | None], Sequence[Any]]

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def values(self) -> Sequence[Any]:
        """What was asked for, as objects."""
        return self.values_of("value", None)

    @cached_property
    def results(self) -> Sequence[Any]:
        """What came back, as objects."""
        return self.values_of("result", None)

    def f_in(self, names: Collection[str]) -> Bools:
        """Which rows have one of these operation names."""
        wanted = np.array([name in names for name in self.names] or [False])
        chosen: Bools = wanted[self.f]
        return chosen

    @cached_property
    def rows_by_key(self) -> list[Ints]:
        """For each key its rows, in the order of their calls."""
        if len(self.keys) == 1:
            return [np.arange(len(self.key))]
        order = np.argsort(self.key, kind="stable")
        bounds = np.searchsorted(self.key[order], np.arange(1, len(self.keys)))
        return np.split(order, bounds)

    def entries(self, rows: Ints) -> list[Entry]:
        """The entries of some rows."""
        columns = (self.index, self.call, self.ret, self.f, self.crashed, self.failed, self.process)
        times = (self.call_ns, self.ret_ns)
        values, results = self.values_of("value", rows), self.values_of("result", rows)
        lists = [values, results, *(column[rows].tolist() for column in (*columns, *times))]
        names = self.names
        return [
            Entry(
                index,
                call,
                ret,
                names[f],
                value,
                UNKNOWN if crashed else FAILED if failed else result,
                crashed,
                process,
                (call_ns, ret_ns),
            )
            for value, result, index, call, ret, f, crashed, failed, process, call_ns, ret_ns in zip(
                *lists, strict=True
            )
        ]

    def tokens(self, column: str, rows: Ints) -> Ints:
        """Numbers for the values of some rows of ``value`` or ``result``, equal exactly when the values are.

        Small integers and ``None`` are their own; only other values have to be looked at one by one.
        """
        tokens: Ints = (self.value if column == "value" else self.result)[rows]
        others = np.flatnonzero(tokens < ABSENT)
        if len(others):
            objects = self.values_of(column, rows[others])
            for place, value in zip(others.tolist(), objects, strict=True):
                tokens[place] = self._token(freeze(value))
        return tokens

    def pair_tokens(self, rows: Ints) -> tuple[Ints, Ints, Bools]:
        """The tokens of the two parts of the values of some rows that are pairs, and which are (0 elsewhere)."""
        pairs = self.values_of("value", rows)
        is_pair = np.array([isinstance(pair, list) and len(pair) == 2 for pair in pairs], dtype=np.bool_)
        if not is_pair.all():
            pairs = [pair if known else (0, 0) for pair, known in zip(pairs, is_pair.tolist(), strict=True)]
        first, second = (self._parts([pair[part] for pair in pairs]) for part in (0, 1))
        return first, second, is_pair

    def _parts(self, values: Sequence[Any]) -> Ints:
        """The tokens of values, most of which are thought small integers."""
        try:
            tokens = np.array([v if type(v) is int else self._part(v) for v in values], dtype=np.int64)
        except OverflowError:
            return np.array([self._part(value) for value in values], dtype=np.int64)
        for place in np.flatnonzero(np.abs(tokens) >= INTEGER_LIMIT).tolist():
            tokens[place] = self._part(values[place])
        return tokens

    def _part(self, value: Any) -> int:
        return ABSENT if value is None else self._token(freeze(value))

    @cached_property
    def as_registers(self) -> RegisterColumns:
        """The operations as those of registers."""
        codes = [_REGISTER_CODES.get(name, NO_CODE) for name in self.names]
        code = np.array(codes or [NO_CODE], dtype=np.int32)[self.f]
        is_read = code == READ
        first = np.where(is_read, self.result, self.value)
        second = np.zeros(len(first), dtype=np.int64)
        swaps = np.flatnonzero(code == SWAP)
        if len(swaps):
            first[swaps], second[swaps], is_pair = self.pair_tokens(swaps)
            code[swaps[~is_pair]] = NO_CODE
        deleted = [place for place, name in enumerate(self.names) if name in DELETES]
        if deleted:
            first[np.isin(self.f, deleted)] = ABSENT
        if (first < ABSENT).any():
            for column, chosen in (("result", is_read & ~self.crashed), ("value", code == WRITE)):
                odd = np.flatnonzero(chosen & (first < ABSENT))
                first[odd] = self.tokens(column, odd)
        return RegisterColumns(code, first, second)

    def token_of(self, value: Any) -> int:
        """The token of a frozen value."""
        return ABSENT if value is None else self._token(value)

    def value_of(self, token: int) -> Any:
        """The frozen value behind a token that was handed out."""
        if token >= ABSENT:
            return None if token == ABSENT else token
        # They are numbered downwards, in the order in which they came up.
        return list(self._numbers)[ABSENT - 1 - token]

    def _token(self, value: Any) -> int:
        if isinstance(value, int) and abs(value) < INTEGER_LIMIT:
            return value
        # Below every payload, so that no token means two things.
        return self._numbers.setdefault(value, ABSENT - 1 - len(self._numbers))

    @cached_property
    def _numbers(self) -> dict[Any, int]:
        return {}


def columns_of(
    history: History, operations: Collection[str] | None = None, observed_failures: Collection[str] = ()
) -> OperationColumns:
    """The operations of clients (of those names, when given) as columns.

    Failed ones are left out, unless their names are among ``observed_failures``.
    """
    names = history.names
    type_code = history.column("type")
    told = [code for code, name in enumerate(names) if name in observed_failures]
    f = history.column("f")
    chosen = (history.column("process") >= 0) & ((type_code != FAIL_CODE) | np.isin(f, told))
    if operations is not None:
        wanted = [code for code, name in enumerate(names) if name in operations]
        chosen &= np.isin(f, wanted)
    rows = np.flatnonzero(chosen)
    crashed = type_code[rows] == INFO_CODE
    payloads, first, key = np.unique(history.payloads("key")[rows], return_index=True, return_inverse=True)
    index = history.column("invoke_index")[rows]

    def values_of(name: str, some: Ints | None) -> list[Any]:
        return history.values(name, rows if some is None else rows[some])

    return OperationColumns(
        index=index,
        call=index,
        ret=np.where(crashed, NEVER, history.column("complete_index")[rows]),
        process=history.column("process")[rows],
        key=key.astype(np.int64),
        f=f[rows],
        crashed=crashed,
        failed=type_code[rows] == FAIL_CODE,
        value=history.payloads("value")[rows],
        result=history.payloads("result")[rows],
        call_ns=history.column("invoke_ns")[rows],
        ret_ns=np.where(crashed, NEVER, history.column("complete_ns")[rows]),
        keys=[
            _key_of(payload, history, int(rows[row]))
            for payload, row in zip(payloads.tolist(), first, strict=True)
        ],
        names=names,
        values_of=values_of,
    )


def _key_of(payload: int, history: History, row: int) -> Any:
    return payload if payload > NONE_PAYLOAD else history[row].key
