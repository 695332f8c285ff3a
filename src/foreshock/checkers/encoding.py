"""Operations as the kernels take them: each a few integers. Models whose state fits one integer need no Python at all.

Which these are stands in ``_NATIVE``; any other model is asked once for each state and kind of operation that meet,
and its answers are kept in a table (``answers.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from foreshock.checkers.answers import Answers
from foreshock.checkers.columns import ABSENT, NO_CODE, Bools, Ints, OperationColumns
from foreshock.checkers.entries import Entry, freeze
from foreshock.checkers.kernels.layout import READ, SWAP, TABLE, WRITE, Int32s
from foreshock.checkers.models.base import UNOBSERVED, unknown_operation
from foreshock.checkers.models.lock import ACQUIRE, RELEASE, Mutex, OwnerMutex
from foreshock.checkers.models.register import CAS, READS, CasRegister, Register
from foreshock.checkers.problem import is_reading, questions_of, specialized, useful_horizons
from foreshock.harness.model import Model

_UNOBSERVED_TOKEN: Final = ABSENT + 1
"""Between the token of ``None`` and those of integers, so that it is nobody else's."""

Decode = Callable[[int], Any]


@dataclass(frozen=True)
class Encoded:
    """The operations of some keys as integers: key by key, completed ones by their return, then crashed by their call.

    ``starts`` says where each key's begin, ``offset`` where each operation stood among its key's. With ``by_value`` the
    horizons (the last position at which a crashed operation can matter) are still to be found. ``answers`` is for
    models whose steps are looked up; ``decode`` turns the integer of a state into the state.
    """

    starts: Ints
    offset: Ints
    call: Ints
    ret: Ints
    crashed: Bools
    is_read: Bools
    horizon: Ints
    code: Int32s
    first: Ints
    second: Ints
    initial: int
    decode: Decode
    by_value: bool = False
    unobserved: int = 0
    answers: Answers | None = None
    is_specialized: bool = False
    """Whether the steps are those of a model that knows what is still to come."""

    def __len__(self) -> int:
        return len(self.starts) - 1


def takes_many(model: Model) -> bool:
    """Whether many keys are encoded at once as cheaply as one: columns do, without a Python object an operation."""
    return type(model) in (Register, CasRegister)


def encode_keys(columns: OperationColumns, keys: Sequence[int], model: Model) -> Encoded:
    """The operations of some keys; of one key only unless the model takes many."""
    if takes_many(model):
        return _encode_registers(columns, keys, cast(Register, model))
    return encode_entries(columns.entries(columns.rows_by_key[keys[0]]), model)


def encode_entries(entries: Sequence[Entry], model: Model) -> Encoded:
    """The operations of one key from entries."""
    native = _NATIVE.get(type(model))
    code = np.full(len(entries), TABLE, dtype=np.int32)
    first = np.zeros(len(entries), dtype=np.int64)
    second = np.zeros(len(entries), dtype=np.int64)
    is_read = is_reading(model, entries)
    numbers = _Numbers()
    answers: Answers | None = None
    is_specialized = False
    decode: Decode = numbers.value
    if native is not None:
        initial = numbers.of(model.initial())
        for place, entry in enumerate(entries):
            code[place], first[place], second[place] = native(model, entry, numbers.of)
        horizon = np.zeros(len(entries), dtype=np.int64)
    else:
        small = specialized(model, entries)
        is_specialized = small is not model
        kinds, questions = questions_of(small, entries)
        first[:] = kinds
        answers = Answers(small, questions)
        initial, decode = answers.initial, answers.states.__getitem__
        horizon = np.array(useful_horizons(model, entries), dtype=np.int64)
    call, ret = _ints(entry.call for entry in entries), _ints(entry.ret for entry in entries)
    order = np.lexsort((call, ret))
    return Encoded(
        starts=np.array((0, len(entries))),
        offset=order,
        call=call[order],
        ret=ret[order],
        crashed=np.array([entry.crashed for entry in entries], dtype=np.bool_)[order],
        is_read=np.array([is_read[entry.f] for entry in entries], dtype=np.bool_)[order],
        horizon=horizon[order],
        code=code[order],
        first=first[order],
        second=second[order],
        initial=initial,
        decode=decode,
        by_value=native is not None,
        unobserved=numbers.of(UNOBSERVED),
        answers=answers,
        is_specialized=is_specialized,
    )


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


class _Numbers:
    """Values as numbers of our own."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._values: list[Any] = []

    def of(self, value: Any) -> int:
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def value(self, number: int) -> Any:
        return self._values[number]


_Number = Callable[[Any], int]
_Native = Callable[[Any, Entry, _Number], tuple[int, int, int]]


def _register(model: Register, entry: Entry, number: _Number) -> tuple[int, int, int]:
    if entry.f in READS:
        return READ, number(freeze(entry.result)), 0
    if entry.f == CAS:
        old, new = model.pair(entry.value)
        return SWAP, number(old), number(new)
    return WRITE, number(model.written(entry.f, entry.value)), 0


def _mutex(model: Mutex, entry: Entry, number: _Number) -> tuple[int, int, int]:
    return _swap(model, entry, number(False), number(True))


def _owner_mutex(model: OwnerMutex, entry: Entry, number: _Number) -> tuple[int, int, int]:
    return _swap(model, entry, number(None), number(entry.process))


def _swap(model: Mutex | OwnerMutex, entry: Entry, free: int, held: int) -> tuple[int, int, int]:
    if entry.f == ACQUIRE:
        return SWAP, free, held
    if entry.f == RELEASE:
        return SWAP, held, free
    raise unknown_operation(model.name, entry.f, (ACQUIRE, RELEASE))


_NATIVE: Final[dict[type[Any], _Native]] = {
    Register: _register,
    CasRegister: _register,
    Mutex: _mutex,
    OwnerMutex: _owner_mutex,
}
"""By the exact class: a subclass may mean something else."""


def _encode_registers(columns: OperationColumns, keys: Sequence[int], model: Register) -> Encoded:
    """Registers: all in columns, but for the pairs of compare-and-sets, which are lists."""
    of_keys = [columns.rows_by_key[key] for key in keys]
    if len(of_keys) == 1:
        rows = of_keys[0]
        starts = np.array((0, len(rows)))
        offset = np.lexsort((columns.call[rows], columns.ret[rows]))
        rows = rows[offset]
    else:
        lengths = [len(rows) for rows in of_keys]
        rows = np.concatenate(of_keys)
        starts = np.concatenate(([0], np.cumsum(lengths)))
        order = np.lexsort((columns.call[rows], columns.ret[rows], np.repeat(np.arange(len(keys)), lengths)))
        offset = order - np.repeat(starts[:-1], lengths)
        rows = rows[order]
    registers = columns.as_registers
    code = registers.code[rows]
    if (code == NO_CODE).any() or (type(model) is Register and (code == SWAP).any()):
        _refuse(columns, rows, model)
    return Encoded(
        starts=starts,
        offset=offset,
        call=columns.call[rows],
        ret=columns.ret[rows],
        crashed=columns.crashed[rows],
        is_read=code == READ,
        horizon=np.zeros(len(rows), dtype=np.int64),
        code=code,
        first=registers.first[rows],
        second=registers.second[rows],
        initial=columns.token_of(model.initial()),
        decode=lambda token: UNOBSERVED if token == _UNOBSERVED_TOKEN else columns.value_of(token),
        by_value=True,
        unobserved=_UNOBSERVED_TOKEN,
    )


def _refuse(columns: OperationColumns, rows: Ints, model: Register) -> None:
    """Raise what the model says of the first operation that is none of its own."""
    for entry in columns.entries(rows):
        if entry.f not in model.operations:
            raise unknown_operation(model.name, entry.f, sorted(model.operations))
        if entry.f == CAS:
            model.pair(entry.value)
