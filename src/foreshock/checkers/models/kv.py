"""One key of a key-value store of texts: get, put, append, compare-and-set and delete. The checker splits by key."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from typing import Any, Final

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.checkers.models.kv_history import KvOfHistory
from foreshock.checkers.models.register import CAS, DELETES, READS, WRITES, word
from foreshock.checkers.models.work import GaveUp, Work
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

APPEND: Final = "append"
_SHOWN_CHARACTERS: Final = 40
_WORK_MAX: Final = 4_000_000
_WORK_MAX_AN_OPERATION: Final = 32


class Kv:
    """The value of one key, a text; the key is absent (``None``) at first.

    Operations: ``get`` or ``read`` (result: the value; of an absent key ``None`` or ``""``), ``put`` or ``write``,
    ``append`` (to an absent key as to ``""``), ``cas`` (value ``[old, new]``, where the old value ``None`` means
    that the key is absent), ``delete``. A get of ``None`` is illegal when a value is there, even ``""``. A
    compare-and-set that failed says nothing and is left out.
    """

    name = "kv"
    operations: frozenset[str] = READS | WRITES | DELETES | {APPEND, CAS}
    _made: tuple[list[Entry], Kv | KvOfHistory] | None = None

    def initial(self) -> Hashable:
        """Absent."""
        return None

    def is_read(self, f: str) -> bool:
        """Whether ``f`` only reads."""
        return f in READS

    def step(self, state: str | None, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The value after an operation."""
        if f in READS:
            found = self.found(f, result)
            return state if found == state or (state is None and found == "") else ILLEGAL
        if f == APPEND:
            return (state or "") + self.text(f, value)
        if f == CAS:
            old, new = self.pair(value)
            return new if state == old else ILLEGAL
        return self.written(f, value)

    def text(self, f: str, value: Any) -> str:
        """The value of a put or an append; raises ``UsageError`` when it is no text."""
        if not isinstance(value, str):
            raise bad_value(self.name, f, value, "a text")
        return value

    def found(self, f: str, result: Any) -> str | None:
        """The result of a get; raises ``UsageError`` when it is neither a text nor null."""
        if result is not None and not isinstance(result, str):
            raise bad_value(self.name, f, result, "a text or null", what="result")
        return result

    def pair(self, value: Any) -> tuple[str | None, str]:
        """The value of a compare-and-set; raises ``UsageError`` when it is not a pair of texts."""
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise bad_value(self.name, CAS, value, "a pair [old, new]")
        old, new = value
        if not isinstance(new, str) or not (old is None or isinstance(old, str)):
            raise bad_value(
                self.name, CAS, value, "a pair of texts [old, new], of which the old one may be null"
            )
        return old, new

    def written(self, f: str, value: Any) -> str | None:
        """What a put or a delete leaves behind, whatever was there."""
        if f in WRITES:
            return self.text(f, value)
        if f in DELETES:
            return None
        raise unknown_operation(self.name, f, sorted(self.operations))

    def describe(self, f: str, value: Any, result: Any) -> str:
        """The operation in words, such as ``append 'x'``."""
        if f in READS:
            return f if result is UNKNOWN else f"{f} {short(result)}"
        if f == CAS:
            old, new = self.pair(value)
            return f"cas {short(old)}->{short(new)}"
        return f if f in DELETES else f"{f} {short(value)}"

    def describe_state(self, state: Any) -> str:
        """The value, shortened in the middle when it is long, or ``absent``."""
        return short(state)

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the key would have to hold for the operation to be legal."""
        if f in READS:
            return "the key to be absent or empty" if result == "" else f"the value to be {short(result)}"
        if f == CAS:
            return f"the value to be {short(self.pair(value)[0])}"
        return "nothing"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """The last return of an operation that observes a value which the entry may have had a part in."""
        small = self.specialized(entries)
        if isinstance(small, Kv):
            return [UNNOTICED if entry.f in READS else NEVER for entry in entries]
        return small.useful_until(entries)

    def specialized(self, entries: Sequence[Entry]) -> Kv | KvOfHistory:
        """The same model with as few states as these entries can tell apart; only for exactly these entries.

        It is this model itself where those states would be too many to be worked out without looking at a deadline.
        """
        if self._made is None or self._made[0] != entries:
            small: Kv | KvOfHistory = self
            with suppress(GaveUp):
                small = KvOfHistory(self, entries, Work(work_max(len(entries))))
            # Asked for again at once: who searches wants the model, and then how long crashed updates matter.
            self._made = ([*entries], small)
        return self._made[1]


def work_max(operations: int) -> int:
    """How much work the values of so many operations are worth: some seconds, or what is linear in the history."""
    return _WORK_MAX + _WORK_MAX_AN_OPERATION * operations


def short(value: Any) -> str:
    """A value as labels show it: ``absent`` for ``None``, long texts by their two ends."""
    if isinstance(value, str) and len(value) > _SHOWN_CHARACTERS:
        half = _SHOWN_CHARACTERS // 2
        return f"{value[:half]!r}…{value[-half:]!r} ({len(value)} characters)"
    return word(value)
