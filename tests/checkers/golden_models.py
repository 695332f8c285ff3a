"""Small histories of every model, with what a person says of them. Those in order are read from left to right."""

# A history is read best in one line.
# ruff: noqa: E501

from __future__ import annotations

from typing import Final

from tests.checkers.model_trials import in_order, operation

from foreshock.checkers.entries import NEVER, Entry
from foreshock.checkers.models.base import FAILED
from foreshock.harness.model import UNKNOWN

A, R = "acquire", "release"
GOLDEN: Final[list[tuple[str, str, list[Entry], bool]]] = [
    ("mutex", "somebody else may release", in_order((1, A, 0, None), (2, R, None, None)), True),
    ("mutex", "held by two", in_order((1, A, 0, None), (2, A, 0, None)), False),
    ("mutex", "a crashed release", in_order((1, A, 0, None), (1, R, None, UNKNOWN), (2, A, 0, None)), True),
    ("owner-mutex", "nobody else releases", in_order((1, A, 0, None), (2, R, None, None)), False),
    ("owner-mutex", "a crashed acquire", in_order((1, A, 0, UNKNOWN), (1, R, None, None)), True),
    ("reentrant-mutex", "deeper", in_order((1, A, 0, None), (1, A, 0, None), (1, R, None, None), (1, R, None, None), (2, A, 0, None)), True),
    ("reentrant-mutex", "still held once", in_order((1, A, 0, None), (1, A, 0, None), (1, R, None, None), (2, A, 0, None)), False),
    ("reentrant-mutex", "unless once crashed", in_order((1, A, 0, None), (1, A, 0, UNKNOWN), (1, R, None, None), (2, A, 0, None)), True),
    ("reentrant-mutex", "which may have happened", in_order((1, A, 0, None), (1, A, 0, UNKNOWN), (1, R, None, None), (1, R, None, None)), True),
    ("read-write-lock", "two read", in_order((1, A, "read", None), (2, A, {"mode": "read"}, None)), True),
    ("read-write-lock", "one writes beside a reader", in_order((1, A, "read", None), (2, A, "write", None)), False),
    ("read-write-lock", "one reads beside a writer", in_order((1, A, "write", None), (2, A, "read", None)), False),
    ("read-write-lock", "nobody twice", in_order((1, A, "read", None), (1, A, "read", None)), False),
    ("read-write-lock", "a crashed release", in_order((1, A, "read", None), (1, R, None, UNKNOWN), (2, A, "write", None)), True),
    ("read-write-lock", "of one of two", in_order((1, A, "read", None), (3, A, "read", None), (1, R, None, UNKNOWN), (2, A, "write", None)), False),
    ("semaphore", "one of one", in_order((1, A, None, None), (2, A, None, None)), False),
    ("semaphore", "two of two", in_order((1, A, {"permits": 2}, None), (2, A, {"permits": 2}, None)), True),
    ("semaphore", "three of two", in_order(*[(n, A, {"permits": 2}, None) for n in range(3)]), False),
    ("semaphore", "none to give back", in_order((1, R, None, None)), False),
    ("semaphore", "one that may be taken", in_order((2, A, None, UNKNOWN), (1, R, None, None)), True),
    ("try-mutex", "fails while it is held", in_order((1, A, 0, None), (2, A, 0, FAILED)), True),
    ("try-mutex", "fails for its holder", in_order((1, A, 0, None), (1, A, 0, FAILED)), True),
    ("try-mutex", "fails for no reason", in_order((2, A, 0, FAILED)), False),
    ("try-mutex", "fails for what nobody saw", in_order((1, A, 0, UNKNOWN), (2, A, 0, FAILED)), True),
    ("try-mutex", "which then nobody else has", in_order((1, A, 0, UNKNOWN), (2, A, 0, FAILED), (2, A, 0, None)), False),
    ("try-mutex", "unless after its release", in_order((1, A, 0, UNKNOWN), (2, A, 0, FAILED), (1, R, None, None), (2, A, 0, None)), True),
    ("fifo-queue", "the oldest", in_order((1, "enqueue", 1, None), (1, "enqueue", 2, None), (2, "dequeue", None, 1)), True),
    ("fifo-queue", "the newest", in_order((1, "enqueue", 1, None), (1, "enqueue", 2, None), (2, "dequeue", None, 2)), False),
    ("fifo-queue", "after one that may be taken", in_order((1, "enqueue", 1, None), (1, "enqueue", 2, None), (3, "dequeue", None, UNKNOWN), (2, "dequeue", None, 2)), True),
    ("fifo-queue", "not empty", in_order((1, "enqueue", 1, None), (2, "dequeue", None, None)), False),
    ("fifo-queue", "taken twice", in_order((1, "enqueue", 1, None), (2, "dequeue", None, 1), (2, "dequeue", None, 1)), False),
    ("fifo-queue", "put by nobody known", in_order((1, "enqueue", 1, UNKNOWN), (2, "dequeue", None, None), (2, "dequeue", None, 1)), True),
    ("stack", "the newest", in_order((1, "push", 1, None), (1, "push", 2, None), (2, "pop", None, 2), (2, "pop", None, 1), (2, "pop", None, None)), True),
    ("stack", "the oldest", in_order((1, "push", 1, None), (1, "push", 2, None), (2, "pop", None, 1)), False),
    ("stack", "below one that may be taken", in_order((1, "push", 1, None), (1, "push", 2, None), (3, "pop", None, UNKNOWN), (2, "pop", None, 1)), True),
    ("stack", "concurrent pushes", [operation(0, 1, 0, 3, "push", 1), operation(1, 2, 1, 2, "push", 2), operation(2, 3, 4, 5, "pop", None, 1)], True),
    ("set", "any order", in_order((1, "add", 1, None), (1, "add", 2, None), (2, "read", None, [2, 1])), True),
    ("set", "one too few", in_order((1, "add", 1, None), (1, "add", 2, None), (2, "read", None, [2])), False),
    ("set", "twice in a list", in_order((1, "add", 1, None), (2, "read", None, [1, 1])), False),
    ("set", "a crashed add is seen", in_order((1, "add", 1, UNKNOWN), (2, "contains", 1, False), (2, "contains", 1, True)), True),
    ("set", "and not unseen", in_order((1, "add", 1, UNKNOWN), (2, "contains", 1, True), (2, "contains", 1, False)), False),
    ("set", "a crashed remove", in_order((1, "read", None, []), (1, "add", 1, None), (1, "remove", 1, UNKNOWN), (2, "read", None, [1]), (2, "read", None, [])), True),
    ("set", "true is not 1", in_order((1, "add", True, None), (2, "contains", 1, True)), False),
    ("counter", "a sum", in_order((1, "add", 5, None), (1, "decrement", None, None), (1, "increment", 2, None), (2, "read", None, 6)), True),
    ("counter", "a wrong sum", in_order((1, "increment", None, None), (2, "read", None, 2)), False),
    ("counter", "a crashed one counts once", in_order((1, "increment", None, UNKNOWN), (2, "read", None, 0), (2, "read", None, 1), (2, "read", None, 2)), False),
    ("counter", "or not at all", in_order((1, "increment", None, UNKNOWN), (2, "read", None, 0), (2, "read", None, 0)), True),
    ("multi-register", "at one moment", in_order((1, "txn", [["w", "x", 1], ["w", "y", 1]], None), (2, "txn", [["r", "x", None], ["r", "y", None]], [["r", "x", 1], ["r", "y", 1]])), True),
    ("multi-register", "half of it", in_order((1, "txn", [["w", "x", 1], ["w", "y", 1]], None), (1, "write", {"x": 2, "y": 2}, None), (2, "read", None, {"x": 2, "y": 1})), False),
    ("multi-register", "its own write", in_order((1, "txn", [["w", 1, 5], ["r", "1", None]], [["w", 1, 5], ["r", "1", 5]])), True),
    ("multi-register", "null says nothing", in_order((1, "write", {"x": 1}, None), (2, "read", None, {"x": None})), True),
    ("multi-register", "read in the value", in_order((1, "write", {"x": 1}, None), (2, "txn", [["r", "x", 2]], None)), False),
    ("multi-register", "a crashed one is seen whole", in_order((1, "write", {"x": 1, "y": 1}, UNKNOWN), (2, "read", None, {"y": 1}), (2, "write", {"y": 2}, None), (2, "read", None, {"x": 1, "y": 2})), True),
    (
        "multi-register",
        "what only an optional transaction has seen",
        [
            operation(0, 1, 0, None, "txn", [["w", "x", 1]]),
            Entry(1, 1, NEVER, "txn", [["r", "x", 1], ["w", "y", 2]], [["r", "x", 1], ["w", "y", 2]], True, 2),
            operation(2, 3, 2, 3, "read", {"y": None}, {"y": 2}),
        ],
        True,
    ),
]  # fmt: skip
"""Model, what it is about, the history, whether it is legal."""
