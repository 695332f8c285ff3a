"""Histories as Jepsen writes them: one map an event, a line each.

What Jepsen has no name for, and what its own conventions would not give back, is told by names of ours (see
:mod:`foreshock.harness.formats.edn`), so that reading gives back the same history.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.formats.assembly import ECHOES
from foreshock.harness.formats.timed_operations import refuse_two_at_once
from foreshock.harness.history import History, Row
from foreshock.harness.history_values import json_text
from foreshock.harness.operation import NEMESIS, OperationType

_KEYWORD: Final = re.compile(r"[A-Za-z][\w.*+!?-]*", re.ASCII)
_json: Final = msgspec.json.Encoder().encode


def write_edn(history: History, path: Path) -> None:
    """Write a history; raises ``OSError`` when the file cannot be written, and ``UsageError`` for operations of one
    process that overlap."""
    refuse_two_at_once(history)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for row, begins in events(history):
            file.write((_invocation if begins else _completion)(row))


def events(history: History) -> Iterator[tuple[Row, bool]]:
    """The events of a history in their order: each row where it begins (True), and where it completes."""
    ends: list[tuple[int, int, Row]] = []
    for number, row in enumerate(history):
        while ends and ends[0][0] < row.invoke_index:
            yield heapq.heappop(ends)[2], False
        yield row, True
        if row.complete_index >= 0:
            heapq.heappush(ends, (row.complete_index, number, row))
    while ends:
        yield heapq.heappop(ends)[2], False


def _invocation(row: Row) -> str:
    kind = "info" if row.process == NEMESIS else "invoke"
    more = "" if row.node is None else f", :node {edn(row.node)}"
    return _event(row, row.invoke_index, kind, row.value, row.invoke_ns, more)


def _completion(row: Row) -> str:
    kind, more = row.type.value, ""
    told = row.result
    if row.type != OperationType.OK or (row.f in ECHOES and None in (row.result, row.value)):
        told = row.value
    if _result_of(row, told) != _json(row.result):
        more = f", :result {edn(row.result)}"
    if row.process == NEMESIS:
        kind = "info"
        if row.type != OperationType.INFO:
            more += f", :outcome :{row.type.value}"
    if row.error is not None:
        more += f", :error {edn(row.error)}"
    if row.attempts != 1:
        more += f", :attempts {row.attempts}"
    return _event(row, row.complete_index, kind, told, row.complete_ns, more)


def _result_of(row: Row, told: Any) -> bytes:
    """What the reader takes for the result when the completion's ``:value`` is ``told``, as JSON."""
    if row.type != OperationType.OK or (row.f in ECHOES and _json(told) == _json(row.value)):
        return b"null"
    return _json(told)


def _event(row: Row, index: int, kind: str, value: Any, time_ns: int, more: str) -> str:
    process = ":nemesis" if row.process == NEMESIS else row.process
    f = f":{row.f}" if _KEYWORD.fullmatch(row.f) else edn(row.f)
    key = "" if row.key is None else f", :key {edn(row.key)}"
    time = "" if time_ns == -1 else f", :time {time_ns}"
    return f"{{:index {index}, :type :{kind}, :process {process}, :f {f}{key}, :value {edn(value)}{time}{more}}}\n"


def edn(value: Any) -> str:
    """A value that JSON can hold as EDN, from which the same value is read.

    Raises ``PlugInError`` when it nests too deep.
    """
    if type(value) in (list, dict):
        json_text(value)
    return _edn(value)


def _edn(value: Any) -> str:
    return _WRITERS[type(value)](value)


def _text(value: str) -> str:
    # JSON's escapes are all EDN's too, but for the slash, which nothing obliges us to escape.
    return _json(value).decode()


def _vector(value: list[Any]) -> str:
    return f"[{' '.join(map(_edn, value))}]"


def _map(value: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{_text(name)} {_edn(part)}" for name, part in value.items()) + "}"


_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): lambda _: "nil",
    bool: lambda value: "true" if value else "false",
    int: str,
    float: repr,
    str: _text,
    list: _vector,
    dict: _map,
}
