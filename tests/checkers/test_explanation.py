"""Explanations: cores are illegal and minimal for every model, arguments are true, and long values stay short."""

# ruff: noqa: ISC004 - a sentence of an argument may take two lines

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import permutations
from typing import Any

import msgspec
import pytest
from tests.checkers.model_histories import THINGS, is_legal, random_history
from tests.checkers.model_trials import in_order, operation
from tests.checkers.random_histories import (
    columns_of_entries,
    context,
    history_of,
    limits,
    random_register_history,
)

from foreshock.checkers import explanation
from foreshock.checkers.argument import Argument
from foreshock.checkers.core import CoreFinder, noticed
from foreshock.checkers.entries import NEVER, Entry, relax
from foreshock.checkers.explanation import until
from foreshock.checkers.linearizable import LinearizableChecker, model_of
from foreshock.checkers.models.base import FAILED
from foreshock.checkers.models.register import CasRegister, Register
from foreshock.checkers.selection import telling_rows
from foreshock.checkers.shortening import TEXT_CHARACTERS_MAX, difference, shortened, shortened_value
from foreshock.checkers.wording import OPEN
from foreshock.harness.checker import Counterexample
from foreshock.harness.history import History, Row
from foreshock.harness.model import Model
from foreshock.harness.operation import OperationType

TEXT = "x" * (1 << 20)


def explained(entries: Sequence[Entry], model: Model | str = "cas-register", **more: Any) -> Counterexample:
    (found,) = LinearizableChecker(model, **more).check(history_of({1: entries}), context()).counterexamples
    return found


def illegal_histories(name: str, model: Model, count: int, seed: int) -> Iterator[list[Entry]]:
    """Histories without ties: so that the events of a history can tell of them."""
    rng = random.Random(seed)
    while count:
        entries = random_history(rng, name, operations=6, ties=False)
        if any(entry.result is FAILED for entry in entries) or is_legal(entries, model):
            continue
        count -= 1
        yield entries


@pytest.mark.parametrize("name", sorted(THINGS))
def test_a_core_of_any_model_is_illegal_and_without_any_one_of_its_operations_legal(name: str) -> None:
    model = model_of(name)
    for entries in illegal_histories(name, model, 6, seed=5):
        history = history_of({1: entries})
        (found,) = LinearizableChecker(model).check(history, context()).counterexamples
        assert found.undecided == 0
        assert found.impossible in found.core
        assert found.argument
        (rows,) = (columns := LinearizableChecker(model).columns(history)).rows_by_key
        numbered = columns.entries(rows)
        (last,) = (entry for entry in numbered if entry.number == found.impossible)
        _, so_far = until(numbered, last.ret)
        core = [offset for offset, entry in enumerate(so_far) if entry.number in found.core]
        reads = [model.is_read(entry.f) for entry in so_far]
        assert not is_legal(relax(so_far, core, reads), model)
        for left_out in core:
            assert is_legal(relax(so_far, [o for o in core if o != left_out], reads), model)


@pytest.mark.parametrize("name", ["cas-register", "kv", "owner-mutex", "fifo-queue"])
def test_the_cases_of_an_argument_are_all_the_orders_that_time_leaves(name: str) -> None:
    model = model_of(name)
    cases = 0
    for entries in illegal_histories(name, model, 15, seed=8):
        finder = CoreFinder(entries, model, limits())
        core = finder.find([], list(range(len(entries))))
        found = Argument(finder, core).dead_ends()
        assert found
        ends = {dead_end.order for dead_end in found}
        cases += len(ends)
        completed = [o for o in core if not entries[o].crashed]
        for order in permutations(completed):
            if all(
                entries[later].ret >= entries[earlier].call
                for place, earlier in enumerate(order)
                for later in order[place + 1 :]
            ):
                assert sum(order[: len(end)] == end for end in ends) == 1
        for end in ends:
            assert set(end) <= set(completed)
    assert cases >= 15


def test_a_stale_read_is_argued_by_what_overwrote_it() -> None:
    found = explained(in_order((0, "write", 1, None), (1, "write", 2, None), (2, "read", None, 1)))
    assert found.core == (0, 2, 4)
    assert found.argument == (
        "Stale read: process 2 read 1 (events 4-5), but process 1 had already overwritten it with write 2 (events "
        "2-3).",
        "The only operation that sets the value to 1, write 1 by process 0 (events 0-1), had returned before write 2 "
        "began, and none that could set it to 1 was still open.",
    )
    assert (found.proof, found.drawn) == ("overwritten", (0, 2, 4))


def test_a_value_from_nowhere_is_argued_by_nobody_who_wrote_it() -> None:
    found = explained(in_order((0, "write", 1, None), (1, "read", None, 7)))
    assert found.argument == (
        "Nobody wrote 7: no operation that began before event 3 sets the value to 7, and at the start it was absent.",
    )
    assert found.proof == "nowhere"
    assert found.reason == "read 7 by process 1 (events 2-3) cannot be explained: nobody wrote 7"


def test_who_was_refused_what_was_read_is_named() -> None:
    def row(f: str, key: int, value: Any, begun: int, kind: OperationType, result: Any = None) -> Row:
        return Row(1, f, key, value, result, kind, begun, begun + 1, begun, begun + 1)

    rows = [
        row("write", 1, 1, 0, OperationType.OK),
        row("cas", 1, [1, 7], 2, OperationType.FAIL),
        row("cas", 2, [1, 7], 4, OperationType.FAIL),
        row("cas", 1, [7, 1], 6, OperationType.FAIL),
        row("read", 1, None, 8, OperationType.OK, 7),
        row("write", 1, 7, 10, OperationType.FAIL),
    ]
    (found,) = LinearizableChecker("cas-register").check(History.of(rows), context()).counterexamples
    assert found.argument == (
        "Nobody wrote 7: no operation that began before event 9 sets the value to 7, and at the start it was absent.",
        "cas 1->7 by process 1 (events 2-3) asked for that, but ended as fail, which says that nothing was changed.",
    )


def test_orders_that_time_leaves_open_are_argued_case_by_case() -> None:
    def read(number: int, process: int, call: int, ret: int, value: int) -> Entry:
        return operation(number, process, call, ret, "read", None, value)

    writes = [operation(0, 0, 0, 3, "write", 1), operation(1, 1, 1, 4, "write", 2)]
    one = [read(2, 2, 10, 11, 1), read(3, 2, 14, 15, 2)]
    found = explained([*writes, *one, read(4, 3, 8, 12, 2), read(5, 3, 13, 18, 1)])
    assert found.argument == (
        "Calls and returns leave 4 orders, and none of them gets further than this:",
        "1. write 1, write 2, read 1: the last one needs the value to be 1, but after write 2 it is 2; the only "
        "operation that brings that about, write 1 by process 0 (events 0-2), comes earlier.",
        "2. write 1, write 2, read 2, read 1: the last one needs the value to be 1, but after read 2 it is 2; the only "
        "operation that brings that about, write 1 by process 0 (events 0-2), returned at event 2, before read 2 by "
        "process 3 began at event 4.",
        "3. write 2, write 1, read 2: the last one needs the value to be 2, but after write 1 it is 1; the only "
        "operation that brings that about, write 2 by process 1 (events 1-3), comes earlier.",
        "4. write 2, write 1, read 1, read 2: the last one needs the value to be 2, but after read 1 it is 1; the only "
        "operation that brings that about, write 2 by process 1 (events 1-3), returned at event 3, before read 1 by "
        "process 2 began at event 5.",
    )


def test_a_crashed_operation_of_the_core_is_said_to_be_optional() -> None:
    entries = [operation(0, 1, 0, 2, "cas", [None, 1]), operation(1, 2, 1, 4, "cas", [None, 2])]
    entries.append(operation(2, 0, 5, None, "delete"))
    finder = CoreFinder(entries, CasRegister(), limits())
    sentences = Argument(finder, finder.find([], [2, 1, 0])).sentences()
    assert sentences[1].endswith(
        "the only operation that brings that about, delete by process 0 (event 2), began too late for that."
    )
    assert sentences[-1] == "delete never returned: it may come anywhere after it began, or not at all."


def test_of_each_that_could_help_it_is_said_why_it_cannot_come_there() -> None:
    entries = in_order((0, "write", 1, None), (1, "read", None, 1), (2, "write", 2, None))
    entries += [operation(6, 3, 6, None, "write", 1), operation(7, 4, 7, None, "cas", [3, 1])]
    entries += [operation(n, 5, n, n + 1, "read", None, value) for n, value in ((8, 1), (11, 2), (13, 1))]
    entries.append(operation(10, 6, 10, None, "write", 2))
    entries += [operation(15, 7, 15, None, "write", 3)]
    found = explained(entries)
    assert found.argument == (
        "Each of these ended before the next began, so they can only come in this order.",
        "read 1 by process 5 (event 13) needs the value to be 1, but after read 2 it is 2; 2 operations bring that "
        "about, and none of them can come just there.",
        "write 1 by process 0 (events 0-1) had returned before read 2 by process 5 began at event 11.",
        "write 1 by process 3 (events 6-?) has to come before read 1 by process 5 (events 8-9), which is not possible "
        "without it.",
    )


NEEDED = re.compile(
    r"(.*) (?:has|have) to come before .* \(events (\d+)-.*\), which is not possible without (?:it|.*)\."
)
ITSELF = re.compile(r"(.*) needs? the value to be .* (?:itself|themselves), which cannot be so there\.")


def named_in(words: str) -> list[int]:
    """The operations that a sentence names, by the events at which they began."""
    return [int(number) for number in re.findall(r"\(events (\d+)-", words)]


def lone_orders(count: int) -> Iterator[tuple[CoreFinder, list[int], tuple[int, ...], tuple[str, ...]]]:
    """Illegal histories of a register whose core can only come in one order, with that order and the argument."""
    rng = random.Random(3)
    for _ in range(count):
        found = random_register_history(rng, updates=5, reads=4, cas=0.3, distinct=False, ties=False)
        entries = [e._replace(number=e.call) for e in sorted(found, key=lambda e: e.call)]
        if not is_legal(entries, CasRegister()):
            finder = CoreFinder(entries, CasRegister(), limits())
            core = finder.find([], range(len(entries)))
            ends = {e.number: OPEN if e.crashed else e.ret for e in entries}
            argument = Argument(finder, core, ends.__getitem__)
            dead_ends = argument.dead_ends()
            if len(dead_ends) == 1 and not any(entries[o].crashed for o in core):
                yield finder, core, dead_ends[0].order, argument.sentences()


def can_come(finder: CoreFinder, core: Sequence[int], order: Sequence[int], without: int) -> bool:
    """By brute force: whether operations can come in this order, with all others but one anywhere or not at all."""
    others = [e for e in finder.relaxed(core) if e.call == -NEVER and e.number != without]
    placed = [
        finder.entries[o]._replace(call=4 * n, ret=4 * n + 1, crashed=False) for n, o in enumerate(order)
    ]
    return is_legal([*others, *placed], CasRegister())


def test_what_is_said_of_those_that_could_help_is_so() -> None:
    """By brute force: what is needed earlier, and what cannot come there for its own needs."""
    told: Counter[str] = Counter()
    for finder, core, order, sentences in lone_orders(1_200):
        at = {entry.number: offset for offset, entry in enumerate(finder.entries)}
        for sentence in sentences:
            if found := NEEDED.fullmatch(sentence):
                place = order.index(at[int(found[2])])
                told["needed"] += 1
                for helper in named_in(found[1]):
                    assert not can_come(finder, core, order[: place + 1], helper)
            elif found := ITSELF.fullmatch(sentence):
                told["itself"] += 1
                for helper in named_in(found[1]):
                    assert not can_come(finder, core, (*order[:-1], at[helper]), helper)
    assert min(told["needed"], told["itself"]) >= 5


def test_many_that_want_what_few_bring_about_are_counted() -> None:
    acquires = [operation(n, n, 0, 100 + n, "acquire") for n in range(20)]
    releases = [operation(50 + n, n, 200, None, "release") for n in range(18)]
    early = [release._replace(call=1 + n) for n, release in enumerate(releases)]
    found = explained([*acquires, *early], "mutex")
    assert len(found.core) == 20
    assert found.argument == (
        "Up to event 57, 20 acquires returned, but only 18 releases that did not fail had begun.",
        "The lock was free at the start, so at most 1 + 18 = 19 acquires can have succeeded. This is a proof by "
        "counting: in which order they came does not matter.",
        "Drawn are at most the last 8 of each kind.",
    )
    assert len(found.drawn) == 16
    finder = CoreFinder([*acquires, *early], model_of("mutex"), limits())
    assert Argument(finder, list(range(20))).sentences()[-1] == (
        "20 of them need the lock to be free; 18 operations bring that about, of all that had begun."
    )


def test_states_that_a_search_knows_only_in_part_are_told_as_they_are() -> None:
    found = explained(
        in_order((0, "append", "ab", None), (0, "append", "c", None), (1, "get", None, "x")), "kv"
    )
    assert found.states == ("'abc'",)
    assert found.reason.endswith("it lacks 'c', which was appended before it began")


def test_where_nobody_looks_the_reason_is_the_same_and_nothing_is_drawn() -> None:
    history = history_of({1: in_order((0, "write", 1, None), (1, "write", 2, None), (2, "read", None, 1))})
    for fast_paths in (True, False):
        checker = LinearizableChecker(fast_paths=fast_paths)
        whole = checker.check(history, context())
        brief = checker.check(history, context(explains=False))
        assert brief.reason == whole.reason
        (found,) = brief.counterexamples
        assert (found.core, found.operations, found.impossible) == ((), (), 4)


@pytest.mark.parametrize("name", ["kv", "cas-register", "fifo-queue"])
def test_values_of_a_megabyte_flood_nothing(name: str) -> None:
    histories = {
        "kv": [(0, "append", TEXT, None), (1, "append", TEXT, None), (2, "get", None, TEXT + "y")],
        "cas-register": [(0, "write", TEXT, None), (1, "write", [TEXT], None), (2, "read", None, TEXT)],
        "fifo-queue": [(0, "enqueue", TEXT, None), (1, "dequeue", None, TEXT + "z")],
    }
    found = explained(in_order(*histories[name]), name)
    document = msgspec.json.encode(found, enc_hook=str)
    assert len(document) < 20_000
    assert "characters)" in found.reason
    assert all(len(row["label"]) <= TEXT_CHARACTERS_MAX for row in found.operations)


def test_two_long_texts_are_told_apart_where_they_part() -> None:
    texts = [f"item {number:03d} " for number in range(40)]
    wrong = "".join([*texts[:30], "item 777 "])
    entries = [(0, "put", "", None), *((0, "append", text, None) for text in texts[:31])]
    found = explained(in_order(*entries, (1, "get", None, wrong)), "kv")
    assert "(they part after 275 characters: …" in found.reason


def test_cut_texts_keep_their_ends_and_say_how_long_they_were() -> None:
    assert shortened("short") == "short"
    text = "begin" + "-" * 5_000 + "end"
    cut = shortened(text)
    assert len(cut) <= TEXT_CHARACTERS_MAX
    assert cut.startswith("begin")
    assert cut.endswith("end")
    assert "(5,008 characters)" in cut
    assert shortened_value([1, 2]) == [1, 2]
    assert shortened_value(["y" * 2_000]).startswith('["yyy')
    assert shortened_value(True) is True
    assert difference("a", "b") == ""
    assert difference("a" * 60, "a" * 60) == ""
    assert "where it ends" in difference("a" * 60, "a" * 61)


def test_what_a_model_has_no_words_for_is_argued_without_them() -> None:
    class Plain:
        name = "plain"

        def initial(self) -> int:
            return 0

        def is_read(self, f: str) -> bool:
            return f == "read"

        def step(self, state: Any, f: str, value: Any, result: Any) -> Any:
            return Register(0).step(state, f, value, result)

        def describe(self, f: str, value: Any, result: Any) -> str:
            return f"{f} {value if f == 'write' else result}"

    found = explained(in_order((0, "write", 3, None), (1, "write", 4, None), (2, "read", None, 3)), Plain())
    assert found.argument[-1] == (
        "read 3 cannot come there, but after write 4 it is 4; the only operation that brings that about, write 3 by "
        "process 0 (events 0-1), returned at event 1, before write 4 by process 1 began at event 2."
    )


def test_an_argument_that_cannot_be_finished_says_what_is_known() -> None:
    entries = in_order((0, "write", 1, None), (1, "write", 2, None), (2, "read", None, 1))
    finder = CoreFinder(entries, CasRegister(), limits(0))
    assert Argument(finder, [0, 1, 2]).dead_ends() == []
    assert Argument(finder, [0, 1, 2]).sentences()[0].startswith("All orders of these 3 operations")


@pytest.mark.parametrize("cas", [0.0, 0.5])
def test_of_a_long_history_nothing_is_left_out_that_matters_to_its_suspects(cas: float) -> None:
    rng = random.Random(11)
    model = CasRegister() if cas else Register()
    fewer = 0
    for _ in range(300):
        entries = random_register_history(
            rng, updates=6, reads=5, cas=cas, distinct=rng.random() < 0.7, ties=False
        )
        columns = columns_of_entries({1: entries})
        (rows,) = columns.rows_by_key
        ordered = columns.entries(rows)
        suspects = sorted(rng.sample(range(len(rows)), rng.randint(1, min(3, len(rows)))))
        told = telling_rows(columns, rows, suspects, model)
        assert told is not None
        assert set(noticed(ordered, suspects, model)) <= set(told.tolist())
        fewer += len(told) < len(rows)
        reads = [model.is_read(entry.f) for entry in ordered]
        alone = relax(ordered, suspects, reads)
        picked = [ordered[place] for place in told.tolist()]
        kept = [place for place, row in enumerate(told.tolist()) if row in suspects]
        assert is_legal(relax(picked, kept, [model.is_read(e.f) for e in picked]), model) == is_legal(
            alone, model
        )
    assert fewer > 200


def test_where_columns_cannot_tell_what_matters_the_suspects_are_the_answer_and_may_be_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(explanation, "_WHOLE_SEARCH_MAX", 3)
    entries = in_order(
        (0, "acquire", None, None),
        (1, "acquire", None, None),
        (0, "release", None, None),
        (2, "acquire", None, None),
    )
    history = history_of({1: entries})
    columns = LinearizableChecker("owner-mutex").columns(history)
    explainer = explanation.Explainer(history, model_of("owner-mutex"), limits())
    found = explainer.explain_rows(1, columns, columns.rows_by_key[0], (0, 1, 2))
    assert (found.core, found.undecided, found.argument) == ((0, 2, 4), 1, ())
    assert found.reason == (
        "no order of its operations is legal, as these show, or fewer of them: acquire by 0, acquire by 1, "
        "release by 0"
    )
    assert len(found.operations) == 3
