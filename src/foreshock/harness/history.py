"""Histories: what every process did, as columns for checkers and as rows for people.

The order of events is their index, never the clock. One row is one operation: its invocation and how it ended.

* People iterate over :class:`Row`; ``len``, :meth:`History.where` and :meth:`History.by_key` do what they say.
* Checkers take :meth:`History.column`: numpy arrays of 64-bit integers. ``process``, ``invoke_index``,
  ``complete_index`` (-1: never completed), ``invoke_ns`` and ``complete_ns`` (-1) hold what they are called;
  ``f``, ``node`` and ``error`` hold codes into :attr:`History.names` (-1: none), ``type`` codes into ``TYPES``
  (0 ok, 1 fail, 2 info). Values are had by :meth:`History.integers` where they are small integers, by
  :meth:`History.values` in general.
* :attr:`History.frame` is a pandas DataFrame; pandas is imported only for it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foreshock.harness.errors import UsageError
from foreshock.harness.history_columns import (
    COLUMN_NAMES,
    INFO_CODE,
    TYPE_CODES,
    TYPES,
    Array,
    ColumnBuilder,
    Columns,
)
from foreshock.harness.history_lines import read_lines, write_lines
from foreshock.harness.history_parquet import MAGIC, read_parquet, write_parquet
from foreshock.harness.history_values import INTEGER_LIMIT, NONE_PAYLOAD
from foreshock.harness.operation import NEMESIS, OperationType

if TYPE_CHECKING:
    import pandas as pd

_ROWS_AT_ONCE = 1 << 14
_VALUE_COLUMNS = ("key", "value", "result")


class Row(NamedTuple):
    """One operation. ``complete_index`` and ``complete_ns`` are -1 when it never completed.

    ``attempts`` is how often its client sent the request, where the client counts them; else 1.
    """

    process: int
    f: str
    key: int | str | None = None
    value: Any = None
    result: Any = None
    type: OperationType = OperationType.OK
    invoke_index: int = -1
    complete_index: int = -1
    invoke_ns: int = -1
    complete_ns: int = -1
    node: str | None = None
    error: str | None = None
    attempts: int = 1


class History:
    """Operations in the order of their invocation. Immutable; parts of it share its tables."""

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    @classmethod
    def of(cls, rows: Iterable[Row]) -> History:
        """A history of rows, put into the order of their invocation.

        Raises :class:`UsageError` when an index is missing or comes twice, a row completes before it begins, or one
        that is ok or fail has no completion.
        """
        builder = ColumnBuilder()
        seen: set[int] = set()
        for row in sorted(rows, key=lambda row: row.invoke_index):
            indexes = {row.invoke_index} if row.complete_index < 0 else {row.invoke_index, row.complete_index}
            unended = row.complete_index < 0 and row.type != OperationType.INFO
            reversed_ = 0 <= row.complete_index <= row.invoke_index
            if row.invoke_index < 0 or unended or reversed_ or indexes & seen:
                raise UsageError(
                    f"{row} cannot be in a history: its indexes are missing, reversed or not its own"
                )
            seen |= indexes
            values = builder.values
            key, value = values.key_payload(row.key), values.payload(row.value)
            number = builder.open(row.invoke_index, row.invoke_ns, key, value, row.process, row.f, row.node)
            result, code = values.payload(row.result), TYPE_CODES[row.type]
            builder.close(number, row.complete_index, row.complete_ns, result, row.error, code, row.attempts)
        return cls(builder.columns())

    @classmethod
    def read(cls, path: Path | str) -> History:
        """Read a history: ``history.jsonl``, Parquet, or the folder of a run (its ``history.jsonl``).

        A torn last line is left out, and an invocation that never completed is info. Raises
        :class:`UsageError` that names the line when the file is broken or is no history.
        """
        path = Path(path)
        if path.is_dir():
            path = path / "history.jsonl"
        try:
            with path.open("rb") as file:
                head = file.read(len(MAGIC))
        except OSError as error:
            raise UsageError(f"the history {str(path)!r} cannot be read: {error.strerror}") from None
        return cls(read_parquet(path) if head == MAGIC else read_lines(path))

    def write_jsonl(self, path: Path | str) -> None:
        """Write the history as one JSON object an event; raises ``HarnessError`` when it cannot be written."""
        write_lines(self._columns, Path(path))

    def write_parquet(self, path: Path | str) -> None:
        """Write the history as Parquet (values as JSON text); raises ``HarnessError`` when it cannot be written."""
        write_parquet(self._columns, Path(path))

    def __len__(self) -> int:
        return len(self._columns)

    def __iter__(self) -> Iterator[Row]:
        names: list[str | None] = [*self._columns.names.names, None]
        value_of = self._columns.values.value
        for start in range(0, len(self), _ROWS_AT_ONCE):
            part = self._columns.take(slice(start, start + _ROWS_AT_ONCE)).arrays
            column = {name: array.tolist() for name, array in part.items()}
            yield from map(
                Row,
                column["process"],
                map(names.__getitem__, column["f"]),
                map(value_of, column["key"]),
                map(value_of, column["value"]),
                map(value_of, column["result"]),
                map(TYPES.__getitem__, column["type"]),
                column["invoke_index"],
                column["complete_index"],
                column["invoke_ns"],
                column["complete_ns"],
                map(names.__getitem__, column["node"]),
                map(names.__getitem__, column["error"]),
                column["attempts"],
            )

    def __getitem__(self, position: int) -> Row:
        """The row at a position, counted from 0, or from the end when negative; raises ``IndexError``."""
        position = range(len(self))[position]
        return next(iter(History(self._columns.take(slice(position, position + 1)))))

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in self.counts().items())
        return f"<History of {len(self)} operations: {counts}>"

    # --- columns ------------------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The strings that the codes of ``f``, ``node`` and ``error`` stand for, shared by all three."""
        return tuple(self._columns.names.names)

    def code(self, name: str) -> int:
        """The code of a string in :attr:`names`; -2, which no operation has, when it is not there."""
        names = self._columns.names.names
        return names.index(name) if name in names else -2

    def column(self, name: str) -> Array:
        """One column as 64-bit integers (see the module's text), made anew by each call. Raises ``KeyError``."""
        if name in _VALUE_COLUMNS:
            raise KeyError(
                f"{name!r} holds values: take integers({name!r}), values({name!r}) or payloads({name!r})"
            )
        return self._columns.arrays[name].astype(np.int64)

    def payloads(self, name: str) -> Array:
        """The column ``key``, ``value`` or ``result`` as payloads.

        A small integer (below 2**61 either way) is its own payload, ``None`` is ``NONE_PAYLOAD``, anything else
        is less than that. Equal keys have equal payloads; equal values and results that are neither small
        integers nor ``None`` may have different ones.
        """
        if name not in _VALUE_COLUMNS:
            raise KeyError(f"{name!r} is not one of key, value and result")
        return self._columns.arrays[name]

    def integers(self, name: str) -> tuple[Array, Array]:
        """The column ``key``, ``value`` or ``result`` as integers, and a mask of where it is one (0 elsewhere)."""
        payloads = self.payloads(name)
        mask = payloads > -INTEGER_LIMIT
        return np.where(mask, payloads, 0), mask

    def absent(self, name: str) -> Array:
        """A mask of where the column ``key``, ``value`` or ``result`` is ``None``."""
        return np.asarray(self.payloads(name) == NONE_PAYLOAD)

    def values(self, name: str, rows: Array | None = None) -> list[Any]:
        """The column ``key``, ``value`` or ``result`` (of some rows) as objects, made anew by each call."""
        payloads = self.payloads(name)
        return self._columns.values.values((payloads if rows is None else payloads[rows]).tolist())

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row an operation. ``f``, ``type``, ``node`` and ``error`` are categorical (missing where ``None``),
        ``key``, ``value`` and ``result`` objects, the rest int64."""
        import pandas as pd

        arrays = self._columns.arrays
        data: dict[str, Any] = {}
        for field in Row._fields:
            if field in _VALUE_COLUMNS:
                data[field] = self._objects(field)
            elif field == "type":
                data[field] = pd.Categorical.from_codes(
                    arrays[field], pd.Index([kind.value for kind in TYPES])
                )
            elif field in ("f", "node", "error"):
                used, codes = np.unique(arrays[field], return_inverse=True)
                missing = int(len(used) > 0 and used[0] < 0)
                labels = [self._columns.names.names[code] for code in used[missing:].tolist()]
                codes = codes.astype(np.int32)
                data[field] = pd.Categorical.from_codes(codes - missing, pd.Index(labels, dtype="str"))
            else:
                data[field] = arrays[field].astype(np.int64)
        return pd.DataFrame(data, copy=False)

    def _objects(self, name: str) -> Array:
        """The column ``key``, ``value`` or ``result`` as an array of objects; equal keys are one object."""
        value_of = self._columns.values.value
        payloads = self.payloads(name)
        where: Any = slice(None)
        if name == "key":
            payloads, where = np.unique(payloads, return_inverse=True)
        objects = np.empty(len(payloads), dtype=object)
        for start in range(0, len(payloads), _ROWS_AT_ONCE):
            part = payloads[start : start + _ROWS_AT_ONCE].tolist()
            # Item by item: numpy would take a list of lists for a table.
            for i, payload in enumerate(part, start):
                objects[i] = value_of(payload)
        return np.asarray(objects[where])

    # --- parts --------------------------------------------------------------------------------------------

    def clients(self) -> History:
        """The operations of clients (every process but the nemesis)."""
        return self._where(self._columns.arrays["process"] >= 0)

    def nemesis(self) -> History:
        """The operations of the nemesis."""
        return self._where(self._columns.arrays["process"] == NEMESIS)

    def completed(self) -> History:
        """The operations that have a completion, of whatever type."""
        return self._where(self._columns.arrays["complete_index"] >= 0)

    def where(
        self,
        *,
        f: str | Collection[str] | None = None,
        type: str | Collection[str] | None = None,  # noqa: A002
        process: int | None = None,
        node: str | None = None,
    ) -> History:
        """The operations that match all that is given; ``f`` and ``type`` may be one or several."""
        arrays = self._columns.arrays
        mask = np.ones(len(self), dtype=np.bool_)
        if f is not None:
            mask &= np.isin(arrays["f"], [self.code(name) for name in ([f] if isinstance(f, str) else f)])
        if type is not None:
            kinds = [type] if isinstance(type, str) else type
            mask &= np.isin(arrays["type"], [TYPE_CODES[kind] for kind in kinds])
        if process is not None:
            mask &= arrays["process"] == process
        if node is not None:
            mask &= arrays["node"] == self.code(node)
        return self._where(mask)

    def by_key(self) -> dict[int | str | None, History]:
        """The history of each key, in the order in which the keys come up; ``None`` for operations without one.

        One sort whatever the number of keys.
        """
        keys = self._columns.arrays["key"]
        if not len(keys):
            return {}
        order = np.argsort(keys, kind="stable")
        grouped = self._columns.take(order)
        starts = np.flatnonzero(np.diff(grouped.arrays["key"], prepend=grouped.arrays["key"][0] - 1))
        ends = np.append(starts[1:], len(keys))
        value_of = self._columns.values.value
        # The sort is stable, so the first of each group is where its key comes up first.
        by_appearance = np.argsort(order[starts], kind="stable").tolist()
        bounds = list(zip(starts.tolist(), ends.tolist(), strict=True))
        return {
            value_of(int(grouped.arrays["key"][bounds[i][0]])): History(grouped.take(slice(*bounds[i])))
            for i in by_appearance
        }

    def keys(self) -> list[int | str | None]:
        """The different keys in the order in which they come up."""
        payloads, first = np.unique(self._columns.arrays["key"], return_index=True)
        value_of = self._columns.values.value
        return [value_of(payload) for payload in payloads[np.argsort(first)].tolist()]

    def counts(self) -> dict[str, int]:
        """How many operations ended ``ok``, ``fail`` and ``info``."""
        counts = np.bincount(self._columns.arrays["type"], minlength=INFO_CODE + 1)
        return {kind.value: int(count) for kind, count in zip(TYPES, counts, strict=True)}

    def _where(self, mask: Array) -> History:
        return self if mask.all() else History(self._columns.take(mask))


__all__ = ["COLUMN_NAMES", "NONE_PAYLOAD", "TYPES", "History", "Row"]
