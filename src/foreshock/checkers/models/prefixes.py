"""The useful prefixes of the values that a history of one key observes: a trie, and the appends between its nodes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from heapq import heapify, heappop, heappush
from itertools import pairwise
from typing import Final, NamedTuple

from foreshock.checkers.entries import NEVER, UNNOTICED
from foreshock.checkers.models.work import Work

_STEP_WORK: Final = 4
"""To keep a step takes about as long as so many looks at whether a text fits."""
_CHARACTERS_A_STEP: Final = 256
EMPTY: Final = 0
"""The node of the empty text: always there."""


class Step(NamedTuple):
    """An append that leads from one node to another."""

    source: int
    target: int
    text: str


class Prefixes:
    """The values from which appends lead to an observed one, as nodes of a trie numbered from :data:`EMPTY`.

    ``observed`` gives for each observed value until when it is; ``returned`` are those that completed gets
    returned, so that they were certainly there; ``written`` are the values that are set whatever was there before,
    or by a compare-and-set; ``appended`` the texts that are appended, of which only ``first`` (all of them when not
    given) can find the key absent or empty.

    ``nodes`` gives the node of an observed or written value, where it is useful; ``steps`` are the appends between
    useful nodes, from the longest values down, and ``steps_by[text][node]`` is where an append leads; ``until`` and
    ``step_until`` say until when anything is observed that a node, or the append of a text, may have had a part in.
    ``forced_by[text]`` counts the nodes that must be visited and that only an append of this text leads to.

    Where every position can be reached and many texts fit there, all this is as large as the product of the two:
    ``work`` counts it, and its ``GaveUp`` comes through.
    """

    def __init__(
        self,
        observed: Mapping[str, int],
        returned: Collection[str],
        written: Collection[str],
        appended: Collection[str],
        first: Collection[str] | None = None,
        work: Work | None = None,
    ) -> None:
        self._work = work or Work(sys.maxsize)
        self._appended = frozenset(appended) - {""}
        self._first = self._appended if first is None else frozenset(first)
        self._index = _Index(self._appended)
        self._written = frozenset(written)
        self._written_lengths = sorted({len(text) for text in self._written})
        self._longest: list[str] = []
        self._places: list[tuple[int, int]] = [(0, 0)]
        self.steps: list[Step] = []
        self.nodes: dict[str, int] = {"": EMPTY}
        self.roots = {EMPTY}
        at = {0: EMPTY}
        group: list[str] = []
        # In this order a value that is a prefix of any other is one of the next, too.
        for value, following in pairwise([*sorted(observed), ""]):
            group.append(value)
            if not following.startswith(value) or not following:
                at = self._walk(value, at)
                self.nodes |= {part: at[len(part)] for part in group if len(part) in at}
                group.clear()
        self._keep_useful(observed)
        self.forced_by = self._forced(returned)

    def text(self, node: int) -> str:
        """The value of a node."""
        longest, length = self._places[node]
        return self._longest[longest][:length] if length else ""

    def ways(self) -> dict[int, int]:
        """For each useful node in how many ways it can be made, counted up to two; the absent key is one of ``""``."""
        ways = {node: int(node in self.roots) for node in self.until}
        if EMPTY in ways and "" in self._written:
            ways[EMPTY] = 2
        for step in reversed(self.steps):
            ways[step.target] = min(2, ways[step.target] + ways[step.source])
        return ways

    def _walk(self, value: str, before: Mapping[int, int]) -> dict[int, int]:
        """Find which positions of a value can be reached, and how; answers with their nodes.

        ``before`` is the answer for the value walked before this one; what the two share is done already.
        """
        shared = _shared(value, self._longest[-1]) if self._longest else 0
        self._work.add(len(before))
        at = {position: node for position, node in before.items() if position <= shared}
        self._longest.append(value)
        for length in self._written_lengths:
            if shared < length <= len(value) and value[:length] in self._written:
                self.roots.add(self._node_at(length, at))
                self.nodes[value[:length]] = at[length]
        if "" in self._written:
            self.roots.add(EMPTY)
        open_positions = list(at)
        heapify(open_positions)
        while open_positions:
            position = heappop(open_positions)
            texts, looked_at = self._index.texts_at(value, position)
            self._work.add(looked_at + _STEP_WORK * len(texts))
            for text in texts:
                end = position + len(text)
                if end <= shared or not (position or text in self._first):
                    continue
                if end not in at:
                    heappush(open_positions, end)
                self.steps.append(Step(at[position], self._node_at(end, at), text))
        return at

    def _node_at(self, position: int, at: dict[int, int]) -> int:
        node = at.setdefault(position, len(self._places))
        if node == len(self._places):
            self._places.append((len(self._longest) - 1, position))
        return node

    def _keep_useful(self, observed: Mapping[str, int]) -> None:
        """Forget the nodes from which nothing leads to an observed value, and find until when the others matter."""
        until = {self.nodes[value]: position for value, position in observed.items() if value in self.nodes}
        self.step_until: dict[str, int] = {}
        self.steps_by: dict[str, dict[int, int]] = {}
        kept = []
        for step in sorted(self.steps, key=lambda step: -self._places[step.source][1]):
            end = until.get(step.target, UNNOTICED)
            if end == UNNOTICED:
                continue
            kept.append(step)
            until[step.source] = max(until.get(step.source, UNNOTICED), end)
            self.step_until[step.text] = max(self.step_until.get(step.text, UNNOTICED), end)
            self.steps_by.setdefault(step.text, {})[step.source] = step.target
        self.until = until
        self.steps = kept
        self.nodes = {value: node for value, node in self.nodes.items() if node in until}

    def _forced(self, returned: Collection[str]) -> Counter[str]:
        """How many different nodes must be visited to which only an append of a text leads, by text."""
        steps_to: dict[int, list[Step]] = {}
        for step in self.steps:
            steps_to.setdefault(step.target, []).append(step)
        forced: Counter[str] = Counter()
        seen: set[int] = set()
        for value in returned:
            node = self.nodes.get(value)
            while node is not None and node not in seen:
                seen.add(node)
                ways = steps_to.get(node, [])
                if node in self.roots or len(ways) != 1:
                    break
                forced[ways[0].text] += 1
                node = ways[0].source
        return forced


class _Index:
    """Texts by their beginnings, so that at a position only those are tried that begin as the value goes on there.

    Those of 2^i to 2^(i+1) - 1 characters are told apart by their first 2^i, and then by their lengths.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = {text: text for text in texts}
        lengths: dict[int, dict[str, set[int]]] = {}
        for text in self._texts:
            size = 1 << (len(text).bit_length() - 1)
            lengths.setdefault(size, {}).setdefault(text[:size], set()).add(len(text))
        self._levels = [
            (size, {beginning: sorted(found) for beginning, found in lengths[size].items()})
            for size in sorted(lengths)
        ]

    def texts_at(self, value: str, position: int) -> tuple[list[str], int]:
        """The texts that a value goes on with at a position, the shortest first, and how much work that was."""
        texts, work = [], len(self._levels)
        for size, beginnings in self._levels:
            for length in beginnings.get(value[position : position + size], ()):
                if position + length > len(value):
                    break
                work += 1 + length // _CHARACTERS_A_STEP
                text = self._texts.get(value[position : position + length])
                if text is not None:
                    texts.append(text)
        return texts, work


def first_texts(appends: Iterable[tuple[str, int]], updates_ret: Iterable[int]) -> set[str]:
    """The texts whose append can be the first update of all: called before any update that is certain returned.

    ``appends`` are texts with their calls. Where nothing makes a key absent or empty again, only these find it so.
    """
    earliest = min(updates_ret, default=NEVER)
    return {text for text, call in appends if call <= earliest}


def _shared(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginnings."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
