"""Why a history is illegal: the first impossible operation, what was possible, and a minimal core, as data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from msgspec.structs import replace as with_fields

from foreshock.checkers.argument import Argument, names_of, replayed, state_of
from foreshock.checkers.columns import Ints, OperationColumns
from foreshock.checkers.core import CoreFinder, noticed
from foreshock.checkers.counting import proof_by_counting
from foreshock.checkers.engines import deepest_of
from foreshock.checkers.entries import NEVER, Entry, crash, freeze, thaw
from foreshock.checkers.models.base import FAILED, UNOBSERVED
from foreshock.checkers.models.lock import FREE, Mutex, OwnerMutex
from foreshock.checkers.models.register import CAS, WRITES
from foreshock.checkers.possible import possible_states
from foreshock.checkers.proofs import NOWHERE, Proof, proof_of
from foreshock.checkers.rows import rows_of
from foreshock.checkers.search import Deepest, Limits
from foreshock.checkers.selection import telling_rows
from foreshock.checkers.shortening import difference, shortened_value
from foreshock.checkers.wording import OPEN, Wording, both, either, label_of, needs_of
from foreshock.harness.checker import Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.model import UNKNOWN, Model
from foreshock.harness.operation import OperationType

PREFIX_MAX: Final = 24
"""How many of the last operations of the legal prefix an explanation keeps."""
_STATES_MAX: Final = 16
_NEEDED_MAX: Final = 24
_STATES_IN_REASON_MAX: Final = 4
_NAMED_MAX: Final = 6
_REFUSED_MAX: Final = 3
_STATES_CHARACTERS_MAX: Final = 120
_WANTED_CHARACTERS_MAX: Final = 30
_UNTOLD: Final = (repr(UNOBSERVED), "a value that no later operation finds")
_LONG: Final = 1_000
"""From so many operations on, what does not matter to the suspects is worth leaving out first."""
_WHOLE_SEARCH_MAX: Final = 20_000
"""Histories of more operations are explained from their suspects alone, where a fast path gave some."""
_WHOLE_CONFIGURATIONS_MAX: Final = 300_000


@dataclass(frozen=True)
class _Found:
    """What is known of why some entries are illegal; offsets are into them."""

    entries: Sequence[Entry]
    core: Sequence[int]
    deepest: Deepest | None
    states: tuple[str, ...] = ()
    undecided: int = 0
    proof: Proof | None = None


@dataclass(frozen=True)
class Explainer:
    """Explains illegal histories of one model. ``history`` is where the rows of the operations are looked up."""

    history: History
    model: Model
    limits: Limits

    def explain_rows(
        self,
        key: Any,
        columns: OperationColumns,
        rows: Ints,
        suspects: Sequence[int] = (),
        deepest: Deepest | None = None,
        *,
        briefly: bool = False,
    ) -> Counterexample:
        """Explain why the history of one key is illegal, given as rows of columns: see :meth:`explain`.

        A long history with suspects is not looked at as a whole: only at what can matter to them. Where that
        cannot be told either, the suspects are the answer, and it is said that they may be more than are needed.
        """
        searched_max = min(_LONG, _WHOLE_SEARCH_MAX) if briefly else _WHOLE_SEARCH_MAX
        if deepest is not None or not suspects or len(rows) <= searched_max:
            return self.explain(key, columns.entries(rows), suspects, deepest, briefly=briefly)
        told = telling_rows(columns, rows, suspects, self.model)
        if told is None and len(rows) <= _WHOLE_SEARCH_MAX:
            return self.explain(key, columns.entries(rows), suspects, briefly=briefly)
        kept = rows[list(suspects)]
        if told is None or len(told) > _WHOLE_SEARCH_MAX:
            core = columns.entries(kept)
            return self._counterexample(key, _Found(core, range(len(core)), None, undecided=1))
        places = told.searchsorted(kept).tolist()
        return self.explain(key, columns.entries(told), places, whole=False, briefly=briefly)

    def explain(
        self,
        key: Any,
        entries: Sequence[Entry],
        suspects: Sequence[int] = (),
        deepest: Deepest | None = None,
        *,
        briefly: bool = False,
        whole: bool = True,
    ) -> Counterexample:
        """Explain why the history of one key is illegal (which must be known already).

        ``suspects`` are offsets of a few entries that are thought illegal by themselves, ``deepest`` is where the
        search of these entries ended, if they were searched. ``briefly`` stops at the first impossible operation:
        no core is worked out, and no argument. The entries are not searched as a ``whole`` where they are only
        those that can matter to the suspects. Takes until the deadline at most; what could not be worked out by
        then is left larger than it need be, and the reason says so.
        """
        words = self._wording(entries)
        counted = proof_by_counting(self.model, entries, words)
        if counted is not None:
            last = max(counted.operations, key=lambda o: entries[o].ret)
            there = Deepest(last, (), (), frozenset(), ())
            found = _Found(entries, counted.operations, there, proof=counted)
            return self._in_brief(key, found) if briefly else self._counterexample(key, found)
        if deepest is None and whole:
            deepest = self._search_whole(entries, bool(suspects))
        states = () if deepest is None else self._states(entries, deepest)
        proof = None if deepest is None else self._proof_of(entries, deepest.impossible)
        if briefly and deepest is not None:
            return self._in_brief(key, _Found(entries, (), deepest, states, proof=proof))
        suspects = suspects if proof is None else proof.operations
        if deepest is not None:
            pool, part = until(entries, entries[deepest.impossible].ret)
        else:
            pool = noticed(entries, suspects, self.model) if suspects else list(range(len(entries)))
            part = [entries[o] for o in pool]
        finder, pool = self._finder(part, pool, suspects)
        places = {o: place for place, o in enumerate(pool)}
        suspected = [places[o] for o in suspects if o in places]
        if briefly:
            deepest = self._deepest_of(finder, suspected, pool)
            proof = None if deepest is None else self._proof_of(entries, deepest.impossible)
            return self._in_brief(key, _Found(entries, (), deepest, proof=proof))
        latest = sorted(range(len(pool)), key=lambda p: _moment(finder.entries[p]), reverse=True)
        core = finder.find(suspected, latest)
        in_whole = tuple(sorted(pool[p] for p in core))
        if deepest is None:
            deepest = self._deepest_of(finder, core, pool)
        if deepest is not None and proof is None:
            proof = self._proof_of(entries, deepest.impossible)
        found = _Found(entries, in_whole, deepest, states, finder.undecided, proof)
        told = self._counterexample(key, found)
        if proof is not None or finder.undecided:
            return told
        argument = Argument(finder, core, self._wording(finder.entries).end_of).sentences()
        return with_fields(told, argument=argument)

    def _proof_of(self, entries: Sequence[Entry], read: int) -> Proof | None:
        proof = proof_of(self.model, entries, read, self._wording(entries))
        if proof is None or proof.kind != NOWHERE:
            return proof
        return proof._replace(sentences=(*proof.sentences, *self._refused(entries[read])))

    def _refused(self, read: Entry) -> list[str]:
        """Who asked for a value that came from nowhere and was refused: a refusal that was none is the likely cause."""
        ended = self._end_of(read.number)
        refused = sorted(
            (row for row in self._failed_to_bring(read) if row.invoke_index < ended),
            key=lambda row: row.invoke_index,
        )
        if not refused:
            return []
        label_of_row = labels_of(self.model)
        names = [
            f"{label_of_row(row)} by process {row.process} (events {row.invoke_index}-{row.complete_index})"
            for row in refused[:_REFUSED_MAX]
        ]
        names += [f"{len(refused) - len(names)} more"] if len(refused) > len(names) else []
        return [f"{both(names)} asked for that, but ended as fail, which says that nothing was changed."]

    def _failed_to_bring(self, read: Entry) -> Iterator[Row]:
        """The failed updates of the key that was read which asked for what was read; other rows are not even made."""
        keys = self.history.payloads("key")
        own = keys[self.history.column("invoke_index").searchsorted(read.number)]
        for f in (*WRITES, CAS):
            failed = self.history.where(f=f, type="fail")
            places = np.flatnonzero(failed.payloads("key") == own)
            for place, value in zip(places.tolist(), failed.values("value", places), strict=True):
                if freeze(_last(value) if f == CAS else value) == freeze(read.result):
                    yield failed[place]

    def _wording(self, entries: Sequence[Entry]) -> Wording:
        return Wording(self.model, entries, self._end_of)

    def _end_of(self, number: int) -> int:
        """At which event an operation returned that began at one; ``OPEN`` where it did not."""
        row = self.history[int(self.history.column("invoke_index").searchsorted(number))]
        ended = row.type is not OperationType.INFO and row.complete_index >= 0
        return row.complete_index if ended else OPEN

    def _finder(
        self, part: list[Entry], pool: list[int], suspects: Sequence[int]
    ) -> tuple[CoreFinder, list[int]]:
        """Who finds the core, and the offsets that its entries have in the whole.

        Where the suspects of a long history show it by themselves, what nothing of them notices is not looked at.
        """
        wanted = set(suspects)
        suspected = [place for place, offset in enumerate(pool) if offset in wanted]
        if suspected and len(part) > _LONG:
            places = noticed(part, suspected, self.model)
            short = CoreFinder([part[place] for place in places], self.model, self.limits)
            kept = set(suspected)
            if short.is_illegal([at for at, place in enumerate(places) if place in kept]):
                return short, [pool[place] for place in places]
        return CoreFinder(part, self.model, self.limits), pool

    def _search_whole(self, entries: Sequence[Entry], has_suspects: bool) -> Deepest | None:
        """Where the search of the whole history ends; ``None`` when that cannot be had in good time."""
        now = time.monotonic_ns()
        limits = (
            replace(self.limits, deadline_ns=now + (self.limits.deadline_ns - now) // 4)
            if has_suspects
            else self.limits
        )
        return deepest_of(entries, self.model, limits, _WHOLE_CONFIGURATIONS_MAX if has_suspects else None)

    def _deepest_of(self, finder: CoreFinder, core: Sequence[int], pool: Sequence[int]) -> Deepest | None:
        """Where the search of the core alone ends, in offsets of the whole.

        The states there are left out: what is possible where all others may happen at any time need not be so here.
        """
        kept = set(core)
        relaxed_offsets = [
            pool[p] for p, entry in enumerate(finder.entries) if p in kept or not self.model.is_read(entry.f)
        ]
        found = finder.deepest(core)
        if found is None:
            return None
        return Deepest(
            impossible=relaxed_offsets[found.impossible],
            states=(),
            pending=tuple(relaxed_offsets[o] for o in found.pending),
            linearized=frozenset(relaxed_offsets[o] for o in found.linearized),
            prefix=tuple(relaxed_offsets[o] for o in found.prefix),
        )

    def _in_brief(self, key: Any, found: _Found) -> Counterexample:
        """The reason, and nothing to draw it from."""
        impossible = None if found.deepest is None else found.entries[found.deepest.impossible].number
        return Counterexample(
            key=shortened_value(key),
            reason=self._reason(found),
            core=(),
            impossible=impossible,
            states=found.states[:_STATES_MAX],
        )

    def _counterexample(self, key: Any, found: _Found) -> Counterexample:
        entries, core, deepest, proof = found.entries, found.core, found.deepest, found.proof
        impossible = None if deepest is None else deepest.impossible
        needed = {} if deepest is None else self._needed(entries, deepest)
        prefix = () if deepest is None else deepest.prefix[-PREFIX_MAX:]
        source = None if impossible is None else self._source(entries, entries[impossible])
        drawn = () if proof is None else proof.drawn
        named = {*core, *prefix, *drawn, *(o for o in (impossible, source) if o is not None)}
        numbers = {entries[o].number for o in named} | {int(number) for number in needed}
        return Counterexample(
            key=shortened_value(key),
            reason=self._reason(found),
            core=tuple(sorted(entries[o].number for o in core)),
            impossible=None if impossible is None else entries[impossible].number,
            states=found.states[:_STATES_MAX],
            needed=needed,
            prefix=tuple(entries[o].number for o in prefix),
            earlier=0 if deepest is None else len(deepest.prefix) - len(prefix),
            source=None if source is None else entries[source].number,
            argument=() if proof is None else proof.sentences,
            proof="" if proof is None else proof.kind,
            drawn=tuple(sorted(entries[o].number for o in drawn)),
            undecided=found.undecided,
            operations=rows_of(self.history, sorted(numbers), labels_of(self.model)),
        )

    def _source(self, entries: Sequence[Entry], read: Entry) -> int | None:
        """The one update that put there what an impossible read saw, for a reader who wonders where that came from.

        It need not be in the core: an update that is left out there may still happen, or not, at any time.
        """
        if not self.model.is_read(read.f) or read.result is None or read.result is UNKNOWN:
            return None
        updates = [o for o, entry in enumerate(entries) if not self.model.is_read(entry.f)]
        found = [o for o in updates if read.result in (entries[o].value, _last(entries[o].value))]
        return found[0] if len(found) == 1 else None

    def _states(self, entries: Sequence[Entry], deepest: Deepest) -> tuple[str, ...]:
        """States that were possible just before the impossible return, in words.

        The search leaves out what an open operation would do that nobody notices: that is added. In which order they
        are come upon is the search's own affair, and the compiled one has another: they are told in the order of words.
        """
        words = [_read_later(state_of(self.model, state)) for state in deepest.states]
        words += [state_of(self.model, state) for state in possible_states(self.model, entries, deepest)]
        return tuple(sorted(dict.fromkeys(words), key=lambda word: (len(word), word)))

    def _reason(self, found: _Found) -> str:
        entries, deepest, core = found.entries, found.deepest, found.core
        if deepest is None:
            return "no order of its operations is legal" + self._shown_by(entries, core, found.undecided)
        who = self._wording(entries).full(deepest.impossible)
        reason = f"{who} cannot be explained: {self._cannot(found, deepest)}"
        if found.undecided:
            reason += f" (the core of {len(core)} operations was not proven minimal in time)"
        return reason

    def _cannot(self, found: _Found, deepest: Deepest) -> str:
        """Why it cannot be, in a few words: what it needs, and the states that were possible."""
        if found.proof is not None and found.proof.headline:
            return found.proof.headline
        needs = needs_of(self.model, found.entries[deepest.impossible])
        states = found.states
        if not states:
            return f"it needs {needs}, and no order leads to that" if needs else "no order has a place for it"
        shown = list(states[:_STATES_IN_REASON_MAX])
        if sum(map(len, shown)) > _STATES_CHARACTERS_MAX:
            shown = shown[:1]
        more = len(states) - len(shown)
        could = either(shown + ([f"{more} more"] if more else []))
        parted = self._parted(found.entries, deepest)
        what, to_be, wanted = needs.partition(" to be ")
        if not (to_be and what.startswith("the ")):
            return (f"it needs {needs}, but " if needs else "") + f"the state could be {could}{parted}"
        if wanted == FREE and type(self.model) in (Mutex, OwnerMutex):
            # Whoever may hold it unseen could be left out, and it would be free.
            return f"{what} was {could}"
        but_not = f", but not {wanted}" if len(wanted) <= _WANTED_CHARACTERS_MAX else ""
        return f"{what} could be {could}{parted}{but_not}"

    def _shown_by(self, entries: Sequence[Entry], core: Sequence[int], undecided: int) -> str:
        """What shows it, in words, where it is not known at which return the last order ended."""
        fewer = ", or fewer of them" if undecided else ""
        if not core or len(core) > _NAMED_MAX:
            return f": {len(core)} of them show it{fewer}" if core else ""
        names = names_of(self.model, entries, core)
        return f", as these show{fewer}: {', '.join(names[o] for o in core)}"

    def _parted(self, entries: Sequence[Entry], deepest: Deepest) -> str:
        """Where a long text that came back parts from the one that was there."""
        result = entries[deepest.impossible].result
        if not isinstance(result, str) or len(deepest.states) != 1:
            return ""
        state = thaw(replayed(self.model, entries, deepest.prefix))
        words = difference(state, result) if isinstance(state, str) else ""
        return f" ({words})" if words else ""

    def _needed(self, entries: Sequence[Entry], deepest: Deepest) -> dict[str, str]:
        """For the pending operations that the furthest order did not get to: what state they needed."""
        first = [deepest.impossible, *(o for o in deepest.pending if o != deepest.impossible)]
        waiting = [o for o in first if o not in deepest.linearized][:_NEEDED_MAX]
        return {
            str(entries[o].number): needs
            for o in waiting
            if (needs := needs_of(self.model, entries[o])) != ""
        }


def labels_of(model: Model) -> Callable[[Row], str]:
    """How the model words the rows of a history."""

    def label(row: Row) -> str:
        ok = row.type is OperationType.OK
        times = (row.invoke_ns, row.complete_ns if ok else NEVER)
        result = row.result if ok else FAILED if row.type is OperationType.FAIL else UNKNOWN
        entry = Entry(row.invoke_index, 0, 0, row.f, row.value, result, process=row.process, times=times)
        return label_of(model, entry)

    return label


def until(entries: Sequence[Entry], position: int) -> tuple[list[int], list[Entry]]:
    """The history as it was known at a position: what had not returned yet may still never happen."""
    offsets = [offset for offset, entry in enumerate(entries) if entry.call <= position]
    return offsets, [entries[o] if entries[o].ret <= position else crash(entries[o]) for o in offsets]


def _moment(entry: Entry) -> int:
    """When an operation was last seen."""
    return entry.call if entry.ret == NEVER else entry.ret


def _last(value: Any) -> Any:
    """What a compare-and-set sets."""
    return value[-1] if isinstance(value, list | tuple) and value else value


def _read_later(words: str) -> str:
    """A state that nothing tells from others, as one says it."""
    return "a value that nobody reads later" if words in _UNTOLD else words


__all__ = ["PREFIX_MAX", "Explainer", "label_of", "labels_of", "until"]
