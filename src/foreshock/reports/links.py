"""The way from a page about many tests to the report of each, also after their store was moved."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final
from urllib.parse import quote

REPORT: Final = "report.html"


class Links:
    """The addresses of runs' reports, relative to the folder of the page that leads to them.

    Runs are named by the paths that they had. They are looked for relative to where that folder was then
    (``directory``), so that a store that was moved keeps its links, and else where they were.
    """

    def __init__(self, page_folder: Path, directory: str) -> None:
        self._folder = str(page_folder.absolute())
        self._directory = os.path.abspath(directory) if directory else self._folder  # noqa: PTH100
        self._known: dict[str, str | None] = {}

    def to(self, run: str | None) -> str | None:
        """The address of a run's report, or ``None`` where there is none."""
        if not run:
            return None
        if run not in self._known:
            self._known[run] = self._find(run)
        return self._known[run]

    def _find(self, run: str) -> str | None:
        # Ten thousand times a page: no path objects here.
        report = os.path.join(run, REPORT)  # noqa: PTH118
        for start in dict.fromkeys((self._directory, self._folder)):
            try:
                relative = os.path.relpath(report, start)
                if os.path.isfile(os.path.join(self._folder, relative)):  # noqa: PTH113, PTH118
                    return quote(relative.replace(os.sep, "/"))
            except ValueError:  # no path at all
                return None
        return None
