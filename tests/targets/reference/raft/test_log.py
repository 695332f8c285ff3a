"""The log in memory."""

from __future__ import annotations

import pytest

from foreshock.targets.reference.node.consensus import Entry
from foreshock.targets.reference.node.log import NO_TERM, Log, weight_bytes


def log_of(*terms: int, base: int = 0, base_term: int = 0) -> Log:
    log = Log(base, base_term)
    log.append([Entry(base + i, term, "command", i) for i, term in enumerate(terms, start=1)])
    return log


def test_terms_are_known_from_the_base_to_the_end_and_nowhere_else() -> None:
    log = log_of(2, 2, 3, base=10, base_term=1)
    assert [log.term(position) for position in range(8, 15)] == [NO_TERM, NO_TERM, 1, 2, 2, 3, NO_TERM]
    assert (log.last, log.last_term) == (13, 3)
    with pytest.raises(IndexError):
        log.entry(10)


def test_runs_of_a_term_are_found_by_their_ends() -> None:
    log = log_of(1, 1, 3, 3, 3, 5, base=10, base_term=1)
    assert [log.first_of_term_at(position) for position in (11, 12, 13, 15, 16)] == [11, 11, 13, 13, 16]
    assert [log.last_of_term(term) for term in (1, 2, 3, 4, 5, 6)] == [12, 0, 15, 0, 16, 0]
    assert log_of(base=10, base_term=4).last_of_term(4) == 10


def test_compaction_moves_the_base_and_nothing_else() -> None:
    log = log_of(1, 1, 2, 2)
    log.compact(3)
    assert (log.base, log.base_term, log.last) == (3, 2, 4)
    assert log.term(2) == NO_TERM
    log.compact(1)
    assert log.base == 3


def test_batches_are_cut_by_count_and_weight_also_after_compaction_and_truncation() -> None:
    log = Log()
    log.append([Entry(i, 1, "command", "x" * 76) for i in range(1, 21)])  # 103 bytes each, by its own measure
    assert [len(log.batch(1, count, bytes_max)) for count, bytes_max in ((5, 9999), (99, 310), (99, 1))] == [
        5,
        3,
        1,
    ]
    log.compact(4)
    log.truncate(15)
    assert [entry.position for entry in log.batch(5, 99, 310)] == [5, 6, 7]
    log.append([Entry(15, 2, "command", "x" * 300), Entry(16, 2, "command", "x")])
    assert [entry.position for entry in log.batch(14, 99, 310)] == [14]
    assert [entry.position for entry in log.batch(16, 99, 310)] == [16]
    assert log.batch(17, 99, 310) == ()


def test_weighing_never_recurses() -> None:
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    assert weight_bytes(deep) > 100_000
    assert weight_bytes({"key": "value", "n": 1.5}) > 10
