"""The contract of a reporter: a finished run in, files in the run's folder out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar


class Reporter(ABC):
    """Writes something people read. A reporter that fails is a harness error and never changes the verdict."""

    name: str
    """Its name, in a word."""
    on_request: ClassVar[bool] = False
    """Whether it writes only when it is asked for (``--reporter NAME``, or ``--reporter file.py:Class``)."""

    @abstractmethod
    def report(self, run: Path) -> Path | None:
        """Render what is in a folder; returns the file written, or ``None`` when the folder is not its business.

        The folder is that of a run (``test.json``, the history, ``faults.jsonl``, ``results.json``, ``summary.json``)
        or that of a campaign (``campaign.json``). Raises :class:`HarnessError` when it cannot be done.
        """
