"""The harness' log of one run, in ``harness.log``."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foreshock.harness.errors import HarnessError

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class _LogFile(logging.FileHandler):
    """A log that the disk does not take any more is no reason to say so for every line, nor to end the test."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802, ARG002 - the name that logging calls
        return


@contextmanager
def log_to(path: Path) -> Iterator[None]:
    """Send the harness' log to a file for as long as the block lasts; raises :class:`HarnessError`."""
    logger = logging.getLogger("foreshock")
    try:
        handler = _LogFile(path, encoding="utf-8")
    except OSError as error:
        raise HarnessError(f"{path} cannot be written: {error.strerror}") from error
    handler.setFormatter(logging.Formatter(FORMAT))
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
        handler.close()
