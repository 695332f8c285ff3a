"""Short proofs in explanations: each is true of its history, as code says that knows nothing of how they are made."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.checkers.model_histories import is_legal, random_history
from tests.checkers.random_histories import limits, random_positions, random_register_history

from foreshock.checkers import counting, proofs
from foreshock.checkers.counting import proof_by_counting
from foreshock.checkers.engines import deepest_of
from foreshock.checkers.entries import NEVER, Entry, relax
from foreshock.checkers.explanation import until
from foreshock.checkers.linearizable import model_of
from foreshock.checkers.models.kv import Kv
from foreshock.checkers.models.register import CasRegister
from foreshock.checkers.possible import possible_states
from foreshock.checkers.proofs import Proof, proof_of
from foreshock.checkers.wording import OPEN, Wording
from foreshock.harness.model import UNKNOWN, Model

EVENTS = r"\(events (\d+)-(\d+)\)"
STALE = re.compile(
    rf"Stale read: process (\d+) read (\w+) {EVENTS}, but process (\d+) (?:itself )?had already "
    rf"(?:overwritten it with (.+)|read (\w+)) {EVENTS}\."
)
ALL = re.compile(
    r"(?:All (\d+)|Both) operations that set the value to \w+ had returned before .* began \(last: .*\)"
)
ONLY = re.compile(
    r"The only operation that sets the value to \w+, .* \(events (\d+)-(\d+)\), had returned before"
)
SEEN = re.compile(
    rf"The only operation that sets the value to \w+, .* \(events (\d+)-(\d+|\?)\), had taken effect before .* began: "
    rf"process (\d+) had read (\w+) by then {EVENTS}\."
)
AT_START = re.compile(
    r"The value was (\w+) only at the start: no operation that had begun by then sets it to \w+"
)


def by_events(entries: Sequence[Entry]) -> list[Entry]:
    """The same, in order, with operations that are named by the position at which they began."""
    return [entry._replace(number=entry.call) for entry in sorted(entries, key=lambda entry: entry.call)]


def worded(model: Model, entries: Sequence[Entry]) -> Wording:
    ends = {entry.number: OPEN if entry.ret == NEVER else entry.ret for entry in entries}
    return Wording(model, entries, ends.__getitem__)


def shows(model: Model, entries: Sequence[Entry], proof: Proof, last: int) -> bool:
    """Whether the operations of a proof are illegal by themselves, by brute force."""
    offsets, so_far = until(entries, entries[last].ret)
    kept = [place for place, offset in enumerate(offsets) if offset in proof.operations]
    return not is_legal(relax(so_far, kept, [model.is_read(entry.f) for entry in so_far]), model)


def register_histories(count: int, seed: int) -> Iterator[list[Entry]]:
    rng = random.Random(seed)
    for _ in range(count):
        distinct, cas = rng.random() < 0.5, rng.choice([0.0, 0.4])
        yield by_events(random_register_history(rng, cas=cas, distinct=distinct, ties=False))


def wrong_register_proofs(count: int, seed: int = 1) -> tuple[int, set[str], int]:
    """How many proofs there are, of which kinds, and how many of them prove nothing or say what is not so."""
    proven, kinds, wrong = 0, set(), 0
    model = CasRegister()
    for entries in register_histories(count, seed):
        for read, entry in enumerate(entries):
            proof = proof_of(model, entries, read, worded(model, entries))
            if proof is not None:
                proven += 1
                kinds.add(proof.kind)
                told = proof.sentences
                kinds |= {"seen"} if "had taken effect" in told[-1] else set()
                true = (
                    is_true_of_nothing(entries, entry) if proof.kind == "nowhere" else is_stale(entries, told)
                )
                wrong += not (true and shows(model, entries, proof, read))
    return proven, kinds, wrong


def sets(entry: Entry, value: Any) -> bool:
    if entry.f == "write":
        return bool(entry.value == value)
    return entry.f == "cas" and entry.value[1] == value and entry.value[0] != value


def is_true_of_nothing(entries: Sequence[Entry], read: Entry) -> bool:
    return read.result is not None and not any(sets(e, read.result) and e.call < read.ret for e in entries)


def is_stale(entries: Sequence[Entry], sentences: Sequence[str]) -> bool:
    """Whether what the sentences say of a stale read is so."""
    told = STALE.fullmatch(sentences[0])
    assert told is not None, sentences
    reader, value, call, ret, writer, did, saw, start, end = told.groups()
    named = {entry.number: entry for entry in entries}
    read, over = named[int(call)], named[int(start)]
    number = None if value == "absent" else int(value)
    assert (read.process, read.ret, read.result) == (int(reader), int(ret), number)
    assert (over.process, over.ret) == (int(writer), int(end))
    if did is None:
        other = over.f == "read" and over.result != number and str(over.result or "absent") == saw
    else:
        other = over.f in ("write", "cas") and did == CasRegister().describe(over.f, over.value, None)
        other = other and (over.value if over.f == "write" else over.value[1]) != number
    begun = [entry for entry in entries if entry.call < read.ret and sets(entry, number)]
    before = all(entry.ret < over.call for entry in begun)
    if found := SEEN.fullmatch(sentences[1]):
        seen = named[int(found[5])]
        before = (seen.f, seen.result, str(seen.result)) == ("read", number, found[4])
        before = (
            before and (seen.process, seen.ret) == (int(found[3]), int(found[6])) and seen.ret < over.call
        )
        counted = number is not None and [entry.number for entry in begun] == [int(found[1])]
        counted = counted and found[2] == ("?" if begun[0].ret == NEVER else str(begun[0].ret))
    elif found := ALL.match(sentences[1]):
        counted = len(begun) == int(found[1] or 2) and (len(begun) > 2) == (found[1] is not None)
    elif found := ONLY.match(sentences[1]):
        counted = [(entry.number, entry.ret) for entry in begun] == [(int(found[1]), int(found[2]))]
    else:
        counted = AT_START.match(sentences[1]) is not None and number is None and not begun
    return bool(other and over.ret < read.call and before and counted)


def test_what_is_said_of_a_stale_read_is_so_and_proves_it() -> None:
    proven, kinds, wrong = wrong_register_proofs(3_000)
    assert wrong == 0
    assert proven > 1_000
    assert kinds == {"overwritten", "nowhere", "seen"}


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("_sets", lambda _model, entry, value: entry.f == "write" and entry.value == value),
        ("_leaves_another", lambda _model, entry, _value: entry.f != "read"),
    ],
)
def test_a_rule_of_registers_with_a_mistake_is_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, mistake: Any
) -> None:
    monkeypatch.setattr(proofs, name, mistake)
    assert wrong_register_proofs(2_000)[2] > 0


def kv_histories(count: int, seed: int) -> Iterator[list[Entry]]:
    """A key that is appended to, mostly: texts come twice, gets return what somebody may have had."""
    rng = random.Random(seed)
    for _ in range(count):
        entries = []
        for call, ret in random_positions(rng, rng.randint(2, 6), ties=False):
            kind, crashed = rng.random(), rng.random() < 0.15
            more = {"crashed": crashed, "process": call % 3}
            if kind < 0.5:
                text = rng.choice(["a", "b", "ab", ""] if rng.random() < 0.2 else ["a", "b", "c"])
                entries.append(Entry(call, call, ret, "append", text, UNKNOWN if crashed else None, **more))
            elif kind < 0.55:
                entries.append(Entry(call, call, ret, "put", "a", UNKNOWN if crashed else None, **more))
            else:
                text = "".join(rng.choices("abc", k=rng.choice([0, 1, 1, 2, 2, 3]))) or None
                entries.append(Entry(call, call, ret, "get", None, UNKNOWN if crashed else text, **more))
        yield by_events([entry._replace(ret=NEVER) if entry.crashed else entry for entry in entries])


def wrong_growth_proofs(count: int, seed: int = 2) -> tuple[set[str], int, int]:
    """The words that proofs begin with, how many there are, and how many of them prove nothing."""
    begin, proven, wrong = set(), 0, 0
    for entries in kv_histories(count, seed):
        for read in range(len(entries)):
            proof = proof_of(Kv(), entries, read, worded(Kv(), entries))
            if proof is not None:
                begin.add(proof.sentences[0].split()[0])
                proven += 1
                wrong += not shows(Kv(), entries, proof, read)
    return begin, proven, wrong


def test_what_is_said_of_a_text_that_only_grows_proves_it() -> None:
    begin, proven, wrong = wrong_growth_proofs(3_000)
    assert wrong == 0
    assert proven > 500
    assert begin == {"Stale", "What", "After", "Process"}


def test_a_rule_of_growth_that_forgets_puts_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proofs, "READS", frozenset({"get", "put"}))
    assert wrong_growth_proofs(3_000)[2] > 0


COUNTED = re.compile(
    r"Up to event (\d+), (\d+) (acquire|release)s? returned, but only (\d+) \w+ that did not fail had begun\."
)


def wrong_counts(name: str, count: int) -> tuple[int, int, int]:
    """How many illegal histories there are, how many are proven so by counting, how many proofs are wrong."""
    model, rng = model_of(name), random.Random(3)
    illegal = proven = wrong = 0
    for _ in range(count):
        made = by_events(random_history(rng, name, ties=False))
        entries = [entry._replace(number=number) for number, entry in enumerate(made)]
        positions = [at for e in entries for at in (e.call, e.ret) if at != NEVER]
        if len(set(positions)) < len(positions):
            continue
        illegal += not is_legal(entries, model)
        proof = proof_by_counting(model, entries, worded(model, entries))
        if proof is None:
            continue
        proven += 1
        found = COUNTED.fullmatch(proof.sentences[0])
        assert found is not None, proof.sentences
        event, returned, f, begun = int(found[1]), int(found[2]), found[3], int(found[4])
        other = {"acquire": "release", "release": "acquire"}[f]
        true = sum(e.f == f and e.ret <= event for e in entries) == returned
        true = true and sum(e.f == other and e.call <= event for e in entries) == begun
        last = max(proof.operations, key=lambda o: entries[o].ret)
        true = true and entries[last].ret == event and shows(model, entries, proof, last)
        # Without any one of them the rest is legal.
        offsets, so_far = until(entries, event)
        reads = [False] * len(so_far)
        core = [place for place, offset in enumerate(offsets) if offset in proof.operations]
        true = true and all(
            is_legal(relax(so_far, [p for p in core if p != left], reads), model) for left in core
        )
        wrong += not true
    return illegal, proven, wrong


@pytest.mark.parametrize("name", ["mutex", "semaphore"])
def test_what_is_counted_of_a_lock_is_so_and_proves_it(name: str) -> None:
    illegal, proven, wrong = wrong_counts(name, 600)
    assert wrong == 0
    assert illegal > proven > illegal // 3


def test_a_count_that_forgets_the_lock_that_is_free_at_the_start_is_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(counting, "permits_of", lambda model, entries: 0)
    assert wrong_counts("mutex", 300)[2] > 0


def test_other_models_are_not_counted() -> None:
    entries = [Entry(0, 0, 1, "acquire"), Entry(2, 2, 3, "acquire")]
    for name in ("owner-mutex", "reentrant-mutex"):
        assert proof_by_counting(model_of(name), entries, worded(model_of(name), entries)) is None


def test_each_state_that_is_said_to_be_possible_is_so_and_hardly_any_is_forgotten() -> None:
    """A read of it is legal, in place of the impossible one and at the moment when that returned."""
    model, states, added, missed = CasRegister(), 0, 0, 0
    for entries in register_histories(1_500, seed=4):
        deepest = deepest_of(entries, model, limits(), None)
        if deepest is None or not model.is_read(entries[deepest.impossible].f):
            continue
        offsets, so_far = until(entries, entries[deepest.impossible].ret)
        place = offsets.index(deepest.impossible)
        found = possible_states(model, entries, deepest)
        assert found
        for state in found:
            read = so_far[place]._replace(result=state, call=so_far[place].ret)
            assert is_legal([*so_far[:place], read, *so_far[place + 1 :]], model)
            states += 1
        added += not set(found) <= set(deepest.states)
        for value in range(1, 5):
            read = so_far[place]._replace(result=value, call=so_far[place].ret)
            possible = is_legal([*so_far[:place], read, *so_far[place + 1 :]], model)
            missed += possible and value not in {*found, *deepest.states}
    # Which open operation came last, and which earlier, is not tried in every combination.
    assert missed <= states // 100
    assert states > 500
    assert added > 50
