"""Lengths of time that people wait: seconds, minutes, hours. Those of operations are in ``scales``."""

from __future__ import annotations

from foreshock.reports.scales import NS_PER_S, duration

_MINUTE_S, _HOUR_S = 60, 3600
_WITHOUT_MINUTES_S = 120


def long_duration(seconds: float) -> str:
    """A length of time in seconds as a person says it: ``95 s``, ``4 min 10 s``, ``3 h 30 min``."""
    if seconds == 0:
        return "0 s"
    if seconds < _WITHOUT_MINUTES_S:
        return duration(seconds * NS_PER_S)
    whole = round(seconds)
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min" + (f" {whole % _MINUTE_S} s" if whole % _MINUTE_S else "")
    hours, minutes = divmod(round(whole / _MINUTE_S), 60)
    return f"{hours} h" + (f" {minutes} min" if minutes else "")
