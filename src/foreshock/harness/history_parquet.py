"""Histories as Parquet: one row an operation, for anything that reads data frames.

``key``, ``value`` and ``result`` are JSON text (null for ``None``), so that every value comes back as it was.
pyarrow is imported only when one of these functions is called, for it costs a tenth of a second and 40 MB.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.errors import HarnessError, UsageError
from foreshock.harness.formats.streams import seekable
from foreshock.harness.history_columns import (
    ATTEMPTS_MAX,
    PROCESS_MAX,
    TYPE_CODES,
    TYPES,
    ColumnBuilder,
    Columns,
)
from foreshock.harness.history_lines import payload_of_json
from foreshock.harness.history_values import NONE_PAYLOAD
from foreshock.harness.operation import OperationType

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

    Parquet is read from its end, so a compressed one is unpacked into a temporary file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    builder = ColumnBuilder()
    last_index = -1
    try:
        with seekable(path) as source, pq.ParquetFile(source) as file:
            missing = [field for field in _FIELDS if field not in file.schema_arrow.names]
            if missing:
                raise UsageError(f"{path} is no history of ours: it has no column {missing[0]!r}")
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=list(_FIELDS)):
                last_index = _read_batch(builder, batch.to_pydict(), last_index)
    except OSError as error:
        raise UsageError(f"the history {str(path)!r} cannot be read: {error.strerror or error}") from None
    except (pa.ArrowException, msgspec.MsgspecError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{path} is no history of ours: {error}") from None
    return builder.columns()


def _read_batch(builder: ColumnBuilder, batch: dict[str, list[Any]], last_index: int) -> int:
    """Add rows, which follow the one that was invoked at ``last_index``; returns the last one's."""
    values = builder.values
    for row in zip(*(batch[field] for field in _FIELDS), strict=True):
        process, f, key, value, result, kind, index, end_index, time_ns, end_ns, node, error, attempts = row
        if not isinstance(f, str) or not -1 <= process <= PROCESS_MAX or not 0 <= index < 1 << 62:
            raise ValueError(f"operation {index} of process {process} is {f!r}")
        if index <= last_index:
            raise ValueError(
                f"operation {index} follows operation {last_index}, but they go by their invocations"
            )
        if not 0 <= attempts <= ATTEMPTS_MAX:
            raise ValueError(f"operation {index} took {attempts} attempts")
        if end_index <= index and not (end_index < 0 and kind == OperationType.INFO):
            raise ValueError(f"operation {index} is {kind}, but completes at event {end_index}")
        last_index = index
        key = NONE_PAYLOAD if key is None else values.key_payload(msgspec.json.decode(key))
        number = builder.open(index, time_ns, key, _payload(builder, value), process, f, node)
        code = TYPE_CODES[kind]
        builder.close(number, end_index, end_ns, _payload(builder, result), error, code, attempts)
    return last_index


def _payload(builder: ColumnBuilder, text: str | None) -> int:
    return NONE_PAYLOAD if text is None else payload_of_json(builder.values, text.encode())
