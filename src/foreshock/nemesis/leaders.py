"""Asking the target who leads, within bounds: a cluster in trouble may not answer."""

from __future__ import annotations

from foreshock.harness.nemesis import NemesisContext
from foreshock.harness.runtime import TimeoutExpired

ASK_TIMEOUT_NS = 3_000_000_000


async def known_primaries(context: NemesisContext) -> frozenset[str]:
    """The nodes that say now that they lead; empty when nobody does, says so in time, or has such a notion."""

    async def ask() -> frozenset[str] | None:
        return await context.primaries()

    try:
        return await context.runtime.timeout(ask(), ASK_TIMEOUT_NS) or frozenset()
    except TimeoutExpired:
        return frozenset()
