"""The model ``kv`` for one history: a state is what the history can still tell it from, and nothing more.

A value matters only for the gets (and compare-and-sets) that find it. So, of all values, those are *useful* that
are a prefix of one that is found and from which appends of this history lead there: they are the nodes of a trie.
All other values are one, :data:`GARBAGE`: no append leads out of it, and only an update that does not look at the
value does.

Which appends lead from node to node is found by trying every text that is appended at every position that can be
reached, so it does not matter whether one text is the beginning of another, or the same value is made in several
ways. Time and memory are linear in the length of the history's texts, but for the number of different lengths.

**Spent texts.** Let a text be appended by m operations. Each visit to a node that must be visited (since each way to
a value that a completed get returned leads over it), and that nothing but an append of this text leads to, takes one
of them. Where there are m such nodes or more, none is left for anywhere else: there the append is illegal.
So an append whose text is its own is legal in a single state, and acts as a compare-and-set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, Final

from foreshock.checkers.entries import NEVER, UNNOTICED, Entry
from foreshock.checkers.models.prefixes import EMPTY, Prefixes, first_texts
from foreshock.checkers.models.register import CAS, DELETES, READS, WRITES
from foreshock.checkers.models.work import Work
from foreshock.harness.model import ILLEGAL, UNKNOWN, Illegal

if TYPE_CHECKING:
    from foreshock.checkers.models.kv import Kv

ABSENT: Final = -1
"""The state of a key that is not there."""
GARBAGE: Final = -2
"""The state of a key whose value can neither be found by any operation nor become one that is."""
APPEND: Final = "append"


class KvOfHistory:
    """What :class:`~foreshock.checkers.models.kv.Kv` is for some entries: legal for it is what is legal for that.

    States are :data:`ABSENT`, :data:`GARBAGE` and nodes of a trie (:class:`Prefixes`). Holds for exactly these
    entries: when some are left out or relaxed, a new one has to be made for what is left.
    """

    name = "kv"

    def __init__(self, model: Kv, entries: Sequence[Entry], work: Work | None = None) -> None:
        self._model = model
        observers = [e for e in entries if (e.f in READS and not e.crashed) or e.f == CAS]
        observed: dict[str, int] = {}
        self._absent_until = UNNOTICED
        for entry in observers:
            found = model.found(entry.f, entry.result) if entry.f in READS else model.pair(entry.value)[0]
            # A crashed compare-and-set may look at any time.
            until = NEVER if entry.crashed else entry.ret
            if found is None or (found == "" and entry.f in READS):
                self._absent_until = max(self._absent_until, until)
            if isinstance(found, str):
                observed[found] = max(observed.get(found, UNNOTICED), until)
        written = {model.text(e.f, e.value) for e in entries if e.f in WRITES}
        written |= {model.pair(e.value)[1] for e in entries if e.f == CAS}
        appended = Counter(model.text(e.f, e.value) for e in entries if e.f == APPEND)
        returned = {e.result for e in observers if e.f in READS and isinstance(e.result, str)}
        first = None
        if "" not in written and not any(e.f in DELETES for e in entries):
            # To append nothing leaves an absent key as good as absent.
            filling = (e for e in entries if e.f not in READS and (e.f != APPEND or e.value))
            updates_ret = (e.ret for e in filling if not e.crashed)
            first = first_texts(((e.value, e.call) for e in entries if e.f == APPEND), updates_ret)
        self._prefixes = prefixes = Prefixes(observed, returned, written, appended, first, work)
        self._spent = {
            text for text, forced in prefixes.forced_by.items() if text and forced >= appended[text]
        }
        # From absent every append leads where it leads from "".
        self._absent_until = max(self._absent_until, prefixes.until.get(EMPTY, UNNOTICED))
        self._absent = ABSENT if self._absent_until != UNNOTICED else GARBAGE

    def initial(self) -> Hashable:
        """Absent."""
        return self._absent

    def is_read(self, f: str) -> bool:
        """Whether ``f`` only reads."""
        return f in READS

    def step(self, state: Any, f: str, value: Any, result: Any) -> Hashable | Illegal:
        """The state after an operation of the history."""
        if f in READS:
            return int(state) if self._returns(state, result) else ILLEGAL
        if f == APPEND:
            return self._append(state, self._model.text(f, value))
        if f == CAS:
            old, new = self._model.pair(value)
            return self._node(new) if state != GARBAGE and state == self._node(old) else ILLEGAL
        return self._node(self._model.written(f, value))

    def canonical(self, f: str, value: Any, result: Any) -> Hashable:
        """Equal for operations of the history that do the same in every state."""
        if f in READS:
            if result is UNKNOWN or self._model.found(f, result) is None:
                return ("get", result)
            return ("get", self._node(result))
        if f == APPEND:
            text = self._model.text(f, value)
            spoils = text and text not in self._prefixes.steps_by
            return ("become", GARBAGE) if spoils else (APPEND, text)
        if f == CAS:
            old, new = self._model.pair(value)
            return (CAS, self._node(old), self._node(new))
        return ("become", self._node(self._model.written(f, value)))

    def describe(self, f: str, value: Any, result: Any) -> str:
        """The operation in words."""
        return self._model.describe(f, value, result)

    def describe_state(self, state: Any) -> str:
        """The value, shortened, or what is known of it."""
        if state == GARBAGE:
            return "a value that no later operation finds"
        return self._model.describe_state(None if state == ABSENT else self._prefixes.text(state))

    def needs(self, f: str, value: Any, result: Any) -> str:
        """What the key would have to hold for the operation to be legal."""
        return self._model.needs(f, value, result)

    def useful_until(self, entries: Sequence[Entry]) -> list[int]:
        """The last return of an operation that finds a value which the entry may have had a part in.

        Applied later than that, it can be left out: what follows it up to the next update that does not look
        at the value are appends, which are as legal without it.
        """
        return [UNNOTICED if e.f in READS else self._until(e.f, e.value) for e in entries]

    def _until(self, f: str, value: Any) -> int:
        prefixes = self._prefixes
        if f == APPEND:
            if value == "":
                # It makes an absent key an empty one, and does nothing else.
                return prefixes.until.get(EMPTY, UNNOTICED)
            return prefixes.step_until.get(self._model.text(f, value), UNNOTICED)
        if f in DELETES:
            return self._absent_until
        new = self._model.pair(value)[1] if f == CAS else self._model.written(f, value)
        return prefixes.until.get(self._node(new), UNNOTICED)

    def _returns(self, state: int, result: Any) -> bool:
        if result is None or state in (ABSENT, GARBAGE):
            return state == ABSENT and result in (None, "")
        return isinstance(result, str) and state == self._node(result)

    def _node(self, value: str | None) -> int:
        return self._absent if value is None else self._prefixes.nodes.get(value, GARBAGE)

    def _append(self, state: int, text: str) -> int | Illegal:
        if text == "":
            return self._node("") if state == ABSENT else state
        after = self._prefixes.steps_by.get(text, {}).get(EMPTY if state == ABSENT else state)
        if after is not None:
            return after
        return ILLEGAL if text in self._spent else GARBAGE


__all__ = ["ABSENT", "GARBAGE", "KvOfHistory"]
