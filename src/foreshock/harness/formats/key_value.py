"""Logs of a store of strings (``get``, ``put``, ``append``), as Porcupine's tests have them: events in EDN.

::

    {:process 0, :type :invoke, :f :append, :key "3", :value "x 0 1 y"}
    {:process 0, :type :ok, :f :append, :key "3", :value "x 0 1 y"}

A key that is absent reads as ``""``. Anything but these three operations on keys that are strings is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from foreshock.harness.formats.edn import EdnReader, is_key_value_log, starts_an_event
from foreshock.harness.history import History

OPERATIONS: Final = frozenset({"get", "put", "append"})


class KeyValueFormat:
    """Logs of gets, puts and appends."""

    name = "kv"

    def detect(self, path: Path, head: bytes) -> bool:
        """Whether the first event gets, puts or appends to a key that is a string."""
        return starts_an_event(path, head) and is_key_value_log(head)

    def read(self, path: Path) -> History:
        """Read the file, streaming; raises ``UsageError`` that names the line when it is broken."""
        return EdnReader(path, OPERATIONS).read()
