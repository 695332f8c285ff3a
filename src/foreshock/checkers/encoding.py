"""Operations as the kernels take them: each a few integers. Models whose state fits one integer need no Python at all.

Which these are stands in ``_NATIVE``; any other model is asked once for each state and kind of operation that meet,
and its answers are kept in a table (:class:`Answers`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

import numpy as np

from foreshock.checkers.columns import ABSENT, Bools, Ints, OperationColumns
from foreshock.checkers.entries import NEVER, UNNOTICED, Entry, freeze
from foreshock.checkers.kernels.layout import ILLEGAL, READ, SWAP, TABLE, WRITE, Int32s
from foreshock.checkers.models.base import UNOBSERVED, unknown_operation
from foreshock.checkers.models.lock import ACQUIRE, RELEASE, Mutex, OwnerMutex
from foreshock.checkers.models.register import CAS, DELETES, READS, CasRegister, Register, hand_on
from foreshock.checkers.problem import Question, is_reading, questions_of, specialized, useful_horizons
from foreshock.harness.errors import PlugInError
from foreshock.harness.model import ILLEGAL as ILLEGAL_OF_MODEL
from foreshock.harness.model import Model

_UNOBSERVED_TOKEN: Final = ABSENT + 1
"""Between the token of ``None`` and those of integers, so that it is nobody else's."""

Decode = Callable[[int], Any]


@dataclass(frozen=True)
class Encoded:
    """The operations of one key, in any order: code, operands, and when they were pending.

    ``horizon`` is the last position at which a crashed operation can matter. ``answers`` is for models whose steps
    are looked up; ``decode`` turns the integer of a state into the state.
    """

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
    answers: Answers | None = None

    def __len__(self) -> int:
        return len(self.call)


class Answers:
    """What a model answers, asked at most once for each state and kind of operation. States are numbered."""

    def __init__(self, model: Model, questions: Sequence[Question]) -> None:
        self._model = model
        self._questions = questions
        self._numbers: dict[Hashable, int] = {}
        self.states: list[Any] = []
        self.initial = self._number(model.initial())

    def after(self, state: int, kind: int) -> int:
        """The number of the state after an operation of that kind, or ``ILLEGAL``."""
        found = self._model.step(self.states[state], *self._questions[kind])
        return ILLEGAL if found is ILLEGAL_OF_MODEL else self._number(found)

    def _number(self, state: Any) -> int:
        try:
            number = self._numbers.setdefault(state, len(self._numbers))
        except TypeError as error:
            raise PlugInError(unhashable(self._model.name, state)) from error
        if number == len(self.states):
            self.states.append(state)
        return number


def unhashable(model: str, state: Any) -> str:
    """The sentence about a model whose state cannot be hashed."""
    return (
        f"the model {model!r} returned the state {state!r}, which cannot be hashed: "
        "let step() return tuples and frozensets instead of lists, dicts and sets"
    )


def encode_rows(columns: OperationColumns, rows: Ints, model: Model) -> Encoded:
    """The operations of one key for the kernels; without a Python object an operation where the model allows it."""
    if type(model) in (Register, CasRegister):
        return _encode_register(columns, rows, cast(Register, model))
    return encode_entries(columns.entries(rows), model)


def encode_entries(entries: Sequence[Entry], model: Model) -> Encoded:
    """The same from entries."""
    native = _NATIVE.get(type(model))
    code = np.full(len(entries), TABLE, dtype=np.int32)
    first = np.zeros(len(entries), dtype=np.int64)
    second = np.zeros(len(entries), dtype=np.int64)
    is_read = is_reading(model, entries)
    reads = np.array([is_read[entry.f] for entry in entries], dtype=np.bool_)
    crashed = np.array([entry.crashed for entry in entries], dtype=np.bool_)
    answers: Answers | None = None
    decode: Decode
    if native is not None:
        numbers = _Numbers()
        initial = numbers.of(model.initial())
        for place, entry in enumerate(entries):
            code[place], first[place], second[place] = native(model, entry, numbers.of)
        unobserved = numbers.of(UNOBSERVED)
        _forget_unobserved(code, first, second, reads & crashed, unobserved)
        decode = numbers.value
    else:
        small = specialized(model, entries)
        kinds, questions = questions_of(small, entries)
        first[:] = kinds
        answers = Answers(small, questions)
        initial, decode = answers.initial, answers.states.__getitem__
    return Encoded(
        call=_ints(entry.call for entry in entries),
        ret=_ints(entry.ret for entry in entries),
        crashed=crashed,
        is_read=reads,
        horizon=np.array(useful_horizons(model, entries), dtype=np.int64),
        code=code,
        first=first,
        second=second,
        initial=initial,
        decode=decode,
        answers=answers,
    )


def _ints(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _forget_unobserved(code: Int32s, first: Ints, second: Ints, unread: Bools, unobserved: int) -> None:
    """Let all values that nothing observes be one: what writes them does the same then."""
    observing = ((code == READ) | (code == SWAP)) & ~unread
    observed = np.unique(first[observing])
    for column, written in ((first, code == WRITE), (second, code == SWAP)):
        places = np.flatnonzero(written)
        column[places[~np.isin(column[places], observed)]] = unobserved


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


def _encode_register(columns: OperationColumns, rows: Ints, model: Register) -> Encoded:
    """Registers: all in columns, but for the pairs of compare-and-sets, which are lists."""
    is_read, is_cas = columns.f_in(READS)[rows], columns.f_in({CAS})[rows]
    is_delete = columns.f_in(DELETES)[rows]
    unknown = rows[~columns.f_in(model.operations)[rows]]
    if len(unknown):
        raise unknown_operation(model.name, columns.names[columns.f[unknown[0]]], sorted(model.operations))
    crashed = columns.crashed[rows]
    code = np.where(is_read, READ, np.where(is_cas, SWAP, WRITE)).astype(np.int32)
    first = np.full(len(rows), ABSENT, dtype=np.int64)
    second = np.zeros(len(rows), dtype=np.int64)
    observing, writing = np.flatnonzero(is_read & ~crashed), np.flatnonzero(~(is_read | is_cas | is_delete))
    first[observing] = columns.tokens("result", rows[observing])
    first[writing] = columns.tokens("value", rows[writing])
    swaps = np.flatnonzero(is_cas)
    for place, row in zip(swaps.tolist(), rows[swaps].tolist(), strict=True):
        old, new = model.pair(columns.values[row])
        first[place], second[place] = columns.token_of(old), columns.token_of(new)
    _forget_unobserved(code, first, second, is_read & crashed, _UNOBSERVED_TOKEN)
    ret = columns.ret[rows]
    return Encoded(
        call=columns.call[rows],
        ret=ret,
        crashed=crashed,
        is_read=is_read,
        horizon=_horizons(code, first, second, ret, is_read, crashed),
        code=code,
        first=first,
        second=second,
        initial=columns.token_of(model.initial()),
        decode=lambda token: UNOBSERVED if token == _UNOBSERVED_TOKEN else columns.value_of(token),
    )


def _horizons(code: Int32s, first: Ints, second: Ints, ret: Ints, is_read: Bools, crashed: Bools) -> Ints:
    """Until when what each operation writes can be noticed, as :meth:`Register.useful_until` has it."""
    if not (crashed & ~is_read).any():
        return np.full(len(code), NEVER, dtype=np.int64)
    observing = ((code == READ) | (code == SWAP)) & ~crashed
    values, places = np.unique(first[observing], return_inverse=True)
    latest = np.full(len(values), UNNOTICED, dtype=np.int64)
    np.maximum.at(latest, places, ret[observing])
    horizon = dict(zip(values.tolist(), latest.tolist(), strict=True))
    found_by: dict[int, list[int]] = {}
    for place in np.flatnonzero((code == SWAP) & crashed).tolist():
        found_by.setdefault(int(second[place]), []).append(int(first[place]))
    hand_on(horizon, found_by)
    written = np.where(code == SWAP, second, first)
    return np.array([horizon.get(value, UNNOTICED) for value in written.tolist()], dtype=np.int64)
