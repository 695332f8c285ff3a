"""Why no order of a minimal core is legal: every order that calls and returns leave, and where each of them ends.

It is a proof by cases. The completed operations of the core are put into every order in which none comes before one
that had returned before it was called. Each such order is searched by itself, with all other updates of the history
allowed anywhere or not at all, and is followed only up to the first operation that cannot come next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from foreshock.checkers.core import CoreFinder, noticed
from foreshock.checkers.entries import NEVER, Entry, freeze, thaw
from foreshock.checkers.models.base import ExplainsItself, argument_of, asked
from foreshock.checkers.models.kv import APPEND, Kv
from foreshock.checkers.models.register import CAS, READS, CasRegister, Register
from foreshock.checkers.problem import specialized
from foreshock.checkers.shortening import difference, shortened
from foreshock.checkers.wording import Wording, both, label_of, needs_of, no_end
from foreshock.harness.model import ILLEGAL, UNKNOWN, Model
from foreshock.harness.verdict import Verdict

ARGUED_MAX: Final = 32
"""The argument of a larger core would be longer than anyone reads."""
_LISTED_MAX: Final = 4
_LISTED_OPERATIONS_MAX: Final = 8
_NAMED_MAX: Final = 4
_EVENTS_MAX: Final = 12
_STATES_MAX: Final = 100
_UPDATES_MAX: Final = 2_000
_DEAD_ENDS_MAX: Final = 60
_QUESTIONS_MAX: Final = 250
_APART: Final = 4


@dataclass(frozen=True)
class DeadEnd:
    """An order that cannot go on. ``order`` holds offsets; the last one is the operation that cannot come there.

    ``state`` is one that the operations before it lead to, with the help of others where they need any.
    """

    order: tuple[int, ...]
    state: Any


class Argument:
    """The argument for one core; ``core`` holds offsets into the finder's entries."""

    def __init__(
        self, finder: CoreFinder, core: Sequence[int], end_of: Callable[[int], int | None] = no_end
    ) -> None:
        self._finder = finder
        self._model = finder.model
        self._entries = finder.entries
        self._words = Wording(finder.model, finder.entries, end_of)
        self._core = core
        self._completed = sorted((o for o in core if not self._entries[o].crashed), key=self._return_of)
        self._crashed = [o for o in core if self._entries[o].crashed]
        self._names = names_of(self._model, self._entries, core)
        self._questions = 0
        self._states: dict[tuple[int, ...], Any] = {(): self._model.initial()}

    def sentences(self) -> tuple[str, ...]:
        """The argument, a sentence or a case each."""
        dead_ends = self.dead_ends() if len(self._core) <= ARGUED_MAX else []
        if not dead_ends:
            return self._of_all_orders()
        crashed = [
            f"{self._names[o]} never returned: it may come anywhere after it began, or not at all."
            for o in self._crashed
        ]
        if len(dead_ends) == 1:
            return (*self._of_one_order(dead_ends[0]), *crashed)
        return (*self._of_cases(dead_ends), *crashed)

    def dead_ends(self) -> list[DeadEnd]:
        """Every order that calls and returns leave, up to where it ends; nothing where there are too many to read."""
        found: list[DeadEnd] = []
        waiting: list[tuple[int, ...]] = [()]
        while waiting:
            order = waiting.pop()
            following = [(*order, o) for o in self._completed if self._may_follow(order, o)]
            if not following or len(found) > _DEAD_ENDS_MAX:
                return []
            legal = []
            for longer in following:
                answer = self._is_legal(longer)
                if answer is None:
                    return []
                if answer:
                    legal.append(longer)
                else:
                    found.append(DeadEnd(longer, self._states[order]))
            waiting += reversed(legal)
        return found

    def _may_follow(self, order: Sequence[int], operation: int) -> bool:
        call = self._entries[operation].call
        return operation not in order and all(
            o in order or o == operation or self._entries[o].ret >= call for o in self._completed
        )

    def _is_legal(self, order: tuple[int, ...], without: int | None = None) -> bool | None:
        """Whether the core's operations can come in this order, whatever else comes between them; ``None``: open.

        ``without`` is an operation that does not come at all.
        """
        self._questions += 1
        if self._questions > _QUESTIONS_MAX:
            return None
        at = {o: _APART * place for place, o in enumerate(order, start=1)}
        left_out = None if without is None else self._entries[without].number
        relaxed = self._finder.relaxed(self._core)
        entries = [entry for entry in relaxed if entry.call == -NEVER and entry.number != left_out]
        entries += [self._entries[o]._replace(call=place, ret=place + 1) for o, place in at.items()]
        entries += [
            self._entries[o]._replace(call=call)
            for o in self._crashed
            if o != without and (call := self._from(o, at))
        ]
        result = self._finder.search(entries)
        if result is None or result.verdict is Verdict.UNKNOWN:
            return None
        if result.verdict is Verdict.VALID and without is None:
            self._states[order] = replayed(self._model, entries, result.order)
        return result.verdict is Verdict.VALID

    def _from(self, crashed: int, at: dict[int, int]) -> int:
        """After which place in the order a crashed operation may come; 0 where it cannot come yet."""
        before = [o for o in self._completed if self._entries[o].ret < self._entries[crashed].call]
        if any(o not in at for o in before):
            return 0
        return max((at[o] for o in before), default=0) + 2

    def _of_one_order(self, dead_end: DeadEnd) -> list[str]:
        names = [self._names[o] for o in dead_end.order]
        why, *reasons = self._why(dead_end)
        sentences = []
        if len(names) > 1:
            only = "Each of these ended before the next began, so they can only come in this order"
            whole = len(names) == len(self._core)
            sentences.append(f"{only}." if whole else f"{only}: {', '.join(names)}.")
        sentences.append(f"{names[-1]} {why}.")
        return [*sentences, *(f"{reason}." for reason in reasons)]

    def _of_cases(self, dead_ends: Sequence[DeadEnd]) -> list[str]:
        whys = [self._why(end) for end in dead_ends] if len(dead_ends) <= _LISTED_MAX else []
        lasts = {dead_end.order[-1] for dead_end in dead_ends}
        if whys and len(lasts) == 1 and all(why == whys[0] for why in whys):
            last = self._names[lasts.pop()]
            first, *reasons = (f"{reason}." for reason in whys[0])
            orders = f"Calls and returns leave {len(dead_ends)} orders"
            return [
                f"{orders}, and each of them ends at {last} for the same reason.",
                f"{last} {first}",
                *reasons,
            ]
        if whys and len(self._core) <= _LISTED_OPERATIONS_MAX:
            cases = [
                f"{number}. {', '.join(self._names[o] for o in end.order)}: the last one {'; '.join(why)}."
                for number, (end, why) in enumerate(zip(dead_ends, whys, strict=True), start=1)
            ]
            return [
                f"Calls and returns leave {len(dead_ends)} orders, and none of them gets further than this:",
                *cases,
            ]
        counts = Counter(end.order[-1] for end in dead_ends)
        ends = [f"{count} at {self._names[last]}" for last, count in counts.most_common()]
        needs = [
            f"{self._names[last]} needs {words}{self._no_help(last, ())[0]}."
            for last in counts
            if (words := self._needs(last)) != ""
        ]
        return [
            f"Calls and returns leave {len(dead_ends)} orders, and every one comes to an end: {both(ends)}.",
            *needs,
        ]

    def _why(self, dead_end: DeadEnd) -> list[str]:
        """Why the last operation of an order cannot come there, as what follows its name; then sentences of their own.

        What the state is there is said only where the operation before it leaves no other one: those that are not
        in the core may have changed it too.
        """
        last, before = dead_end.order[-1], dead_end.order[:-1]
        needs = self._needs(last)
        why = f"needs {needs}" if needs else "cannot come there"
        if not before:
            why += f", but at first it is {state_of(self._model, self._model.initial())}"
            no_help, *reasons = self._no_help(last, before)
            return [why + no_help, *reasons]
        known, state = self._left_by(before[-1])
        name = self._names[before[-1]]
        if known:
            why += f", but after {name} it is {state_of(self._model, state)}{self._parted(last, state)}"
        elif needs:
            why += f", which cannot be so after {name}"
        no_help, *reasons = self._no_help(last, before)
        return [why + no_help, *reasons]

    def _left_by(self, offset: int) -> tuple[bool, Any]:
        """Whether an operation leaves one state whatever there was before, and which."""
        entry = self._entries[offset]
        if type(self._model) in (Register, CasRegister, Kv):
            told = entry.f not in READS or entry.result is not UNKNOWN
            # An empty text is what is read of an absent key, too.
            if entry.f == APPEND or not told or (isinstance(self._model, Kv) and entry.result == ""):
                return False, None
            return True, freeze(entry.result) if entry.f in READS else self._written(entry)
        states = self._reachable()
        after = {step(self._model, state, entry) for state in states} - {ILLEGAL}
        return (True, after.pop()) if len(after) == 1 else (False, None)

    def _written(self, entry: Entry) -> Any:
        """What an update of a register or a key leaves there, if it is legal: the same in every state."""
        model = self._model
        found = model.pair(entry.value)[0] if entry.f == CAS and isinstance(model, Register | Kv) else None
        return step(model, found, entry)

    def _reachable(self) -> list[Any]:
        """All states that the updates of the history lead to, in any order; none where those are too many."""
        updates = [o for o, entry in enumerate(self._entries) if not self._model.is_read(entry.f)]
        if len(updates) > _UPDATES_MAX:
            return []
        states: dict[Any, None] = {self._model.initial(): None}
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            for o in updates:
                after = step(self._model, state, self._entries[o])
                if after is not ILLEGAL and after not in states:
                    states[after] = None
                    waiting.append(after)
            if len(states) > _STATES_MAX:
                return []
        return list(states)

    def _of_all_orders(self) -> tuple[str, ...]:
        """What can be said of a large core: that its orders were tried, and how many want what few bring about."""
        tried = f"All orders of these {len(self._core)} operations were tried"
        sentences = [f"{tried}, with the others anywhere between them or not at all: none is legal."]
        needs = Counter(words for o in self._core if (words := self._needs(o)) != "")
        for words, count in needs.most_common(_LISTED_MAX):
            last = [o for o in self._completed if self._needs(o) == words][-1:]
            helpers = self._helpers(last[0]) if last else None
            if helpers is not None and count > 1:
                bring = "operation brings" if len(helpers) == 1 else "operations bring"
                sentences.append(
                    f"{count} of them need {words}; {len(helpers)} {bring} that about, of all that had begun."
                )
        return tuple(sentences)

    def _no_help(self, last: int, before: tuple[int, ...]) -> list[str]:
        """Why nothing else in the history makes an operation possible after those that come before it."""
        helpers = self._helpers(last)
        if helpers is None:
            return ["; no other operation, wherever it is placed, makes up for that"]
        if not helpers:
            return ["; nothing that had begun by then brings that about"]
        one = len(helpers) == 1
        who = (
            both([self._words.full(o) for o in helpers])
            if len(helpers) <= _NAMED_MAX
            else f"{len(helpers)} operations"
        )
        only = (
            f"; the only operation that brings that about, {who},"
            if one
            else f"; only {who} bring that about, and"
        )
        if before and all(self._had_returned(o, before) for o in helpers):
            latest = max(helpers, key=lambda o: self._entries[o].ret)
            then = f"before {self._words.by(before[-1])} began{self._words.began(before[-1])}"
            if one:
                return [f"{only} returned{self._words.returned(latest)}, {then}"]
            return [f"{only} all of them returned {then}"]
        if set(helpers) <= set(before):
            return [f"{only} {'comes' if one else 'they come'} earlier"]
        if all(self._began_too_late(o, before) for o in helpers):
            return [f"{only} {'began' if one else 'they began'} too late for that"]
        reasons = self._where_they_come(helpers, last, before) if before else []
        if one and reasons:
            return [f"; only {who} brings that about", *reasons]
        if reasons:
            return [
                f"; {len(helpers)} operations bring that about, and none of them can come just there",
                *reasons,
            ]
        return [f"{only} {'cannot come just there' if one else 'none of them can come just there'}"]

    def _had_returned(self, helper: int, before: Sequence[int]) -> bool:
        return self._entries[helper].ret < self._entries[before[-1]].call

    def _began_too_late(self, helper: int, before: Sequence[int]) -> bool:
        """Whether an operation began after the return of one that has yet to come in this order."""
        call = self._entries[helper].call
        return any(o not in before and self._entries[o].ret < call for o in self._completed)

    def _where_they_come(self, helpers: Sequence[int], last: int, before: tuple[int, ...]) -> list[str]:
        """Of each operation why it cannot come just before the last one of an order; nothing where one is open.

        That one has to come earlier is a question to the search: without it, the order ends there.
        """
        why: dict[tuple[str, str], list[int]] = {}
        for o in helpers:
            reason = self._why_not_there(o, last, before)
            if reason is None:
                return []
            why.setdefault(reason, []).append(o)
        return [f"{self._these(found)} {reason[len(found) > 1]}" for reason, found in why.items()]

    def _why_not_there(self, helper: int, last: int, before: tuple[int, ...]) -> tuple[str, str] | None:
        """The reason, as what follows the name of one operation, or of several; ``None`` where it is open."""
        if self._had_returned(helper, before):
            returned = (
                f"had returned before {self._words.by(before[-1])} began{self._words.began(before[-1])}"
            )
            return returned, returned
        if helper in before:
            return "comes earlier in this order", "come earlier in this order"
        if self._began_too_late(helper, before):
            return "began too late for that", "began too late for that"
        if helper in self._completed:
            return "comes later in this order", "come later in this order"
        answer = self._is_legal(before, without=helper)
        if answer is None:
            return None
        if answer:
            return self._of_its_own_needs(helper, last)
        low, high = 1, len(before)
        while low < high:
            middle = (low + high) // 2
            answer = self._is_legal(before[:middle], without=helper)
            if answer is None:
                return None
            low, high = (middle + 1, high) if answer else (low, middle)
        user = self._words.full(before[low - 1])
        return (
            f"has to come before {user}, which is not possible without it",
            f"have to come before {user}, which is not possible without each of them",
        )

    def _of_its_own_needs(self, helper: int, last: int) -> tuple[str, str] | None:
        """That an operation after which the last one were possible, whatever was there, is not possible itself."""
        needs = self._needs(helper)
        known, state = self._left_by(helper)
        if not needs or not known or step(self._model, state, self._entries[last]) is ILLEGAL:
            return None
        words = f"{needs} {{}}, which cannot be so there"
        return f"needs {words.format('itself')}", f"need {words.format('themselves')}"

    def _these(self, offsets: Sequence[int]) -> str:
        """Some operations by name, or where they are many by their events."""
        if len(offsets) <= _NAMED_MAX:
            return both([self._words.full(o) for o in offsets])
        events = [self._words.events(o).split(" ", 1)[1] for o in offsets[-_EVENTS_MAX:]]
        left = len(offsets) - len(events)
        return f"{len(offsets)} of them (events {', '.join(events)}{f' and {left} earlier' if left else ''})"

    def _helpers(self, last: int) -> list[int] | None:
        """The updates after which an operation can be legal, from any state that there can be; ``None``: too many."""
        model = specialized(self._model, self._finder.relaxed(self._core))
        matter = noticed(self._entries, self._core, self._model)
        updates = [o for o in matter if o != last and not model.is_read(self._entries[o].f)]
        if len(updates) > _UPDATES_MAX:
            return None
        states: dict[Any, None] = {model.initial(): None}
        helpers: dict[int, None] = {}
        waiting = list(states)
        while waiting:
            state = waiting.pop()
            for o in updates:
                after = step(model, state, self._entries[o])
                if after is ILLEGAL or after == state:
                    continue
                if step(model, after, self._entries[last]) is not ILLEGAL:
                    helpers[o] = None
                if after not in states:
                    states[after] = None
                    waiting.append(after)
            if len(states) > _STATES_MAX:
                return None
        return sorted(helpers)

    def _parted(self, offset: int, state: Any) -> str:
        result, found = self._entries[offset].result, thaw(state)
        words = difference(found, result) if isinstance(found, str) and isinstance(result, str) else ""
        return f" ({words})" if words else ""

    def _needs(self, offset: int) -> str:
        return needs_of(self._model, self._entries[offset])

    def _return_of(self, offset: int) -> tuple[int, int]:
        return self._entries[offset].ret, self._entries[offset].call


def step(model: Model, state: Any, entry: Entry) -> Any:
    """The state after an operation, or ``ILLEGAL``."""
    result = UNKNOWN if entry.crashed and entry.result is None else entry.result
    return asked(model, "step", state, entry.f, argument_of(model, entry), result)


def replayed(model: Model, entries: Sequence[Entry], order: Sequence[int]) -> Any:
    """The state after operations in an order (of offsets) that is legal."""
    state: Any = model.initial()
    for offset in order:
        state = step(model, state, entries[offset])
    return state


def state_of(model: Model, state: Any) -> str:
    """A state in the model's words; long ones are cut."""
    explains = isinstance(model, ExplainsItself)
    return shortened(str(asked(model, "describe_state", state)) if explains else repr(thaw(state)))


def names_of(model: Model, entries: Sequence[Entry], offsets: Sequence[int]) -> dict[int, str]:
    """What operations are called in a sentence: by their words, and by who and when where those are not enough."""
    labels = {o: label_of(model, entries[o]) for o in offsets}
    counts = Counter(labels.values())
    names = {
        o: label if counts[label] == 1 else f"{label} by process {entries[o].process}"
        for o, label in labels.items()
    }
    counts = Counter(names.values())
    return {
        o: name if counts[name] == 1 else f"{name} (event {entries[o].number})" for o, name in names.items()
    }


__all__ = [
    "ARGUED_MAX",
    "Argument",
    "DeadEnd",
    "label_of",
    "names_of",
    "replayed",
    "state_of",
    "step",
]
