"""The lines of ``history.jsonl``: one JSON object an event, written as it happens and read back strictly.

::

    {"index":0,"type":"invoke","process":0,"f":"write","key":1,"value":5,"time_ns":123,"node":"n1"}
    {"index":1,"invoke":0,"type":"ok","process":0,"f":"write","result":null,"time_ns":456}
    {"index":2,"invoke":...,"type":"info","process":3,"f":"write","error":"timeout","time_ns":789}

An invocation without a completion is one that never ended. What is absent is ``null``. A completion names its
``attempts`` when its client sent the request more than once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np

from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.formats.streams import lines
from foreshock.harness.history_columns import (
    ATTEMPTS_MAX,
    OK_CODE,
    PROCESS_MAX,
    TYPE_CODES,
    TYPES,
    ColumnBuilder,
    Columns,
)
from foreshock.harness.history_values import INTEGER_LIMIT, NONE_PAYLOAD, ValueTable

Json = msgspec.Raw | int | None
"""A value on its way into a line: JSON text, a small integer, or ``None``."""


class InvokeLine(msgspec.Struct, omit_defaults=True, gc=False):
    """An invocation as it is written."""

    index: int
    type: str
    process: int
    f: str
    key: Json = None
    value: Json = None
    time_ns: int = -1
    node: str | None = None


class OkLine(msgspec.Struct, omit_defaults=True, gc=False):
    """A completion ``ok``: the result is always written, for ``null`` is an answer too."""

    index: int
    invoke: int
    type: str
    process: int
    f: str
    result: Json
    time_ns: int
    error: str | None = None
    attempts: int = 1


class EndLine(msgspec.Struct, omit_defaults=True, gc=False):
    """A completion ``fail`` or ``info``."""

    index: int
    invoke: int
    type: str
    process: int
    f: str
    time_ns: int
    result: Json = None
    error: str | None = None
    attempts: int = 1


_Int64 = Annotated[int, msgspec.Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Index = Annotated[int, msgspec.Meta(ge=0, le=(1 << 62))]
_NULL = msgspec.Raw(b"null")


class _Event(msgspec.Struct, gc=False):
    index: _Index
    type: Literal["invoke", "ok", "fail", "info"]
    process: Annotated[int, msgspec.Meta(ge=-1, le=PROCESS_MAX)]
    f: str
    time_ns: _Int64 = -1
    key: int | str | None = None
    value: msgspec.Raw = _NULL
    result: msgspec.Raw = _NULL
    error: str | None = None
    node: str | None = None
    invoke: int | None = None
    attempts: Annotated[int, msgspec.Meta(ge=0, le=ATTEMPTS_MAX)] = 1


_decode_event: Callable[[bytes], _Event] = msgspec.json.Decoder(_Event).decode
_decode_any: Callable[[bytes], object] = msgspec.json.Decoder().decode


def json_of_payload(values: ValueTable, payload: int) -> Json:
    """A payload as it goes into a line."""
    if payload > NONE_PAYLOAD:
        return payload
    return None if payload == NONE_PAYLOAD else msgspec.Raw(values.text(payload))


def read_lines(path: Path) -> Columns:
    """Read a ``history.jsonl``, compressed or not, streaming. A torn last line (a killed harness) is left out.

    Raises :class:`UsageError` that names the line which is broken, or breaks the rules of a history: a process
    has at most one operation under way, a completion follows its invocation, and indexes go up.
    """
    builder = ColumnBuilder()
    under_way: dict[int, tuple[int, int, str]] = {}
    last_index = -1
    for number, line in enumerate(lines(path), start=1):
        if line.isspace():
            continue
        try:
            event = _decode_event(line)
            problem = _add(builder, under_way, event)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if not line.endswith(b"\n"):
                break
            raise UsageError(f"{path}, line {number} is not an event of a history: {error}") from None
        if event.index <= last_index:
            problem = f"event {event.index} follows event {last_index}, but indexes must go up"
        if problem:
            raise UsageError(f"{path}, line {number}: {problem}")
        last_index = event.index
    return builder.columns()


def _add(builder: ColumnBuilder, under_way: dict[int, tuple[int, int, str]], event: _Event) -> str | None:
    """Add one event; returns what is wrong with it, if anything."""
    process = event.process
    if event.type == "invoke":
        if process in under_way:
            earlier = under_way[process][1]
            return f"process {process} invokes {event.f!r} while its operation {earlier} is still under way"
        values = builder.values
        key = values.key_payload(event.key)
        value = payload_of_json(values, bytes(event.value))
        row = builder.open(event.index, event.time_ns, key, value, process, event.f, event.node)
        under_way[process] = (row, event.index, event.f)
        return None
    if process not in under_way:
        return f"process {process} completes {event.f!r}, but has invoked nothing that is still under way"
    row, index, f = under_way.pop(process)
    if f != event.f or (event.invoke is not None and event.invoke != index):
        return f"process {process} completes {event.f!r} (invoked as {event.invoke}), but {f!r} ({index}) is under way"
    result = payload_of_json(builder.values, bytes(event.result))
    builder.close(
        row, event.index, event.time_ns, result, event.error, TYPE_CODES[event.type], event.attempts
    )
    return None


def payload_of_json(values: ValueTable, text: bytes) -> int:
    """The payload of JSON text from a file; raises ``msgspec.DecodeError`` when it is not JSON after all."""
    if text == b"null":
        return NONE_PAYLOAD
    if len(text) < 20 and text.removeprefix(b"-").isdigit():
        integer = int(text)
        if -INTEGER_LIMIT < integer < INTEGER_LIMIT:
            return integer
    # Raw text has only been skipped over; decode it once, so that nothing undecodable is ever in a history.
    _decode_any(text)
    return values.payload_of_text(text)


def write_lines(columns: Columns, path: Path) -> None:
    """Write a history as ``history.jsonl``. Raises :class:`HarnessError` when the file cannot be written."""
    invoke, complete = columns.arrays["invoke_index"], columns.arrays["complete_index"]
    completed = np.flatnonzero(complete >= 0)
    positions = np.concatenate([np.arange(len(columns)), completed])
    order = np.argsort(np.concatenate([invoke, complete[completed]]), kind="stable")
    is_completion = order >= len(columns)
    encode = msgspec.json.Encoder().encode
    try:
        with path.open("wb") as file:
            for start in range(0, len(order), 1 << 15):
                chunk = slice(start, start + (1 << 15))
                rows = columns.take(positions[order[chunk]])
                for line in _lines(rows, is_completion[chunk].tolist()):
                    file.write(encode(line) + b"\n")
    except OSError as error:
        raise HarnessError(f"the history {str(path)!r} cannot be written: {error.strerror}") from None


def _lines(rows: Columns, is_completion: list[bool]) -> list[InvokeLine | OkLine | EndLine]:
    column = {name: array.tolist() for name, array in rows.arrays.items()}
    names: list[str | None] = [*rows.names.names, None]
    values = rows.values
    written: list[InvokeLine | OkLine | EndLine] = []
    for i, completion in enumerate(is_completion):
        process, f, invoke = column["process"][i], names[column["f"][i]] or "", column["invoke_index"][i]
        if not completion:
            key = json_of_payload(values, column["key"][i])
            value = json_of_payload(values, column["value"][i])
            time_ns, node = column["invoke_ns"][i], names[column["node"][i]]
            written.append(InvokeLine(invoke, "invoke", process, f, key, value, time_ns, node))
            continue
        index, time_ns, error = (
            column["complete_index"][i],
            column["complete_ns"][i],
            names[column["error"][i]],
        )
        result, code = json_of_payload(values, column["result"][i]), column["type"][i]
        attempts = column["attempts"][i]
        if code == OK_CODE:
            written.append(OkLine(index, invoke, "ok", process, f, result, time_ns, error, attempts))
        else:
            written.append(
                EndLine(index, invoke, TYPES[code].value, process, f, time_ns, result, error, attempts)
            )
    return written
