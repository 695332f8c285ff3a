"""The columns behind a history, and the compact rows that they are recorded in.

While a test runs, each operation is 75 bytes in one growing buffer: one ``pack`` when it is invoked, one
``pack_into`` when it completes. Columns are taken from it when somebody wants to read.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from foreshock.harness.errors import PlugInError
from foreshock.harness.history_values import NONE_PAYLOAD, ValueTable
from foreshock.harness.operation import OperationType

TYPES: Final = (OperationType.OK, OperationType.FAIL, OperationType.INFO)
"""How an operation can end, by its code in the ``type`` column."""
TYPE_CODES: Final[dict[str, int]] = {str(kind): code for code, kind in enumerate(TYPES)}
OK_CODE, FAIL_CODE, INFO_CODE = 0, 1, 2

Array = npt.NDArray[Any]

_INVOKED: Final = struct.Struct("<4q3i")
_COMPLETED: Final = struct.Struct("<3qibh")
_ROW_BYTES: Final = _INVOKED.size + _COMPLETED.size
_UNFINISHED: Final = _COMPLETED.pack(-1, -1, NONE_PAYLOAD, -1, INFO_CODE, 1)
_ROW: Final = np.dtype(
    [
        ("invoke_index", "<i8"),
        ("invoke_ns", "<i8"),
        ("key", "<i8"),
        ("value", "<i8"),
        ("process", "<i4"),
        ("f", "<i4"),
        ("node", "<i4"),
        ("complete_index", "<i8"),
        ("complete_ns", "<i8"),
        ("result", "<i8"),
        ("error", "<i4"),
        ("type", "i1"),
        ("attempts", "<i2"),
    ]
)
COLUMN_NAMES: Final[tuple[str, ...]] = tuple(_ROW.names or ())
PROCESS_MAX: Final = (1 << 31) - 1
ATTEMPTS_MAX: Final = (1 << 15) - 1
"""More attempts than this at one operation are recorded as so many."""


class NameTable(dict[str | None, int]):
    """Names that come again and again (operations, nodes, errors), by number: ``table[name]``; ``None`` is -1.

    A name that is not there yet gets the next number.
    """

    __slots__ = ("names",)

    def __init__(self) -> None:
        super().__init__({None: -1})
        self.names: list[str] = []

    def __missing__(self, name: str | None) -> int:
        assert name is not None
        try:
            name.encode()
        except UnicodeEncodeError:
            raise PlugInError(
                f"the name {name!r:.200} is not valid Unicode, so the history cannot hold it"
            ) from None
        code = self[name] = len(self.names)
        self.names.append(name)
        return code


class Columns:
    """Columns of equal length with the tables that their numbers point into. Never changed once made.

    They are as narrow as they can be; whoever computes with them takes them as 64-bit integers.
    """

    __slots__ = ("arrays", "names", "values")

    def __init__(self, arrays: dict[str, Array], names: NameTable, values: ValueTable) -> None:
        self.arrays = arrays
        self.names = names
        self.values = values

    def __len__(self) -> int:
        return len(self.arrays["invoke_index"])

    def take(self, chosen: Any) -> Columns:
        """The rows that a mask, a slice or an array of positions chooses."""
        arrays = {name: array[chosen] for name, array in self.arrays.items()}
        return Columns(arrays, self.names, self.values)


class ColumnBuilder:
    """Collects operations, each opened once and closed at most once, and gives columns of them."""

    __slots__ = ("_codes", "_rows", "count", "names", "values")

    def __init__(self) -> None:
        self._rows = bytearray()
        self.count = 0
        self.names = NameTable()
        self.values = ValueTable()

    def open(
        self, index: int, time_ns: int, key: int, value: int, process: int, f: str, node: str | None
    ) -> int:
        """Add an operation that has been invoked; ``key`` and ``value`` are payloads. Returns its row."""
        names = self.names
        self._rows += _INVOKED.pack(index, time_ns, key, value, process, names[f], names[node]) + _UNFINISHED
        row = self.count
        self.count = row + 1
        return row

    def close(
        self,
        row: int,
        index: int,
        time_ns: int,
        result: int,
        error: str | None,
        type_code: int,
        attempts: int = 1,
    ) -> None:
        """Say how the operation of a row ended; ``result`` is a payload."""
        offset = row * _ROW_BYTES + _INVOKED.size
        code = self.names[error]
        _COMPLETED.pack_into(self._rows, offset, index, time_ns, result, code, type_code, attempts)

    def columns(self) -> Columns:
        """The operations so far, in the order in which they were opened, as columns of their own."""
        # A buffer that numpy holds cannot grow, so the columns are copies, in the least width that holds them.
        rows = np.frombuffer(self._rows, dtype=_ROW, count=self.count)
        arrays = {name: _compact(name, rows[name], len(self.names.names)) for name in COLUMN_NAMES}
        return Columns(arrays, self.names, self.values)

    @staticmethod
    def of_arrays(arrays: Mapping[str, Array], names: NameTable, values: ValueTable) -> Columns:
        """Columns of whole arrays, one for each of ``COLUMN_NAMES``, in the widths that recorded ones have."""
        narrow = {name: arrays[name].astype(_ROW[name], copy=False) for name in COLUMN_NAMES}
        return Columns(
            {name: _compact(name, array, len(names.names)) for name, array in narrow.items()}, names, values
        )

    def release(self) -> None:
        """Forget the rows, once columns of them have been taken and no more will come."""
        self._rows = bytearray()
        self.count = 0


def _compact(name: str, column: Array, names: int) -> Array:
    if name in ("f", "node", "error"):
        return column.astype(np.int16 if names < 1 << 15 else np.int32)
    if name in ("invoke_index", "complete_index") and (not len(column) or column.max() < 1 << 31):
        return column.astype(np.int32)
    return column.copy()
