"""Faults that promises name together."""

from __future__ import annotations

from typing import Final

KILLS: Final = ("kill", "crash-loop", "slow-start", "restart")
"""Each ends processes, and starts them again on what they had written."""
