"""The checker of sequential consistency: one legal order of all operations, in which each process's come in its order.

Lamport 1979: "the result of any execution is the same as if the operations of all the processors were executed in some
sequential order, and the operations of each individual processor appear in this sequence in the order specified by its
program". Real time says nothing: a process may be behind for ever, so long as it goes forward.

It is *not local* (Herlihy & Wing 1990): each key may be sequentially consistent by itself, and all of them together
not. So all keys are put into one order. What is cheap is tried first: a linearizable history is sequentially
consistent, and one of which a single key is not sequentially consistent by itself is not. Then comes the search
(``sequential_search.py``), which is bounded: the problem is NP-complete.

An operation that never returned may have happened or not, at any time after those that its process had done before. Its
process has ended with it: whoever goes on is another one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from msgspec.structs import replace as with_fields

from foreshock.checkers.argument import label_of
from foreshock.checkers.columns import columns_of
from foreshock.checkers.explanation import PREFIX_MAX, labels_of
from foreshock.checkers.linearizable import LinearizableChecker, model_of
from foreshock.checkers.models.base import ExplainsItself, ObservesFailures, WantsTimes, argument_of, asked
from foreshock.checkers.rows import rows_of
from foreshock.checkers.search import Limits
from foreshock.checkers.sequential_problem import Item
from foreshock.checkers.sequential_search import SequentialResult, SequentialSearch, Stuck
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History
from foreshock.harness.model import Model
from foreshock.harness.verdict import Verdict

_KEY_CONFIGURATIONS_MAX: Final = 20_000
_CORE_CONFIGURATIONS_MAX: Final = 20_000
_CORE_S_MAX: Final = 20.0
_BRIEF_CORE_S_MAX: Final = 2.0
_TOLD_MAX: Final = 12
"""So many operations of a core are told in the reason; more are in the counterexample only."""


class SequentialChecker(Checker):
    """Decides whether the history, over all its keys at once, is sequentially consistent.

    ``model``: the name of a model, or ``file.py:Class``; each key is one object of it.
    """

    name = "sequential"

    def __init__(self, model: Model | type[Any] | str = "cas-register") -> None:
        self.model = model_of(model)
        if isinstance(self.model, WantsTimes) and self.model.by_time:
            raise UsageError(
                f"the model {self.model.name!r} goes by times, of which sequential consistency knows nothing: "
                "check it with the checker 'linearizable'"
            )

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide; unknown with how far it got when a limit was reached first."""
        observed = self.model.observed_failures if isinstance(self.model, ObservesFailures) else ()
        columns = columns_of(history, None, observed)
        limits = Limits(context.deadline_ns, context.memory_limit_bytes, context.should_stop)
        details: dict[str, Any] = {
            "model": self.model.name,
            "operations": len(columns),
            "keys": len(columns.keys),
            "processes": len(set(columns.process.tolist())),
            "configurations": 0,
        }
        if self._is_linearizable(history, context):
            reason = f"sequentially consistent: its {len(columns)} operations are even linearizable"
            return CheckResult(verdict=Verdict.VALID, reason=reason, method="linearizable", details=details)
        items = [
            Item(key, entry)
            for key, rows in enumerate(columns.rows_by_key)
            for entry in columns.entries(rows)
        ]
        illegal = self._illegal_key(items, len(columns.keys), limits, details)
        method = "per key" if illegal is not None else "search"
        if illegal is not None:
            items, result = illegal
        else:
            search = SequentialSearch(items, self.model)
            result = search.run(limits)
            details["configurations"] += search.configurations
        if result.verdict is not Verdict.INVALID:
            return self._not_convicted(result, details)
        keys = columns.keys
        core_s = _CORE_S_MAX if context.explains else _BRIEF_CORE_S_MAX
        deadline_ns = min(limits.deadline_ns, time.monotonic_ns() + round(core_s * 1e9))
        explainer = _Explainer(history, self.model, keys, replace(limits, deadline_ns=deadline_ns))
        counterexample = explainer.explain(items, result)
        details["illegal_keys"] = [] if counterexample.key is None else [counterexample.key]
        reason = f"the history is not sequentially consistent: {counterexample.reason}"
        return CheckResult(
            verdict=Verdict.INVALID,
            reason=reason,
            method=method,
            details=details,
            counterexamples=(counterexample,),
        )

    def _is_linearizable(self, history: History, context: CheckContext) -> bool:
        """Whether it is known, after a quarter of the time at most, that the history is linearizable."""
        now = time.monotonic_ns()
        deadline_ns = now + (context.deadline_ns - now) // 4
        quick = with_fields(context, deadline_ns=deadline_ns, explains=False)
        return LinearizableChecker(self.model).check(history, quick).verdict is Verdict.VALID

    def _illegal_key(
        self, items: Sequence[Item], keys: int, limits: Limits, details: dict[str, Any]
    ) -> tuple[list[Item], SequentialResult] | None:
        """The operations of a key that is illegal by itself, if one is found within a small budget for each."""
        if keys < 2:
            return None
        of_key: dict[int, list[Item]] = {}
        for item in items:
            of_key.setdefault(item.key, []).append(item._replace(key=0))
        for key in sorted(of_key, key=lambda key: len(of_key[key])):
            if limits.exceeded():
                return None
            search = SequentialSearch(of_key[key], self.model)
            result = search.run(limits, _KEY_CONFIGURATIONS_MAX)
            details["configurations"] += search.configurations
            if result.verdict is Verdict.INVALID:
                return [item._replace(key=key) for item in of_key[key]], result
        return None

    def _not_convicted(self, result: SequentialResult, details: dict[str, Any]) -> CheckResult:
        if result.verdict is Verdict.VALID:
            reason = (
                f"sequentially consistent: there is a legal order of its {result.operations} operations that keeps "
                "that of every process"
            )
        else:
            reason = (
                f"{result.stopped} after {result.configurations} configurations, with {result.placed} of "
                f"{result.operations} operations in the longest legal order"
            )
        return CheckResult(verdict=result.verdict, reason=reason, method="search", details=details)


@dataclass(frozen=True)
class _Explainer:
    """Explains histories that are known to be illegal, by a minimal core. Keys of items count into ``keys``."""

    history: History
    model: Model
    keys: Sequence[Any]
    limits: Limits

    def explain(self, items: Sequence[Item], result: SequentialResult) -> Counterexample:
        """A core that is illegal by itself; 1-minimal where the time sufficed."""
        assert result.stuck is not None
        core, stuck, is_minimal = self._core(items, result.stuck, self.limits)
        numbers = [items[offset].entry.number for offset in core]
        keys = {items[offset].key for offset in core}
        prefix = [items[offset].entry.number for offset in stuck.prefix if offset in core][-PREFIX_MAX:]
        heads = [offset for offset in stuck.heads if offset in core]
        impossible = min(heads, key=lambda offset: items[offset].entry.ret, default=None)
        states = dict(zip(stuck.heads, stuck.states, strict=True))
        return Counterexample(
            key=self.keys[min(keys)] if len(keys) == 1 else None,
            reason=self._reason(items, core, is_minimal=is_minimal),
            core=tuple(sorted(numbers)),
            impossible=None if impossible is None else items[impossible].entry.number,
            states=() if impossible is None else (self._state(states[impossible]),),
            needed={
                str(items[offset].entry.number): needs
                for offset in heads
                if (needs := self._needs(items[offset])) != "nothing"
            },
            prefix=tuple(prefix),
            operations=rows_of(self.history, numbers, labels_of(self.model)),
        )

    def _core(self, items: Sequence[Item], stuck: Stuck, limits: Limits) -> tuple[list[int], Stuck, bool]:
        """A part of the items (offsets) that is illegal by itself, where its search ends, and whether it is minimal.

        Delta debugging (Zeller & Hildebrandt 2002). The operations nearest to where the search got stuck are tried
        first. What is left out is relaxed, so that a part of a legal history is legal: a read is deleted, an update
        is optional and free of the order of its process.
        """
        asked = _Questions(items, self.model, limits)
        nearest = _nearest(items, stuck)
        keep, size = nearest, 8
        while size < len(nearest):
            if asked.is_illegal(nearest[:size]):
                keep = nearest[:size]
                break
            size *= 4
        keep = shortened(sorted(keep), asked.is_illegal)
        result = asked.search(keep)
        final = stuck
        if result.stuck is not None:
            offsets = asked.offsets(keep)
            final = Stuck(
                tuple(offsets[o] for o in result.stuck.prefix),
                tuple(offsets[o] for o in result.stuck.heads),
                result.stuck.states,
            )
        return keep, final, not asked.undecided

    def _reason(self, items: Sequence[Item], core: Sequence[int], *, is_minimal: bool) -> str:
        by_process = Counter(items[offset].entry.process for offset in core)
        if len(core) > _TOLD_MAX:
            return (
                f"{len(core)} operations of {len(by_process)} processes have no legal order that keeps theirs"
            )
        several_keys = len({items[offset].key for offset in core}) > 1
        told = []
        for process in sorted(by_process):
            mine = [items[offset] for offset in core if items[offset].entry.process == process]
            mine.sort(key=lambda item: item.entry.call)
            words = [label_of(self.model, item.entry) + self._of_key(item, several_keys) for item in mine]
            told.append(f"process {process} did {', then '.join(words)}")
        where = (
            ""
            if several_keys or self.keys[items[core[0]].key] is None
            else (f" (all of key {self.keys[items[core[0]].key]!r})")
        )
        reason = f"{'; '.join(told)}{where}: no order of these that keeps each process's own is legal"
        return reason if is_minimal else f"{reason} (time ran out before they were proven to be the fewest)"

    def _of_key(self, item: Item, several: bool) -> str:
        return f" of key {self.keys[item.key]!r}" if several else ""

    def _needs(self, item: Item) -> str:
        if not isinstance(self.model, ExplainsItself):
            return "nothing"
        entry = item.entry
        return str(asked(self.model, "needs", entry.f, argument_of(self.model, entry), entry.result))

    def _state(self, state: Any) -> str:
        explains = isinstance(self.model, ExplainsItself)
        return str(asked(self.model, "describe_state", state)) if explains else repr(state)


@dataclass
class _Questions:
    """Whether parts of a history are illegal by themselves; ``undecided`` counts the questions that stayed open."""

    items: Sequence[Item]
    model: Model
    limits: Limits
    undecided: int = 0

    def __post_init__(self) -> None:
        reads = {f: asked(self.model, "is_read", f) for f in {item.entry.f for item in self.items}}
        self._reads = [reads[item.entry.f] for item in self.items]

    def offsets(self, keep: Sequence[int]) -> list[int]:
        """Which items are there at all when all but some are left out."""
        kept = set(keep)
        return [offset for offset, is_read in enumerate(self._reads) if offset in kept or not is_read]

    def search(self, keep: Sequence[int]) -> SequentialResult:
        """Search the history with all but some left out."""
        kept = set(keep)
        relaxed = [
            self.items[offset] if offset in kept else self.items[offset]._replace(free=True)
            for offset in self.offsets(keep)
        ]
        return SequentialSearch(relaxed, self.model).run(self.limits, _CORE_CONFIGURATIONS_MAX)

    def is_illegal(self, keep: Sequence[int]) -> bool:
        """Whether these are illegal by themselves; a question that stays open counts as no."""
        verdict = self.search(keep).verdict
        self.undecided += verdict is Verdict.UNKNOWN
        return verdict is Verdict.INVALID


def shortened(keep: list[int], is_illegal: Callable[[Sequence[int]], bool]) -> list[int]:
    """What is left when all is left out that can be, first in large chunks, then one by one until none can be."""
    chunk = max(len(keep) // 2, 1)
    while True:
        start = 0
        before = len(keep)
        while start < len(keep):
            candidate = keep[:start] + keep[start + chunk :]
            if is_illegal(candidate):
                keep = candidate
            else:
                start += chunk
        if chunk == 1 and len(keep) == before:
            return keep
        chunk = max(chunk // 2, 1)


def _nearest(items: Sequence[Item], stuck: Stuck) -> list[int]:
    """All items, those first that are the nearest in their process to where the search got stuck."""
    by_process: dict[int, list[int]] = {}
    for offset in sorted(range(len(items)), key=lambda o: items[o].entry.call):
        by_process.setdefault(items[offset].entry.process, []).append(offset)
    placed = set(stuck.prefix)
    distance: dict[int, int] = {}
    for offsets in by_process.values():
        done = sum(offset in placed for offset in offsets)
        distance |= {offset: abs(2 * (place - done) + 1) for place, offset in enumerate(offsets)}
    return sorted(distance, key=lambda offset: (distance[offset], offset))
