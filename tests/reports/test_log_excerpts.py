"""What the logs said around a moment, whatever they write their times in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from foreshock.reports.log_excerpts import clock_of, excerpt
from foreshock.reports.stored_run import LogFile

SECOND = 1_000_000_000
STARTED = datetime.fromisoformat("2026-01-01T12:00:00.250000+00:00")


def log_of(path: Path, text: str) -> LogFile:
    path.write_text(text)
    return LogFile("n1", path.name, path, path.name, path.stat().st_size)


@pytest.mark.parametrize(
    ("line", "at_ns"),
    [
        ("2026-01-01T12:00:01.250Z up", SECOND),
        ("2026-01-01 12:00:01,250 up", SECOND),
        ("[2026-01-01T14:00:01.250+02:00] up", SECOND),
        ("1.500000 up", SECOND * 3 // 2),
        ("[+0.250 s] up", SECOND // 4),
        ("1767268801.25 up", SECOND),
        ('{"time_ns": 77, "text": "up"}', 77),
        ("n1 is up", None),
        ("2026-13-41T12:00:01Z up", None),
    ],
)
def test_a_time_is_read_in_any_common_form(line: str, at_ns: int | None) -> None:
    assert clock_of(STARTED)(line) == at_ns


def test_calendar_times_tell_nothing_where_the_start_was_not_stored() -> None:
    assert clock_of(None)("2026-01-01T12:00:01.250Z up") is None
    assert clock_of(None)("1.5000 up") == SECOND * 3 // 2


def test_the_lines_around_a_moment_are_found_in_a_long_log(tmp_path: Path) -> None:
    text = "".join(f"{number / 100:.6f} line {number}\n" for number in range(50_000))
    found = excerpt(log_of(tmp_path / "n.log", text), 123_456_000_000, clock_of(None))
    assert [line.text.split()[-1] for line in found.lines] == [str(number) for number in range(12340, 12352)]
    (nearest,) = [line for line in found.lines if line.nearest]
    assert (nearest.text, nearest.offset) == ("123.460000 line 12346", "+4.0 ms")


def test_the_moment_may_lie_before_or_after_the_whole_log(tmp_path: Path) -> None:
    log = log_of(tmp_path / "n.log", "1.00 a\n2.00 b\n  and more of b\n3.00 c\n")
    before, after = (excerpt(log, at * SECOND, clock_of(None)) for at in (0, 9))
    assert [line.text for line in before.lines] == ["1.00 a", "2.00 b", "  and more of b", "3.00 c"]
    assert [line.text for line in after.lines if line.nearest] == ["3.00 c"]
    assert after.near
    far = excerpt(log, 60 * SECOND, clock_of(None))
    assert not far.near
    assert far.lines[-1].offset == "-57.00 s"


def test_a_log_without_times_shows_its_end_and_says_so(tmp_path: Path) -> None:
    found = excerpt(log_of(tmp_path / "n.log", "one\ntwo\n"), 5, clock_of(STARTED))
    assert [line.text for line in found.lines] == ["one", "two"]
    assert "no times could be read" in found.note


def test_an_empty_binary_or_vanished_log_never_stops_the_report(tmp_path: Path) -> None:
    log = log_of(tmp_path / "n.log", "x")
    log.path.write_bytes(bytes(range(256)) * 5000)
    binary = excerpt(log._replace(size_bytes=log.path.stat().st_size), 5, clock_of(STARTED))
    assert all(len(line.text) <= 401 for line in binary.lines)
    log.path.unlink()
    assert "cannot be read" in excerpt(log, 5, clock_of(STARTED)).note
    empty = excerpt(log_of(tmp_path / "e.log", ""), 5, clock_of(STARTED))
    assert [line.text for line in empty.lines] in ([], [""])
