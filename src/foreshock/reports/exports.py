"""Tables for other tools, for those who ask for them: the operations of a run, or the tests of a campaign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from foreshock.harness.campaign.document import CAMPAIGN
from foreshock.harness.errors import HarnessError
from foreshock.harness.formats.comma_separated import CommaSeparatedFormat
from foreshock.harness.history import History
from foreshock.harness.loading import load
from foreshock.harness.reporter import Reporter
from foreshock.harness.store import HISTORY_PARQUET, TEST

OPERATIONS_CSV = "operations.csv"
TESTS_CSV = "tests.csv"
TESTS_PARQUET = "tests.parquet"


class CsvReporter(Reporter):
    """Writes ``operations.csv`` for a run, which ``foreshock check`` reads too, and ``tests.csv`` for a campaign."""

    name = "csv"
    on_request = True

    def report(self, run: Path) -> Path | None:
        """Render the history of a run, or one row for each attempt of a campaign."""
        if (run / CAMPAIGN).is_file():
            return _written(run / TESTS_CSV, lambda path: load(run).to_csv(path, index=False))
        if not (run / TEST).is_file():
            return None
        history = History.read(run).clients()
        return _written(run / OPERATIONS_CSV, lambda path: CommaSeparatedFormat().write(history, path))


class ParquetReporter(Reporter):
    """Writes ``history.parquet`` for a run, also where no page was wanted, and ``tests.parquet`` for a campaign."""

    name = "parquet"
    on_request = True

    def report(self, run: Path) -> Path | None:
        """Render the history of a run, or one row for each attempt of a campaign."""
        if (run / CAMPAIGN).is_file():
            return _written(run / TESTS_PARQUET, lambda path: load(run).to_parquet(path, index=False))
        if not (run / TEST).is_file():
            return None
        history = History.read(run)
        return _written(run / HISTORY_PARQUET, history.write_parquet)


def _written(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file whole or not at all; raises :class:`HarnessError` when the disk does not take it."""
    scratch = path.with_name(f".{path.name}")
    try:
        write(scratch)
        scratch.replace(path)
    except OSError as error:
        raise HarnessError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return path
