"""How the faults of one test are put together, as the user says it: weights, mix, intensity, quiet windows.

The functions read what stands on the command line or in a file; each raises :class:`UsageError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

from foreshock.harness.errors import UsageError
from foreshock.harness.options import nearest
from foreshock.harness.schedule_file import ScheduledFault

Mix = Literal["streams", "exclusive"]

MIXES: Final[Mapping[str, str]] = {
    "streams": "each nemesis keeps its own schedule, and faults of different nemeses overlap",
    "exclusive": "one fault at a time, of a nemesis drawn by weight",
}
INTENSITIES: Final[Mapping[str, int]] = {"low": 500, "medium": 1000, "high": 2000, "extreme": 4000}
"""What the words for intensity mean, in per mille."""
INTENSITY_MIN: Final = 50
INTENSITY_MAX: Final = 20_000
WEIGHT_MAX: Final = 100
QUIET_WINDOWS_MAX: Final = 1_000


class QuietWindow(NamedTuple):
    """A stretch of the main phase in which everything is healed and nothing new begins; in s since its start."""

    from_s: float
    to_s: float


class Composition(NamedTuple):
    """How the faults of one test are put together."""

    mix: Mix = "streams"
    weights: Mapping[str, int] = {}
    """By nemesis; one that is not named weighs 1."""
    quiet: tuple[QuietWindow, ...] = ()
    schedule: tuple[ScheduledFault, ...] | None = None
    """What is played in place of the nemeses' own generators."""


def nemeses_of(text: str) -> tuple[str, ...]:
    """The nemeses named in ``partition,kill=3``; ``none`` and nothing mean none."""
    return tuple(weighted_nemeses(text))


def weighted_nemeses(text: str) -> dict[str, int]:
    """The nemeses named in ``partition,kill=3``, each with its weight, in order; ``none`` and nothing mean none."""
    words = [word.strip() for word in text.split(",")]
    if not all(words) and text.strip():
        raise UsageError(
            f"{text!r} leaves a nemesis without a name: separate names by single commas, or say none"
        )
    found: dict[str, int] = {}
    for word in words:
        if word in ("", "none"):
            continue
        match = re.fullmatch(r"(.+?)\s*[=*]\s*([^=*/:]*)", word)
        name, weight = (word, None) if match is None else (match[1], match[2])
        if name in found:
            raise UsageError(f"a nemesis is named twice in {text!r}")
        found[name] = 1 if weight is None else _weight(word, name, weight)
    return found


def _weight(word: str, name: str, text: str) -> int:
    if "*" in word or not text.isdecimal() or not 1 <= int(text) <= WEIGHT_MAX:
        raise UsageError(
            f"{word!r} has no weight that can be used: give a whole number from 1 to {WEIGHT_MAX}, such as {name}=3"
        )
    return int(text)


def check_mix(text: str) -> Mix:
    """One of the ways to mix."""
    if text not in MIXES:
        raise UsageError(f"there is no mix {text!r}{nearest(text, MIXES)}")
    return "exclusive" if text == "exclusive" else "streams"


def parse_intensity(text: str) -> int:
    """``low``, ``medium``, ``high``, ``extreme`` or a factor such as ``1.5``, in per mille."""
    word = text.strip().lower()
    if word in INTENSITIES:
        return INTENSITIES[word]
    bounds = f"from {INTENSITY_MIN / 1000:g} to {INTENSITY_MAX // 1000}"
    if not re.fullmatch(r"[+-]?\d+(\.\d+)?|[+-]?\.\d+", word):
        close = nearest(word, INTENSITIES) if word else ""
        raise UsageError(
            f"{text!r} is no intensity{close}: give {', '.join(INTENSITIES)}, or a factor {bounds}"
        )
    permille = round(float(word) * 1000)
    if not INTENSITY_MIN <= permille <= INTENSITY_MAX:
        raise UsageError(
            f"an intensity of {word} is out of bounds: give a factor {bounds} (for no fault at all: --nemesis none)"
        )
    return permille


def parse_quiet_windows(text: str | None, time_limit_s: float) -> tuple[QuietWindow, ...]:
    """The windows of ``10-15,30-35`` (s since the main phase began), which must come in order and not overlap."""
    windows: list[QuietWindow] = []
    words = [word.strip() for word in (text or "").split(",")]
    if len(words) > QUIET_WINDOWS_MAX:
        raise UsageError(f"{len(words)} quiet windows are too many: at most {QUIET_WINDOWS_MAX}")
    for word in words if (text or "").strip() else []:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)", word)
        if not match:
            raise UsageError(
                f"{word!r} is no quiet window: give seconds from and to, such as 10-15, separated by commas"
            )
        window = QuietWindow(float(match[1]), float(match[2]))
        if window.to_s <= window.from_s:
            raise UsageError(f"the quiet window {word} ends before it begins: give the earlier time first")
        if windows and window.from_s < windows[-1].to_s:
            before = f"{windows[-1].from_s:g}-{windows[-1].to_s:g}"
            overlaps = window.to_s > windows[-1].from_s
            how = f"overlaps {before}" if overlaps else f"comes before {before}"
            raise UsageError(f"the quiet window {word} {how}: give windows in order, without overlap")
        if window.from_s >= time_limit_s:
            raise UsageError(
                f"the quiet window {word} begins after the main phase, which lasts {time_limit_s:g} s"
            )
        windows.append(window)
    return tuple(windows)
