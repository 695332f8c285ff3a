"""The checker of session guarantees: what a process may count on in what it reads, whoever else is behind.

The four of Terry et al. ("Session Guarantees for Weakly Consistent Replicated Data", PDIS 1994, section 3). There a
server holds a set of updates, and answers a read by the latest of them; a session is what one process does.

* **monotonic reads**: who has read an update reads from servers that hold it ever after;
* **read your writes**: who has made an update reads from servers that hold it ever after;
* **monotonic writes**: a server that holds an update holds all that its process had made before it;
* **writes follow reads**: a server that holds an update holds all that its process had read before it.

So a read breaks a guarantee when every update that it may have seen certainly comes before one that its server had
to hold. For the first two that is an update of the same key which the process itself had read or made. For the other
two it is learned through another process: somebody had made (or read) an update of this key and *then* made another
update, of any key; and the reader had seen that one. Strictly, these two alone prove nothing to a client, who may have
been sent to a server that holds less; so the reader is held to be one whose reads are monotonic, of all keys together.

"Certainly" is told in ``versions.py``: updates of one key are ordered as by an origin that applies each between its
call and its return. This convicts nobody who is innocent by that, and lets go who can talk himself out: where a value
was written twice, every writer of it may have been the one; and what reached the reader through more than one other
process (as causal consistency would follow it) is not followed.

All in columns: O(n log n) for the first two. For the others, each read that is certainly stale is compared with every
process that its reader had read from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from foreshock.checkers.columns import Bools, Ints, columns_of
from foreshock.checkers.models.register import READS, CasRegister
from foreshock.checkers.rows import rows_of
from foreshock.checkers.search import Limits
from foreshock.checkers.session_floors import Floors, pair_codes
from foreshock.checkers.versions import INITIAL, Order, Versions, versions_of
from foreshock.harness.checker import CheckContext, Checker, CheckResult, Counterexample
from foreshock.harness.errors import UsageError
from foreshock.harness.history import History, Row
from foreshock.harness.model import UNKNOWN
from foreshock.harness.operation import OperationType
from foreshock.harness.verdict import Verdict

MONOTONIC_READS: Final = "monotonic-reads"
READ_YOUR_WRITES: Final = "read-your-writes"
MONOTONIC_WRITES: Final = "monotonic-writes"
WRITES_FOLLOW_READS: Final = "writes-follow-reads"
GUARANTEES: Final = (MONOTONIC_READS, READ_YOUR_WRITES, MONOTONIC_WRITES, WRITES_FOLLOW_READS)

_SHOWN_MAX: Final = 20
_METHOD: Final = "certain order of updates"
_ROUNDS_MAX: Final = 8
_PAIRS_AT_ONCE: Final = 1 << 20


class SessionChecker(Checker):
    """Judges session guarantees of registers: ``read``/``get``, ``write``/``put``, ``delete``, ``cas``.

    ``guarantees`` says which, as names or as one text with commas: ``monotonic-reads``, ``read-your-writes``,
    ``monotonic-writes``, ``writes-follow-reads``; all four when it is empty. They are judged together: what one of
    them says that a read must have seen counts for the others.
    """

    name = "session"

    def __init__(self, guarantees: str | Sequence[str] = "") -> None:
        names = guarantees.split(",") if isinstance(guarantees, str) else guarantees
        chosen = [name.strip() for name in names if name.strip()]
        for name in chosen:
            if name not in GUARANTEES:
                raise UsageError(
                    f"there is no session guarantee {name!r}: the option 'guarantees' knows {', '.join(GUARANTEES)}"
                )
        self.guarantees = tuple(name for name in GUARANTEES if name in chosen or not chosen)

    def check(self, history: History, context: CheckContext) -> CheckResult:
        """Decide; invalid with the first violation of each guarantee on each key, unknown when time was up."""
        limits = Limits(context.deadline_ns, context.memory_limit_bytes, context.should_stop)
        if stopped := limits.exceeded():
            return CheckResult(verdict=Verdict.UNKNOWN, reason=f"{stopped} before it began", method=_METHOD)
        versions = versions_of(columns_of(history), self.name)
        judge = _Judge(versions, self.guarantees, limits)
        found = judge.broken()
        firsts = judge.firsts(found)
        counterexamples = [_counterexample(history, versions, name, *chain) for name, chain in firsts]
        keys = len(versions.columns.keys)
        details = {
            "keys": keys,
            "reads": len(versions.reads),
            "unknown_values": int((~versions.known).sum()),
            "guarantees": {name: {"broken_by": int(found[name].sum())} for name in self.guarantees},
            "illegal_keys": judge.illegal_keys(found),
        }
        words = " or ".join(name.replace("-", " ") for name in self.guarantees)
        verdict, reason = Verdict.VALID, f"on {keys} keys no process could tell that {words} was broken"
        if counterexamples:
            verdict, reason = Verdict.INVALID, counterexamples[0].reason
        elif judge.stopped:
            verdict, reason = Verdict.UNKNOWN, judge.stopped
        return CheckResult(
            verdict=verdict,
            reason=reason,
            method=_METHOD,
            details=details,
            counterexamples=tuple(counterexamples[:_SHOWN_MAX]),
        )


@dataclass
class _Judge:
    """Finds the reads of a history that break guarantees, as masks over ``versions.reads``."""

    versions: Versions
    guarantees: Sequence[str]
    limits: Limits
    stopped: str = field(default="", init=False)

    def __post_init__(self) -> None:
        versions, columns = self.versions, self.versions.columns
        self.order = Order(versions)
        reads = versions.reads
        self.until = versions.seen_until
        self.since = np.full(len(reads), -1, dtype=np.int64)
        self.key, self.process = columns.key[reads], columns.process[reads]
        self.call, self.ret = columns.call[reads], columns.ret[reads]
        rows = versions.row[versions.row != INITIAL]
        rows = rows[~columns.crashed[rows]]
        self.processes = np.unique(columns.process)
        self.own = Floors(
            self._code(columns.key[rows], columns.process[rows]), columns.ret[rows], columns.call[rows]
        )
        self.floors = {READ_YOUR_WRITES: self.own.at(self._code(self.key, self.process), self.call)}

    def _code(self, key: Ints, process: Ints) -> Ints:
        return key * len(self.processes) + np.searchsorted(self.processes, process)

    def broken(self) -> dict[str, Bools]:
        """For each guarantee the reads that break it; for the last two, those that break neither of the others."""
        code = self._code(self.key, self.process)
        for _ in range(_ROUNDS_MAX):
            self.read = Floors(code, self.ret, self.since)
            self.floors[MONOTONIC_READS] = self.read.at(code, self.call)
            chosen = [self.floors[name] for name in self.guarantees if name in self.floors]
            floor = np.maximum.reduce([np.full(len(code), -1), *chosen])
            since = np.maximum(self.since, self.versions.seen_since(floor))
            # What a read must have seen tells what the next of its process must have seen.
            if (since == self.since).all():
                break
            self.since = since
        found = {
            name: self.versions.known & (self.until < self.floors[name])
            for name in self.guarantees
            if name in self.floors
        }
        direct = np.logical_or.reduce([np.zeros(len(code), dtype=np.bool_), *found.values()])
        sources = {MONOTONIC_WRITES: self.own, WRITES_FOLLOW_READS: self.read}
        sources = {name: source for name, source in sources.items() if name in self.guarantees}
        return {**found, **self._broken_through_others(sources, ~direct)}

    def _broken_through_others(self, sources: dict[str, Floors], asked: Bools) -> dict[str, Bools]:
        """Which of some reads are older than what others had made (or read) before updates that their reader knew."""
        broken = {name: np.zeros(len(self.key), dtype=np.bool_) for name in sources}
        next_begin = self.order.next_begin(self.key, self.until)
        stale = np.flatnonzero(asked & self.versions.known & (next_begin < self.call))
        known = self._known()
        if known is None or not sources:
            return broken
        reader, other, met, said = known
        pairs = pair_codes(reader, other)
        learned = Floors(pairs, met, said)
        first = np.unique(pairs, return_index=True)[1]
        by_reader = first[np.argsort(reader[first], kind="stable")]
        low = np.searchsorted(reader[by_reader], self.process[stale])
        count = np.searchsorted(reader[by_reader], self.process[stale], side="right") - low
        starts = np.concatenate(([0], np.cumsum(count)))
        at = 0
        while at < len(stale):
            if self.stopped or (stopped := self.limits.exceeded()):
                self.stopped = self.stopped or f"{stopped} after {at} of {len(stale)} stale reads"
                break
            to = max(at + 1, int(np.searchsorted(starts, starts[at] + _PAIRS_AT_ONCE, side="right")) - 1)
            read = np.repeat(stale[at:to], count[at:to])
            place = np.arange(len(read)) - np.repeat(starts[at:to] - starts[at], count[at:to])
            pair = by_reader[np.repeat(low[at:to], count[at:to]) + place]
            upto = learned.at(pairs[pair], self.call[read])
            code = self._code(self.key[read], other[pair])
            for name, source in sources.items():
                broken[name][read[self.until[read] < source.at(code, upto)]] = True
            at = to
        return broken

    def _known(self) -> tuple[Ints, Ints, Ints, Ints] | None:
        """Of which reader, which other process, by when, and called when an update was seen: one row for each read
        that saw the update of another process, and certainly that one."""
        columns = self.versions.columns
        sole = self.versions.sole_candidates()
        seen = self.versions.row[np.maximum(sole, 0)]
        chosen = np.flatnonzero((sole >= 0) & (seen != INITIAL))
        chosen = chosen[columns.process[seen[chosen]] != self.process[chosen]]
        if not len(chosen):
            return None
        seen = seen[chosen]
        return self.process[chosen], columns.process[seen], self.ret[chosen], columns.call[seen]

    def illegal_keys(self, found: dict[str, Bools]) -> list[int | str | None]:
        """The keys with a read that breaks a guarantee."""
        broken = [self.key[mask] for mask in found.values()]
        return [self.versions.columns.keys[key] for key in np.unique(np.concatenate(broken)).tolist()]

    def firsts(self, found: dict[str, Bools]) -> list[tuple[str, list[int]]]:
        """The first read on each key that breaks each guarantee, with what convicts it: rows, the read last.

        The earliest first.
        """
        firsts = []
        for name, broken in found.items():
            places = np.flatnonzero(broken)
            places = places[np.argsort(self.ret[places], kind="stable")]
            first = places[np.unique(self.key[places], return_index=True)[1]]
            firsts += [(int(self.ret[place]), name, place) for place in first.tolist()]
        firsts.sort()
        return [(name, self._chain(name, place)) for _, name, place in firsts[:_SHOWN_MAX]]

    def _chain(self, name: str, place: int) -> list[int]:
        """The operations that show that a read (a place among the reads) breaks a guarantee, in order."""
        versions, columns = self.versions, self.versions.columns
        read = int(versions.reads[place])
        key, process, until = self.key[place], int(self.process[place]), int(self.until[place])
        if name == MONOTONIC_READS:
            before = self._reads_above(key, process, until, int(self.call[place]))
            return [before[-1], read]
        if name == READ_YOUR_WRITES:
            return [self._updates_above(key, process, until, int(self.call[place]))[-1], read]
        sole = versions.sole_candidates()
        mine = np.flatnonzero((self.process == process) & (self.ret < self.call[place]) & (sole >= 0))
        above = self._updates_above if name == MONOTONIC_WRITES else self._reads_above
        for met in mine[::-1].tolist():
            seen = int(versions.row[sole[met]])
            if seen == INITIAL or columns.process[seen] == process:
                continue
            source = above(key, int(columns.process[seen]), until, int(columns.call[seen]))
            if source:
                return [source[-1], seen, int(versions.reads[met]), read]
        raise AssertionError("a read was convicted, and nothing convicts it")

    def _reads_above(self, key: int, process: int, until: int, before: int) -> list[int]:
        """The rows of a process's reads of a key that returned before a position and saw something later."""
        chosen = (self.key == key) & (self.process == process) & (self.ret < before) & (self.since > until)
        found: list[int] = self.versions.reads[chosen].tolist()
        return found

    def _updates_above(self, key: int, process: int, until: int, before: int) -> list[int]:
        """The rows of a process's updates of a key that returned before a position and began after another."""
        columns = self.versions.columns
        chosen = (columns.key == key) & (columns.process == process) & (columns.ret < before)
        chosen &= ~columns.f_in(READS) & ~columns.failed & (columns.call > until)
        found: list[int] = np.flatnonzero(chosen).tolist()
        return found


def _counterexample(history: History, versions: Versions, name: str, *chain: int) -> Counterexample:
    columns = versions.columns
    core = [int(columns.index[row]) for row in chain]
    rows = {row["invoke_index"]: row for row in rows_of(history, core, _label)}
    ordered = [rows[number] for number in core]
    read, source = ordered[-1], ordered[0]
    key = read["key"]
    what = f"{read['label']} of key {key!r} by process {read['process']} goes back behind "
    if len(chain) == 2:
        what += f"its own {source['label']}"
    else:
        link, met = ordered[1], ordered[2]
        what += (
            f"the {source['label']} of process {source['process']}, which then did {link['label']} of key "
            f"{link['key']!r}, which process {read['process']} had read ({met['label']})"
        )
    reason = f"{what}: what it read had certainly been overwritten by then (no {name.replace('-', ' ')})"
    numbers = {*core, *_written(versions, chain)}
    return Counterexample(
        key=key,
        reason=reason,
        core=tuple(sorted(numbers)),
        impossible=core[-1],
        operations=rows_of(history, numbers, _label),
    )


def _written(versions: Versions, chain: Sequence[int]) -> list[int]:
    """The updates whose values the reads of a chain returned, where it is certain which they were."""
    places = np.searchsorted(versions.reads, chain)
    reads = [
        place
        for place, row in zip(places.tolist(), chain, strict=True)
        if row in versions.reads[place : place + 1]
    ]
    sole = versions.sole_candidates()
    seen = [int(versions.row[sole[place]]) for place in reads if sole[place] >= 0]
    return [int(versions.columns.index[row]) for row in seen if row != INITIAL]


def _label(row: Row) -> str:
    result = row.result if row.type is OperationType.OK else UNKNOWN
    return CasRegister().describe(row.f, row.value, result)
