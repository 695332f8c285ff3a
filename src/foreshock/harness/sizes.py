"""Sizes as people write them."""

from __future__ import annotations

import re

from foreshock.harness.errors import UsageError


def parse_bytes(text: str) -> int:
    """A size such as ``2GiB``, ``512MB`` or ``1000000`` in bytes."""
    match = re.fullmatch(r"\s*(\d+)\s*([kKMGT]?)(i?)[bB]?\s*", text)
    if not match:
        raise UsageError(f"{text!r} is not a size: write a number with KiB, MiB or GiB, such as 2GiB")
    base = 1024 if match[3] else 1000
    return int(match[1]) * int(base ** " KMGT".index(match[2].upper() or " "))
