"""One register: read and write, with or without compare-and-set. ``None`` (absent) is a value like any other."""

# Methods have the arguments that the protocol of models gives them, whether they look at all of them or not.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

from foreshock.checkers.entries import UNNOTICED, Entry, freeze, thaw
from foreshock.checkers.models.base import bad_value, unknown_operation
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

READS: Final = frozenset({"read", "get"})
WRITES: Final = frozenset({"write", "put"})
DELETES: Final = frozenset({"delete"})
CAS: Final = "cas"


class Register:
    """A register that is read and written; absent (``None``) at first unless told otherwise.

    Operations: ``read`` or ``get`` (result: the value, ``None`` when absent), ``write`` or ``put`` (value: what is
    written), ``delete`` (writes ``None``).
    """

    name = "register"
    operations: frozenset[str] = READS | WRITES | DELETES

    def __init__(self, initial: Any = None) -> None:
        self._initial = freeze(initial)

    def initial(self) -> Hashable:
        """The value before the first write."""
        state: Hashable = self._initial
        return state

    def is_read(self, f: str) -> bool:
        """Whether ``f`` only reads."""
        return f in READS

    def step(self, state: Hashable, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The value after an operation; a read is legal when it returned the value."""
        if f in READS:
            return ILLEGAL if freeze(result) != state else state
        return self.written(f, value)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """The operation in words: ``read 3``, ``write 3``, ``delete``."""
        if f in READS:
            return f if result is UNKNOWN else f"{f} {word(result)}"
        return f if f in DELETES else f"{f} {word(value)}"

    def describe_state(self, state: Any) -> str:
        """The value, or ``absent``."""
        return word(thaw(state))

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the register would have to hold for the operation to be legal."""
        return f"the value to be {word(result)}" if f in READS else "nothing"

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """The last return of an operation that observes what the entry would write.

        An unobserved crashed write may as well never have happened: the next update over it is a write. A
        crashed compare-and-set observes its old value only for as long as it is itself of use, so the
        horizon is a least fixed point over the crashed ones. O(n log n): there is no deadline here.
        """
        horizon: dict[Any, int] = {}
        found_by: dict[Any, list[Any]] = {}
        for entry in entries:
            if entry.f in READS:
                observed = freeze(entry.result)
            elif entry.f == CAS:
                observed, new = self.pair(entry.value)
                if entry.crashed:
                    found_by.setdefault(new, []).append(observed)
                    continue
            else:
                continue
            if not entry.crashed:
                horizon[observed] = max(horizon.get(observed, UNNOTICED), entry.ret)
        hand_on(horizon, found_by)
        return [
            UNNOTICED if e.f in READS else horizon.get(self.written(e.f, e.value), UNNOTICED) for e in entries
        ]

    def written(self, f: str, value: Any) -> Hashable:
        """What an update writes."""
        if f in WRITES:
            frozen: Hashable = freeze(value)
            return frozen
        if f in DELETES:
            return None
        if f == CAS and CAS in self.operations:
            return self.pair(value)[1]
        raise unknown_operation(self.name, f, sorted(self.operations))

    def pair(self, value: Any) -> tuple[Hashable, Hashable]:
        """The old and the new value of a compare-and-set."""
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise bad_value(self.name, CAS, value, "a pair [old, new]")
        return freeze(value[0]), freeze(value[1])


class CasRegister(Register):
    """A register with compare-and-set: ``cas`` has the value ``[old, new]`` and is legal when the register is ``old``.

    A compare-and-set that failed says nothing (it may have failed for any reason) and is left out.
    """

    name = "cas-register"
    operations = READS | WRITES | DELETES | {CAS}

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The value after an operation; a compare-and-set that succeeded found its old value."""
        if f == CAS and self.pair(value)[0] != state:
            return ILLEGAL
        return super().step(state, f, value, result)

    def describe(self, f: str, value: Any, result: Any) -> str:
        """The operation in words, such as ``cas 1->2``."""
        if f == CAS:
            old, new = self.pair(value)
            return f"cas {word(thaw(old))}->{word(thaw(new))}"
        return super().describe(f, value, result)

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the register would have to hold for the operation to be legal."""
        if f == CAS:
            return f"the value to be {word(thaw(self.pair(value)[0]))}"
        return super().needs(f, value, result)


def hand_on(horizon: dict[Any, int], found_by: Mapping[Any, Sequence[Any]]) -> None:
    """Let each value be of use for as long as any that a crashed compare-and-set makes of it.

    ``found_by`` holds, for each value written by one, the values that it found. From the latest horizon on down: so
    whatever is reached for the first time has got its own.
    """
    done = set()
    for value in sorted(horizon, key=horizon.__getitem__, reverse=True):
        position, reached = horizon[value], [value]
        while reached:
            new = reached.pop()
            if new not in done:
                done.add(new)
                horizon[new] = position
                reached += found_by.get(new, ())


def word(value: Any) -> str:
    """A value as labels show it: ``absent`` for ``None``."""
    return "absent" if value is None else str(value) if isinstance(value, int) else repr(value)
