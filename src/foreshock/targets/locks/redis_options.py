"""The options that the Redis locks share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from foreshock.targets.redis.server_target import RedisOptions


class RedisLockOptionsBase(RedisOptions, frozen=True, kw_only=True):
    """How long a lock lasts, who renews it, and how it is asked for."""

    ttl_ms: Annotated[
        int, Meta(description="time to live of a lock without renewal (ms)", ge=100, le=3_600_000)
    ] = 3_000
    watchdog: Annotated[
        bool,
        Meta(
            description="whether the client renews its locks by itself, at a third of their time to live, until they "
            "are released; its grants then have no time to live, as those of Redisson have none"
        ),
    ] = False
    retry_ms: Annotated[
        int,
        Meta(
            description="about how long a waiting acquire pauses between two tries (ms); half to one and a half of it",
            ge=1,
            le=60_000,
        ),
    ] = 50
