"""Several registers that one operation reads and writes at once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from foreshock.checkers.entries import UNNOTICED, Entry, freeze, thaw
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.checkers.models.register import hand_on, word
from foreshock.harness.errors import UsageError
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

TXN: Final = "txn"
READ: Final = "read"
WRITE: Final = "write"
_OPERATIONS: Final = (TXN, READ, WRITE)
_KINDS: Final = {"r": READ, READ: READ, "w": WRITE, WRITE: WRITE}
_TXN_WANTED: Final = (
    'a list of ["read" or "r", register, null or what it read] and ["write" or "w", register, value]'
)
_OBJECT_WANTED: Final = "an object {register: value}"

Access = tuple[str, str, Any]
"""What is done to one register: ``read`` or ``write``, its name, the frozen value."""


class MultiRegister:
    """Registers that are absent at first, unless ``initial`` (an object {register: value}) says otherwise.

    ``txn`` has for its value a list of ``["read", register, null]`` (or ``"r"``) and ``["write", register, value]`` (or
    ``"w"``), all done at one moment in the order of the list, so that a read sees what stands before it there. The
    result is the same list with the reads filled in; where there is no result, the value is looked at in its stead.
    ``read`` and ``write`` have an object {register: value}; what was read may stand in the result or in the value.

    As in Knossos, a read of ``null`` constrains nothing: neither "not filled in" nor "absent" can be told from it.
    Registers are named by strings or whole numbers, and 1 is the same register as "1", for an object can only name
    it so. The state is the frozenset of the pairs (register, value) of all that are not absent.
    """

    name = "multi-register"

    def __init__(self, initial: Mapping[str, Any] | None = None) -> None:
        if initial is not None and not isinstance(initial, Mapping):
            raise UsageError(f"the registers at first are {_OBJECT_WANTED}, and not {initial!r}")
        named = {str(register): freeze(value) for register, value in (initial or {}).items()}
        self._initial = frozenset((register, value) for register, value in named.items() if value is not None)

    def initial(self) -> Hashable:
        """The registers before any operation."""
        return self._initial

    def is_read(self, f: str) -> bool:
        """Whether ``f`` is ``read``. A transaction may write: whether it does is seen by its value."""
        return f == READ

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The registers after an operation, legal when all that it read was there."""
        registers = dict(state)
        written = False
        for kind, register, content in self.accesses(f, value, result):
            if kind == WRITE:
                registers[register] = content
                written = True
            elif content is not None and registers.get(register) != content:
                return ILLEGAL
        if not written:
            answer: Hashable = state
            return answer
        return frozenset(
            (register, content) for register, content in registers.items() if content is not None
        )

    def accesses(self, f: str, value: Any, result: Any) -> list[Access]:
        """What an operation did, in order; a read whose outcome is not known has ``None`` for its value."""
        if f == TXN:
            return self._transaction(value, result)
        if f == WRITE:
            return [
                (WRITE, register, content) for register, content in self._object(f, value, "value").items()
            ]
        if f == READ:
            if isinstance(result, Mapping) or not (result is None or result is UNKNOWN):
                seen = self._object(f, result, "result")
            else:
                seen = self._object(f, value, "value") if isinstance(value, Mapping) else {}
            return [(READ, register, content) for register, content in seen.items()]
        raise unknown_operation(self.name, f, _OPERATIONS)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """Such as ``txn r x 1, w y 2``."""
        words = ", ".join(
            f"{kind[0]} {register}{'' if kind == READ and content is None else ' ' + word(thaw(content))}"
            for kind, register, content in self.accesses(f, value, result)
        )
        return f"{f} {words}" if words else f

    def describe_state(self, state: Any) -> str:
        """Such as ``x 1, y 2``; what is not named is absent."""
        return ", ".join(f"{r} {word(thaw(v))}" for r, v in sorted(state, key=lambda x: x[0])) or "all absent"

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the registers would have to be for the operation to be legal."""
        written: set[str] = set()
        needed = []
        for kind, register, content in self.accesses(f, value, result):
            if kind == WRITE:
                written.add(register)
            elif content is not None and register not in written:
                needed.append(f"{register} to be {word(thaw(content))}")
        return " and ".join(dict.fromkeys(needed)) or "nothing"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """The last return of an operation that read something that the entry wrote: what only reads is never of use.

        Without it a register keeps what it held, until the next write to it. One that crashed but whose reads are
        known needs what it read only for as long as it is of use itself: a least fixed point over those, as for
        compare-and-sets.
        """
        horizon: dict[tuple[str, Any], int] = {}
        found_by: dict[Any, list[Any]] = {}
        writes: list[list[tuple[str, Any]]] = []
        for entry in entries:
            accesses = self.accesses(entry.f, entry.value, entry.result)
            seen = [
                (register, content)
                for kind, register, content in accesses
                if kind == READ and content is not None
            ]
            writes.append([(register, content) for kind, register, content in accesses if kind == WRITE])
            if entry.crashed:
                for pair in writes[-1]:
                    found_by.setdefault(pair, []).extend(seen)
                continue
            for pair in seen:
                horizon[pair] = max(horizon.get(pair, UNNOTICED), entry.ret)
        hand_on(horizon, found_by)
        return [max((horizon.get(pair, UNNOTICED) for pair in pairs), default=UNNOTICED) for pairs in writes]

    def _transaction(self, value: Any, result: Any) -> list[Access]:
        asked = self._accesses(value, "value")
        if result is None or result is UNKNOWN:
            # Without a result, an importer may have left what was read in the value.
            return asked if result is None else [(k, r, None if k == READ else v) for k, r, v in asked]
        told = self._accesses(result, "result")
        same = len(told) == len(asked) and all(
            t[:2] == a[:2] and (t[0] == READ or t[2] == a[2]) for t, a in zip(told, asked, strict=True)
        )
        if not same:
            raise bad_value(self.name, TXN, result, f"the value {value!r} with its reads filled in", "result")
        return told

    def _accesses(self, parts: Any, what: str) -> list[Access]:
        if not isinstance(parts, list | tuple):
            raise bad_value(self.name, TXN, parts, _TXN_WANTED, what)
        accesses = []
        for part in parts:
            if not isinstance(part, list | tuple) or len(part) != 3 or not isinstance(part[0], str):
                raise bad_value(self.name, TXN, parts, _TXN_WANTED, what)
            kind = _KINDS.get(part[0])
            if kind is None:
                raise bad_value(self.name, TXN, parts, _TXN_WANTED, what)
            accesses.append((kind, self._register(part[1]), freeze(part[2])))
        return accesses

    def _object(self, f: str, registers: Any, what: str) -> dict[str, Any]:
        if not isinstance(registers, Mapping):
            raise bad_value(self.name, f, registers, _OBJECT_WANTED, what)
        return {self._register(register): freeze(content) for register, content in registers.items()}

    def _register(self, register: Any) -> str:
        if isinstance(register, bool) or not isinstance(register, str | int):
            raise bad_value(self.name, TXN, register, "a string or a whole number", "register")
        return str(register)
