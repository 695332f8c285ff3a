"""Whether two simulated runs are the same, byte for byte: what their clients saw, and what their nemeses did."""

from __future__ import annotations

from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import msgspec

from foreshock.harness.errors import HarnessError
from foreshock.harness.store import FAULTS, HISTORY, RESULTS

SECOND_NS: Final = 1_000_000_000
_WORDS_MAX: Final = 300
_COMPARED: Final = ((HISTORY, "history"), (FAULTS, "fault ledger"))


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """Where two runs part: in which file, and at which line of it, counted from 0.

    ``before`` is the last line that they share, ``then`` and ``now`` the first that they do not, all in words;
    ``""`` where there is none.
    """

    what: str
    event: int
    then: str
    now: str
    before: str = ""

    def sentence(self) -> str:
        """Where they part, in a sentence."""
        return (
            f"the {self.what} parts at event {self.event}: {self.then or 'it had ended'} then, "
            f"{self.now or 'it has ended'} now"
        )


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the comparison; ``events`` are those of the history that are the same.

    ``cut_short``: the stored run was killed, and the new one begins with all that it has.
    """

    events: int
    parting: Parting | None = None
    cut_short: bool = False

    @property
    def same(self) -> bool:
        """Whether they are the same to the last byte."""
        return self.parting is None


def compare_runs(then: Path, now: Path) -> Compared:
    """Compare the histories and the ledgers of two runs; raises :class:`HarnessError` when one cannot be read.

    Of a stored run that was killed, and so has no results, the new one need only have all that it had until then.
    """
    events, killed = 0, not (then / RESULTS).exists()
    for name, what in _COMPARED:
        count, parting = _compare_files(then / name, now / name, what, cut=killed)
        events = count if name == HISTORY else events
        if parting is not None:
            return Compared(events=events, parting=parting)
    return Compared(events=events, cut_short=killed)


def _compare_files(then: Path, now: Path, what: str, *, cut: bool) -> tuple[int, Parting | None]:
    try:
        with then.open("rb") as one, now.open("rb") as other:
            before, events = b"", 0
            for a, b in zip_longest(one, other, fillvalue=b""):
                if a != b:
                    if cut and not a.endswith(b"\n") and b.startswith(a):
                        break  # the last line was being written
                    words = {"then": _words(a), "now": _words(b), "before": _words(before)}
                    return events, Parting(what=what, event=events, **words)
                before, events = a, events + 1
    except OSError as error:
        raise HarnessError(f"{error.filename} cannot be read: {error.strerror}") from error
    return events, None


def _words(line: bytes) -> str:
    """A line of a history or a ledger as a person reads it."""
    text = line.decode(errors="replace").strip()
    try:
        event: Any = msgspec.json.decode(line)
    except msgspec.DecodeError:
        event = None
    if isinstance(event, dict) and isinstance(event.get("time_ns"), int) and "f" in event:
        left_out = ("index", "invoke", "type", "process", "f", "time_ns")
        rest = [f"{key} {value!r}" for key, value in event.items() if key not in left_out]
        at_s = f"{event['time_ns'] // SECOND_NS}.{event['time_ns'] % SECOND_NS:09} s"
        told = f"{event['f']} {event.get('type', '?')}"
        text = ", ".join([f"at {at_s} process {event.get('process', '?')} {told}", *rest])
    return text if len(text) <= _WORDS_MAX else f"{text[:_WORDS_MAX]}…"
