"""What the nodes' logs said around a moment: found by bisection, so that a log of any size costs little."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from foreshock.reports.scales import NS_PER_MS, NS_PER_S, NS_PER_US, bytes_text
from foreshock.reports.stored_run import LogFile

LINES_BEFORE = 6
LINES_AFTER = 6
LINE_CHARACTERS_MAX = 400
NEAR_NS = 10 * NS_PER_S
"""A line that is further away says nothing about the moment."""
_LINE_BYTES_MAX = 1 << 16
_UNTIMED_LINES_MAX = 60
_WINDOW_BYTES = 1 << 15
_EPOCH_S_MIN = 1_000_000_000

_CALENDAR = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?")
_SECONDS = re.compile(r"^\W{0,2}\+?(\d{1,10}\.\d{2,9})\s*s?\b")
_JSON_NS = re.compile(r'"time_ns":\s*(\d+)')
_UNPRINTABLE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f\u2028\u2029]")


class ExcerptLine(NamedTuple):
    """One line of a log; ``offset`` says how far from the moment it was written, where that is known."""

    text: str
    offset: str
    nearest: bool


class Excerpt(NamedTuple):
    """The lines of one log around a moment, or its last lines with a ``note`` that says why."""

    log: LogFile
    lines: tuple[ExcerptLine, ...]
    note: str

    @property
    def near(self) -> bool:
        """Whether something was written close to the moment."""
        return any(line.nearest for line in self.lines)


Clock = Callable[[str], int | None]


def clock_of(started: datetime | None) -> Clock:
    """A reader of the time in a log line, in ns since the start of the test, or ``None`` where there is none.

    It knows calendar times (without a zone they are taken as the zone of ``started``), seconds since the epoch or
    since the start, and JSON lines with ``time_ns``.
    """

    def read(text: str) -> int | None:
        if calendar := _CALENDAR.search(text, 0, 60):
            return _since(started, calendar)
        if ns := _JSON_NS.search(text):
            return int(ns.group(1))
        if seconds := _SECONDS.match(text):
            whole, _, fraction = seconds.group(1).partition(".")
            at = int(whole) * NS_PER_S + int(fraction.ljust(9, "0"))
            if int(whole) < _EPOCH_S_MIN:
                return at
            return None if started is None else at - round(_aware(started).timestamp() * 1e6) * NS_PER_US
        return None

    return read


def excerpt(log: LogFile, at_ns: int, clock: Clock) -> Excerpt:
    """The lines around a moment. A log that cannot be read says so in its note and never stops the report."""
    try:
        with log.path.open("rb") as file:
            offset = _bisect(file, log.size_bytes, at_ns, clock)
            if offset is None:
                return Excerpt(
                    log, _tail(file, log.size_bytes), "no times could be read here; these are its last lines"
                )
            return Excerpt(log, _around(file, offset, at_ns, clock), "")
    except OSError as error:
        return Excerpt(log, (), f"{log.name} cannot be read: {error.strerror}")


def describe(log: LogFile) -> str:
    """A log's name and size."""
    return f"{log.name}, {bytes_text(log.size_bytes)}"


def _since(started: datetime | None, calendar: re.Match[str]) -> int | None:
    if started is None:
        return None
    day, clock, fraction, zone = calendar.groups()
    text = f"{day}T{clock}{(zone or '').replace('Z', '+00:00')}"
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=_aware(started).tzinfo)
    origin = _aware(started)
    whole = round((at - origin.replace(microsecond=0)).total_seconds()) * NS_PER_S
    return whole + int((fraction or "0").ljust(9, "0")) - origin.microsecond * 1_000


def _aware(started: datetime) -> datetime:
    return started if started.tzinfo is not None else started.replace(tzinfo=UTC)


def _timed_line(file: BinaryIO, offset: int, clock: Clock) -> tuple[int, int] | None:
    """The first line with a time at or after an offset in the middle of some line: (its offset, its time)."""
    file.seek(max(offset - 1, 0))
    if offset:
        file.readline(_LINE_BYTES_MAX)
    for _ in range(_UNTIMED_LINES_MAX):
        at = file.tell()
        raw = file.readline(_LINE_BYTES_MAX)
        if not raw:
            return None
        time_ns = clock(raw.decode("utf-8", "replace"))
        if time_ns is not None:
            return at, time_ns
    return None


def _bisect(file: BinaryIO, size: int, at_ns: int, clock: Clock) -> int | None:
    """The offset of the first line at or after a moment; ``None`` where the log shows no times."""
    first = _timed_line(file, 0, clock)
    if first is None:
        return None
    low, high = 0, size
    while low < high:
        middle = (low + high) // 2
        found = _timed_line(file, middle, clock)
        if found is None or found[1] >= at_ns:
            high = middle
        else:
            low = middle + 1
    # The search ends inside the line before the one that was looked for.
    found = _timed_line(file, low, clock)
    return size if found is None else found[0]


def _around(file: BinaryIO, offset: int, at_ns: int, clock: Clock) -> tuple[ExcerptLine, ...]:
    start = max(offset - _WINDOW_BYTES, 0)
    file.seek(start)
    before = _split(file.read(offset - start))
    if start and before:
        del before[0]
    after = _split(file.read(_WINDOW_BYTES))
    lines = [*before[-LINES_BEFORE:], *after[:LINES_AFTER]]
    return _lines(lines, at_ns, clock)


def _tail(file: BinaryIO, size: int) -> tuple[ExcerptLine, ...]:
    file.seek(max(size - _WINDOW_BYTES, 0))
    lines = _split(file.read(_WINDOW_BYTES))
    return _lines(lines[-LINES_BEFORE - LINES_AFTER :], None, lambda _: None)


def _split(raw: bytes) -> list[str]:
    # Not splitlines, which also breaks at characters that a log line may well hold.
    return raw.decode("utf-8", "replace").removesuffix("\n").split("\n") if raw else []


def _lines(lines: list[str], at_ns: int | None, clock: Clock) -> tuple[ExcerptLine, ...]:
    times = [clock(text) for text in lines]
    gaps = [abs(time - at_ns) for time in times if time is not None and at_ns is not None]
    nearest = min(gaps, default=None)
    shown, marked = [], False
    for text, time in zip(lines, times, strict=True):
        offset, here = "", False
        if time is not None and at_ns is not None:
            offset = _offset(time - at_ns)
            here = not marked and abs(time - at_ns) == nearest and nearest <= NEAR_NS
            marked = marked or here
        shown.append(ExcerptLine(_clean(text), offset, here))
    return tuple(shown)


def _offset(ns: int) -> str:
    return f"{ns / NS_PER_MS:+.1f} ms" if abs(ns) < NS_PER_S else f"{ns / NS_PER_S:+.2f} s"


def _clean(text: str) -> str:
    printable = _UNPRINTABLE.sub("", text)
    return printable if len(printable) <= LINE_CHARACTERS_MAX else printable[:LINE_CHARACTERS_MAX] + "…"
