"""The checker of linearizability: every key by itself, the fast paths first, the search for the rest.

Linearizability is local (Herlihy & Wing 1990): a history is linearizable exactly when that of each key is. So one
hard key must neither hide an easy violation nor hold up the verdict: keys are searched smallest first, in rounds of
doubling budgets, and every illegal key is reported.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from foreshock.checkers import engines
from foreshock.checkers.columns import OperationColumns, columns_of
from foreshock.checkers.decision import Decision
from foreshock.checkers.encoding import takes_many
from foreshock.checkers.explanation import Explainer, labels_of
from foreshock.checkers.fast_paths import LOOKED_THROUGH_MAX, Finding, fast_paths_of, worth_trying
from foreshock.checkers.rounds import Rounds, Searched
from foreshock.checkers.rows import rows_of
from foreshock.checkers.search import Deepest, Limits
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History
from foreshock.harness.model import Model
from foreshock.harness.registry import Kind, load
from foreshock.harness.verdict import Verdict

SEARCH: Final = "search"
_TOLD_IN_BRIEF_MAX: Final = 20
"""Of the illegal ones among more histories than this only that they are is told, unless somebody asks why."""
_UNTOLD: Final = "no order of its operations is legal (--explain tells why)"
_EXPLANATION_S_MAX: Final = 20.0
_LISTED_MAX: Final = 50
_MODEL_METHODS: Final = ("initial", "step", "is_read", "describe")


@dataclass(frozen=True)
class KeyOutcome:
    """What became of one key.

    ``suspects`` (of a fast path) and ``deepest`` (of the search) are in offsets into its entries; ``note`` says how far
    an undecided search got.
    """

    key: int
    verdict: Verdict
    method: str
    configurations: int = 0
    suspects: tuple[int, ...] = ()
    deepest: Deepest | None = None
    note: str = ""


class LinearizableChecker(Checker):
    """Decides whether the history is linearizable by a model, each key being an object of its own.

    ``model`` is a registered name (or ``file.py:Class``), a class or an object. ``operations`` limits the check to
    operations of these names; others the model must know. With ``fast_paths`` off, everything is searched.
    """

    name = "linearizable"

    def __init__(
        self,
        model: Model | type[Any] | str = "cas-register",
        *,
        operations: Collection[str] | None = None,
        fast_paths: bool = True,
    ) -> None:
        self.model = model_of(model)
        self._operations = None if operations is None else frozenset(operations)
        self._is_of_many = False
        # The fast paths know each model by its usual initial state only.
        usual = fast_paths_of(self.model) if fast_paths else ()
        self._fast_paths = usual if usual and self.model.initial() == type(self.model)().initial() else ()

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide every key; invalid when one is illegal, else unknown when one was left undecided."""
        columns = self.columns(history)
        if takes_many(self.model) and len(columns) <= LOOKED_THROUGH_MAX:
            columns.as_registers  # noqa: B018 - values as numbers: still reading, and no deciding
        started, waited_s = time.monotonic(), engines.waited_s()
        limits = Limits(context.deadline_ns, context.memory_limit_bytes, context.should_stop)
        outcomes = self._decide(columns, limits)
        illegal = [outcome for outcome in outcomes if outcome.verdict is Verdict.INVALID]
        # To load the compiled search is no deciding either.
        decided_s = time.monotonic() - started - (engines.waited_s() - waited_s)
        counterexamples = self._explain(history, columns, illegal, limits, briefly=not context.explains)
        return self._result(columns, outcomes, counterexamples, decided_s, time.monotonic() - started)

    def announce(self, operations: int, histories: int) -> None:
        """Say that about so many operations are still to come, in so many histories."""
        engines.announce(operations)
        self._is_of_many = histories > _TOLD_IN_BRIEF_MAX

    def columns(self, history: History) -> OperationColumns:
        """The operations to put into an order, and when each began and ended."""
        return columns_of(history, self._operations, getattr(self.model, "observed_failures", ()))

    def _decide(self, columns: OperationColumns, limits: Limits) -> list[KeyOutcome]:
        outcomes = self._decide_fast(columns, limits)
        rest = [key for key in range(len(columns.keys)) if key not in outcomes]
        rest.sort(key=lambda key: len(columns.rows_by_key[key]))
        for searched in Rounds(rest, engines.searches_of(columns, rest, self.model, limits), limits).run():
            outcomes[searched.key] = _searched_outcome(searched)
        return [outcomes[key] for key in sorted(outcomes)]

    def _decide_fast(self, columns: OperationColumns, limits: Limits) -> dict[int, KeyOutcome]:
        """What the fast paths decide, each of them the keys that those before it left."""
        outcomes: dict[int, KeyOutcome] = {}
        open_keys = worth_trying(self.model, columns) if self._fast_paths else []
        for path in self._fast_paths:
            for key, finding in path.decide(columns, open_keys, limits).items() if open_keys else ():
                outcomes[key] = _fast_outcome(columns, key, path.name, finding)
            open_keys = [key for key in open_keys if key not in outcomes]
        return outcomes

    def _explain(
        self,
        history: History,
        columns: OperationColumns,
        illegal: Sequence[KeyOutcome],
        limits: Limits,
        *,
        briefly: bool,
    ) -> tuple[Counterexample, ...]:
        """A counterexample for every illegal key; the time that is left is shared out among them."""
        counterexamples: list[Counterexample] = []
        if briefly and self._is_of_many:
            return tuple(Counterexample(key=columns.keys[o.key], reason=_UNTOLD, core=()) for o in illegal)
        for done, outcome in enumerate(illegal):
            now = time.monotonic_ns()
            share_ns = min(
                (limits.deadline_ns - now) // (len(illegal) - done), round(_EXPLANATION_S_MAX * 1e9)
            )
            rows = columns.rows_by_key[outcome.key]
            key = columns.keys[outcome.key]
            if share_ns <= 0 or limits.should_stop():
                numbers = columns.index[rows[list(outcome.suspects)]].tolist()
                reason = "it is illegal, but no time was left to explain it"
                shown = rows_of(history, numbers, labels_of(self.model))
                counterexamples.append(
                    Counterexample(key=key, reason=reason, core=tuple(numbers), undecided=1, operations=shown)
                )
                continue
            explainer = Explainer(history, self.model, replace(limits, deadline_ns=now + share_ns))
            found = explainer.explain_rows(
                key, columns, rows, outcome.suspects, outcome.deepest, briefly=briefly
            )
            counterexamples.append(found)
        counterexamples.sort(key=_shown_at)
        return tuple(counterexamples)

    def _result(
        self,
        columns: OperationColumns,
        outcomes: Sequence[KeyOutcome],
        counterexamples: tuple[Counterexample, ...],
        decided_s: float,
        seconds: float,
    ) -> CheckResult:
        verdict = Verdict.worst(outcome.verdict for outcome in outcomes)
        methods = Counter(outcome.method for outcome in outcomes)
        undecided = [outcome for outcome in outcomes if outcome.verdict is Verdict.UNKNOWN]
        keys = f"{len(outcomes)} key{'s' * (len(outcomes) != 1)}"
        if verdict is Verdict.INVALID:
            first = counterexamples[0]
            reason = f"{_named(first.key)} is not linearizable: {first.reason}"
            reason += f" ({len(counterexamples)} of {keys} illegal)" if len(outcomes) > 1 else ""
        elif verdict is Verdict.UNKNOWN:
            notes = "; ".join(f"{_named(columns.keys[o.key])}: {o.note}" for o in undecided[:3])
            reason = f"{len(undecided)} of {keys} undecided: {notes}"
        else:
            reason = f"linearizable: {len(columns)} operation{'s' * (len(columns) != 1)} on {keys}"
        return CheckResult(
            verdict=verdict,
            reason=reason,
            method="+".join(method for method, _ in sorted(methods.items())),
            seconds=seconds,
            details={
                "model": self.model.name,
                "operations": len(columns),
                "keys": len(outcomes),
                "methods": dict(sorted(methods.items())),
                "configurations": sum(outcome.configurations for outcome in outcomes),
                "decided_s": round(decided_s, 6),
                "illegal_keys": [found.key for found in counterexamples],
                "undecided_keys": [
                    {"key": columns.keys[o.key], "note": o.note} for o in undecided[:_LISTED_MAX]
                ],
                "undecided": len(undecided),
            },
            counterexamples=counterexamples,
        )


def _named(key: Any) -> str:
    return "the history" if key is None else f"key {key!r}"


def _shown_at(found: Counterexample) -> int:
    """The operation by which it is known that the key is illegal."""
    if found.core:
        return found.core[-1]
    return -1 if found.impossible is None else found.impossible


def _fast_outcome(columns: OperationColumns, key: int, method: str, finding: Finding) -> KeyOutcome:
    verdict = Verdict.VALID if finding.decision is Decision.VALID else Verdict.INVALID
    offsets = columns.rows_by_key[key].searchsorted(finding.suspects) if finding.suspects else ()
    return KeyOutcome(key, verdict, method, suspects=tuple(int(offset) for offset in offsets))


def _searched_outcome(searched: Searched) -> KeyOutcome:
    result = searched.result
    return KeyOutcome(
        searched.key,
        result.verdict,
        SEARCH,
        configurations=result.configurations,
        deepest=result.deepest,
        note=searched.note,
    )


def model_of(model: Model | type[Any] | str) -> Model:
    """A model from its name, its class or itself; raises ``UsageError`` when it does not keep the protocol."""
    found = load(Kind.MODELS, model) if isinstance(model, str) else model
    made = found() if isinstance(found, type) else found
    missing = [name for name in _MODEL_METHODS if not callable(getattr(made, name, None))]
    if missing or not isinstance(getattr(made, "name", None), str):
        what = f"the method {missing[0]!r}" if missing else "a name"
        raise UsageError(f"{model!r} cannot be used as a model: it lacks {what}")
    return cast(Model, made)
