"""Explanations in the terminal: golden texts, as a person reads them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.checkers.random_histories import context

from foreshock.checkers.linearizable import LinearizableChecker
from foreshock.harness.cli.explain import (
    DRAWN_MAX,
    INDEX_CHARACTERS_MAX,
    INDEXED_MAX,
    explain,
    index_of,
)
from foreshock.harness.history import History, Row

MS = 1_000_000
Operation = tuple[int, str, Any, Any, int, int]


def history(*operations: Operation, key: Any = "x") -> History:
    """Operations as (process, f, value, result, call event, return event); -1: it never returned."""
    return History.of(
        Row(
            process,
            f,
            key,
            value,
            result,
            type="ok" if end >= 0 else "info",  # type: ignore[arg-type]
            invoke_index=start,
            complete_index=end,
            invoke_ns=start * MS,
            complete_ns=end * MS if end >= 0 else -1,
        )
        for process, f, value, result, start, end in operations
    )


def text_of(found: History, model: str = "cas-register") -> str:
    (counterexample,) = LinearizableChecker(model).check(found, context()).counterexamples
    return explain(msgspec.to_builtins(counterexample, enc_hook=str))


STALE_READ = """\
key 'x': no legal order exists: read 1 by process 2 (events 4-5) cannot be explained: the value could be 2, but not 1

  What happened:
  process  events  time
        0  0-1     0.000-1.000 ms  [------]                              write 1
        1  2-3     2.000-3.000 ms                [------]                write 2
        2  4-5     4.000-5.000 ms                              [------]  read 1  <- impossible
  (Events are counted from 0.)

  Why no order works:
    Stale read: process 2 read 1 (events 4-5), but process 1 had already overwritten it with write 2
      (events 2-3).
    The only operation that sets the value to 1, write 1 by process 0 (events 0-1), had returned
      before write 2 began, and none that could set it to 1 was still open.

  Just before it returned:
    the longest legal order of all that had happened: write 1, write 2
"""

FROM_NOWHERE = """\
key 'x': no legal order exists: read 9 by process 1 (events 3-4) cannot be explained: nobody wrote 9

  What happened:
  process  events  time
        1  3-4     3.000-4.000 ms  [------]  read 9  <- impossible
  (Events are counted from 0.)

  Why no order works:
    Nobody wrote 9: no operation that began before event 4 sets the value to 9, and at the start it
      was absent.

  Just before it returned:
    the longest legal order of all that had happened: write 1
"""

SECOND_HOLDER = """\
the history: no legal order exists: acquire by 1 (events 2-3) cannot be explained: the lock was held by process 0

  What happened (2 operations together show it; without any one of them they do not):
  process  events  time
        0  0-1     0.000-1.000 ms  [------]                acquire by 0
        1  2-3     2.000-3.000 ms                [------]  acquire by 1  <- impossible
  (Events are counted from 0.)
  Operations not listed may come at any time or not at all; even so no order works.

  Why no order works:
    Each of these ended before the next began, so they can only come in this order.
    acquire by 1 needs the lock to be free, but after acquire by 0 it is held by process 0; nothing
      that had begun by then brings that about.

  Just before it returned:
    the longest legal order of all that had happened: acquire by 0
"""

OUT_OF_TURN = (
    "key 'q': no legal order exists: dequeue -> 'b' by process 1 (events 4-5) cannot be explained: it needs 'b' to be "
    "at the head, but the state could be 'a', 'b'\n"
)


def test_a_stale_read() -> None:
    found = history((0, "write", 1, None, 0, 1), (1, "write", 2, None, 2, 3), (2, "read", None, 1, 4, 5))
    assert text_of(found) == STALE_READ


def test_a_value_from_nowhere_is_one_operation() -> None:
    found = history((0, "write", 1, None, 0, 1), (2, "write", 5, None, 2, -1), (1, "read", None, 9, 3, 4))
    assert text_of(found) == FROM_NOWHERE


def test_a_second_holder() -> None:
    found = history(
        (0, "acquire", None, None, 0, 1),
        (1, "acquire", None, None, 2, 3),
        (0, "release", None, None, 4, 5),
        key=None,
    )
    assert text_of(found, "owner-mutex") == SECOND_HOLDER


def test_a_queue_out_of_turn() -> None:
    found = history(
        (0, "enqueue", "a", None, 0, 1),
        (0, "enqueue", "b", None, 2, 3),
        (1, "dequeue", None, "b", 4, 5),
        key="q",
    )
    text = text_of(found, "fifo-queue")
    assert text.startswith(OUT_OF_TURN)
    assert "3 operations together show it" in text
    assert "<- impossible" in text


def test_what_was_pending_is_told_with_what_it_needed_and_what_never_returned_is_open_to_the_right() -> None:
    found = history(
        (0, "write", 1, None, 0, 1),
        (1, "cas", [3, 4], None, 2, -1),
        (2, "write", 2, None, 3, 6),
        (3, "read", None, 4, 4, 5),
    )
    text = text_of(found)
    assert "cas 3->4 (process 1, event 2, never returned) could not help: it needs the value to be 3" in text
    assert "Source of the value: cas 3->4 by process 1 (events 2-?)." in text


def test_what_never_returned_is_open_to_the_right() -> None:
    found = history(
        (0, "acquire", None, None, 0, 1),
        (0, "acquire", None, None, 2, -1),
        (1, "acquire", None, None, 3, 4),
        key=None,
    )
    (counterexample,) = LinearizableChecker("owner-mutex").check(found, context()).counterexamples
    document = msgspec.to_builtins(counterexample, enc_hook=str)
    row = document["operations"][0] | {"invoke_index": 2, "complete_index": -1, "type": "info"}
    text = explain(document | {"core": [*document["core"], 2], "operations": [*document["operations"], row]})
    assert "2-?" in text
    assert "0.000-? ms" in text
    assert "..." in text


COUNTED = {"invoke_ns": 0, "complete_ns": 0, "type": "ok", "f": "acquire"}


def test_of_a_large_core_the_last_operations_are_drawn() -> None:
    rows = [
        {
            "invoke_index": 2 * n,
            "complete_index": 2 * n + 1,
            "process": n,
            "label": f"acquire {n}",
            **COUNTED,
        }
        for n in range(50)
    ]
    text = explain({"key": 1, "reason": "it is", "core": [2 * n for n in range(50)], "operations": rows})
    assert f"({50 - DRAWN_MAX} earlier operations of these are not drawn)" in text
    assert "acquire 29" not in text
    assert "acquire 30" in text
    assert max(map(len, text.splitlines())) < 160


def test_a_counterexample_without_a_core_or_rows_is_its_reason() -> None:
    assert explain({"key": None, "reason": "it is", "core": ()}) == "the history: it is\n"


def test_the_last_source_the_overwrite_and_the_read_are_drawn_and_the_other_sources_are_told() -> None:
    writes = [(0, "write", 7, None, 4 * n, 4 * n + 1) for n in range(3)]
    found = history(*writes, (1, "write", 6, None, 20, 21), (1, "read", None, 7, 22, 23))
    text = text_of(found)
    assert [line.split("]")[1].strip() for line in text.splitlines() if "]" in line] == [
        "write 7",
        "write 6",
        "read 7  <- impossible",
    ]
    assert "process 1 itself had already overwritten it with write 6 (events 20-21)" in " ".join(text.split())
    assert (
        "All 3 operations that set the value to 7 had returned before write 6 began (last: write 7 by" in text
    )
    assert "The other 2 that set it to 7: events 0-1, 4-5." in text


def test_the_source_of_a_value_is_told_below_the_table() -> None:
    found = history(
        (0, "append", "a", None, 0, 3),
        (1, "append", "b", None, 4, 5),
        (2, "get", None, "a", 6, 7),
    )
    text = text_of(found, "kv")
    assert "  Source of the value: append 'a' by process 0 (events 0-3)." in text.splitlines()
    assert "the value contains 'b' until a put" in text
    assert "it is 'b'" not in text


def test_a_state_is_told_only_where_the_operations_before_leave_no_other() -> None:
    """What is in the core is not all that happened: in this history the value was never just 'b'."""
    found = history(
        (0, "append", "a", None, 0, 1),
        (1, "append", "b", None, 2, 3),
        (3, "put", "z", None, 4, -1),
        (2, "get", None, "a", 5, 6),
    )
    text = " ".join(text_of(found, "kv").split())
    assert "which cannot be so after append 'b'" in text
    assert "it is 'b'" not in text


def test_a_long_value_is_told_once() -> None:
    long = "".join(f"item {n} " for n in range(20))
    found = history(
        (0, "put", long, None, 0, 1),
        (1, "get", None, long, 2, 3),
        (1, "put", "x", None, 4, 5),
        (2, "get", None, long, 6, 7),
    )
    text = text_of(found, "kv")
    assert text.count("characters)") == 1
    assert "\n  A = 'item 0 item 1 item 2'…" in text
    assert "get A  <- impossible" in text


def test_a_list_of_illegal_keys_has_one_short_line_each() -> None:
    many = [{"key": n, "reason": "it " * 100, "core": ()} for n in range(INDEXED_MAX + 5)]
    lines = index_of(many).splitlines()
    assert lines[0] == f"{INDEXED_MAX + 5} keys are illegal:"
    assert len(lines) == INDEXED_MAX + 2
    assert lines[-1] == "  and 5 more"
    assert max(map(len, lines)) <= INDEX_CHARACTERS_MAX + 2


def test_a_lock_that_is_given_away_too_often_is_counted() -> None:
    events = [
        (n, f, None, None, 4 * n + at, 4 * n + at + 1)
        for n in range(12)
        for at, f in ((0, "acquire"), (2, "release"))
    ]
    found = history(
        *events, (20, "acquire", None, None, 60, 61), (21, "acquire", None, None, 62, 63), key=None
    )
    text = text_of(found, "mutex")
    assert "acquire by process 21 (events 62-63) cannot be explained: the lock was held" in text
    assert "Up to event 63, 14 acquires returned, but only 12 releases that did not fail had begun." in text
    assert "at most 1 + 12 = 13 acquires can have succeeded" in text
    assert sum("]" in line and "release" in line for line in text.splitlines()) == 8


Command = Callable[..., Any]


def test_control_characters_of_a_history_do_nothing_to_the_terminal(command: Command, tmp_path: Path) -> None:
    name = "\x1b[2J\x07"
    events = [
        {"index": 0, "type": "invoke", "process": 0, "f": "write", "key": name, "value": name, "time_ns": 0},
        {"index": 1, "type": "ok", "invoke": 0, "process": 0, "f": "write", "result": None, "time_ns": 1},
        {"index": 2, "type": "invoke", "process": 1, "f": "read", "key": name, "value": None, "time_ns": 2},
        {"index": 3, "type": "ok", "invoke": 2, "process": 1, "f": "read", "result": "other", "time_ns": 3},
    ]
    (tmp_path / "bad.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    said = command("check", "bad.jsonl", "--explain")
    assert said.code == 1
    assert "\x1b" not in said.out
    assert "\\x1b[2J\\x07" in said.out


@pytest.mark.parametrize("ns", [5, 5_000, 5_000_000, 5_000_000_000])
def test_times_are_in_the_unit_that_suits_them(ns: int) -> None:
    row = {"invoke_index": 0, "complete_index": 1, "process": 0, "label": "read 1", "type": "ok"}
    row |= {"invoke_ns": ns, "complete_ns": 2 * ns}
    unit = {5: "5-10 ns", 5_000: "5.000-10.000 µs", 5_000_000: "5.000-10.000 ms"}.get(ns, "5.000-10.000 s")
    assert unit in explain({"key": 1, "reason": "it is", "core": [0], "operations": [row]})
