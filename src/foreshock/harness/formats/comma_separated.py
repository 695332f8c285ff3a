"""Histories as comma-separated values whose first line names the columns.

Either a row is an operation (there is an ``invoke_ns`` or ``invoke_index``), and events are put into their order by
:mod:`foreshock.harness.formats.timed_operations`; or a row is an event, and events are in the order of the rows.

``key``, ``value`` and ``result`` are JSON, or else plain text; an empty cell is ``None``. ``f``, ``node`` and
``error`` are plain text, or a JSON string where they begin with a quotation mark.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.errors import PlugInError, UsageError
from foreshock.harness.formats.assembly import EVENT_TYPES, Assembly, Malformed
from foreshock.harness.formats.streams import LINE_BYTES_MAX, lines
from foreshock.harness.formats.timed_operations import TimedOperations
from foreshock.harness.history import History, Row
from foreshock.harness.history_columns import ATTEMPTS_MAX, TYPE_CODES
from foreshock.harness.history_values import NONE_PAYLOAD, ValueTable, json_text
from foreshock.harness.operation import NEMESIS
from foreshock.harness.options import nearest

REQUIRED: Final = ("process", "type", "f")
EVENT_COLUMNS: Final = (*REQUIRED, "key", "value", "result", "time_ns", "index", "node", "error", "attempts")
OPERATION_COLUMNS: Final = (
    *(
        "process",
        "f",
        "key",
        "value",
        "result",
        "type",
        "invoke_index",
        "complete_index",
        "invoke_ns",
        "complete_ns",
    ),
    *("node", "error", "attempts"),
)
_decode: Final = msgspec.json.Decoder().decode
_encode: Final = msgspec.json.Encoder().encode


class CommaSeparatedFormat:
    """Comma-separated values with a header."""

    name = "csv"
    suffix = ".csv"

    def detect(self, path: Path, head: bytes) -> bool:  # noqa: ARG002
        """Whether the first line names the columns that there must be."""
        first, _, _ = head.decode("utf-8-sig", "replace").partition("\n")
        return set(REQUIRED) <= {cell.strip().strip('"') for cell in first.split(",")}

    def read(self, path: Path) -> History:
        """Read the file, streaming; raises :class:`UsageError` that names the line when it is broken."""
        limit = csv.field_size_limit(LINE_BYTES_MAX)
        try:
            return _read(path)
        finally:
            csv.field_size_limit(limit)

    def write(self, history: History, path: Path) -> None:
        """Write the history, an operation a row."""
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(OPERATION_COLUMNS)
            writer.writerows(map(_row_cells, history))


def _read(path: Path) -> History:
    rows = csv.reader(_decoded(path), strict=True)
    line = 1
    try:
        header = [cell.strip() for cell in next(rows, [])]
        reader = _reader(header)
        line = rows.line_num + 1
        for row in rows:
            if row:
                if len(row) != len(header):
                    raise Malformed(f"there are {len(row)} cells, but {len(header)} columns")
                reader.add(dict(zip(header, row, strict=True)), line)
            line = rows.line_num + 1
        return reader.history()
    except Malformed as error:
        raise UsageError(f"{path}, {_at(error, line)}: {error}") from None
    except csv.Error as error:
        raise UsageError(f"{path}, line {line} is not comma-separated values: {error}") from None
    except PlugInError as error:
        raise UsageError(f"{path}, line {line}: {error}") from None


def _at(error: Malformed, line: int) -> str:
    return f"line {getattr(error, 'line', line)}"


def _decoded(path: Path) -> Iterator[str]:
    encoding = "utf-8-sig"
    for number, line in enumerate(lines(path), start=1):
        try:
            yield line.decode(encoding)
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}, line {number} is not UTF-8: {error.reason}") from None
        encoding = "utf-8"


def _reader(header: list[str]) -> _EventRows | _OperationRows:
    by_operation = "invoke_ns" in header or "invoke_index" in header
    known = OPERATION_COLUMNS if by_operation else EVENT_COLUMNS
    for name in header:
        if name not in known:
            raise Malformed(
                f"there is no column {name!r}{nearest(name, known)}: there are {', '.join(known)}"
            )
        if header.count(name) > 1:
            raise Malformed(f"the column {name!r} is there twice")
    missing = [name for name in REQUIRED if name not in header]
    if missing:
        raise Malformed(f"the column {missing[0]!r} is missing")
    return _OperationRows(header) if by_operation else _EventRows(header)


class _EventRows:
    """A row is an event."""

    def __init__(self, header: list[str]) -> None:
        self._assembly = Assembly()
        self._has_result = "result" in header

    def add(self, cells: dict[str, str], line: int) -> None:  # noqa: ARG002
        """Add one row; raises :class:`Malformed`."""
        get = cells.get
        kind, f, process = get("type", "").strip(), _text(get("f", "")) or "", _process(get("process", ""))
        time_ns, index = _integer(get("time_ns"), "time_ns", -1), _integer(get("index"), "index", -1)
        values = self._assembly.values
        key = _key(values, get("key", ""))
        if kind not in EVENT_TYPES:
            raise Malformed(f"type is {kind!r}, which is none of {', '.join(EVENT_TYPES)}")
        if process == NEMESIS and self._assembly.nemesis_begins(kind, f):
            kind = "invoke"
        if kind == "invoke":
            value = _payload(values, get("value", ""))
            self._assembly.invoke(process, f, value, key, time_ns, index, _text(get("node", "")))
            return
        asked = self._assembly.asked(process, f, key)
        if self._has_result:
            result = _payload(values, get("result", ""))
        elif kind == "ok":
            result = self._assembly.result(f, asked, _payload(values, get("value", "")))
        else:
            result = NONE_PAYLOAD
        error, attempts = _text(get("error", "")), _attempts(get("attempts"))
        self._assembly.complete(process, TYPE_CODES[kind], result, time_ns, index, error, attempts)

    def history(self) -> History:
        """The history of all rows."""
        return self._assembly.history()


class _OperationRows:
    """A row is an operation."""

    def __init__(self, header: list[str]) -> None:
        self._operations = TimedOperations(by_index="invoke_index" in header)

    def add(self, cells: dict[str, str], line: int) -> None:
        """Add one row; raises :class:`Malformed`."""
        get = cells.get
        kind, f, process = get("type", "").strip(), _text(get("f", "")) or "", _process(get("process", ""))
        if kind not in TYPE_CODES:
            raise Malformed(f"type is {kind!r}, which is none of {', '.join(TYPE_CODES)}")
        builder = self._operations.builder
        key, value = _key(builder.values, get("key", "")), _payload(builder.values, get("value", ""))
        times = [_integer(get(name), name, -1) for name in ("invoke_index", "invoke_ns")]
        ends = [_integer(get(name), name, -1) for name in ("complete_index", "complete_ns")]
        self._operations.check(kind, times, ends)
        row = builder.open(times[0], times[1], key, value, process, f, _text(get("node", "")))
        result, error = _payload(builder.values, get("result", "")), _text(get("error", ""))
        builder.close(row, ends[0], ends[1], result, error, TYPE_CODES[kind], _attempts(get("attempts")))
        self._operations.lines.append(line)

    def history(self) -> History:
        """The history of all rows; raises :class:`Malformed`."""
        return self._operations.history()


# --- cells --------------------------------------------------------------------------------------------------


def _process(cell: str) -> int:
    process = NEMESIS if cell.strip() == "nemesis" else _integer(cell, "process", -2)
    if not NEMESIS <= process < 1 << 31:
        raise Malformed(f"process is {cell!r:.50}, which is neither a number from 0 on nor nemesis")
    return process


def _integer(cell: str | None, name: str, default: int) -> int:
    if cell is None or not (cell := cell.strip()):
        return default
    try:
        number = int(cell) if len(cell) < 21 else 1 << 63
    except ValueError:
        number = 1 << 63
    if not -(1 << 63) <= number < 1 << 63:
        raise Malformed(f"{name} is {cell!r:.50}, which is no integer of 64 bits")
    return number


def _attempts(cell: str | None) -> int:
    attempts = _integer(cell, "attempts", 1)
    if not 0 <= attempts <= ATTEMPTS_MAX:
        raise Malformed(f"attempts is {attempts}, which is not between 0 and {ATTEMPTS_MAX}")
    return attempts


def _text(cell: str) -> str | None:
    if cell.startswith('"'):
        try:
            value = _decode(cell)
        except (msgspec.DecodeError, UnicodeError):
            return cell
        return value if isinstance(value, str) else cell
    return cell or None


def _value(cell: str) -> Any:
    if not cell:
        return None
    try:
        return _decode(cell)
    except (msgspec.MsgspecError, UnicodeError):
        return cell
    except RecursionError:
        raise Malformed("a value nests too deep") from None


def _payload(values: ValueTable, cell: str) -> int:
    return values.payload(_value(cell))


def _key(values: ValueTable, cell: str) -> int:
    key = _value(cell)
    return values.key_payload(key if key is None or type(key) is int or type(key) is str else cell)


def _row_cells(row: Row) -> list[Any]:
    return [
        "nemesis" if row.process == NEMESIS else row.process,
        _text_cell(row.f),
        *map(_value_cell, (row.key, row.value, row.result)),
        row.type.value,
        row.invoke_index,
        *map(_number_cell, (row.complete_index, row.invoke_ns, row.complete_ns)),
        _text_cell(row.node),
        _text_cell(row.error),
        row.attempts,
    ]


def _number_cell(number: int) -> int | str:
    return "" if number == -1 else number


def _text_cell(text: str | None) -> str:
    """Plain where it can be; a cell never holds a line's end."""
    if text is None:
        return ""
    return text if text.isprintable() and text[:1] not in ("", '"') else _encode(text).decode()


def _value_cell(value: Any) -> str:
    if value is None:
        return ""
    if (
        isinstance(value, str)
        and value.isprintable()
        and value
        and type(_value(value)) is str
        and value[0] != '"'
    ):
        return value
    return json_text(value).decode()
