"""Every decision procedure against the oracle, on as many small random histories as somebody has time for.

``python -m tests.checkers.soak --count 100000`` (``make soak``) prints what was compared, and exits with 1 where one
procedure says something else than the oracle: the history, made as small as it gets, is printed as a program to run.
The histories are legal, mutated and made up, with crashes, with equal positions, and with values that come twice.
With ``FORESHOCK_KERNELS=interpreted`` the compiled search runs as plain Python.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from tests.checkers.kv_histories import kv_histories
from tests.checkers.lock_rows_and_columns import compare_rows_with_columns
from tests.checkers.model_histories import THINGS, is_legal, random_history
from tests.checkers.random_histories import (
    columns_of_entries,
    legal_register_history,
    limits,
    mutated,
    random_register_history,
)

from foreshock.checkers import engines
from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import Entry
from foreshock.checkers.fast_paths import FastPath, fast_paths_of
from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.checkers.search import Search
from foreshock.harness.model import Model
from foreshock.harness.registry import Kind, load
from foreshock.harness.verdict import Verdict

Histories = Sequence[list[Entry]]
Answers = list[bool | None]
"""Of each history whether it is legal; ``None`` where the procedure does not apply."""
Decider = Callable[[Histories, Model], Answers]

BATCH: Final = 200
"""So many histories are the keys of one, as checkers get them."""
SHOWN_MAX: Final = 3
LOCKS_SHARE: Final = 20
"""One in so many histories is one of locks, for the checkers that are no models."""


@dataclass(frozen=True)
class Mismatch:
    """A history of which a procedure says something else than the oracle; or it raised, which ``said`` holds."""

    model: str
    decider: str
    said: object
    legal: bool
    history: list[Entry]

    def program(self) -> str:
        """A program that shows it."""
        lines = [
            "from tests.checkers.soak import answers",
            "from foreshock.checkers.entries import Entry",
            "from foreshock.checkers.models.base import FAILED",
            "from foreshock.harness.model import UNKNOWN",
            "",
            f"# {self.decider} says {self.said}, the oracle {self.legal}",
            "history = [",
            *(f"    {entry!r}," for entry in self.history),
            "]",
            f"print(answers({self.model!r}, history))",
        ]
        return "\n".join(lines)


@dataclass
class Report:
    """What was compared: histories by model and legality, decisions by procedure and what they were."""

    histories: Counter[tuple[str, bool]] = field(default_factory=Counter)
    decisions: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    mismatches: list[Mismatch] = field(default_factory=list)

    def of(self, model: str, decider: str) -> list[Mismatch]:
        """The mismatches of one procedure on one model; the first few are made small."""
        return [found for found in self.mismatches if (found.model, found.decider) == (model, decider)]

    def lines(self) -> list[str]:
        """The report as text."""
        lines = [f"{'model':18} {'legal':>8} {'illegal':>8}"]
        lines += [
            f"{name:18} {self.histories[name, True]:>8} {self.histories[name, False]:>8}"
            for name in sorted({model for model, _ in self.histories})
        ]
        total = sum(self.histories.values())
        legal = sum(count for (_, is_legal_one), count in self.histories.items() if is_legal_one)
        lines += [f"{'all':18} {legal:>8} {total - legal:>8}", ""]
        lines.append(f"{'model':18} {'procedure':22} {'legal':>8} {'illegal':>8} {'mismatches':>10}")
        for model, decider in sorted({(model, decider) for model, decider, _ in self.decisions}):
            said = [self.decisions[model, decider, legal] for legal in (True, False)]
            lines.append(
                f"{model:18} {decider:22} {said[0]:>8} {said[1]:>8} {len(self.of(model, decider)):>10}"
            )
        lines.append(
            f"{total} histories, {sum(self.decisions.values())} decisions, {len(self.mismatches)} mismatches"
        )
        return lines


# --- where histories come from ----------------------------------------------------------------------------------


def _of_things(rng: random.Random, model: str) -> list[Entry]:
    return random_history(
        rng,
        model,
        operations=rng.choice([3, 5, 6, 7]),
        crash=rng.choice([0, 0.2, 0.5]),
        ties=rng.random() < 0.6,
    )


def _of_registers(rng: random.Random, model: str) -> list[Entry]:
    """Registers once more: arbitrary ones, and those of a real one, longer and some of them mutated."""
    cas = 0.0 if model == "register" else rng.choice([0.0, 0.4, 0.8])
    if rng.random() < 0.7:
        return random_register_history(
            rng,
            cas=cas,
            distinct=rng.random() < 0.7,
            crash=rng.choice([0, 0.2, 0.5]),
            ties=rng.random() < 0.6,
        )
    history = legal_register_history(rng, rng.randint(4, 9), processes=rng.randint(2, 4), cas=cas)
    return mutated(rng, history) if rng.random() < 0.6 else history


def _of_texts(rng: random.Random, model: str) -> list[Entry]:
    return kv_histories(rng.getrandbits(32), 1)[0]


Source = Callable[[random.Random, str], list[Entry]]
MODELS: Final = tuple(THINGS)
_MORE_SOURCES: Final[Mapping[str, Source]] = {
    "register": _of_registers,
    "cas-register": _of_registers,
    "kv": _of_texts,
}


def histories_of(rng: random.Random, model: str, count: int) -> list[list[Entry]]:
    """Small histories of a model, of every kind there is."""
    sources = [_of_things, *([_MORE_SOURCES[model]] if model in _MORE_SOURCES else [])]
    made: list[list[Entry]] = []
    while len(made) < count:
        # No key of a history is without operations.
        if history := rng.choice(sources)(rng, model):
            made.append(history)
    return made


# --- who decides them -------------------------------------------------------------------------------------------


def by_search(histories: Histories, model: Model) -> Answers:
    """The general search in plain Python."""
    return [_legal(Search(history, model).run(limits()).verdict) for history in histories]  # type: ignore[union-attr]


@contextlib.contextmanager
def compiled() -> Iterator[None]:
    """With the compiled search loaded, which is left as it was found."""
    was_loaded = engines.is_compiled()
    engines.load()
    try:
        yield
    finally:
        engines._compiled.is_loaded = was_loaded


def by_kernel(histories: Histories, model: Model) -> Answers:
    """The compiled search, of operations that come as entries."""
    with compiled():
        return [_by_compiled(engines.search_of_entries(history, model, limits())) for history in histories]


def by_kernel_of_columns(histories: Histories, model: Model) -> Answers:
    """The compiled search, of operations that come as columns, all histories together."""
    columns = columns_of_entries(dict(enumerate(histories)))
    with compiled():
        start = engines.searches_of(columns, range(len(histories)), model, limits())
        return [_by_compiled(start(key)) for key in range(len(histories))]


def _by_compiled(search: engines.Searching) -> bool | None:
    assert not isinstance(search, Search), "this is the search in plain Python"
    result = search.run(limits())
    assert result is not None
    return _legal(result.verdict)


def by_checker(histories: Histories, model: Model) -> Answers:
    """The checker as it is used, each history being a key: fast paths, then whichever search it takes."""
    columns = columns_of_entries(dict(enumerate(histories)))
    outcomes = LinearizableChecker(model)._decide(columns, limits())
    return [_legal(outcome.verdict) for outcome in sorted(outcomes, key=lambda outcome: outcome.key)]


def by_fast_path(path: FastPath) -> Decider:
    """A fast path by itself, each history being a key."""

    def decide(histories: Histories, model: Model) -> Answers:
        found = path.decide(columns_of_entries(dict(enumerate(histories))), range(len(histories)))
        wanted = {Decision.VALID: True, Decision.INVALID: False}
        return [wanted[found[key].decision] if key in found else None for key in range(len(histories))]

    return decide


def _legal(verdict: Verdict) -> bool | None:
    return None if verdict is Verdict.UNKNOWN else verdict is Verdict.VALID


DECIDERS: Final[dict[str, Decider]] = {
    "search": by_search,
    "kernel": by_kernel,
    "kernel of columns": by_kernel_of_columns,
    "checker": by_checker,
}
"""Those for every model; the fast paths of a model are beside them, under their names."""


def deciders_of(model: Model, more: Mapping[str, Decider] | None = None) -> dict[str, Decider]:
    """All procedures for a model, by name."""
    paths = {f"fast path {path.name}": by_fast_path(path) for path in fast_paths_of(model)}
    return {**DECIDERS, **paths, **(more or {})}


# --- comparing --------------------------------------------------------------------------------------------------


def answers(model_name: str, history: list[Entry]) -> dict[str, object]:
    """What the oracle and each procedure say of one history."""
    model = load(Kind.MODELS, model_name)()
    said = {name: _ask(decide, [history], model)[0] for name, decide in deciders_of(model).items()}
    return {"oracle": is_legal(history, model), **said}


def _ask(decide: Decider, histories: Histories, model: Model) -> Sequence[object]:
    """The answers; an exception is an answer too, given for each history alone."""
    try:
        return decide(histories, model)
    except Exception as error:  # noqa: BLE001 - whatever it raises is what it says
        if len(histories) == 1:
            return [f"{type(error).__name__}: {error}"]
    return [_ask(decide, [history], model)[0] for history in histories]


def smallest(mismatch: Mismatch, model: Model, decide: Decider) -> Mismatch:
    """The same mismatch on a part of its history, of which no operation can be left out."""
    history, place = mismatch.history, 0
    if not _is_mismatch(mismatch, model, decide, history):
        # Only together with the other histories of its batch does it go wrong.
        return replace(mismatch, said=f"{mismatch.said} among others")
    while place < len(history):
        without = history[:place] + history[place + 1 :]
        if without and _is_mismatch(mismatch, model, decide, without):
            history, place = without, 0
        else:
            place += 1
    return replace(mismatch, history=history)


def _is_mismatch(mismatch: Mismatch, model: Model, decide: Decider, history: list[Entry]) -> bool:
    said = _ask(decide, [history], model)[0]
    return said == mismatch.said and is_legal(history, model) is mismatch.legal


def _disagree(said: object, legal: bool) -> bool:
    return said is not None and said is not legal


def compare(
    count: int,
    seed: int,
    *,
    models: Collection[str] = MODELS,
    deciders: Collection[str] = (),
    more: Mapping[str, Decider] | None = None,
) -> Report:
    """Compare on ``count`` histories, shared out among the models; ``deciders`` limits it to those of these names."""
    report = Report()
    rng = random.Random(seed)
    shares = {name: count // len(models) + (place < count % len(models)) for place, name in enumerate(models)}
    for name, share in shares.items():
        model = load(Kind.MODELS, name)()
        chosen = {n: d for n, d in deciders_of(model, more).items() if not deciders or n in deciders}
        for start in range(0, share, BATCH):
            histories = histories_of(rng, name, min(BATCH, share - start))
            _compare_batch(report, name, model, chosen, histories)
    return report


def _compare_batch(
    report: Report, name: str, model: Model, deciders: Mapping[str, Decider], histories: Histories
) -> None:
    truth = [is_legal(history, model) for history in histories]
    report.histories.update((name, legal) for legal in truth)
    for decider, decide in deciders.items():
        for history, legal, said in zip(histories, truth, _ask(decide, histories, model), strict=True):
            if isinstance(said, bool):
                report.decisions[name, decider, said] += 1
            if _disagree(said, legal):
                mismatch = Mismatch(name, decider, said, legal, history)
                is_new = len(report.of(name, decider)) < SHOWN_MAX
                report.mismatches.append(smallest(mismatch, model, decide) if is_new else mismatch)


def main() -> int:
    """Compare, print, and return 1 where there was a mismatch."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--deciders", nargs="+", default=(), help="of all procedures those of these names")
    arguments = parser.parse_args()
    began = time.perf_counter()
    report = compare(arguments.count, arguments.seed, models=arguments.models, deciders=arguments.deciders)
    print("\n".join(report.lines()))
    print(f"seed {arguments.seed}, {time.perf_counter() - began:.0f} s")
    for mismatch in report.mismatches[:SHOWN_MAX]:
        print(f"\n{mismatch.program()}")
    locks = arguments.count // LOCKS_SHARE
    _, different = compare_rows_with_columns(locks, arguments.seed)
    print(f"{locks} histories of locks, row by row and by columns: {len(different)} mismatches")
    for difference in different[:SHOWN_MAX]:
        print(
            f"\n{difference.checker}: {difference.rows}\n{difference.columns}", *difference.history, sep="\n"
        )
    return 1 if report.mismatches or different else 0


if __name__ == "__main__":
    sys.exit(main())
