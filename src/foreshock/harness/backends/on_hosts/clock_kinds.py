"""By what hosts skew clocks: light enough to be asked for every plan."""

from __future__ import annotations

from typing import Final

_KINDS: Final = ("jump", "drift", "drift-wall", "strobe")


def clock_mechanisms() -> dict[str, str]:
    """The mechanism of each kind of skew; the same for all."""
    means = "a clock file, which the node reads by its clock port, or a preloaded shim shows it"
    return {f"clock/{kind}": means for kind in _KINDS}
