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
from foreshock.harness.cli.explain import DRAWN_MAX, explain
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
key 'x': read 1 by process 2 is impossible in every order of the operations so far: just before it returned, the state could be 2

  What happened (3 operations show it; none of them can be left out):
  process  events  time
        0  0-1     0.000-1.000 ms  [------]                              write 1
        1  2-3     2.000-3.000 ms                [------]                write 2
        2  4-5     4.000-5.000 ms                              [------]  read 1  <- impossible

  Why no order works:
    Each of these ended before the next began, so they can only come in this order.
    read 1 needs the value to be 1, but after write 2 it is 2; only write 1 brings that about, and
      it comes earlier.

  Just before it returned:
    the state could be 2
    the longest legal order of all that had happened: write 1, write 2
"""

FROM_NOWHERE = """\
key 'x': read 9 by process 1 is impossible in every order of the operations so far: just before it returned, the state could be 1

  What happened (1 operation shows it; it cannot be left out):
  process  events  time
        1  3-4     3.000-4.000 ms  [------]  read 9  <- impossible

  Why no order works:
    read 9 needs the value to be 9, but at first it is absent; nothing that had begun by then brings
      that about.

  Just before it returned:
    the state could be 1
    the longest legal order of all that had happened: write 1
"""

SECOND_HOLDER = """\
the history: acquire by 1 by process 1 is impossible in every order of the operations so far: just before it returned, the state could be held by process 0

  What happened (2 operations show it; none of them can be left out):
  process  events  time
        0  0-1     0.000-1.000 ms  [------]                acquire by 0
        1  2-3     2.000-3.000 ms                [------]  acquire by 1  <- impossible

  Why no order works:
    Each of these ended before the next began, so they can only come in this order.
    acquire by 1 needs the lock to be free, but after acquire by 0 it is held by process 0; nothing
      that had begun by then brings that about.

  Just before it returned:
    the state could be held by process 0
    the longest legal order of all that had happened: acquire by 0
"""

OUT_OF_TURN = """\
key 'q': dequeue -> 'b' by process 1 is impossible in every order of the operations so far: just before it returned, the state could be 'a', 'b'
"""


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
    assert "3 operations show it" in text
    assert "<- impossible" in text


def test_what_was_pending_is_told_with_what_it_needed_and_what_never_returned_is_open_to_the_right() -> None:
    found = history(
        (0, "write", 1, None, 0, 1),
        (1, "cas", [3, 4], None, 2, -1),
        (2, "write", 2, None, 3, 6),
        (3, "read", None, 4, 4, 5),
    )
    text = text_of(found)
    assert "cas 3->4 by process 1 (event 2), which never returned, needs the value to be 3" in text
    assert "2-?     2.000-? ms" in text
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


def test_an_update_that_is_not_in_the_core_is_drawn_where_nothing_else_says_whence_the_value_came() -> None:
    found = history(
        (0, "write", 3, None, 0, 1),
        (1, "cas", [3, 7], None, 2, 5),
        (2, "write", 6, None, 6, 7),
        (2, "read", None, 7, 8, 9),
    )
    text = text_of(found)
    (line,) = (line for line in text.splitlines() if "cas 3->7" in line and "[" in line)
    assert "(where it came from" in line or "<- impossible" not in line
    assert "read 7  <- impossible" in text


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
