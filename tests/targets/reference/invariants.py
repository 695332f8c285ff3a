"""What no protocol may break, watched after every step of every node of a full simulated test.

``watch`` puts an :class:`Invariants` into the simulator under an ordinary test: workload, nemeses, clients, sessions,
storage and snapshots are the real ones, and the nodes are looked at from outside, through ``consensus.Replica`` and
the node's machine alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from foreshock.harness import runner
from foreshock.harness.simulation.runtime import SimRuntime
from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.machine import NodeMachine
from foreshock.targets.reference.simulated import SimulatedNode

STATES_EVERY = 8
"""The replicated state is compared at positions that this divides; it is long."""


class Invariants:
    """Remembers what the nodes ever said, and notes in ``broken`` where they contradict each other."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Forget everything: what one test's nodes said binds no other's."""
        self.broken: list[str] = []
        self.steps = 0
        self.leaders: dict[Any, str] = {}
        self.entries: dict[int, tuple[str, Any]] = {}
        self.states: dict[int, str] = {}
        self.written: dict[tuple[int, int], tuple[str, Any, int]] = {}
        self._lives: dict[str, tuple[NodeMachine, int]] = {}
        self._ends: dict[str, tuple[NodeMachine, int, int]] = {}

    def stepped(self, name: str, program: Any) -> None:
        """``SimWorld.after_step``."""
        machine = program.node if isinstance(program, SimulatedNode) else None
        if not isinstance(machine, NodeMachine):
            return
        self.steps += 1
        replica = machine.replica
        if replica.leading:
            described = replica.describe()["term"]
            term = tuple(described) if isinstance(described, list) else described
            if term not in self.leaders:
                self._begins_to_lead(name, replica, term)
            self._require(
                self.leaders.setdefault(term, name) == name,
                f"term {term} has two leaders, {self.leaders[term]} and {name}",
            )
        before, applied = self._lives.get(name, (None, 0)), machine.applied
        seen = before[1] if before[0] is machine else 0
        self._match(name, machine, seen)
        if applied == seen and before[0] is machine:
            return
        self._require(applied >= seen, f"{name} had applied {seen}, and now {applied}")
        self._lives[name] = (machine, applied)
        for position in range(seen + 1, applied + 1):
            self._agree(name, replica.entry(position), position)
        if applied % STATES_EVERY == 0:
            state = json.dumps(machine.sessions.snapshot(), sort_keys=True)
            known = self.states.setdefault(applied, state)
            self._require(known == state, f"{name} has another state than others at {applied}")

    def _begins_to_lead(self, name: str, replica: Any, term: Any) -> None:
        """Leader completeness, where leaders do not overwrite: the latest leader has all that was ever applied.

        (One of an earlier term than another's may learn of its election late, and owes less. A proposer of Paxos owes
        nothing of the kind; it finds out.)
        """
        log = getattr(replica, "log", None)
        if log is None or any(term < other for other in self.leaders):
            return
        for position, agreed in self.entries.items():
            if position > log.base:
                entry = replica.entry(position)
                holds = entry is not None and (entry.kind, entry.data) == agreed
                self._require(holds, f"{name} leads {term} with {entry} where {agreed} was applied")

    def _match(self, name: str, machine: NodeMachine, applied: int) -> None:
        """Log matching, and prefix order: equal position and term mean equal entry and equal predecessor.

        By induction the logs are equal up to there; and terms never fall along a log. Looked at are the entries that
        this node had not applied before, when the end of its log has moved.
        """
        log = getattr(machine.replica, "log", None)
        if log is None or self._ends.get(name) == (machine, log.last, log.last_term):
            return
        self._ends[name] = (machine, log.last, log.last_term)
        for position in range(max(log.base, applied) + 1, log.last + 1):
            entry, previous = log.entry(position), log.term(position - 1)
            said = (entry.kind, entry.data, previous)
            known = self.written.setdefault((position, entry.term), said)
            self._require(known == said, f"{name} holds {entry} after term {previous}, and others {known}")
            self._require(previous <= entry.term, f"{name} holds {entry} after one of term {previous}")

    def _agree(self, name: str, entry: Entry | None, position: int) -> None:
        """Everybody applies the same entry at a position; one that a snapshot took over cannot be seen any more."""
        if entry is None:
            return
        self._require(entry.position == position, f"{name} shows {entry} at {position}")
        known = self.entries.setdefault(position, (entry.kind, entry.data))
        self._require(
            known == (entry.kind, entry.data), f"{name} applied {entry}, where others applied {known}"
        )

    def _require(self, holds: bool, sentence: str) -> None:
        if not holds and len(self.broken) < 100:
            self.broken.append(sentence)


@contextmanager
def watch() -> Iterator[Invariants]:
    """Simulated tests that ``run_test`` runs in here are watched, one after the other, each by itself."""
    invariants = Invariants()

    class Watched(SimRuntime):
        def __init__(self, seed: int) -> None:
            super().__init__(seed)
            invariants.begin()
            self.world.after_step = invariants.stepped

    original = runner.SimRuntime
    runner.SimRuntime = Watched  # type: ignore[misc]
    try:
        yield invariants
    finally:
        runner.SimRuntime = original  # type: ignore[misc]
