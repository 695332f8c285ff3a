"""Histories as Parquet: one row an operation, for anything that reads data frames.

``key``, ``value`` and ``result`` are JSON text (null for ``None``), so that every value comes back as it was.
pyarrow is imported only when one of these functions is called, for it costs a tenth of a second and 40 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.formats.streams import seekable
from foreshock.harness.history_columns import (
    ATTEMPTS_MAX,
    INFO_CODE,
    PROCESS_MAX,
    TYPE_CODES,
    TYPES,
    Array,
    ColumnBuilder,
    Columns,
    NameTable,
)
from foreshock.harness.history_lines import payload_of_json
from foreshock.harness.history_values import NONE_PAYLOAD, ValueTable

_decode = msgspec.json.Decoder().decode
_SHORT_INTEGER: Final = "^-?(0|[1-9][0-9]{0,17})$"
"""So many digits are always below the limit of what is its own payload."""

MAGIC: Final = b"PAR1"
"""The first bytes of a Parquet file."""
_ROWS_AT_ONCE: Final = 1 << 16
_INTEGERS: Final = ("process", "invoke_index", "complete_index", "invoke_ns", "complete_ns", "attempts")
_JSON: Final = ("key", "value", "result")
_NAMES: Final = ("f", "node", "error")
_FIELDS: Final = (
    *("process", "f", "key", "value", "result", "type", "invoke_index", "complete_index"),
    *("invoke_ns", "complete_ns", "node", "error", "attempts"),
)


def write_parquet(columns: Columns, path: Path) -> None:
    """Write a history as Parquet. Raises :class:`HarnessError` when the file cannot be written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = pa.dictionary(pa.int32(), pa.string())
    kinds = {**dict.fromkeys(_INTEGERS, pa.int64()), **dict.fromkeys(_JSON, pa.string())}
    schema = pa.schema([(field, kinds.get(field, names)) for field in _FIELDS])
    try:
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for start in range(0, max(1, len(columns)), _ROWS_AT_ONCE):
                rows = columns.take(slice(start, start + _ROWS_AT_ONCE))
                writer.write_table(pa.table([_column(pa, rows, field) for field in _FIELDS], schema=schema))
    except OSError as error:
        raise HarnessError(
            f"the history {str(path)!r} cannot be written: {error.strerror or error}"
        ) from None


def _column(pa: Any, rows: Columns, field: str) -> Any:
    array = rows.arrays[field]
    if field in _INTEGERS:
        return pa.array(array.astype("int64"))
    if field in _JSON:
        text = rows.values.text
        texts = [None if p == NONE_PAYLOAD else text(p).decode() for p in array.tolist()]
        return pa.array(texts, type=pa.string())
    dictionary = [kind.value for kind in TYPES] if field == "type" else rows.names.names
    codes = pa.array(array.astype("int32"), mask=array < 0)
    # The names of the whole history, not of these rows alone; encoding anew leaves each row group its own.
    dense = pa.DictionaryArray.from_arrays(codes, pa.array(dictionary, type=pa.string())).cast(pa.string())
    return dense.dictionary_encode()


def read_parquet(path: Path) -> Columns:
    """Read a history that :func:`write_parquet` wrote, also a compressed one; raises :class:`UsageError` for any other.

    Parquet is read from its end, so a compressed one is unpacked into a temporary file. Whole columns are read and
    checked at a time: a million operations row by row would take ten times as long.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names, values = NameTable(), ValueTable()
    parts: list[dict[str, Array]] = []
    last_index = -1
    try:
        with seekable(path) as source, pq.ParquetFile(source) as file:
            missing = [field for field in _FIELDS if field not in file.schema_arrow.names]
            if missing:
                raise UsageError(f"{path} is no history of ours: it has no column {missing[0]!r}")
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(_FIELDS)):
                part = _arrays_of(pa, batch, names, values)
                last_index = _check(part, last_index)
                parts.append(part)
    except OSError as error:
        raise UsageError(f"the history {str(path)!r} cannot be read: {error.strerror or error}") from None
    except (pa.ArrowException, msgspec.MsgspecError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{path} is no history of ours: {error}") from None
    empty = np.empty(0, dtype=np.int64)
    arrays = {field: np.concatenate([empty, *(part[field] for part in parts)]) for field in _FIELDS}
    return ColumnBuilder.of_arrays(arrays, names, values)


def _arrays_of(pa: Any, batch: Any, names: NameTable, values: ValueTable) -> dict[str, Array]:
    """The columns of a batch as numbers: integers, payloads, and codes of names."""
    arrays: dict[str, Array] = {}
    for field in _INTEGERS:
        column = batch.column(field)
        if column.null_count:
            raise ValueError(f"the column {field!r} has rows without a number")
        arrays[field] = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
    arrays["key"] = _payloads(pa, batch.column("key"), lambda text: values.key_payload(_decode(text)))
    for field in ("value", "result"):
        arrays[field] = _payloads(
            pa, batch.column(field), lambda text: payload_of_json(values, text.encode())
        )
    for field in _NAMES:
        arrays[field] = _mapped(batch.column(field), names.__getitem__, -1)
    arrays["type"] = _mapped(batch.column("type"), TYPE_CODES.__getitem__, -1)
    return arrays


def _mapped(column: Any, number_of: Callable[[str], int], absent: int) -> Array:
    """A column of texts as numbers, one call for each that differs from all others."""
    encoded = column if hasattr(column, "dictionary") else column.dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    strangers = [text for text in texts if not isinstance(text, str)]
    if strangers:
        raise TypeError(f"{strangers[0]!r} is no text")
    table = np.array([*map(number_of, texts), absent], dtype=np.int64)
    found: Array = table[encoded.indices.fill_null(len(texts)).to_numpy(zero_copy_only=False)]
    return found


def _payloads(pa: Any, column: Any, payload_of: Callable[[str], int]) -> Array:
    """A column of JSON texts as payloads. Short integers, which most are, are parsed all at once."""
    import pyarrow.compute as pc

    column = column.cast(pa.string())
    short = pc.match_substring_regex(column, _SHORT_INTEGER).fill_null(False)
    nothing = pa.scalar(None, pa.string())
    integers = pc.if_else(short, column, nothing).cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    others = _mapped(pc.if_else(short, nothing, column), payload_of, NONE_PAYLOAD)
    return np.where(short.to_numpy(zero_copy_only=False), integers, others)


def _check(part: dict[str, Array], last_index: int) -> int:
    """Raise ``ValueError`` for the first row that no history has; returns at what index the last one was invoked."""
    process, index, end, attempts = (part[field] for field in _INTEGERS[:3] + _INTEGERS[-1:])
    before = np.concatenate(([last_index], index[:-1]))[: len(index)]
    unended = (end < 0) & (part["type"] == INFO_CODE)
    rules = (
        (part["f"] < 0, "operation {index} has no name"),
        ((process < -1) | (process > PROCESS_MAX), "operation {index} is of process {process}"),
        ((index < 0) | (index >= 1 << 62), "operation {index} has an index that no event has"),
        (index <= before, "operation {index} follows operation {before}, but they go by their invocations"),
        ((attempts < 0) | (attempts > ATTEMPTS_MAX), "operation {index} took {attempts} attempts"),
        (part["type"] < 0, "operation {index} has no type"),
        ((end <= index) & ~unended, "operation {index} completes at event {end}, which cannot be"),
    )
    for broken, said in rules:
        if broken.any():
            row = int(np.argmax(broken))
            columns = {"index": index, "process": process, "before": before, "attempts": attempts, "end": end}
            raise ValueError(said.format(**{name: int(column[row]) for name, column in columns.items()}))
    return int(index[-1]) if len(index) else last_index
