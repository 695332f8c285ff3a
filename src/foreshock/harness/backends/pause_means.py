"""By what a node is stopped: the means that a cluster has, and the one that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock.harness.errors import FaultError
from foreshock.harness.options import nearest


def check_means(means: str | None, known: Sequence[str]) -> str:
    """The means to use: the one asked for, or the first; raises ``FaultError`` for one that the cluster lacks."""
    if means is None:
        return known[0]
    if means not in known:
        raise FaultError(f"nodes cannot be paused by {means!r} here{nearest(means, known)}")
    return means
