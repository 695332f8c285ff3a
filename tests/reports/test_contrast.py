"""The colours of the page against what lies behind them, in both themes, by WCAG 2's contrast ratio."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("foreshock.reports") / "assets" / "report.css").read_text(encoding="utf-8")
TOKEN = re.compile(r"--([a-z0-9-]+):\s*(#[0-9a-f]{6});")
LIGHT = dict(TOKEN.findall(STYLE[: STYLE.index("@media")]))
DARK = LIGHT | dict(TOKEN.findall(STYLE[STYLE.index("@media") : STYLE.index("body.valid")]))
THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_three_outcomes_have_jepsens_colours() -> None:
    assert (LIGHT["ok"], LIGHT["info"], LIGHT["fail"]) == ("#6db6fe", "#ffaa26", "#feb5da")
    assert (DARK["ok"], DARK["info"], DARK["fail"]) == ("#6db6fe", "#ffaa26", "#feb5da")


@THEMES
@pytest.mark.parametrize("text", ["ink", "ink-2", "valid", "unknown", "invalid"])
@pytest.mark.parametrize("ground", ["paper", "surface", "sunken"])
def test_text_is_readable(theme: dict[str, str], text: str, ground: str) -> None:
    assert contrast(theme[text], theme[ground]) >= 4.5


@THEMES
@pytest.mark.parametrize("mark", ["ok-ink", "info-ink", "fail-ink", "line-2"])
@pytest.mark.parametrize("ground", ["paper", "surface"])
def test_marks_and_outlines_can_be_seen(theme: dict[str, str], mark: str, ground: str) -> None:
    assert contrast(theme[mark], theme[ground]) >= 3


@THEMES
@pytest.mark.parametrize(("bar", "share"), [("ink", 0.62), ("invalid", 0.85)])
def test_who_holds_a_lock_can_be_read_on_the_bar_of_its_hold(
    theme: dict[str, str], bar: str, share: float
) -> None:
    """The painter writes in the colour of the surface onto bars that let some of it through."""
    channels = [
        round(share * int(theme[bar][i : i + 2], 16) + (1 - share) * int(theme["surface"][i : i + 2], 16))
        for i in (1, 3, 5)
    ]
    assert contrast("#" + "".join(f"{channel:02x}" for channel in channels), theme["surface"]) >= 4.5
