"""Append chains against the oracle, and mistakes planted in them and in the model for one history."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import pytest
from tests.checkers.kv_histories import (
    ALIKE,
    DISTINCT,
    PLAIN,
    kv_histories,
    random_kv_history,
    wrong_appends,
    wrong_kv_searches,
)
from tests.checkers.random_histories import columns_of_entries, limits
from tests.checkers.test_planted_mistakes import Mistake, mutant

from foreshock.checkers.decision import Decision
from foreshock.checkers.entries import NEVER, Entry, relax
from foreshock.checkers.fast_paths import Finding, appends
from foreshock.checkers.models import kv, kv_history, prefixes
from foreshock.checkers.models.kv import Kv
from foreshock.checkers.search import search
from foreshock.harness.model import UNKNOWN
from foreshock.harness.verdict import Verdict

MISTAKES = [
    Mistake("several ways are as good as one", appends, "count > 1 for count", "count > 9 for count"),
    Mistake("heads may be put twice", appends, "len(rows) > 1 and value in", "len(rows) > 9 and value in"),
    Mistake("equal appends are one", appends, "if other != row]", "]"),
    Mistake("only one assignment is tried", appends, "tries), ASSIGNMENTS_MAX + 1)", "tries), 1)"),
    Mistake("appends find anything", appends, "place.get(source.get(node, NOBODY), NOBODY))", "NOBODY)"),
    Mistake("unread updates do nothing", appends, "if row not in used:", "if False:"),
    Mistake("crashed gets count", appends, "if columns.crashed[row]:", "if False:"),
    Mistake("values from nowhere", appends, "if value not in prefixes.nodes:", "if False:"),
    Mistake("one legal assignment is not enough", appends, "if register not in conflicts", "if register < 0"),
    Mistake("what is called as a get returns came too late", appends, "<= columns.ret[readers[node]]", "< 0"),
    Mistake(
        "an append is first as long as it was not last", prefixes, "call <= earliest", "call < earliest - 2"
    ),
    Mistake(
        "any can be the first",
        appends,
        'if "" in operations.puts:\n        return',
        'if True:\n        return {""}; return',
    ),
]
MODEL_MISTAKES = [
    Mistake("one is enough to be spent", kv_history, "forced >= appended[text]", "forced >= 1"),
    Mistake("spent ones are spent for nobody", kv_history, "if text in self._spent", "if text"),
    Mistake("crashed ones are not looked for", kv_history, "NEVER if entry.crashed else entry.ret", "entry.call"),
    Mistake("absent is the empty text", kv_history, "return state == ABSENT and result in", "return result in"),
    Mistake("appends to absent are lost", kv_history, "EMPTY if state == ABSENT else state", "state"),
    Mistake("any append can be the first", kv_history, 'if "" not in written and not any', "if not any"),
    Mistake("deletes make nothing absent", kv_history, "any(e.f in DELETES for", "any(e.f == 0 for"),
    Mistake("all ways are forced", prefixes, "node in self.roots or len(ways) != 1", "not ways"),
    Mistake("shared beginnings are walked once only", prefixes, "if end <= shared or", "if position < shared or"),
    Mistake("only the longest values are known", prefixes, "for part in group if", "for part in group[-1:] if"),
    Mistake("a step is of use if its source is", prefixes, "get(step.target, UN", "get(step.source, UN"),
]  # fmt: skip


@cache
def kv_samples(seed: int, count: int) -> list[list[Entry]]:
    """Histories of what the append chains are for, and of everything else that a key can be asked."""
    rng = random.Random(seed)
    return kv_histories(seed, count // 2) + [
        random_kv_history(
            rng,
            operations=9,
            texts=rng.choice([DISTINCT, DISTINCT[:3], ALIKE]),
            names=PLAIN,
            again=rng.choice([0, 0.1, 0.4]),
        )
        for _ in range(count - count // 2)
    ]


def decide(*histories: list[Entry]) -> list[Finding]:
    found = appends.decide_by_appends(columns_of_entries(dict(enumerate(histories))), range(len(histories)))
    return [found.get(key, Finding(Decision.NOT_APPLICABLE)) for key in range(len(histories))]


def decisions(*histories: list[Entry]) -> list[Decision]:
    return [finding.decision for finding in decide(*histories)]


def done(*operations: tuple[str, str | None]) -> list[Entry]:
    """Operations one after the other; a get has its result for a value."""
    return [
        Entry(n, 2 * n, 2 * n + 1, f, None, value) if f == "get" else Entry(n, 2 * n, 2 * n + 1, f, value)
        for n, (f, value) in enumerate(operations)
    ]


def test_append_chains_agree_with_the_oracle() -> None:
    histories = kv_samples(41, 3000)
    found = decisions(*histories)
    assert {found.count(decision) > 200 for decision in Decision} == {True}
    assert wrong_appends(appends.decide_by_appends, histories) == 0


def test_the_suspects_of_append_chains_are_illegal_by_themselves() -> None:
    illegal = 0
    histories = kv_samples(42, 3000)
    columns = columns_of_entries(dict(enumerate(histories)))
    for key, finding in appends.decide_by_appends(columns, range(len(histories))).items():
        if finding.decision is not Decision.INVALID:
            continue
        whole = columns.entries(columns.rows_by_key[key])
        numbers = {int(columns.index[row]) for row in finding.suspects}
        keep = [offset for offset, entry in enumerate(whole) if entry.number in numbers]
        relaxed = relax(whole, keep, [Kv().is_read(entry.f) for entry in whole])
        assert search(relaxed, Kv(), limits()).verdict is Verdict.INVALID
        illegal += 1
    assert illegal > 300


def test_an_append_that_was_seen_finds_one_value_only() -> None:
    assert decisions(
        done(("append", "a"), ("append", "b"), ("get", "ab")),
        done(("append", "b"), ("append", "a"), ("get", "ab")),
        done(("append", "a"), ("append", "b"), ("put", "c"), ("append", "d"), ("get", "cd")),
        done(("append", "a"), ("put", "c"), ("get", "a")),
    ) == [Decision.VALID, Decision.INVALID, Decision.VALID, Decision.INVALID]


def test_equal_appends_are_tried_in_each_place() -> None:
    assert decisions(
        done(("append", "a"), ("append", "a"), ("get", "aa")),
        done(("append", "a"), ("put", "b"), ("append", "a"), ("get", "ba")),
        done(("append", "a"), ("get", "aa"), ("append", "a")),
    ) == [Decision.VALID, Decision.VALID, Decision.INVALID]


def test_with_too_many_assignments_the_search_decides() -> None:
    together = [Entry(n, n, 100, "append", "a") for n in range(5)]
    assert decisions([*together, Entry(5, 101, 102, "get", None, "aaaaa")]) == [Decision.NOT_APPLICABLE]


def test_a_value_that_is_put_and_appended_is_ambiguous_unless_time_tells() -> None:
    assert decisions(
        done(("append", "a"), ("put", "b"), ("append", "b"), ("get", "bb")),
        [Entry(0, 0, 9, "append", "a"), Entry(1, 1, 9, "put", "a"), Entry(2, 10, 11, "get", None, "a")],
    ) == [Decision.VALID, Decision.NOT_APPLICABLE]


@pytest.mark.parametrize(
    "history",
    [
        done(("append", "")),
        done(("put", ""), ("get", None)),
        done(("put", "x"), ("put", "x"), ("get", "x")),
        [Entry(0, 0, 1, "put", 3)],
        [Entry(0, 0, 1, "delete")],
        [Entry(0, 0, 1, "get", None, 3)],
    ],
    ids=["nothing appended", "empty or absent", "put twice", "number", "delete", "number got"],
)
def test_what_append_chains_do_not_understand_is_left_to_the_search(history: list[Entry]) -> None:
    assert decisions(history) == [Decision.NOT_APPLICABLE]


def test_a_crashed_append_counts_only_if_it_was_seen() -> None:
    crashed = Entry(0, 0, NEVER, "append", "a", UNKNOWN, True)
    assert decisions(
        [crashed, Entry(1, 1, 2, "get", None, "")],
        [crashed, Entry(1, 1, 2, "get", None, "a"), Entry(2, 3, 4, "get", None, "")],
    ) == [Decision.VALID, Decision.INVALID]


EMPTY_AND_ABSENT = [
    done(("put", ""), ("get", None)),
    done(("append", "a"), ("put", ""), ("append", "b"), ("get", "b")),
    done(("append", "a"), ("delete", None), ("append", "b"), ("get", "b")),
    done(("append", "a"), ("append", "a"), ("get", "aa")),
]


def is_found(wrong: object, histories: Sequence[list[Entry]]) -> bool:
    """Whether some history tells; a crash tells as well."""
    assert callable(wrong)
    try:
        return any(wrong(histories[start : start + 200]) for start in range(0, len(histories), 200))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return True


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_in_the_append_chains_is_found(mistake: Mistake, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = mutant(mistake)
    if mistake.module is prefixes:
        monkeypatch.setattr(appends, "first_texts", wrong.first_texts)
        wrong = appends
    histories = EMPTY_AND_ABSENT + kv_samples(43, 4000)
    assert is_found(lambda part: wrong_appends(wrong.decide_by_appends, part), histories)


@pytest.mark.parametrize("mistake", MODEL_MISTAKES, ids=lambda mistake: mistake.name)
def test_a_mistake_in_the_model_of_a_history_is_found(
    mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = mutant(mistake)
    if mistake.module is prefixes:
        monkeypatch.setattr(kv_history, "Prefixes", wrong.Prefixes)
    else:
        monkeypatch.setattr(kv, "KvOfHistory", wrong.KvOfHistory)
    histories = EMPTY_AND_ABSENT + kv_samples(44, 3000)
    assert is_found(lambda part: wrong_kv_searches(search, part), histories)


def test_equal_appends_that_lead_nowhere_are_left_to_the_search_in_good_time() -> None:
    """Of ever so many ways to tell equal appends apart, none is right: the last of them begins after it was read."""
    texts = ["a", "b"] * 20
    history = [Entry(n, n, 1000 + n, "append", text, None, False, n) for n, text in enumerate(texts[:39])]
    history.append(Entry(39, 900, 2000, "append", "b", None, False, 39))
    reads = ["".join(texts[: n + 1]) for n in range(40)]
    history += [
        Entry(40 + n, 50 + 2 * n, 51 + 2 * n, "get", None, read, False, 40) for n, read in enumerate(reads)
    ]
    findings = appends.APPENDS.decide(columns_of_entries({"k": history}), [0])
    assert all(finding.decision is Decision.INVALID for finding in findings.values())
    assert search(history, Kv(), limits()).verdict is Verdict.INVALID
