"""The verdict lattice and the exit codes."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class Verdict(IntEnum):
    """What a checker concludes; a composed verdict is the worst (greatest) of its parts."""

    VALID = 0
    UNKNOWN = 1
    INVALID = 2

    @property
    def word(self) -> str:
        """The verdict as it is written in results and on the terminal."""
        return self.name.lower()

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """Compose verdicts; of none at all the answer is ``VALID``."""
        return max(verdicts, default=cls.VALID)

    @classmethod
    def of_word(cls, word: str) -> Verdict:
        """Read back a verdict as written by :attr:`word`; raises ``KeyError`` on any other word."""
        return cls[word.upper()]


class ExitCode(IntEnum):
    """The exit codes of the ``foreshock`` command, stable for scripts."""

    VALID = 0
    INVALID = 1
    UNKNOWN = 2
    HARNESS_ERROR = 3
    USAGE = 4
    INTERRUPTED = 130

    @classmethod
    def of(cls, verdict: Verdict, *, harness_errors: bool = False, interrupted: bool = False) -> ExitCode:
        """The exit code of one test: a violation counts first, then an interruption, then a harness error."""
        if verdict is Verdict.INVALID:
            return cls.INVALID
        if interrupted:
            return cls.INTERRUPTED
        if harness_errors:
            return cls.HARNESS_ERROR
        return cls.UNKNOWN if verdict is Verdict.UNKNOWN else cls.VALID

    @classmethod
    def worst(cls, codes: Iterable[ExitCode]) -> ExitCode:
        """Over several tests the worst counts: 1, then 130, 3, 4, 2 and 0."""
        order = (cls.INVALID, cls.INTERRUPTED, cls.HARNESS_ERROR, cls.USAGE, cls.UNKNOWN, cls.VALID)
        return min(codes, key=order.index, default=cls.VALID)
