"""The search for sequential consistency: one legal order of all operations that keeps the order of each process.

Lamport ("How to Make a Multiprocessor Computer That Correctly Executes Multiprocess Programs", 1979). To decide it is
NP-complete even for one register (Gibbons & Korach, "Testing Shared Memories", SIAM J. Comput. 26, 1997), so this is a
bounded search: depth first, over configurations (how far each process has got, which optional operations are used, the
state of each key), none of which is entered twice. The memo compares whole configurations, never hashes alone.

What keeps it small, each sound by itself:

* a read that is next in its process and agrees with the state is taken at once: it changes nothing, and whatever order
  there is with it later there is with it now;
* an optional update is placed only just before an operation of the same key that would not end the same without it (put
  off until there it does as well, and where there is none it is not needed);
* of optional updates that no model can tell apart one is tried;
* registers: a value that somebody is still to read, and nobody is still to write, is not overwritten.

Operations are tried in the order of real time, so that what is nearly linearizable is decided without much search.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from foreshock.checkers.answers import Answers
from foreshock.checkers.search import Limits
from foreshock.checkers.sequential_problem import Item, Problem
from foreshock.harness.model import Model
from foreshock.harness.verdict import Verdict

_ASK_EVERY: Final = 256
_CONFIGURATION_BYTES: Final = 400
_NODE_BYTES: Final = 260
_STEP_BYTES: Final = 180
"""What an answer of the model costs in the table (173 measured)."""
_NO_STATE: Final = -1


class Stuck(NamedTuple):
    """The furthest that any order got: the order, and the operations that came next in their processes (offsets)."""

    prefix: tuple[int, ...]
    heads: tuple[int, ...]
    states: tuple[Any, ...]
    """For each of the heads the state of its key."""


@dataclass(frozen=True)
class SequentialResult:
    """What a search found.

    ``order`` (offsets into the items) is legal when valid; ``stopped`` says why it is unknown.
    """

    verdict: Verdict
    operations: int
    placed: int
    configurations: int
    order: tuple[int, ...] = ()
    stuck: Stuck | None = None
    stopped: str = ""


class _Vectors:
    """Vectors of numbers, each distinct one with a number of its own; those that differ in one place share the rest.

    A balanced tree whose equal parts are one: so a configuration costs the logarithm of its length.
    """

    def __init__(self, values: Sequence[int]) -> None:
        self._bits = max(len(values) - 1, 0).bit_length()
        self._numbers: dict[tuple[int, int], int] = {}
        self._left: list[int] = []
        self._right: list[int] = []
        level = [*values, *[0] * ((1 << self._bits) - len(values))]
        while len(level) > 1:
            level = [self._node(level[i], level[i + 1]) for i in range(0, len(level), 2)]
        self.root = level[0]

    def __len__(self) -> int:
        return len(self._left)

    def _node(self, left: int, right: int) -> int:
        number = self._numbers.setdefault((left, right), len(self._left))
        if number == len(self._left):
            self._left.append(left)
            self._right.append(right)
        return number

    def changed(self, root: int, place: int, value: int) -> int:
        """The number of the vector that differs in one place."""
        path = []
        for bit in range(self._bits - 1, -1, -1):
            path.append(root)
            root = self._right[root] if place >> bit & 1 else self._left[root]
        for bit in range(self._bits):
            parent = path.pop()
            if place >> bit & 1:
                value = self._node(self._left[parent], value)
            else:
                value = self._node(value, self._right[parent])
        return value


class _Placed(NamedTuple):
    """What has to be put back when an operation is taken out of the order again."""

    operation: int
    thread: int
    bit: int
    state: int
    positions_root: int
    states_root: int


class SequentialSearch:
    """One search. It holds one order at a time, and takes operations back from its end to try others."""

    def __init__(self, items: Sequence[Item], model: Model) -> None:
        self._problem = problem = Problem(items, model)
        self._answers = answers = Answers(model, problem.arguments)
        self._values = answers.states
        self._table: dict[tuple[int, int], int] = {}
        initial = answers.initial
        self._positions = [0] * len(problem.threads)
        self._states = [initial] * problem.keys
        self._used = 0
        self._trees = (_Vectors(self._positions), _Vectors(self._states))
        self._roots = (self._trees[0].root, self._trees[1].root)
        self._order: list[_Placed] = []
        self._count = 0
        self._memo: set[tuple[int, int, int]] = set()
        self._deepest = -1
        self._stuck = Stuck((), (), ())
        self.configurations = 0

    @property
    def bytes_used(self) -> int:
        """An estimate of the memory that the search holds by now."""
        nodes = sum(map(len, self._trees))
        own = self.configurations * _CONFIGURATION_BYTES + nodes * _NODE_BYTES
        return own + len(self._table) * _STEP_BYTES + self._answers.sizes.bytes_used

    def run(self, limits: Limits, configurations_max: int | None = None) -> SequentialResult:
        """Search until decided, or a limit is reached, or so many configurations were entered."""
        problem = self._problem
        if stopped := limits.exceeded():
            return self._result(Verdict.UNKNOWN, stopped)
        if problem.demands is not None and problem.demands.from_nowhere:
            self._take_reads()
            self._remember()
            return self._result(Verdict.INVALID)
        branches = [self._branch()]
        while branches:
            if self._count == problem.operations:
                return self._result(Verdict.VALID)
            length, choices = branches[-1]
            self._take_back(length)
            choice = next(choices, None)
            if choice is None:
                branches.pop()
                continue
            if configurations_max is not None and self.configurations >= configurations_max:
                return self._result(Verdict.UNKNOWN, "its budget was used up")
            if self.configurations % _ASK_EVERY == 0 and (stopped := limits.exceeded()):
                return self._result(Verdict.UNKNOWN, stopped)
            if self.bytes_used > limits.memory_bytes:
                return self._result(Verdict.UNKNOWN, "its memory limit was reached")
            self._put(*choice)
            branches.append(self._branch())
        return self._result(Verdict.INVALID)

    def _branch(self) -> tuple[int, Iterator[tuple[int, int, int, int]]]:
        """Take the reads that agree; then how long the order is, and what can come next."""
        self._take_reads()
        return len(self._order), self._enter()

    def _enter(self) -> Iterator[tuple[int, int, int, int]]:
        """What can come next; nothing where this configuration was entered before."""
        if self._count == self._problem.operations:
            return iter(())
        configuration = (*self._roots, self._used)
        if configuration in self._memo:
            return iter(())
        self._memo.add(configuration)
        self.configurations += 1
        if self._count > self._deepest:
            self._remember()
        return iter(self._choices())

    def _take_reads(self) -> None:
        problem = self._problem
        for thread, operations in enumerate(problem.threads):
            while (position := self._positions[thread]) < len(operations):
                operation = operations[position]
                state = self._states[problem.key[operation]]
                if not problem.is_read[operation] or self._after(state, operation) == _NO_STATE:
                    break
                self._put(operation, thread, 0, state)

    def _choices(self) -> list[tuple[int, int, int, int]]:
        """The updates that can come next, as operation, thread, bit and the state after it; by real time."""
        problem = self._problem
        heads = self._heads()
        choices = []
        for thread, operation in heads:
            if problem.is_read[operation]:
                continue
            after = self._after(self._states[problem.key[operation]], operation)
            if after != _NO_STATE and not self._loses(operation, thread, 0, after):
                choices.append((operation, thread, 0, after))
        choices.sort(key=lambda choice: problem.items[choice[0]].entry.ret)
        tried = set()
        unused = [
            o for o in problem.optional if not self._used & o.bit and self._positions[o.thread] >= o.after
        ]
        open_ = [operation for _, operation in heads] + [o.operation for o in unused]
        for optional in unused:
            operation = optional.operation
            same = (problem.key[operation], problem.classes[operation])
            if same in tried:
                continue
            tried.add(same)
            after = self._after(self._states[same[0]], operation)
            if after == _NO_STATE or not self._is_noticed(operation, after, open_):
                continue
            if not self._loses(operation, -1, optional.bit, after):
                choices.append((operation, -1, optional.bit, after))
        return choices

    def _heads(self) -> list[tuple[int, int]]:
        """Each thread that has not come to its end, with its next operation."""
        return [
            (thread, operations[self._positions[thread]])
            for thread, operations in enumerate(self._problem.threads)
            if self._positions[thread] < len(operations)
        ]

    def _is_noticed(self, optional: int, after: int, open_: Sequence[int]) -> bool:
        """Whether something that may come next on the key is legal after an update, and ends otherwise without it."""
        key = self._problem.key[optional]
        state = self._states[key]
        if after == state:
            return False
        for operation in open_:
            if operation != optional and self._problem.key[operation] == key:
                end = self._after(after, operation)
                if end != _NO_STATE and end != self._after(state, operation):
                    return True
        return False

    def _loses(self, operation: int, thread: int, bit: int, after: int) -> bool:
        """Whether an update overwrites what somebody is still to observe and nobody is still to write."""
        demands, key = self._problem.demands, self._problem.key[operation]
        if demands is None or after == self._states[key]:
            return False
        if thread >= 0:
            self._positions[thread] += 1
        missed = demands.is_missed(key, self._values[self._states[key]], self._positions, self._used | bit)
        if thread >= 0:
            self._positions[thread] -= 1
        return missed

    def _put(self, operation: int, thread: int, bit: int, after: int) -> None:
        key = self._problem.key[operation]
        self._order.append(_Placed(operation, thread, bit, self._states[key], *self._roots))
        positions_root, states_root = self._roots
        if thread >= 0:
            self._positions[thread] += 1
            self._count += 1
            positions_root = self._trees[0].changed(positions_root, thread, self._positions[thread])
        self._used |= bit
        if after != self._states[key]:
            self._states[key] = after
            states_root = self._trees[1].changed(states_root, key, after)
        self._roots = (positions_root, states_root)

    def _take_back(self, length: int) -> None:
        while len(self._order) > length:
            placed = self._order.pop()
            self._states[self._problem.key[placed.operation]] = placed.state
            self._used &= ~placed.bit
            self._roots = (placed.positions_root, placed.states_root)
            if placed.thread >= 0:
                self._positions[placed.thread] -= 1
                self._count -= 1

    def _after(self, state: int, operation: int) -> int:
        step = (state, self._problem.classes[operation])
        answer = self._table.get(step)
        if answer is None:
            answer = self._table[step] = self._answers.after(state, step[1], _NO_STATE)
        return answer

    def _remember(self) -> None:
        self._deepest = self._count
        heads = tuple(operation for _, operation in self._heads())
        self._stuck = Stuck(
            tuple(placed.operation for placed in self._order),
            heads,
            tuple(self._values[self._states[self._problem.key[operation]]] for operation in heads),
        )

    def _result(self, verdict: Verdict, stopped: str = "") -> SequentialResult:
        operations = self._problem.operations
        valid = verdict is Verdict.VALID
        return SequentialResult(
            verdict,
            operations,
            operations if valid else max(self._deepest, 0),
            self.configurations,
            order=tuple(placed.operation for placed in self._order) if valid else (),
            stuck=self._stuck if verdict is Verdict.INVALID else None,
            stopped=stopped,
        )
