"""The contract of a reporter: a finished run in, files in the run's folder out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


class Reporter(ABC):
    """Writes something people read. A reporter that fails is a harness error and never changes the verdict."""

    name: str

    @abstractmethod
    def report(self, run: Path) -> Path | None:
        """Render the stored run (test.json, history, faults.jsonl, results.json); returns the file written."""
