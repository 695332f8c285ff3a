"""The search for the least test that still fails in the same way.

Each pass makes one respect of the test smaller, and what pays most comes first: the time after the violation, then
faults (for most of them have nothing to do with it), then the time before them, nodes, processes, what the clients do,
how fast; last what only makes it nicer to read. The passes are gone through again until none of them helps.

A change to a simulated test gives every later draw another outcome, so a smaller test may pass by mere chance. So each
is tried with several seeds, the one that failed last before the others.

Never changed are the target with its options and its bug, the workload and what it holds the target to, checkers, and
time-outs: another test that fails would say nothing of this one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.nemesis import Nemesis
from foreshock.harness.options import option_names
from foreshock.harness.plan import Resolved
from foreshock.harness.schedule_file import ScheduledFault, operations_of
from foreshock.harness.shrinking.candidate import (
    SECOND_NS,
    TENTH_NS,
    Candidate,
    moved,
    paired,
    smaller,
    without_chunks,
)
from foreshock.harness.shrinking.trials import Found, Spent, Trials, Watcher

LEAST_TIME_S: Final = 0.5
LEADS_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0)
"""How long before its first fault a test may begin: leaders are elected and registers written in it."""
AFTER_S: Final = 0.1
"""So long after the violation was seen the main phase may end, and a tenth is as exact as it is said."""
GROWING: Final = ("schedule", "faults")
"""What may be had at the price of more operations."""
FIRST_SEEDS: Final = 6
"""How many seeds the recorded schedule is tried with at least: much depends on it."""
WINDOWS: Final = (1, 2, 4, 8, 16)
"""How many faults right before the violation are tried alone: mostly the last ones did it."""


class Reduction:
    """One search; ``best`` is the smallest test that is known to fail, at any time."""

    def __init__(
        self,
        trials: Trials,
        watcher: Watcher,
        resolved: Resolved,
        recorded: Sequence[ScheduledFault],
        *,
        seeds: int,
    ) -> None:
        plan = resolved.plan
        self._trials = trials
        self._watcher = watcher
        self._seeds = seeds
        self._nemeses: Mapping[str, type[Nemesis[Any]]] = dict(
            zip(plan.nemeses, (cls for cls, _ in resolved.nemesis_classes), strict=True)
        )
        self._options = {
            name: option_names(type(typed))
            for name, (_, typed) in zip(plan.nemeses, resolved.nemesis_classes, strict=True)
        }
        self._recorded = tuple(recorded)
        self._lessens = dict(resolved.workload_class.lessens)
        self._workload = plan.options["workload"]
        self._resolved = resolved
        self._first_seed = plan.seed
        self.best: Found | None = None
        self.scheduled = plan.schedule is not None
        """Whether the faults are a schedule, of which single ones can be left out."""

    def start(self) -> Found:
        """The stored test itself, which must fail again; raises :class:`HarnessError` when it does not."""
        plan, request = self._resolved.plan, self._resolved.request
        counted = plan.nodes == tuple(f"n{number}" for number in range(1, len(plan.nodes) + 1))
        whole = Candidate(
            request=msgspec.structs.replace(
                request,
                seed=None,
                schedule=None,
                concurrency=str(plan.concurrency),
                nodes=str(len(plan.nodes)) if counted else ",".join(plan.nodes),
            ),
            faults=plan.schedule,
            owned=self._options,
        )
        if plan.schedule is not None:
            whole = whole.replace(nemesis=",".join(plan.nemeses) or "none")
        trial = self._trials.one(whole, self._first_seed)
        if not self._trials.fails(trial):
            was, now = self._trials.failure, trial.error or f"{trial.verdict}: {trial.reason}"
            raise HarnessError(
                f"the run does not fail any more as it did ({was}), so there is nothing to shrink: it is now {now} "
                "(foreshock replay says where the histories part)"
            )
        self.best = Found(whole, self._first_seed, trial)
        return self.best

    def run(self) -> str:
        """Make the test smaller until nothing helps any more; returns why it ended before, or ``""``."""
        try:
            self._settle_faults()
            while True:
                before = self._best.candidate
                for what, run_pass in self._passes():
                    self._watcher.step(what)
                    run_pass()
                if self._best.candidate == before:
                    break
            self._watcher.step("round times")
            self._try("faults", self._at_round_times())  # last, for it makes no test smaller
            return ""
        except Spent as end:
            return str(end)

    @property
    def _best(self) -> Found:
        assert self.best is not None
        return self.best

    def _passes(self) -> tuple[tuple[str, Callable[[], None]], ...]:
        return (
            ("time after the violation", self._cut_the_end),
            ("faults", self._leave_out_faults),
            ("time before the faults", self._cut_the_beginning),
            ("time after the violation", self._cut_the_end),
            ("nodes", self._fewer_nodes),
            ("processes", self._fewer_processes),
            ("what clients do", self._less_to_do),
            ("rate", self._slower),
            ("time between faults", self._cut_between),
            ("faults", self._smaller_faults),
            ("time after the violation", self._cut_the_end),
        )

    def _try(self, what: str, candidates: Iterator[Candidate], *, seeds: int | None = None) -> bool:
        """Take the first of the candidates that fails, if any does."""
        count = seeds or self._seeds
        others = range(self._first_seed, self._first_seed + count)
        chosen = tuple(dict.fromkeys((self._best.seed, *others)))[:count]
        now = self._best.candidate
        # A lower rate that shows it only after more operations has made nothing smaller; fewer faults have.
        most = None if what in GROWING else self._best.trial.operations
        found = self._trials.first((each for each in candidates if each != now), chosen, operations_max=most)
        if found is None:
            return False
        self.best = found
        self._watcher.smaller(what, found)
        return True

    # --- faults ---------------------------------------------------------------------------------------------------

    def _settle_faults(self) -> None:
        """Have the faults come from a schedule, as the run recorded it; else no single one can be left out."""
        now = self._best.candidate
        if self.scheduled or not self._nemeses:
            return
        self._watcher.step("the recorded faults as a schedule")
        default = {"mix": "streams", "intensity": "medium", "interval": 5.0, "quiet_windows": None}
        plain = now.replace(nemesis=",".join(self._nemeses), **default)
        ways = (paired(self._recorded, self._nemeses), self._recorded)
        candidates = (plain.with_faults(way) for way in ways)
        self.scheduled = self._try("schedule", candidates, seeds=max(self._seeds, FIRST_SEEDS))

    def _leave_out_faults(self) -> None:
        if self._best.candidate.faults is None:
            self._leave_out_nemeses()
            return
        if self._best.candidate.faults:
            self._try("faults", self._few_faults())
        chunk = max(1, len(self._faults) // 2)
        while chunk and self._faults:
            start, before = 0, self._faults
            while self._try("faults", self._without_faults(chunk, start)):
                pairs = zip(before, self._faults, strict=False)
                start = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
                before = self._faults
            chunk //= 2
        self._leave_out_nemeses()

    @property
    def _faults(self) -> tuple[ScheduledFault, ...]:
        return self._best.candidate.faults or ()

    def _few_faults(self) -> Iterator[Candidate]:
        """None at all, or only the last ones before the violation was seen."""
        best = self._best
        faults = self._faults
        yield best.candidate.with_faults(())
        ends_ns = best.trial.ends_ns
        before = [fault for fault in faults if ends_ns is None or fault.at_ns <= ends_ns]
        for count in WINDOWS:
            if count < len(before):
                yield best.candidate.with_faults(before[-count:])

    def _without_faults(self, chunk: int, first: int) -> Iterator[Candidate]:
        """The faults without so many in a row, from a place on: none before it can be left out."""
        candidate, faults = self._best.candidate, self._faults
        for start in range(first, len(faults), chunk):
            left = (*faults[:start], *faults[start + chunk :])
            if left:
                yield candidate.with_faults(left)

    def _leave_out_nemeses(self) -> None:
        """Name those nemeses alone that do something, and of those that draw their faults as few as will do."""
        now = self._best.candidate
        if now.faults is not None:
            done = {fault.do for fault in now.faults}
            needed = [name for name, cls in self._nemeses.items() if done & set(operations_of(cls))]
            self._try("nemeses", iter([now.with_nemeses(needed)]))
            return
        parts = [part for part in now.request.nemesis.split(",") if part not in ("", "none")]
        while parts and self._try(
            "nemeses",
            (
                self._best.candidate.with_nemeses(left)
                for left in ([], *([p for p in parts if p != part] for part in parts if len(parts) > 1))
            ),
        ):
            now = self._best.candidate
            parts = [part for part in now.request.nemesis.split(",") if part not in ("", "none")]

    def _smaller_faults(self) -> None:
        """Faults that strike fewer nodes, and last shorter."""
        number = 0
        while number < len(self._faults):
            while self._try("faults", self._lesser(number)):
                pass
            number += 1
        if self._best.candidate.faults:
            self._try("faults", self._at_round_times())

    def _lesser(self, number: int) -> Iterator[Candidate]:
        candidate, faults = self._best.candidate, self._faults
        fault = faults[number]
        others = faults[:number], faults[number + 1 :]
        changed: list[ScheduledFault] = []
        nodes = fault.value.get("nodes") if isinstance(fault.value, Mapping) else None
        if isinstance(nodes, Sequence) and not isinstance(nodes, str):
            for node in nodes if len(nodes) > 1 else ():
                value = {**fault.value, "nodes": [each for each in nodes if each != node]}
                changed.append(msgspec.structs.replace(fault, value=value))
        changed += [
            msgspec.structs.replace(fault, lasts_ns=tenths * TENTH_NS)
            for tenths in (smaller(fault.lasts_ns // TENTH_NS, 1) if fault.stop else ())
        ]
        for each in changed:
            yield candidate.with_faults((*others[0], each, *others[1]))

    def _at_round_times(self) -> Iterator[Candidate]:
        for step_ns in (TENTH_NS, TENTH_NS // 10, TENTH_NS // 100) if self._faults else ():
            yield self._best.candidate.with_faults(
                tuple(
                    msgspec.structs.replace(
                        fault,
                        at_ns=round(fault.at_ns / step_ns) * step_ns,
                        lasts_ns=fault.lasts_ns // step_ns * step_ns or fault.lasts_ns,
                    )
                    for fault in self._faults
                )
            )

    # --- time -----------------------------------------------------------------------------------------------------

    def _cut_the_end(self) -> None:
        while self._try("time", self._shorter()):
            pass

    def _shorter(self) -> Iterator[Candidate]:
        candidate, ends_ns = self._best.candidate, self._best.trial.ends_ns
        limit = candidate.request.time_limit
        tries = [limit / 2, limit * 3 / 4]
        if ends_ns is not None:
            tries.insert(0, ends_ns / SECOND_NS + AFTER_S)
        for tried in dict.fromkeys(max(LEAST_TIME_S, math.ceil(each * 10) / 10) for each in tries):
            if tried < limit:
                yield candidate.within(tried)

    def _cut_the_beginning(self) -> None:
        """Have the first fault come soon."""
        candidate = self._best.candidate
        if not candidate.faults:
            return
        first_s = candidate.faults[0].at_ns / SECOND_NS
        leads = [lead for lead in LEADS_S if lead < first_s - 0.05]
        if first_s / 2 > max(leads, default=math.inf):
            leads.append(first_s / 2)
        self._try("time", (self._earlier(candidate, first_s - lead, 0) for lead in leads))

    def _cut_between(self) -> None:
        """Have the faults come close upon each other."""
        number = 1
        while number < len(self._faults):
            faults = self._faults
            gap_s = (faults[number].at_ns - faults[number - 1].at_ns) / SECOND_NS
            cuts = [gap_s * share for share in (0.9, 0.5) if gap_s * share > 0.05]
            candidate, since = self._best.candidate, number
            if not self._try("time", (self._earlier(candidate, cut, since) for cut in cuts)):
                number += 1

    def _earlier(self, candidate: Candidate, by_s: float, since: int) -> Candidate:
        """The faults from number ``since`` on so much earlier, and the end of the test as well."""
        limit = max(LEAST_TIME_S, math.ceil((candidate.request.time_limit - by_s) * 10) / 10)
        by_ns = round(by_s * SECOND_NS)
        return candidate.with_faults(moved(candidate.faults or (), by_ns, since=since)).within(limit)

    # --- who and how much -----------------------------------------------------------------------------------------

    def _fewer_nodes(self) -> None:
        names = self._best.candidate.nodes()
        chunk = max(1, len(names) // 2)
        while len(names) > 1:
            candidate = self._best.candidate
            lefts = [
                (*names[:start], *names[end:]) for start, end in reversed(without_chunks(len(names), chunk))
            ]
            if self._try("nodes", (candidate.with_nodes(left) for left in lefts if left)):
                names = self._best.candidate.nodes()
            elif chunk == 1:
                return
            else:
                chunk //= 2

    def _fewer_processes(self) -> None:
        while self._try("processes", self._with("concurrency", str)):
            pass

    def _slower(self) -> None:
        while self._best.candidate.request.rate > 1 and self._try("rate", self._with("rate", float)):
            pass

    def _with(self, setting: str, kind: type[str | float]) -> Iterator[Candidate]:
        candidate = self._best.candidate
        now = int(float(getattr(candidate.request, setting)))
        for fewer in smaller(now, 1):
            yield candidate.replace(**{setting: kind(fewer)})

    def _less_to_do(self) -> None:
        for name, least in self._lessens.items():
            key = name if name in self._best.candidate.request.options else f"workload.{name}"
            while self._try("what clients do", self._with_option(key, name, least)):
                pass

    def _with_option(self, key: str, name: str, least: int) -> Iterator[Candidate]:
        candidate = self._best.candidate
        options = candidate.request.options
        now = int(options.get(key, self._workload[name]))
        for fewer in smaller(now, least):
            yield candidate.replace(options={**options, key: fewer})
