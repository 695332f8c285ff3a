"""Searching many keys: smallest first, in rounds of doubling budgets, several at once.

So one hard key neither hides an easy violation nor holds up the verdict, and the cores are kept busy: the compiled
search runs without Python's global lock.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from foreshock.checkers.engines import PLAIN_CONFIGURATIONS_MAX, Searching, is_compiled, load
from foreshock.checkers.search import Limits, Search, SearchResult
from foreshock.harness.verdict import Verdict

_FIRST_BUDGET: Final = 2_000
_WORTH_A_THREAD: Final = 1_000 * _FIRST_BUDGET
"""Whoever has fewer returns times configurations before him is done before a thread would have taken him up."""
_WAIT_S: Final = 0.05
_WORKERS_MAX: Final = 32

Start = Callable[[int], Searching]
"""Makes the search of a key."""


class Searched(NamedTuple):
    """What became of the search of one key. ``note`` says how far it got where it is undecided."""

    key: int
    result: SearchResult
    note: str = ""


@dataclass
class _Turn:
    """A key whose search is to go on; ``search`` is made at its first turn, and held ``bytes`` when last seen."""

    key: int
    search: Searching | None = None
    bytes: int = 0


class Rounds:
    """Searches keys until all are decided or time is up. Keys are taken in the order given."""

    def __init__(self, keys: Sequence[int], start: Start, limits: Limits) -> None:
        self._start = start
        self._is_over = False
        self._limits = replace(limits, should_stop=lambda: self._is_over or limits.should_stop())
        self._waiting = [_Turn(key) for key in keys]
        self._held_bytes = 0
        self._plain_configurations = 0
        self.searched: list[Searched] = []

    def run(self) -> list[Searched]:
        """What became of each key."""
        budget = _FIRST_BUDGET
        while self._waiting:
            turns, self._waiting = self._waiting, []
            if is_compiled() and len(turns) > 1 and workers() > 1:
                self._run_at_once(turns, budget)
            else:
                for turn in turns:
                    self._end(turn, self._go_on(turn, budget))
            budget *= 2
        return self.searched

    def _run_at_once(self, turns: Iterable[_Turn], budget: int) -> None:
        with ThreadPoolExecutor(workers(), thread_name_prefix="search") as pool, self._all_over_on_error():
            running: dict[Future[SearchResult | None], _Turn] = {}
            for turn in turns:
                # Made here, one after the other: making one is Python's work, and its tables are shared.
                if not self._has_begun(turn):
                    continue
                if turn.search is not None and turn.search.returns * budget < _WORTH_A_THREAD:
                    self._end(turn, self._go_on(turn, budget))
                    continue
                running[pool.submit(self._go_on, turn, budget)] = turn
                if len(running) >= 2 * workers():
                    self._end_some(running)
            while running:
                self._end_some(running)

    @contextlib.contextmanager
    def _all_over_on_error(self) -> Iterator[None]:
        """Let no search go on when one failed, or somebody wants to leave: the pool waits for all of them."""
        try:
            yield
        except BaseException:
            self._is_over = True
            raise

    def _end_some(self, running: dict[Future[SearchResult | None], _Turn]) -> None:
        done, _ = wait(running, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
        for future in done:
            self._end(running.pop(future), future.result())

    def _has_begun(self, turn: _Turn) -> bool:
        """Make the search of a key, if there is time for it."""
        if turn.search is not None:
            return True
        if stopped := self._limits.exceeded():
            unknown = SearchResult(Verdict.UNKNOWN, 0, 0, 0, stopped=stopped)
            self.searched.append(Searched(turn.key, unknown, f"{stopped} before its turn came"))
            return False
        turn.search = self._start(turn.key)
        self._weigh(turn)
        return True

    def _weigh(self, turn: _Turn) -> None:
        """Keep count of the memory that all searches hold together."""
        before = turn.bytes
        turn.bytes = 0 if turn.search is None else turn.search.bytes_used
        self._held_bytes += turn.bytes - before

    def _go_on(self, turn: _Turn, budget: int) -> SearchResult | None:
        if not self._has_begun(turn):
            return None
        search = turn.search
        assert search is not None  # it has begun
        # What is left is shared out among all that may be running now.
        left = max(0, self._limits.memory_bytes - self._held_bytes) // (workers() if is_compiled() else 1)
        limits = self._limits
        return search.run(Limits(limits.deadline_ns, turn.bytes + left, limits.should_stop), budget)

    def _end(self, turn: _Turn, result: SearchResult | None) -> None:
        search = turn.search
        if search is None:
            return  # its turn never came
        if result is not None:
            note = ""
            if result.verdict is Verdict.UNKNOWN:
                note = f"{result.stopped} at {search.progress} after {result.configurations} configurations"
            self.searched.append(Searched(turn.key, result, note))
            turn.search = None
        else:
            self._perhaps_compiled(turn, search)
            self._waiting.append(turn)
        self._weigh(turn)

    def _perhaps_compiled(self, turn: _Turn, search: Searching) -> None:
        """Start again with the compiled search where the plain one has had enough."""
        if not isinstance(search, Search):
            return
        self._plain_configurations += search.configurations
        if self._plain_configurations > PLAIN_CONFIGURATIONS_MAX or is_compiled():
            turn.search = None if load(self._limits.deadline_ns) else search


def workers() -> int:
    """How many searches run at once: one a core that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return min(cores, _WORKERS_MAX)
