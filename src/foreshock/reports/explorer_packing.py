"""How numbers reach the page: bytes of equal weight side by side, deflated, in base64."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

Parts = Sequence[tuple[str, npt.NDArray[Any]]]
"""Columns of unsigned numbers, little-endian, with their names."""


def described(parts: Parts) -> list[dict[str, Any]]:
    """What the page must know to unpack them: name, type and length of each."""
    return [{"name": name, "type": array.dtype.str[1:], "length": len(array)} for name, array in parts]


def planes_of(parts: Parts) -> bytes:
    """Bytes of equal weight side by side: a third smaller after deflate."""
    return b"".join(array.view("<u1").reshape(-1, array.itemsize).T.tobytes() for _, array in parts)


def deflated(raw: bytes) -> str:
    """Bytes as text for a page. Level 4: of 1 MB it saves 30 ms of 50, and costs the page a thirtieth."""
    return base64.b64encode(zlib.compress(raw, 4)).decode("ascii")
